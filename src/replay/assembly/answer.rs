//! The response that is arriving on one conversation.
//!
//! Owns what is kept of it and the account of that memory. Interim responses leave no trace.

use std::mem;

use super::{desk::Books, report::KeepAnswers};
use crate::{
    http::{Answering, Eof, Malformed, RequestHead, ResponseFraming, ResponsePart},
    replay::exchange::{Answer, Mark},
};

/// A response between its first byte and its end; nothing before that.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; they combine freely")]
pub(super) struct Outgoing {
    framing: ResponseFraming,
    answer: Answer,
    interim: bool,
    begun: bool,
    /// Part of it is not in `answer.bytes`.
    cut: bool,
    head_done: bool,
    /// Bytes of it so far.
    wire_bytes: u64,
    /// The record in which it begins.
    pub(super) mark: Mark,
    pub(super) cost: u64,
}

/// Whether anybody reads the answer to this request. Of safe requests, always the answers that say which cluster
/// this is, and those that tell the `_seq_no` of the document that was read.
pub(super) fn is_wanted(books: &Books, head: Option<&RequestHead>, request: &[u8]) -> bool {
    let Some(head) =
        head.filter(|head| head.safe && books.limits.keep_answers == KeepAnswers::Writes)
    else {
        return true;
    };
    let line = &request[..request.len().min(head.first_line_bytes as usize)];
    line.starts_with(b"GET / ") || memchr::memmem::find(line, b"/_doc/").is_some()
}

/// What became of bytes.
pub(super) struct Given {
    pub(super) len: usize,
    /// The final response that ends with them.
    pub(super) answer: Option<Answer>,
    /// It switches protocols.
    pub(super) upgraded: bool,
}

impl Outgoing {
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// Takes a piece off the front of `bytes`. `keep`: the bytes are wanted.
    #[inline]
    pub(super) fn take(
        &mut self,
        books: &mut Books,
        mark: Mark,
        asked: Answering,
        keep: bool,
        at_ns: i64,
        bytes: &[u8],
    ) -> Result<Given, Malformed> {
        let piece = self.framing.next(&books.limits.http, asked, bytes)?;
        if !self.begun {
            self.begun = true;
            self.mark = mark;
            (self.answer.first_ns, self.answer.last_ns) = (at_ns, at_ns);
        }
        self.answer.last_ns = self.answer.last_ns.max(at_ns);
        self.wire_bytes += piece.len as u64;
        let mut length = None;
        let mut upgraded = false;
        if let ResponsePart::Head(head) = piece.what {
            self.interim = head.interim;
            self.head_done = true;
            upgraded = head.upgraded;
            (self.answer.status, self.answer.head_bytes) = (head.status, head.head_bytes);
            length = head.content_length.filter(|_| asked == Answering::Other);
        }
        let max = books.limits.answer_bytes_max;
        if keep {
            self.keep(&bytes[..piece.len], length, max);
        } else {
            self.cut = true;
        }
        let head = if self.head_done { 0 } else { self.wire_bytes };
        books.account(&mut self.cost, self.answer.bytes.capacity() as u64 + head);
        let answer = if piece.end && self.interim {
            self.reset_message(books);
            None
        } else {
            piece.end.then(|| self.finish(books))
        };
        Ok(Given { len: piece.len, answer, upgraded })
    }

    fn keep(&mut self, bytes: &[u8], length: Option<u64>, max: usize) {
        let kept = &mut self.answer.bytes;
        let room = max.saturating_sub(kept.len());
        if let Some(length) = length {
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(RESERVED_MAX);
            kept.reserve_exact(self.answer.head_bytes.saturating_add(length).min(room));
        }
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.cut |= room < bytes.len();
    }

    /// The connection ended: the answer, if that ended its body.
    pub(super) fn at_close(&mut self, books: &mut Books) -> Option<Answer> {
        let complete = self.begun && self.framing.eof() == Eof::Complete;
        complete.then(|| self.finish(books))
    }

    fn finish(&mut self, books: &mut Books) -> Answer {
        let mut answer = mem::take(&mut self.answer);
        if answer.bytes.capacity() - answer.bytes.len() > answer.bytes.len() / 8 {
            answer.bytes.shrink_to_fit();
        }
        answer.whole = !self.cut;
        answer.wire_bytes = self.wire_bytes;
        self.reset_message(books);
        answer
    }

    fn reset_message(&mut self, books: &mut Books) {
        self.answer = Answer::default();
        (self.interim, self.begun, self.cut, self.head_done) = (false, false, false, false);
        self.wire_bytes = 0;
        books.account(&mut self.cost, 0);
    }

    /// What comes next is the start of a response.
    pub(super) fn reset(&mut self, books: &mut Books) {
        self.framing = ResponseFraming::new();
        self.reset_message(books);
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            framing: ResponseFraming::new(),
            answer: Answer::default(),
            interim: false,
            begun: false,
            cut: false,
            head_done: false,
            wire_bytes: 0,
            mark: Mark { lane: 0, number: 0 },
            cost: 0,
        }
    }
}

/// A `Content-Length` is believed so far before any of the body has come.
const RESERVED_MAX: usize = 1 << 20;
