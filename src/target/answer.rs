//! The response that is arriving on a connection: followed to its end, and as much of it copied as is wanted.
//!
//! Owns the framing. Never knows where the bytes come from.

use super::Response;
use crate::http::{Answering, Eof, Limits, Malformed, ResponseFraming, ResponseHead, ResponsePart};

/// A response in the making.
pub(super) struct Answer {
    framing: ResponseFraming,
    kind: Answering,
    keep: usize,
    /// Of the final response.
    head: Option<ResponseHead>,
    bytes: Vec<u8>,
    wire_bytes: u64,
    begun: bool,
}

/// How far a response has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    /// It is whole. `close`: the connection must not be used again.
    Whole {
        response: Response,
        close: bool,
        /// Bytes came behind it, which nothing had asked for.
        surplus: bool,
    },
}

impl Answer {
    pub(super) fn new() -> Self {
        Self {
            framing: ResponseFraming::new(),
            kind: Answering::Other,
            keep: 0,
            head: None,
            bytes: Vec::new(),
            wire_bytes: 0,
            begun: false,
        }
    }

    /// The next response is that of a request of this kind, of which `keep` bytes are wanted.
    pub(super) fn expect(&mut self, kind: Answering, keep: usize) {
        debug_assert!(self.framing.at_boundary() && self.bytes.is_empty());
        self.kind = kind;
        self.keep = keep;
        self.begun = false;
    }

    /// Bytes of the response, or of an interim one before it, have come.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Takes what was received. Not to be called again after a fault or an answer that closes.
    pub(super) fn take(&mut self, limits: &Limits, input: &[u8]) -> Result<Progress, Malformed> {
        self.begun = true;
        let mut rest = input;
        while !rest.is_empty() {
            let piece = self.framing.next(limits, self.kind, rest)?;
            let (bytes, behind) = rest.split_at(piece.len);
            rest = behind;
            self.wire_bytes += bytes.len() as u64;
            match piece.what {
                ResponsePart::HeadPart => self.bytes.extend_from_slice(bytes),
                ResponsePart::Head(head) if head.interim => {
                    self.bytes.clear();
                    self.wire_bytes = 0;
                    continue;
                }
                ResponsePart::Head(head) => {
                    if self.keep == 0 && head.status < 400 {
                        // What it says is known, and nobody reads more.
                        self.bytes = Vec::new();
                    } else {
                        self.reserve(&head, piece.end, behind.len());
                        self.bytes.extend_from_slice(bytes);
                    }
                    self.head = Some(head);
                }
                ResponsePart::Body => {
                    let room = self.keep.saturating_sub(self.bytes.len());
                    self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
            }
            if piece.end {
                return Ok(self.whole(!rest.is_empty()));
            }
        }
        Ok(Progress::More)
    }

    /// The target sent FIN: the whole response if that was its end.
    pub(super) fn end(&mut self) -> Option<Response> {
        match self.framing.eof() {
            Eof::Complete => match self.whole(false) {
                Progress::Whole { response, .. } => Some(response),
                Progress::More => None,
            },
            Eof::Idle | Eof::Truncated => None,
        }
    }

    /// One allocation for all that will be kept, where the head says how much that is. `end`: no body follows; `here`:
    /// bytes behind the head that have arrived.
    fn reserve(&mut self, head: &ResponseHead, end: bool, here: usize) {
        let body = match head.content_length {
            _ if end => 0,
            Some(length) => usize::try_from(length).unwrap_or(usize::MAX),
            None => here,
        };
        let wanted = self.keep.saturating_sub(head.head_bytes).min(body).min(RESERVE_BYTES_MAX);
        self.bytes.reserve_exact(head.head_bytes - self.bytes.len() + wanted);
    }

    fn whole(&mut self, surplus: bool) -> Progress {
        let Some(head) = self.head.take() else { return Progress::More };
        let bytes = std::mem::take(&mut self.bytes);
        let wire_bytes = std::mem::take(&mut self.wire_bytes);
        let response = Response {
            status: head.status,
            head_bytes: head.head_bytes.min(bytes.len()),
            whole: bytes.len() as u64 == wire_bytes,
            bytes,
            wire_bytes,
        };
        Progress::Whole { response, close: head.close || head.upgraded || surplus, surplus }
    }
}

/// What a head alone makes us allocate; beyond, memory grows with what arrives.
const RESERVE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: Answering, keep: usize) -> Answer {
        let mut answer = Answer::new();
        answer.expect(kind, keep);
        answer
    }

    fn take(answer: &mut Answer, input: &[u8]) -> Progress {
        answer.take(&Limits::default(), input).expect("well-formed")
    }

    #[test]
    fn a_response_is_collected_however_it_is_cut_and_interim_ones_are_left_out() {
        let wire =
            b"HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let from = wire.len() - b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".len();
        for cut in 0..wire.len() {
            let mut answer = answer(Answering::Other, 1000);
            if cut > 0 {
                assert_eq!(take(&mut answer, &wire[..cut]), Progress::More);
            }
            let Progress::Whole { response, close, surplus } = take(&mut answer, &wire[cut..])
            else {
                panic!("cut at {cut}: not whole")
            };
            assert!(!close && !surplus && response.whole);
            assert_eq!(response.bytes, &wire[from..]);
            assert_eq!(response.wire_bytes, (wire.len() - from) as u64);
            assert_eq!((response.status, response.head_bytes), (200, wire.len() - from - 5));
            if cut == 0 {
                assert_eq!(response.bytes.capacity(), response.bytes.len());
            }
        }
    }

    #[test]
    fn a_cut_response_keeps_its_head_and_says_how_long_it_was() {
        let wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let head = wire.len() - b"3\r\nabc\r\n0\r\n\r\n".len();
        for keep in 1..=wire.len() {
            let mut answer = answer(Answering::Other, keep);
            let Progress::Whole { response, .. } = take(&mut answer, wire) else { panic!("whole") };
            assert_eq!(response.bytes, &wire[..keep.max(head)]);
            assert_eq!(response.wire_bytes, wire.len() as u64);
            assert_eq!(response.whole, keep == wire.len());
        }
    }

    #[test]
    fn of_a_response_that_nobody_reads_nothing_is_kept_unless_it_refuses() {
        for (status, kept) in [(200, false), (302, false), (429, true), (503, true)] {
            let wire =
                format!("HTTP/1.1 {status} X\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nok");
            for cut in 1..wire.len() {
                let mut answer = answer(Answering::Other, 0);
                take(&mut answer, &wire.as_bytes()[..cut]);
                let Progress::Whole { response, .. } = take(&mut answer, &wire.as_bytes()[cut..])
                else {
                    panic!("whole")
                };
                assert_eq!(
                    response.bytes,
                    if kept { &wire.as_bytes()[..wire.len() - 2] } else { b"" }
                );
                assert_eq!(response.head_bytes, response.bytes.len());
                assert_eq!((response.wire_bytes, response.whole), (wire.len() as u64, false));
            }
        }
    }

    #[test]
    fn what_ends_a_connection_says_so() {
        let close = |wire: &[u8], kind| match take(&mut answer(kind, 100), wire) {
            Progress::Whole { close, surplus, .. } => (close, surplus),
            Progress::More => panic!("not whole"),
        };
        let (head, other) = (Answering::Head, Answering::Other);
        assert_eq!(close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", head), (false, false));
        assert_eq!(close(b"HTTP/1.1 204 No\r\nConnection: close\r\n\r\n", other), (true, false));
        assert_eq!(close(b"HTTP/1.1 101 Switch\r\n\r\n", other), (true, false));
        assert_eq!(close(b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 2", other), (true, true));
        let mut open = answer(other, 100);
        assert_eq!(take(&mut open, b"HTTP/1.1 200 OK\r\n\r\nabc"), Progress::More);
        assert!(
            open.end().is_some_and(|response| response.whole && response.bytes.ends_with(b"abc"))
        );
        let mut cut = answer(other, 100);
        take(&mut cut, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
        assert!(cut.has_begun() && cut.end().is_none());
    }

    #[test]
    fn a_head_that_promises_much_costs_little() {
        let mut answer = answer(Answering::Other, usize::MAX);
        take(&mut answer, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n");
        assert!(answer.bytes.capacity() <= RESERVE_BYTES_MAX + 100);
    }
}
