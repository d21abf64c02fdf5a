//! A scripted client: sends as its script says, checks that every answer is the one to its own request.

use super::{
    line::Line,
    script::{Malformed, Request},
    wire::{Body, Head, find},
};
use crate::ring::sim::{LinkId, Net, Random, Receipt};

pub(super) struct Client {
    pub(super) number: usize,
    pub(super) plan: Plan,
    pub(super) requests: Vec<Request>,
    pub(super) stream: Vec<u8>,
    /// Where each request ends in the stream.
    pub(super) ends: Vec<usize>,
    /// What the source is to see of the stream, and where each request ends in that.
    pub(super) forward: Vec<u8>,
    pub(super) forward_ends: Vec<usize>,
    /// Where in `received` answers of tapline stand that were asked for.
    pub(super) own: Vec<std::ops::Range<usize>>,
    pub(super) link: Option<LinkId>,
    pub(super) line: Line,
    /// Bytes handed to the network.
    pub(super) sent: usize,
    pub(super) received: Vec<u8>,
    /// Final answers, in order.
    pub(super) answers: usize,
    /// tapline answered by itself, with this status.
    pub(super) refused: Option<u16>,
    pub(super) outcome: Option<Outcome>,
    pub(super) next_ns: u64,
    /// Where the next answer begins in `received`.
    at: usize,
    /// Requests whose 100 came, or whose patience is over.
    continued: usize,
    waiting_since: Option<u64>,
    fin: bool,
    backoff_ns: u64,
    broken: bool,
}

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) start_ns: u64,
    /// Requests sent ahead of their answers.
    pub(super) depth: usize,
    /// Bytes per send at most.
    pub(super) piece: usize,
    /// Reads in so many of 1,000 turns.
    pub(super) reads: u32,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Closes when it has all answers.
    Close,
    /// Sends FIN behind its last request and reads to the end.
    HalfClose,
    /// Keeps the connection until the other side closes.
    Stay,
    /// Resets at this time.
    ResetAt(u64),
    /// Resets after having sent so many bytes.
    ResetAfter(usize),
    /// Closes after having sent so many bytes, answers or not.
    CloseAfter(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Closed,
    Eof,
    Reset,
    ResetByMe,
}

impl Client {
    pub(super) fn new(number: usize, requests: Vec<Request>, plan: Plan) -> Self {
        let (mut stream, mut ends) = (Vec::new(), Vec::new());
        let (mut forward, mut forward_ends) = (Vec::new(), Vec::new());
        for request in &requests {
            stream.extend_from_slice(&request.bytes);
            ends.push(stream.len());
            forward.extend_from_slice(&request.forwarded);
            forward_ends.push(forward.len());
        }
        Self {
            number,
            plan,
            requests,
            stream,
            ends,
            forward,
            forward_ends,
            own: Vec::new(),
            link: None,
            line: Line::Bare,
            sent: 0,
            received: Vec::new(),
            answers: 0,
            refused: None,
            outcome: None,
            next_ns: plan.start_ns,
            at: 0,
            continued: 0,
            waiting_since: None,
            fin: false,
            backoff_ns: 0,
            broken: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.outcome.is_some()
    }

    pub(super) fn act(&mut self, net: &mut Net) {
        if self.is_done() || net.now_ns() < self.next_ns {
            return;
        }
        let Some(link) = self.link else {
            self.link = Some(net.dial());
            self.next_ns = net.now_ns();
            return;
        };
        let mut random = Random::new(net.random.draw());
        if self.ends_early(net, link) {
            return;
        }
        let mut progress = self.send(net, link, &mut random);
        let reads = random.chance(self.plan.reads);
        if reads {
            let most = random.part(100_000);
            match self.line.receive(net, link, most, &mut self.received) {
                Receipt::Data(_) => progress = true,
                Receipt::Empty => {}
                Receipt::Eof => self.finish(net, link, Outcome::Eof),
                Receipt::Reset => self.finish(net, link, Outcome::Reset),
            }
            self.read_answers();
        }
        if self.outcome.is_none()
            && self.plan.end == End::Close
            && self.answers == self.requests.len()
        {
            self.finish(net, link, Outcome::Closed);
        }
        self.backoff_ns =
            if progress { 0 } else { (2 * self.backoff_ns).clamp(50_000, 50_000_000) };
        self.next_ns = net.now_ns() + 1 + random.below(100_000) + self.backoff_ns;
    }

    fn ends_early(&mut self, net: &mut Net, link: LinkId) -> bool {
        let (resets, closes) = match self.plan.end {
            End::ResetAt(at) => (net.now_ns() >= at, false),
            End::ResetAfter(bytes) => (self.sent >= bytes, false),
            End::CloseAfter(bytes) => (false, self.sent >= bytes),
            _ => (false, false),
        };
        if resets {
            net.peer_reset(link);
            self.outcome = Some(Outcome::ResetByMe);
        } else if closes {
            net.peer_close(link);
            self.outcome = Some(Outcome::Closed);
        }
        resets || closes
    }

    fn finish(&mut self, net: &mut Net, link: LinkId, outcome: Outcome) {
        if outcome != Outcome::Reset {
            let _ = self.line.finish(net, link, true);
            net.peer_close(link);
        }
        self.outcome = Some(outcome);
    }

    fn send(&mut self, net: &mut Net, link: LinkId, random: &mut Random) -> bool {
        let limit = self.limit(net.now_ns());
        let mut progress = false;
        if self.sent < limit && !self.broken {
            let most = (limit - self.sent).min(self.plan.piece);
            let n = random.part(most);
            match self.line.send(net, link, &self.stream[self.sent..self.sent + n]) {
                Some(n) => {
                    self.sent += n;
                    progress = n > 0;
                }
                None => self.broken = true,
            }
        }
        if self.plan.end == End::HalfClose
            && self.sent == self.stream.len()
            && !self.fin
            && self.line.finish(net, link, true) == Some(true)
        {
            self.fin = true;
            net.peer_shutdown(link);
        }
        progress
    }

    /// How far the stream may be sent now.
    fn limit(&mut self, now_ns: u64) -> usize {
        let most = (self.answers + self.plan.depth).min(self.requests.len());
        for number in self.continued..most {
            let request = &self.requests[number];
            let begin = self.ends[number] - request.bytes.len();
            if request.expects && request.malformed == Malformed::No {
                let head_end = begin + request.head_len;
                if self.sent < head_end {
                    return head_end;
                }
                let since = *self.waiting_since.get_or_insert(now_ns);
                if now_ns < since + PATIENCE_NS && self.answers <= number {
                    return head_end;
                }
            }
            self.waiting_since = None;
            self.continued = number + 1;
        }
        self.ends.get(most.wrapping_sub(1)).copied().unwrap_or(0)
    }

    /// An answer of tapline to a health check: in its place, and whole.
    fn read_own(&mut self, head: &Head) -> bool {
        let Some(request) = self.requests.get(self.answers).filter(|request| request.own) else {
            return false;
        };
        let len: usize = head.field("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        let len = if request.is_head { 0 } else { len };
        let is_ours = head.field("cache-control") == Some("no-store");
        let begin = self.at + head.len;
        let Some(body) = self.received.get(begin..begin + len).filter(|_| is_ours) else {
            return false;
        };
        assert!(body.is_empty() || body.starts_with(b"{\"status\":"), "a health answer");
        assert!(matches!(head.status(), 200 | 503), "a health answer");
        self.own.push(self.at..begin + len);
        self.at = begin + len;
        self.answers += 1;
        true
    }

    /// What was received, but for tapline's answers to health checks.
    pub(super) fn received_from_source(&self) -> Vec<u8> {
        let mut at = 0;
        let mut bytes = Vec::new();
        for own in &self.own {
            bytes.extend_from_slice(&self.received[at..own.start]);
            at = own.end;
        }
        bytes.extend_from_slice(&self.received[at..]);
        bytes
    }

    /// How much of [`Self::forward`] may have left, seen what was sent.
    pub(super) fn forwardable(&self) -> usize {
        let mut most = 0;
        for (request, end) in self.requests.iter().zip(&self.ends) {
            let begin = end - request.bytes.len();
            if self.sent <= begin {
                break;
            }
            most += request.forwardable((self.sent - begin).min(request.bytes.len()));
        }
        most
    }

    fn read_answers(&mut self) {
        while let Some(head) = Head::read(&self.received[self.at..]) {
            if self.read_own(&head) {
                continue;
            }
            let rest = &self.received[self.at + head.len..];
            if head.field("x-id").is_none() {
                if head.status() / 100 == 1 {
                    self.at += head.len;
                    if head.status() == 100 && self.waiting_since.is_some() {
                        self.continued += 1;
                        self.waiting_since = None;
                    }
                    continue;
                }
                if find(rest, b"tapline_").is_some() {
                    self.refused = Some(head.status());
                }
                return;
            }
            let Some(request) = self.requests.get(self.answers) else {
                panic!("client {}: an answer to nothing: {}", self.number, head.start);
            };
            assert_eq!(
                head.field("x-id"),
                Some(&*request.name),
                "I9: client {} got the answer to another request",
                self.number
            );
            let expected = format!("{:08x}", request.hash);
            let hash = head.field("x-hash");
            assert!(
                hash == Some(&*expected) || hash == Some("early"),
                "I2: client {} request {}: the source read another body",
                self.number,
                request.name
            );
            let bodyless = request.is_head || matches!(head.status(), 204 | 304);
            let len = match head.body(rest) {
                _ if bodyless => 0,
                Some(Body::Complete(_, len)) => len,
                // Ends with the connection.
                None if self.outcome == Some(Outcome::Eof) => rest.len(),
                Some(Body::Incomplete) | None => return,
            };
            self.at += head.len + len;
            self.answers += 1;
        }
    }
}

/// How long a client waits for a 100 before it sends its body all the same.
const PATIENCE_NS: u64 = 300_000_000;
