//! A scripted source: answers what it was asked, or misbehaves when the seed says so.

use std::collections::VecDeque;

use super::{
    line::Line,
    wire::{Body, Head},
};
use crate::ring::sim::{LinkId, Net, Random, Receipt};

/// How sources behave, in cases per 1,000 requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manners {
    pub(super) delay_ns_max: u64,
    pub(super) answer_bytes_max: u64,
    /// Answers before the body is there.
    pub(super) early: u32,
    /// Sends an interim answer first.
    pub(super) interim: u32,
    /// Ends the answer with the connection.
    pub(super) until_eof: u32,
    /// Resets, perhaps in the middle of the answer.
    pub(super) resets: u32,
    /// Closes, perhaps in the middle of the answer.
    pub(super) closes: u32,
    /// Sends something that is no answer.
    pub(super) garbage: u32,
}

/// One connection to the source.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; they combine freely")]
pub(super) struct Origin {
    pub(super) link: LinkId,
    pub(super) line: Line,
    pub(super) received: Vec<u8>,
    pub(super) sent: Vec<u8>,
    /// What it has set out to send, in order.
    pub(super) planned: Vec<Message>,
    pub(super) misbehaved: bool,
    pub(super) next_ns: u64,
    pub(super) done: bool,
    manners: Manners,
    out: VecDeque<(u64, What)>,
    /// Where the next request begins in `received`.
    at: usize,
    /// The request there has been answered already.
    answered: bool,
    continued: bool,
    /// Nothing more is read as requests.
    deaf: bool,
    fin: bool,
    eof: bool,
    backoff_ns: u64,
}

/// What the source sets out to send at once.
pub(super) struct Message {
    /// The name of the request answered.
    pub(super) to: String,
    pub(super) bytes: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another message answers the request.
    Interim,
    Whole,
    /// It ends with the connection.
    UntilEof,
    /// It breaks off.
    Cut,
    /// It is no answer.
    Garbage,
}

enum What {
    Bytes(Vec<u8>, usize),
    Shutdown,
    Close,
    Reset,
}

impl Origin {
    pub(super) fn new(link: LinkId, line: Line, manners: Manners) -> Self {
        Self {
            link,
            line,
            received: Vec::new(),
            sent: Vec::new(),
            planned: Vec::new(),
            misbehaved: false,
            next_ns: 0,
            done: false,
            manners,
            out: VecDeque::new(),
            at: 0,
            answered: false,
            continued: false,
            deaf: false,
            fin: false,
            eof: false,
            backoff_ns: 0,
        }
    }

    pub(super) fn act(&mut self, net: &mut Net) {
        if self.done || net.now_ns() < self.next_ns {
            return;
        }
        let mut random = Random::new(net.random.draw());
        let most = random.part(200_000);
        let mut progress = match self.line.receive(net, self.link, most, &mut self.received) {
            Receipt::Data(_) => true,
            Receipt::Empty => false,
            Receipt::Eof => {
                self.eof = true;
                false
            }
            Receipt::Reset => {
                self.done = true;
                return;
            }
        };
        self.read_requests(net.now_ns(), &mut random);
        progress |= self.send(net, &mut random);
        if self.eof
            && self.out.is_empty()
            && !self.done
            && self.line.finish(net, self.link, true) != Some(false)
        {
            net.peer_close(self.link);
            self.done = true;
        }
        self.backoff_ns =
            if progress { 0 } else { (2 * self.backoff_ns).clamp(50_000, 50_000_000) };
        let next = net.now_ns() + 1 + random.below(100_000) + self.backoff_ns;
        let due = self.out.front().map(|(due, _)| *due).filter(|due| *due > net.now_ns());
        self.next_ns = next.min(due.unwrap_or(u64::MAX));
    }

    fn send(&mut self, net: &mut Net, random: &mut Random) -> bool {
        let Some((due, what)) = self.out.front_mut() else { return false };
        if *due > net.now_ns() {
            return false;
        }
        match what {
            What::Bytes(..) if self.fin => {}
            What::Bytes(bytes, at) => {
                let n = random.part(bytes.len() - *at);
                let part = &bytes[*at..*at + n];
                let Some(n) = self.line.send(net, self.link, part) else {
                    self.out.clear();
                    return false;
                };
                self.sent.extend_from_slice(&part[..n]);
                *at += n;
                if *at < bytes.len() {
                    return n > 0;
                }
            }
            What::Shutdown | What::Close
                if self.line.finish(net, self.link, true) == Some(false) =>
            {
                return false;
            }
            What::Shutdown => {
                self.fin = true;
                net.peer_shutdown(self.link);
            }
            What::Close => {
                net.peer_close(self.link);
                self.done = true;
            }
            What::Reset => {
                net.peer_reset(self.link);
                self.done = true;
            }
        }
        self.out.pop_front();
        true
    }

    fn read_requests(&mut self, now_ns: u64, random: &mut Random) {
        while !self.deaf {
            let input = &self.received[self.at..];
            let Some(head) = Head::read(input) else { return };
            let has_body =
                head.field("content-length").is_some() || head.field("transfer-encoding").is_some();
            let body = if has_body { head.body(&input[head.len..]) } else { None };
            let complete = match body {
                Some(Body::Incomplete) => None,
                Some(Body::Complete(content, len)) => Some((crc32c::crc32c(&content), len)),
                None => Some((crc32c::crc32c(b""), 0)),
            };
            let due = now_ns + random.below(self.manners.delay_ns_max + 1);
            if complete.is_none() && !self.continued && head.field("expect").is_some() {
                self.continued = true;
                let bytes = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
                self.push(due, &head, bytes, Kind::Interim);
            }
            if let Some((hash, len)) = complete {
                if !std::mem::take(&mut self.answered) {
                    self.answer(due, &head, &format!("{hash:08x}"), random);
                }
                self.at += head.len + len;
                self.continued = false;
                continue;
            }
            if !self.answered && random.chance(self.manners.early) {
                self.answered = true;
                self.answer(due, &head, "early", random);
            }
            return;
        }
    }

    fn answer(&mut self, due: u64, head: &Head, hash: &str, random: &mut Random) {
        let manners = self.manners;
        if random.chance(manners.interim) {
            let bytes = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n".to_vec();
            self.push(due, head, bytes, Kind::Interim);
        }
        if random.chance(manners.garbage) {
            self.misbehaved = true;
            self.deaf = true;
            let garbage: &[u8] = match random.below(3) {
                0 => b"\x15\x03\x01 what is this\r\n\r\n",
                1 => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                _ => b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            };
            return self.push(due, head, garbage.to_vec(), Kind::Garbage);
        }
        let id = head.field("x-id").unwrap_or("none");
        let is_head = head.start.starts_with("HEAD ");
        let len = random.below(manners.answer_bytes_max + 1);
        let len = if random.chance(800) { len.min(2000) } else { len } as usize;
        let body: Vec<u8> = (0..len).map(|i| b'A' + (i % 26) as u8).collect();
        let hidden = head.start.contains(" /_security/");
        let mut answer = format!("HTTP/1.1 200 OK\r\nX-Id: {id}\r\nX-Hash: {hash}\r\n");
        if random.chance(200) {
            answer.push_str("Set-Cookie: sid=secret\r\n");
        }
        if hidden {
            answer.push_str("X-Hidden: yes\r\n");
        }
        let mut bytes;
        if random.chance(manners.until_eof) && !is_head && !hidden {
            self.misbehaved = true;
            self.deaf = true;
            answer.push_str("\r\n");
            bytes = answer.into_bytes();
            bytes.extend_from_slice(&body);
            self.push(due, head, bytes, Kind::UntilEof);
            let end = if random.chance(500) { What::Shutdown } else { What::Close };
            return self.out.push_back((due, end));
        }
        match random.below(if hidden { 1 } else { 4 }) {
            0 if !hidden => {
                let status = if random.chance(500) { "204 No Content" } else { "304 Not Modified" };
                bytes = answer.replace("200 OK", status).into_bytes();
                bytes.extend_from_slice(b"\r\n");
            }
            1 => {
                answer.push_str("Transfer-Encoding: chunked\r\n\r\n");
                bytes = answer.into_bytes();
                if !is_head {
                    for part in body.chunks(random.between(1 + len as u64 / 50, 5000) as usize) {
                        bytes.extend_from_slice(format!("{:x};x=y\r\n", part.len()).as_bytes());
                        bytes.extend_from_slice(part);
                        bytes.extend_from_slice(b"\r\n");
                    }
                    bytes.extend_from_slice(b"0\r\n\r\n");
                }
            }
            _ => {
                bytes = format!("{answer}Content-Length: {len}\r\n\r\n").into_bytes();
                if !is_head {
                    bytes.extend_from_slice(&body);
                }
            }
        }
        let end = match () {
            () if random.chance(manners.resets) => What::Reset,
            () if random.chance(manners.closes) => What::Close,
            () => return self.push(due, head, bytes, Kind::Whole),
        };
        self.misbehaved = true;
        self.deaf = true;
        let whole = bytes.len();
        bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
        if !bytes.is_empty() {
            let kind = if bytes.len() == whole { Kind::Whole } else { Kind::Cut };
            self.push(due, head, bytes, kind);
        }
        self.out.push_back((due, end));
    }

    fn push(&mut self, due: u64, head: &Head, bytes: Vec<u8>, kind: Kind) {
        let to = head.field("x-id").unwrap_or_default().to_owned();
        self.planned.push(Message { to, bytes: bytes.len(), kind });
        self.out.push_back((due, What::Bytes(bytes, 0)));
    }
}
