//! What clients send: requests of every kind, each with its name in its target.

use crate::{
    filter::{Filter, HeaderEdit, HeaderEdits, HiddenBody, Redaction, Suppression},
    ring::sim::Random,
};

/// One request as its client sends it.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; they combine freely")]
pub(super) struct Request {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// What the source is to see of it.
    pub(super) forwarded: Vec<u8>,
    /// What the records are to hold of it, behind [`mask`].
    pub(super) recorded: Vec<u8>,
    /// The records are to say nothing of it and of its answer.
    pub(super) left_out: bool,
    /// tapline answers it.
    pub(super) own: bool,
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

impl Request {
    /// How much of [`Self::forwarded`] follows from the first `len` bytes: a head that is changed goes as a whole.
    pub(super) fn forwardable(&self, len: usize) -> usize {
        match () {
            () if self.forwarded == self.bytes => len,
            () if len < self.head_len => 0,
            () => self.forwarded.len().saturating_sub(self.bytes.len() - len),
        }
    }

    /// How many of its first bytes have to be there before `len` of [`Self::forwarded`] may go.
    pub(super) fn needed(&self, len: usize) -> usize {
        if self.forwarded == self.bytes {
            return len;
        }
        let head_len = self.forwarded.len() - (self.bytes.len() - self.head_len);
        if len <= head_len { self.head_len } else { self.head_len + len - head_len }
    }
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
    /// What [`filter`] does.
    pub(super) filtered: bool,
    /// Credentials are hidden.
    pub(super) redacts: bool,
}

/// Credentials of clients and sources, which are to be in no record of a run that redacts.
pub(super) const SECRETS: [&str; 3] =
    ["Basic c2VjcmV0LW9uZQ==", "Basic c2VjcmV0LXR3bw==", "sid=secret"];

/// Values of fields that carry credentials in place of which the records have something else.
pub(super) fn mask(bytes: &mut [u8]) {
    for name in ["\r\nAuthorization: ", "\r\nSet-Cookie: "] {
        let ends: Vec<usize> =
            memchr::memmem::find_iter(bytes, name).map(|at| at + name.len()).collect();
        for from in ends {
            bytes[from..]
                .iter_mut()
                .take_while(|byte| **byte != b'\r')
                .for_each(|byte| *byte = b'#');
        }
    }
}

fn redaction() -> Redaction {
    Redaction::new(&[3; 32], true, &[])
}

/// The filter of the runs that have one.
pub(super) fn filter(kinds: Kinds) -> Filter {
    let edit = |text: &str| text.parse::<HeaderEdit>().expect("an edit");
    let edits = ["Host: edited:9200", "X-Padding:", "X-Added: yes"].map(edit);
    if !kinds.filtered {
        return Filter { redaction: Some(redaction()), ..Filter::default() };
    }
    Filter {
        edits: HeaderEdits::new(&edits).expect("edits that fit together"),
        forwarded_for: false,
        redaction: kinds.redacts.then(redaction),
        suppression: Suppression {
            headers: vec!["X-Skip: yes?".parse().expect("a pattern")],
            methods_and_paths: vec![r"DELETE /c\d+r\d*[02468]/.*".parse().expect("a pattern")],
            ..Suppression::default()
        },
        health_path: Some("/h".parse().expect("a path")),
    }
}

/// What the filter makes of a head's fields.
fn edited(fields: &[String]) -> Vec<String> {
    let kept = fields.iter().filter(|field| !field.starts_with("X-Padding:"));
    let set = kept.map(|field| {
        let is_host = field.starts_with("Host:");
        if is_host { "Host: edited:9200".to_owned() } else { field.clone() }
    });
    set.chain(["X-Added: yes".to_owned()]).collect()
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
    let own = kinds.filtered && !malformed && random.chance(100);
    if own {
        return health(random, name);
    }
    let (method, path, held, has_body) = match random.below(10) {
        0..=2 => ("GET", "_doc/1", false, false),
        3 => ("HEAD", "_doc/1", false, false),
        4 | 5 => ("POST", "_search", kinds.hold_all_posts, true),
        6 => ("PUT", "_doc/1", true, true),
        7 => ("DELETE", "_doc/1", true, false),
        _ => ("POST", "_bulk", true, true),
    };
    let hidden = kinds.redacts && held && has_body && random.chance(300);
    let line = if hidden {
        format!("{method} /_security/user/{name} HTTP/1.1")
    } else {
        format!("{method} /{name}/{path} HTTP/1.1")
    };
    let mut fields = vec!["Host: source".to_owned(), format!("X-Id: {name}")];
    let skip = kinds.filtered && random.chance(150);
    if skip {
        fields.push("X-Skip: yes".to_owned());
    }
    if kinds.redacts && random.chance(500) {
        fields.push(format!("Authorization: {}", SECRETS[random.below(2) as usize]));
    }
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
    let forwarded = match (fault, kinds.filtered) {
        (Malformed::Head, _) => Vec::new(),
        (_, false) => bytes.clone(),
        (_, true) => {
            let head = format!("{line}\r\n{}\r\n\r\n", edited(&fields).join("\r\n"));
            [head.as_bytes(), &wire].concat()
        }
    };
    let mut recorded = bytes.clone();
    if kinds.redacts {
        mask(&mut recorded);
    }
    if hidden && fault != Malformed::Head {
        let chunked = fields.iter().any(|field| field.starts_with("Transfer-Encoding"));
        recorded.truncate(head.len());
        recorded.extend_from_slice(&hashed(&wire, chunked));
    }
    let even = name.ends_with(['0', '2', '4', '6', '8']);
    let named = kinds.filtered && method == "DELETE" && even;
    let left_out = (skip || named) && fault != Malformed::Head;
    Request {
        name,
        bytes,
        forwarded,
        recorded,
        left_out,
        own: false,
        head_len: head.len(),
        first_line_bytes: line.len() as i32,
        headers_bytes,
        hash: crc32c::crc32c(&body),
        is_head: method == "HEAD",
        held: held && !left_out,
        expects,
        malformed: fault,
    }
}

/// A body as the records are to have it.
fn hashed(wire: &[u8], chunked: bool) -> Vec<u8> {
    let (redaction, mut hidden, mut out) = (redaction(), HiddenBody::new(chunked), Vec::new());
    hidden.push(&redaction, wire, &mut |block| out.extend_from_slice(&block.recorded));
    hidden.finish(&redaction).into_iter().for_each(|block| out.extend_from_slice(&block.recorded));
    assert_eq!(out.len(), wire.len());
    out
}

/// A health check of tapline itself, perhaps with a body that nobody wants.
fn health(random: &mut Random, name: String) -> Request {
    let is_head = random.chance(300);
    let body = if random.chance(200) { "body" } else { "" };
    let method = if is_head { "HEAD" } else { "GET" };
    let line = format!("{method} /h?/{name} HTTP/1.1");
    let length = format!("Content-Length: {}", body.len());
    let head = format!("{line}\r\n{length}\r\n\r\n");
    let bytes = format!("{head}{body}").into_bytes();
    Request {
        name,
        recorded: bytes.clone(),
        bytes,
        forwarded: Vec::new(),
        left_out: true,
        own: true,
        head_len: head.len(),
        first_line_bytes: line.len() as i32,
        headers_bytes: length.len() as i32,
        hash: 0,
        is_head,
        held: false,
        expects: false,
        malformed: Malformed::No,
    }
}
