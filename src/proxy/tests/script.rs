//! What clients send: requests of every kind, each with its name in its target.

use crate::ring::sim::Random;

/// One request as its client sends it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// The head's bytes, where there is one.
    pub(super) head_len: usize,
    pub(super) first_line_bytes: i32,
    pub(super) headers_bytes: i32,
    /// CRC32C of the decoded body.
    pub(super) hash: u32,
    pub(super) is_head: bool,
    /// Must be durable before the source sees a byte of it.
    pub(super) held: bool,
    pub(super) expects: bool,
    pub(super) malformed: Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    No,
    /// Already in its head: nothing of it may reach the source.
    Head,
    /// Somewhere in its body.
    Body,
}

/// How requests are drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kinds {
    pub(super) body_bytes_max: u64,
    pub(super) hold_all_posts: bool,
    pub(super) malformed: u32,
}

/// The name of a request; also the index in its target.
pub(super) fn name(client: usize, number: usize) -> String {
    format!("c{client:03}r{number:03}")
}

/// The requests of one client. Nothing follows a malformed one.
pub(super) fn requests(random: &mut Random, client: usize, n: usize, kinds: Kinds) -> Vec<Request> {
    let mut requests = Vec::new();
    for number in 0..n {
        let request = request(random, name(client, number), kinds);
        let last = request.malformed != Malformed::No;
        requests.push(request);
        if last {
            break;
        }
    }
    requests
}

fn request(random: &mut Random, name: String, kinds: Kinds) -> Request {
    let malformed = random.chance(kinds.malformed);
    let (method, path, held, has_body) = match random.below(10) {
        0..=2 => ("GET", "_doc/1", false, false),
        3 => ("HEAD", "_doc/1", false, false),
        4 | 5 => ("POST", "_search", kinds.hold_all_posts, true),
        6 => ("PUT", "_doc/1", true, true),
        7 => ("DELETE", "_doc/1", true, false),
        _ => ("POST", "_bulk", true, true),
    };
    let line = format!("{method} /{name}/{path} HTTP/1.1");
    let mut fields = vec!["Host: source".to_owned(), format!("X-Id: {name}")];
    if random.chance(300) {
        fields.push(format!("X-Padding: {}", "p".repeat(random.below(900) as usize)));
    }
    let mut body = Vec::new();
    let mut wire = Vec::new();
    let mut fault = Malformed::No;
    let expects = has_body && random.chance(150);
    if has_body {
        let len = match random.below(5) {
            0 => random.between(0, 3),
            1 => random.between(0, kinds.body_bytes_max),
            _ => random.between(0, kinds.body_bytes_max.min(4000)),
        };
        let salt = random.draw();
        body = (0..len).map(|i| b'a' + ((salt.wrapping_add(i * 7)) % 23) as u8).collect();
        if expects {
            fields.push("Expect: 100-continue".to_owned());
        }
        if random.chance(500) {
            fields.push("Transfer-Encoding: chunked".to_owned());
            let break_at = (malformed && random.chance(500)).then(|| random.below(4));
            let (mut rest, mut chunk) = (&body[..], 0);
            while !rest.is_empty() && break_at != Some(chunk) {
                let (now, later) = rest.split_at(random.part(rest.len()).max(1 + rest.len() / 20));
                wire.extend_from_slice(format!("{:x}\r\n", now.len()).as_bytes());
                wire.extend_from_slice(now);
                wire.extend_from_slice(b"\r\n");
                (rest, chunk) = (later, chunk + 1);
            }
            if break_at.is_some() {
                fault = Malformed::Body;
                wire.extend_from_slice(b"zz\r\nxx\r\n0\r\n\r\n");
            } else {
                wire.extend_from_slice(b"0\r\n\r\n");
            }
        } else {
            fields.push(format!("Content-Length: {}", body.len()));
            wire.extend_from_slice(&body);
        }
    }
    if malformed && fault == Malformed::No {
        fault = Malformed::Head;
        let both = ["Content-Length: 3", "Transfer-Encoding: chunked"];
        match random.below(5) {
            0 => fields.extend(both.map(str::to_owned)),
            1 => fields.push("Content-Length: +3".to_owned()),
            2 => fields.push("A: b\r\n folded".to_owned()),
            3 => fields.push("A : b".to_owned()),
            _ => fields.push("A: b\nC: d".to_owned()),
        }
    }
    let headers_bytes = fields.iter().map(String::len).sum::<usize>() as i32;
    let head = format!("{line}\r\n{}\r\n\r\n", fields.join("\r\n"));
    let mut bytes = head.clone().into_bytes();
    bytes.extend_from_slice(&wire);
    Request {
        name,
        bytes,
        head_len: head.len(),
        first_line_bytes: line.len() as i32,
        headers_bytes,
        hash: crc32c::crc32c(&body),
        is_head: method == "HEAD",
        held,
        expects,
        malformed: fault,
    }
}
