//! A scripted target: reads requests that name themselves and answers each, or misbehaves when the seed says so.

use std::{collections::VecDeque, sync::Arc};

use rustls::ServerConfig;

use super::line::Line;
use crate::ring::sim::{LinkId, Net, Random, Receipt};

/// How targets behave, in cases per 1,000 requests.
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
    /// Ends such an answer without a word of TLS that it is the end.
    pub(super) rude: u32,
    /// Says that it closes, and does.
    pub(super) says_close: u32,
    /// Resets, perhaps in the middle of the answer.
    pub(super) resets: u32,
    /// Closes, perhaps in the middle of the answer.
    pub(super) closes: u32,
    /// Closes after a whole answer, without saying so before.
    pub(super) closes_idle: u32,
    /// Sends something that is no answer.
    pub(super) garbage: u32,
    /// Sends more than the answer.
    pub(super) surplus: u32,
    /// Never answers.
    pub(super) silent: u32,
}

/// What was done about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Answered,
    Early,
    /// Answered in full, with an end of the connection that may overtake it.
    AnsweredAndReset,
    Garbage,
    Broken,
    Silent,
}

/// A request that was read, and the final answer to it as far as it is meant to be sent.
pub(super) struct Served {
    pub(super) id: u64,
    pub(super) deed: Deed,
    pub(super) answer: Vec<u8>,
    pub(super) head_bytes: usize,
    /// It was not the first on its connection.
    pub(super) later: bool,
}

/// One connection to the target.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; they combine freely")]
pub(super) struct Peer {
    pub(super) link: LinkId,
    pub(super) received: Vec<u8>,
    pub(super) served: Vec<Served>,
    pub(super) next_ns: u64,
    pub(super) done: bool,
    manners: Manners,
    line: Line,
    polite: bool,
    out: VecDeque<(u64, What)>,
    at: usize,
    answered: bool,
    deaf: bool,
    fin: bool,
    eof: bool,
    backoff_ns: u64,
}

enum What {
    Bytes(Vec<u8>, usize),
    Shutdown,
    Close,
    Reset,
}

impl Peer {
    pub(super) fn new(link: LinkId, manners: Manners, server: Option<&Arc<ServerConfig>>) -> Self {
        Self {
            link,
            received: Vec::new(),
            served: Vec::new(),
            next_ns: 0,
            done: false,
            manners,
            line: Line::new(server),
            polite: true,
            out: VecDeque::new(),
            at: 0,
            answered: false,
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
        let most = random.part(400_000);
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
        if self.eof && self.out.is_empty() && !self.done {
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
                let Some(n) = self.line.send(net, self.link, &bytes[*at..*at + n]) else {
                    self.out.clear();
                    return false;
                };
                *at += n;
                if *at < bytes.len() {
                    return n > 0;
                }
            }
            What::Shutdown | What::Close if !self.fin => {
                match self.line.finish(net, self.link, self.polite) {
                    Some(false) => return false,
                    Some(true) => {}
                    None => {
                        self.out.clear();
                        return false;
                    }
                }
                if matches!(what, What::Close) {
                    net.peer_close(self.link);
                    self.done = true;
                } else {
                    self.fin = true;
                    net.peer_shutdown(self.link);
                }
            }
            What::Shutdown | What::Close => {}
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
            if input.is_empty() {
                return;
            }
            let before = self.served.last().is_some_and(|served| served.deed != Deed::Early);
            assert!(
                !before || self.out.is_empty(),
                "a request came while the answer to the one before was on its way"
            );
            let Some(request) = Request::read(input) else { return };
            let due = now_ns + random.below(self.manners.delay_ns_max + 1);
            if input.len() >= request.len {
                self.at += request.len;
                if !std::mem::take(&mut self.answered) {
                    self.answer(due, &request, Deed::Answered, random);
                }
                continue;
            }
            if !self.answered && random.chance(self.manners.early) {
                self.answered = true;
                self.answer(due, &request, Deed::Early, random);
            }
            return;
        }
    }

    fn answer(&mut self, due: u64, request: &Request, deed: Deed, random: &mut Random) {
        let manners = self.manners;
        let mut served = Served {
            id: request.id,
            deed,
            answer: Vec::new(),
            head_bytes: 0,
            later: !self.served.is_empty(),
        };
        if random.chance(manners.silent) {
            served.deed = Deed::Silent;
            self.deaf = true;
            return self.served.push(served);
        }
        for _ in 0..3 {
            if random.chance(manners.interim) {
                self.push(due, b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n".to_vec());
            }
        }
        if random.chance(manners.garbage) {
            served.deed = Deed::Garbage;
            self.deaf = true;
            let garbage: &[u8] = match random.below(3) {
                0 => b"\x15\x03\x01 what is this\r\n\r\n",
                1 => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                _ => b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
            };
            self.push(due, garbage.to_vec());
            return self.served.push(served);
        }
        let (bytes, head_bytes, until_eof) = self.compose(request, random);
        served.answer.clone_from(&bytes);
        served.head_bytes = head_bytes;
        let says_close = contains(&bytes[..head_bytes], b"Connection: close")
            || bytes.starts_with(b"HTTP/1.1 101");
        if until_eof || says_close {
            self.deaf = true;
            if until_eof && random.chance(manners.rude) {
                self.polite = false;
                served.deed = Deed::Broken;
            }
            self.push(due, bytes);
            let end = if random.chance(500) { What::Shutdown } else { What::Close };
            self.out.push_back((due, end));
            return self.served.push(served);
        }
        if random.chance(manners.resets) || random.chance(manners.closes) {
            let reset = random.chance(500);
            self.deaf = true;
            let mut bytes = bytes;
            let cut = random.below(bytes.len() as u64 + 1) as usize;
            served.deed = match deed {
                _ if cut < bytes.len() => Deed::Broken,
                Deed::Answered => Deed::AnsweredAndReset,
                other => other,
            };
            bytes.truncate(cut);
            if !bytes.is_empty() {
                self.push(due, bytes);
            }
            self.out.push_back((due, if reset { What::Reset } else { What::Close }));
            return self.served.push(served);
        }
        self.push(due, bytes);
        if random.chance(manners.surplus) {
            self.deaf = true;
            self.push(due + random.below(2) * 100_000, b"HTTP/1.1 200 OK\r\n".to_vec());
        } else if random.chance(manners.closes_idle) {
            self.deaf = true;
            self.out.push_back((due + random.below(200_000_000), What::Close));
        }
        self.served.push(served);
    }

    /// An answer, the bytes of its head, and whether the connection ends it.
    fn compose(&self, request: &Request, random: &mut Random) -> (Vec<u8>, usize, bool) {
        let manners = self.manners;
        let len = random.below(manners.answer_bytes_max + 1);
        let len = if random.chance(800) { len.min(2000) } else { len } as usize;
        let seed = request.id as usize;
        let body: Vec<u8> = (0..len).map(|i| b'A' + ((i + seed) % 26) as u8).collect();
        let mut head = format!("HTTP/1.1 200 OK\r\nX-Id: {}\r\n", request.id);
        if random.chance(manners.says_close) {
            head.push_str("Connection: close\r\n");
        }
        let mut content = Vec::new();
        let mut until_eof = false;
        if random.chance(manners.until_eof) && !request.is_head {
            until_eof = true;
            content = body;
        } else {
            match random.below(8) {
                0 => head = head.replace("200 OK", "204 No Content"),
                1 => head = head.replace("200 OK", "304 Not Modified"),
                2 if random.chance(manners.says_close) => {
                    head = head.replace("200 OK", "101 Switching Protocols");
                }
                2 | 3 => {
                    head.push_str("Transfer-Encoding: chunked\r\n");
                    for part in body.chunks(random.between(1 + len as u64 / 50, 5000) as usize) {
                        content.extend_from_slice(format!("{:x};x=y\r\n", part.len()).as_bytes());
                        content.extend_from_slice(part);
                        content.extend_from_slice(b"\r\n");
                    }
                    content.extend_from_slice(b"0\r\n\r\n");
                }
                _ => {
                    head = format!("{head}Content-Length: {len}\r\n");
                    content = body;
                }
            }
        }
        head.push_str("\r\n");
        let head_bytes = head.len();
        let mut bytes = head.into_bytes();
        if !request.is_head {
            bytes.append(&mut content);
        }
        (bytes, head_bytes, until_eof)
    }

    fn push(&mut self, due: u64, bytes: Vec<u8>) {
        self.out.push_back((due, What::Bytes(bytes, 0)));
    }
}

/// A request of this test: its id and its length stand in its target.
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) len: usize,
    is_head: bool,
}

impl Request {
    /// A request of this id with `body` bytes of body.
    pub(super) fn write(id: u64, is_head: bool, body: usize) -> Vec<u8> {
        let method = if is_head { "HEAD" } else { "POST" };
        let mut bytes = format!("{method} /{id}/{body} HTTP/1.1\r\nContent-Length: {body}\r\n\r\n")
            .into_bytes();
        bytes.extend((0..body).map(|i| b'a' + ((i + id as usize) % 23) as u8));
        bytes
    }

    fn read(input: &[u8]) -> Option<Self> {
        let end = input.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&input[..end]).expect("the head of a request");
        let mut parts = text.split([' ', '/']).filter(|part| !part.is_empty());
        let is_head = parts.next()? == "HEAD";
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (id, body) = (number()?, number()?);
        Some(Self { id, len: end + body as usize, is_head })
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
