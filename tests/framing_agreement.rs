//! What tapline lets through is read alike by the parsers behind it and by parsers of other schools: the Netty of
//! Elasticsearch 7.10 and of `OpenSearch` 2.19, h11, httparse.
//!
//! A stream that tapline refuses says nothing. One that it accepts may be refused by another parser, which then answers
//! 400 and closes; it must never be cut into other requests.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Crc;
use tapline::http::{Limits, RequestFraming, RequestHead, RequestPart, Version};

use crate::rig::elasticsearch::Elasticsearch;
use crate::rig::opensearch::OpenSearch;
use crate::rig::{java, python, services};

#[test]
fn accepted_requests_are_read_alike_by_netty_h11_and_httparse() {
    if !services::wanted("accepted_requests_are_read_alike_by_netty_h11_and_httparse") {
        return;
    }
    let streams: Vec<(Vec<u8>, Reading)> = (0..services::scale(12_000, 1_000_000))
        .map(stream)
        .filter_map(|stream| ours(&stream).map(|reading| (stream, reading)))
        .collect();
    assert!(streams.len() > 2000, "only {} streams are accepted", streams.len());
    for (stream, reading) in &streams {
        check_httparse(stream, reading);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("streams");
    let lines: String = streams.iter().map(|(stream, _)| STANDARD.encode(stream) + "\n").collect();
    fs::write(&file, lines).unwrap();
    let file = file.to_str().unwrap();
    let netty = |jars: Result<PathBuf, String>| java::run("NettyFraming.java", &jars?, &[file]);
    let readers = [
        ("the Netty of Elasticsearch 7.10.2", netty(Elasticsearch::http_jars())),
        ("the Netty of OpenSearch 2.19.6", netty(OpenSearch::http_jars())),
        ("h11", python::run("h11_framing.py", &[file])),
    ];
    let mut differences = Vec::new();
    for (name, read) in readers {
        let read = read.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.lines().count(), streams.len(), "{name} read every stream");
        let (mut alike, mut refused) = (0, 0);
        for ((stream, reading), theirs) in streams.iter().zip(read.lines()) {
            match reading.judge(theirs) {
                Verdict::Alike => alike += 1,
                Verdict::Refused => refused += 1,
                Verdict::Different => differences.push(format!(
                    "{name} reads {:?}\n  as {theirs:?}, tapline as {:?}",
                    stream.escape_ascii().to_string(),
                    reading.text
                )),
            }
        }
        services::say(&format!("{name}: {alike} streams read alike, {refused} refused"));
        assert!(alike > streams.len() / 2, "{name} refuses most: is it asked the right thing?");
    }
    differences.truncate(5);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What tapline made of a stream that it accepted whole.
struct Reading {
    /// `METHOD TARGET LENGTH CRC32|` for every request, of the content without chunk framing.
    text: String,
    /// The requests behind which another parser may read nothing: they end their connection, or are of HTTP/1.0,
    /// which h11 never keeps alive.
    last: Vec<bool>,
    /// Where every request begins, and its head.
    heads: Vec<(usize, RequestHead)>,
}

enum Verdict {
    Alike,
    Refused,
    Different,
}

impl Reading {
    fn judge(&self, theirs: &str) -> Verdict {
        let refused = theirs.ends_with('!');
        let whole = theirs.trim_end_matches('!');
        // What stands behind the last bar is of a request that was begun and refused within.
        let complete = whole.rfind('|').map_or("", |at| &whole[..=at]);
        let requests = complete.matches('|').count();
        let may_stop = requests > 0 && self.last[..requests.min(self.last.len())][requests - 1];
        if !self.text.starts_with(complete) || requests > self.last.len() {
            Verdict::Different
        } else if complete.len() == self.text.len() && !refused {
            Verdict::Alike
        } else if refused {
            Verdict::Refused
        } else if may_stop && whole == complete {
            Verdict::Alike
        } else {
            Verdict::Different
        }
    }
}

/// Reads the stream as tapline's proxy does; `None` unless it is accepted up to its last byte and ends between requests.
fn ours(stream: &[u8]) -> Option<Reading> {
    let mut framing = RequestFraming::new();
    let mut reading = Reading { text: String::new(), last: Vec::new(), heads: Vec::new() };
    let (mut at, mut begins, mut body) = (0, 0, Vec::new());
    while at < stream.len() {
        let piece = framing.next(&Limits::default(), &stream[at..]).ok()?;
        match piece.what {
            RequestPart::HeadPart => return None,
            RequestPart::Head(head) => {
                if head.upgrade {
                    return None;
                }
                begins = at;
                reading.heads.push((at, head));
                reading.last.push(head.close || head.version == Version::Http10);
                let text = stream[at..at + piece.len].trim_ascii_start();
                let line = text.split(|byte| *byte == b'\r').next()?;
                let mut parts = line.split(|byte| *byte == b' ');
                for part in [parts.next()?, parts.next()?] {
                    reading.text.extend(part.iter().map(|byte| char::from(*byte)));
                    reading.text.push(' ');
                }
            }
            RequestPart::Body => body.extend_from_slice(&stream[at..at + piece.len]),
        }
        at += piece.len;
        if piece.end {
            let head = reading.heads.last().map(|(_, head)| *head)?;
            let content = if head.chunked { unchunked(&body) } else { std::mem::take(&mut body) };
            let mut crc = Crc::new();
            crc.update(&content);
            write!(reading.text, "{} {:x}|", content.len(), crc.sum()).ok()?;
            body.clear();
            begins = at;
        }
    }
    (begins == stream.len() && framing.at_boundary()).then_some(reading)
}

/// The content of a chunked body that is known to be well formed.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let end = body.iter().position(|byte| *byte == b'\r').unwrap();
        let digits: String = body[..end]
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .map(|byte| char::from(*byte))
            .collect();
        let size = usize::from_str_radix(&digits, 16).unwrap();
        if size == 0 {
            return content;
        }
        content.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
}

/// httparse knows heads only: each must be whole, of the same length and say the same length of body.
fn check_httparse(stream: &[u8], reading: &Reading) {
    for (at, head) in &reading.heads {
        let bytes = stream[*at..*at + head.head_bytes].trim_ascii_start();
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut fields);
        let shown = || bytes.escape_ascii().to_string();
        match request.parse(bytes) {
            Ok(status) => {
                assert_eq!(status, httparse::Status::Complete(bytes.len()), "{}", shown());
            }
            // Its table of what a target may hold is narrower; it then says so.
            Err(_) => continue,
        }
        let value = |name: &str| {
            let same = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
            request.headers.iter().find(same).map(|field| field.value)
        };
        let length = value("content-length").map(|value| {
            std::str::from_utf8(value).unwrap().trim().parse::<u64>().expect("a plain number")
        });
        assert_eq!(length, head.content_length, "{}", shown());
        assert_eq!(value("transfer-encoding").is_some(), head.chunked, "{}", shown());
    }
}

/// A stream of one to three requests, most of them with a fault or an oddity somewhere.
fn stream(seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut stream = Vec::new();
    for _ in 0..=random.below(3) {
        stream.extend_from_slice(random.pick(&LINES).as_bytes());
        let mut fields = vec!["Host: a:9200\r\n".to_owned()];
        for _ in 0..random.below(4) {
            fields.push(random.pick(&FIELDS).to_owned());
        }
        let content = &CONTENT[..random.below(CONTENT.len())];
        let body = match random.below(5) {
            0 | 1 => Vec::new(),
            2 | 3 => {
                let name = random.pick(&["Content-Length", "content-length", "CONTENT-LENGTH"]);
                fields.push(format!("{name}: {}\r\n", content.len()));
                content.to_vec()
            }
            _ => {
                fields.push(random.pick(&["Transfer-Encoding: chunked\r\n"]).to_owned());
                chunked(content, &mut random)
            }
        };
        let first = random.below(fields.len());
        fields.rotate_left(first);
        stream.extend_from_slice(fields.concat().as_bytes());
        stream.extend_from_slice(b"\r\n");
        stream.extend_from_slice(&body);
    }
    for _ in 0..random.below(3) {
        let at = random.below(stream.len());
        let telling = random.pick(&TELLING).as_bytes();
        match random.below(3) {
            0 => drop(stream.splice(at..at, telling.iter().copied())),
            1 => {
                let end = (at + telling.len()).min(stream.len());
                drop(stream.splice(at..end, telling.iter().copied()));
            }
            _ => drop(stream.remove(at)),
        }
    }
    stream
}

fn chunked(content: &[u8], random: &mut Random) -> Vec<u8> {
    let mut body = Vec::new();
    for part in content.chunks(1 + random.below(20)) {
        let digits = random.pick(&["", "0", "000"]);
        let extension = random.pick(&["", "", ";a", ";a=b", ";a=\"b;c\""]);
        body.extend_from_slice(format!("{digits}{:X}{extension}\r\n", part.len()).as_bytes());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    let trailer = random.pick(&["", "", "X-Sum: 1\r\n", "Content-Length: 4\r\n", "Host: b\r\n"]);
    body.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    body
}

const LINES: [&str; 11] = [
    "GET / HTTP/1.1\r\n",
    "GET /i/_search?q=a%20b HTTP/1.1\r\n",
    "POST /_bulk HTTP/1.1\r\n",
    "PUT /i/_doc/1 HTTP/1.1\r\n",
    "DELETE /i HTTP/1.1\r\n",
    "HEAD /i HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "PATCH /i/%7Bx%7D HTTP/1.1\r\n",
    "\r\nPOST /i/_doc HTTP/1.1\r\n",
    "GET http://a:9200/i HTTP/1.1\r\n",
    "POST /_bulk HTTP/1.0\r\n",
];
const FIELDS: [&str; 14] = [
    "Accept: */*\r\n",
    "Connection: keep-alive\r\n",
    "Connection: close\r\n",
    "Connection: Content-Length\r\n",
    "Expect: 100-continue\r\n",
    "X-Empty:\r\n",
    "X-Tab:\tb\tc\t\r\n",
    "X-High: caf\u{e9}\r\n",
    "Content-Type: application/x-ndjson\r\n",
    "Content-Encoding: gzip\r\n",
    "X-Content-Length: 9\r\n",
    "Content-Length : 3\r\n",
    "TE: trailers\r\n",
    "X-Http-Method: PUT\r\n",
];
const CONTENT: &[u8] =
    b"{\"index\":{}}\n{\"a\":\"GET / HTTP/1.1\\r\\n\"}\nDELETE /i HTTP/1.1\r\n\r\n0\r\n\r\n";
const TELLING: [&str; 24] = [
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    "\u{b}",
    ":",
    ";",
    ",",
    "0",
    "1",
    "+",
    "-",
    "_",
    "0x",
    "\u{85}",
    "\u{a0}",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "chunked",
    "HTTP/1.1",
];

/// xorshift64*: enough to choose places.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end.max(1)
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }
}
