//! The request that is arriving on one conversation.
//!
//! Owns its bytes, copied once from the records, and the account of their memory.

use std::mem;

use super::desk::Books;
use crate::{
    es::{
        endpoint::{Endpoint, Kind},
        request_target,
    },
    http::{Refusal, RequestFraming, RequestHead, RequestPart},
    replay::exchange::Mark,
};

/// A request between its first byte and its end; nothing before that.
pub(super) struct Incoming {
    framing: RequestFraming,
    pub(super) bytes: Vec<u8>,
    /// What the head says, once it is there.
    pub(super) head: Option<RequestHead>,
    pub(super) first_ns: i64,
    pub(super) last_ns: i64,
    /// The record in which it begins; held, unless it was given up.
    pub(super) mark: Mark,
    pub(super) state: State,
    pub(super) cost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No byte yet.
    Idle,
    /// The framing follows it.
    Framed,
    /// The framing refused it: an end-of-message observation ends it.
    Refused(Refusal),
    /// It is beyond a limit; the framing follows it, and nothing is kept.
    GivenUp,
    /// The same of one that the framing refused.
    GivenUpRefused,
}

/// What became of bytes.
pub(super) struct Taken {
    pub(super) len: usize,
    /// The request ends with them.
    pub(super) end: bool,
    /// The request is longer than it may be. Said once.
    pub(super) too_large: bool,
}

impl Incoming {
    pub(super) fn begun(&self) -> bool {
        self.state != State::Idle
    }

    /// Something of it is kept, and its mark held.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.state, State::Framed | State::Refused(_))
    }

    /// Nothing but empty lines has come.
    pub(super) fn is_blank(&self) -> bool {
        self.state == State::Framed && self.framing.at_boundary()
    }

    /// The source may apply the front of it before its end is there.
    pub(super) fn is_large_bulk(&self) -> bool {
        let Some(head) = &self.head else { return false };
        self.is_kept()
            && self.bytes.len() >= LARGE_BYTES
            && request_target(&self.bytes)
                .is_some_and(|target| Endpoint::of(head.method, target).kind == Kind::Bulk)
    }

    pub(super) fn begin(&mut self, mark: Mark, at_ns: i64) {
        self.state = State::Framed;
        (self.mark, self.first_ns, self.last_ns) = (mark, at_ns, at_ns);
    }

    /// Takes what belongs to the request off the front of `bytes`.
    #[inline]
    pub(super) fn take(&mut self, books: &mut Books, at_ns: i64, bytes: &[u8]) -> Taken {
        self.last_ns = self.last_ns.max(at_ns);
        let mut taken = Taken { len: bytes.len(), end: false, too_large: false };
        if matches!(self.state, State::Framed | State::GivenUp) {
            self.follow(books, bytes, &mut taken);
        }
        let max = books.limits.request_bytes_max;
        if self.is_kept() {
            let announced = self.head.and_then(|head| {
                let length = usize::try_from(head.content_length?).unwrap_or(usize::MAX);
                Some(head.head_bytes.saturating_add(length))
            });
            let there = self.bytes.len() + taken.len;
            taken.too_large = there.max(announced.unwrap_or(0)) > max;
            if taken.too_large {
                // Enough of it to know it by.
                let room = max.min(TOO_LARGE_KEPT_MAX).saturating_sub(self.bytes.len());
                self.bytes.extend_from_slice(&bytes[..taken.len.min(room)]);
            } else {
                self.reserve(taken.len, announced, max);
                self.bytes.extend_from_slice(&bytes[..taken.len]);
            }
        }
        self.account(books);
        taken
    }

    #[inline]
    fn follow(&mut self, books: &Books, bytes: &[u8], taken: &mut Taken) {
        let mut at = 0;
        while at < bytes.len() {
            match self.framing.next(&books.limits.http, &bytes[at..]) {
                Ok(piece) => {
                    at += piece.len;
                    if let RequestPart::Head(head) = piece.what {
                        self.head = Some(head);
                    }
                    if piece.end {
                        (taken.len, taken.end) = (at, true);
                        return;
                    }
                }
                Err(refusal) => {
                    self.state = match self.state {
                        State::GivenUp => State::GivenUpRefused,
                        _ => State::Refused(refusal),
                    };
                    return;
                }
            }
        }
    }

    /// Room for `more` bytes: all that the head announces, unless that is much more than has come.
    fn reserve(&mut self, more: usize, announced: Option<usize>, max: usize) {
        let needed = self.bytes.len() + more;
        if self.bytes.capacity() >= needed {
            return;
        }
        let ahead = needed.saturating_mul(2).max(RESERVED_MAX);
        let wanted = match announced {
            Some(all) => all.min(ahead),
            None if self.bytes.is_empty() => needed,
            None => needed.saturating_mul(2).min(max),
        };
        self.bytes.reserve_exact(wanted.max(needed) - self.bytes.len());
    }

    fn account(&mut self, books: &mut Books) {
        let head = if self.head.is_none() { self.framing.kept().len() } else { 0 };
        let now = (self.bytes.capacity() + head) as u64;
        books.account(&mut self.cost, now);
    }

    /// Hands out the bytes of a request that has ended, without room to spare. The next one may begin.
    pub(super) fn finish(&mut self, books: &mut Books) -> Vec<u8> {
        let mut bytes = mem::take(&mut self.bytes);
        if bytes.capacity() - bytes.len() > bytes.len() / 8 {
            bytes.shrink_to_fit();
        }
        self.head = None;
        self.state = State::Idle;
        // Without this the framing would keep the copy of a head that came in parts until the next request.
        self.framing.release_head();
        self.account(books);
        bytes
    }

    /// What comes next is the start of a request, whatever the framing thought of this one.
    pub(super) fn reset_framing(&mut self) {
        self.framing = RequestFraming::new();
    }

    /// Keeps nothing more of it, and follows it to its end. Hands out what was kept.
    pub(super) fn give_up(&mut self, books: &mut Books) -> Vec<u8> {
        self.state = match self.state {
            State::Framed | State::GivenUp => State::GivenUp,
            _ => State::GivenUpRefused,
        };
        let bytes = mem::take(&mut self.bytes);
        self.account(books);
        bytes
    }

    /// Forgets it; what comes next is the start of a request. Hands out what was kept.
    pub(super) fn reset(&mut self, books: &mut Books) -> Vec<u8> {
        self.reset_framing();
        self.finish(books)
    }
}

impl Default for Incoming {
    fn default() -> Self {
        Self {
            framing: RequestFraming::new(),
            bytes: Vec::new(),
            head: None,
            first_ns: 0,
            last_ns: 0,
            mark: Mark { lane: 0, number: 0 },
            state: State::Idle,
            cost: 0,
        }
    }
}

/// No server splits a bulk of fewer bytes than 1 MiB; compressed ones are a tenth of that, or less.
const LARGE_BYTES: usize = 64 << 10;
/// A `Content-Length` is believed so far before any of the body has come.
const RESERVED_MAX: usize = 1 << 20;
/// Kept of a request that is beyond the limit.
const TOO_LARGE_KEPT_MAX: usize = 64 << 10;

/// Empty lines before a request line are no part of the message, and a server need not bear more than one (RFC
/// 9112 section 2.2).
pub(super) fn drop_empty_lines(bytes: &mut Vec<u8>, head: &mut RequestHead) {
    let empty = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if empty > 0 {
        bytes.drain(..empty);
        head.head_bytes -= empty;
    }
}
