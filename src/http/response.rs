//! Where the responses on a connection to the source begin and end.
//!
//! Owns the state of the source's direction and the rules for responses without a body. Never knows
//! which request a response answers: the caller says of which kind the oldest unanswered one is.

use super::body::Body;
use super::head::{Complete, HeadReader};
use super::status_line::StatusLine;
use super::{Limits, Malformed, Version};

/// The framing of the responses on one connection.
pub struct ResponseFraming {
    head: HeadReader<StatusLine>,
    phase: Phase,
}

/// The kind of request that a response answers, as far as it decides framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// A HEAD request: no body, whatever the head says.
    Head,
    /// Any other request.
    Other,
}

/// The next piece of what the source sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponsePiece {
    /// Bytes of the input that belong to the piece.
    pub len: usize,
    /// What they are.
    pub what: ResponsePart,
    /// The response, final or interim, ends with this piece.
    pub end: bool,
}

/// What a piece is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponsePart {
    /// All of the input, a head that is not complete yet.
    HeadPart,
    /// The rest of a head, or all of it.
    Head(ResponseHead),
    /// Body bytes, chunk framing and trailers included.
    Body,
}

/// What the head of a response said, as far as anyone needs it.
// Independent facts of a head, each read by another part of the caller.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code, 100 to 599.
    pub status: u16,
    /// A 1xx other than 101: the answer is still to come.
    pub interim: bool,
    /// A 101: from here on the bytes are of another protocol.
    pub upgraded: bool,
    /// The connection will not be used again (RFC 9112 section 9.3).
    pub close: bool,
    /// The whole head with its blank line, in bytes.
    pub head_bytes: usize,
    /// The body ends with the connection (RFC 9112 section 6.3).
    pub until_eof: bool,
    /// What the `Content-Length` field says, even where there is no body.
    pub content_length: Option<u64>,
    /// What the `Transfer-Encoding` field says, even where there is no body.
    pub chunked: bool,
}

/// What the end of the source's stream meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eof {
    /// It came between two responses.
    Idle,
    /// It ended a body that had no other end, or a switched protocol.
    Complete,
    /// It came within a response.
    Truncated,
}

impl ResponseFraming {
    /// The framing of a connection on which nothing has arrived.
    pub fn new() -> Self {
        Self { head: HeadReader::new(), phase: Phase::Head }
    }

    /// Takes the next piece off the front of `input`, which must not be empty. Call again with the
    /// rest until all is taken or a 101 came. `request` is the kind of the oldest request that has
    /// no final response. After a fault every call gives the same fault.
    #[inline]
    pub fn next(
        &mut self,
        limits: &Limits,
        request: Answering,
        input: &[u8],
    ) -> Result<ResponsePiece, Malformed> {
        debug_assert!(!input.is_empty(), "a piece has at least one byte");
        let piece = match &mut self.phase {
            Phase::Head => self.next_of_head(limits, request, input),
            Phase::Body(body) => body.next(limits, input).map_err(Malformed::from).map(|piece| {
                let (len, end) = piece;
                if end {
                    self.phase = Phase::Head;
                }
                ResponsePiece { len, what: ResponsePart::Body, end }
            }),
            Phase::UntilEof => {
                Ok(ResponsePiece { len: input.len(), what: ResponsePart::Body, end: false })
            }
            Phase::Upgraded => Err(Malformed::AfterUpgrade),
            Phase::Malformed(fault) => Err(*fault),
        };
        if let Err(fault) = piece {
            self.phase = Phase::Malformed(fault);
            self.head.take_kept();
        }
        piece
    }

    /// True when no byte of an unfinished response has been seen.
    pub fn at_boundary(&self) -> bool {
        matches!(self.phase, Phase::Head) && !self.head.is_unfinished()
    }

    /// The source closed: was that a proper end? Bytes after it are a new connection's.
    pub fn eof(&mut self) -> Eof {
        let eof = match self.phase {
            Phase::Head if self.head.is_unfinished() => Eof::Truncated,
            Phase::Head => Eof::Idle,
            Phase::UntilEof | Phase::Upgraded => Eof::Complete,
            Phase::Body(_) | Phase::Malformed(_) => Eof::Truncated,
        };
        *self = Self::new();
        eof
    }

    #[inline]
    fn next_of_head(
        &mut self,
        limits: &Limits,
        request: Answering,
        input: &[u8],
    ) -> Result<ResponsePiece, Malformed> {
        let Some(complete) = self.head.next(limits, input)? else {
            let len = input.len();
            return Ok(ResponsePiece { len, what: ResponsePart::HeadPart, end: false });
        };
        // Unlike a request's, the earlier bytes have left long ago.
        self.head.release();
        let head = response_head(request, &complete)?;
        let body = if is_bodyless(request, head.status) {
            None
        } else {
            Body::announced(head.content_length, head.chunked)
        };
        let end = body.is_none() && !head.until_eof;
        if head.upgraded {
            self.phase = Phase::Upgraded;
        } else if head.until_eof {
            self.phase = Phase::UntilEof;
        } else if let Some(body) = body {
            self.phase = Phase::Body(body);
        }
        Ok(ResponsePiece { len: complete.len, what: ResponsePart::Head(head), end })
    }
}

impl Default for ResponseFraming {
    fn default() -> Self {
        Self::new()
    }
}

enum Phase {
    Head,
    Body(Body),
    UntilEof,
    Upgraded,
    Malformed(Malformed),
}

/// RFC 9112 section 6.3, rules 1 and 2: these end with their head.
fn is_bodyless(request: Answering, status: u16) -> bool {
    request == Answering::Head || matches!(status, 100..=199 | 204 | 304)
}

#[inline]
fn response_head(
    request: Answering,
    complete: &Complete<StatusLine>,
) -> Result<ResponseHead, Malformed> {
    let Complete { start_line: StatusLine { version, status }, fields, head_bytes, .. } = complete;
    let (status, http11) = (*status, *version == Version::Http11);
    fields.check_framing(http11)?;
    let framed = fields.chunked() || fields.content_length.is_some();
    let until_eof = !framed && !is_bodyless(request, status);
    Ok(ResponseHead {
        status,
        interim: status < 200 && status != SWITCHING_PROTOCOLS,
        upgraded: status == SWITCHING_PROTOCOLS,
        close: until_eof || fields.close(http11),
        head_bytes: *head_bytes,
        until_eof,
        content_length: fields.content_length,
        chunked: fields.chunked(),
    })
}

const SWITCHING_PROTOCOLS: u16 = 101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_head_holds_no_memory() {
        let limits = Limits::default();
        let mut framing = ResponseFraming::new();
        framing.next(&limits, Answering::Other, b"HTTP/1.1 200 OK\r\nContent-").unwrap();
        assert!(!framing.head.kept().is_empty());
        framing.next(&limits, Answering::Other, b"Length: 9\r\n\r\n").unwrap();
        assert!(framing.head.kept().is_empty());
    }
}
