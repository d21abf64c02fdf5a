//! Where the requests of a connection begin and end.
//!
//! Owns the state of the client's direction: the head being collected or the body being followed.
//! Never lets a byte of a refused head out as `Head` or `Body`, and reads nothing after a refusal.

use super::body::Body;
use super::head::{Complete, HeadReader};
use super::request_line::{Method, RequestLine, Version};
use super::{Limits, Refusal};

/// The framing of the requests on one connection.
pub struct RequestFraming {
    head: HeadReader<RequestLine>,
    phase: Phase,
}

/// The next piece of what the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPiece {
    /// Bytes of the input that belong to the piece.
    pub len: usize,
    /// What they are.
    pub what: RequestPart,
    /// The request ends with this piece.
    pub end: bool,
}

/// What a piece is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPart {
    /// All of the input, a head that is not complete yet. A copy is kept, see
    /// [`RequestFraming::kept`].
    HeadPart,
    /// The rest of a head, or all of it: the head is [`RequestFraming::head_kept`] and then this.
    Head(RequestHead),
    /// Body bytes, chunk framing and trailers included.
    Body,
}

/// What the head of a request said, as far as anyone needs it.
// Independent facts of a head, each read by another part of the caller.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Positively known to change nothing: GET, HEAD, OPTIONS, or POST to a read-only endpoint, with
    /// a plain target, without an offer to upgrade and without a field that replaces the method.
    pub safe: bool,
    /// A POST to an endpoint of the table in `safety`.
    pub read_only_post: bool,
    /// The version.
    pub version: Version,
    /// The request line without its line end and without empty lines before it, in bytes.
    pub first_line_bytes: i32,
    /// All field lines without their line ends, in bytes; the blank line counts 0.
    pub headers_bytes: i32,
    /// The client waits for a 100 before it sends the body. Never in HTTP/1.0 (RFC 9110 10.1.1).
    pub expect_continue: bool,
    /// The client offers another protocol; it holds once the source has answered 101. Never in
    /// HTTP/1.0 (RFC 9110 section 7.8).
    pub upgrade: bool,
    /// It comes from a replay, see [`super::REPLAY_FIELD`].
    pub replayed: bool,
    /// The connection ends after this exchange (RFC 9112 section 9.3).
    pub close: bool,
    /// The whole head in bytes: what was kept, the empty lines before it, its blank line.
    pub head_bytes: usize,
    /// The body's length in bytes, if the head gave one.
    pub content_length: Option<u64>,
    /// The body is chunked.
    pub chunked: bool,
}

impl RequestFraming {
    /// The framing of a connection on which nothing has arrived.
    pub fn new() -> Self {
        Self { head: HeadReader::new(), phase: Phase::Head }
    }

    /// Takes the next piece off the front of `input`, which must not be empty. Call again with the
    /// rest until all is taken. After a refusal every call gives the same refusal.
    #[inline]
    pub fn next(&mut self, limits: &Limits, input: &[u8]) -> Result<RequestPiece, Refusal> {
        debug_assert!(!input.is_empty(), "a piece has at least one byte");
        let piece = match &mut self.phase {
            Phase::Head => self.next_of_head(limits, input),
            Phase::Body(body) => {
                self.head.release();
                body.next(limits, input).map(|(len, end)| {
                    if end {
                        self.phase = Phase::Head;
                    }
                    RequestPiece { len, what: RequestPart::Body, end }
                })
            }
            Phase::Refused(refusal) => Err(*refusal),
        };
        if let Err(refusal) = piece {
            self.phase = Phase::Refused(refusal);
        }
        piece
    }

    /// True when no byte of an unfinished message has been seen. Empty lines before a request line
    /// are of no message.
    pub fn at_boundary(&self) -> bool {
        matches!(self.phase, Phase::Head) && self.head.is_at_start()
    }

    /// The bytes of an unfinished or refused head that arrived in earlier calls. After a refusal the
    /// faulty head is these and then the input that was refused.
    pub fn kept(&self) -> &[u8] {
        let open = self.head.is_unfinished() || matches!(self.phase, Phase::Refused(_));
        if open { self.head.kept() } else { &[] }
    }

    /// Hands out what [`RequestFraming::kept`] shows, to record a head that never became complete.
    /// If there is an unfinished head, the framing is over: it refuses whatever comes.
    pub fn take_kept(&mut self) -> Vec<u8> {
        if self.kept().is_empty() {
            return Vec::new();
        }
        if matches!(self.phase, Phase::Head) {
            self.phase = Phase::Refused(Refusal::CutShort);
        }
        self.head.take_kept()
    }

    /// The bytes of the last complete head that arrived before the input which completed it; empty
    /// when all of it lay in one input. Gone with the next call of [`RequestFraming::next`].
    pub fn head_kept(&self) -> &[u8] {
        let complete = !self.head.is_unfinished() && !matches!(self.phase, Phase::Refused(_));
        if complete { self.head.kept() } else { &[] }
    }

    /// Frees what [`RequestFraming::head_kept`] shows before the next call does.
    pub fn release_head(&mut self) {
        if !self.head.is_unfinished() && !matches!(self.phase, Phase::Refused(_)) {
            self.head.release();
        }
    }

    #[inline]
    fn next_of_head(&mut self, limits: &Limits, input: &[u8]) -> Result<RequestPiece, Refusal> {
        let Some(complete) = self.head.next(limits, input)? else {
            return Ok(RequestPiece { len: input.len(), what: RequestPart::HeadPart, end: false });
        };
        let head = request_head(&complete)?;
        let body = Body::announced(head.content_length, head.chunked);
        let end = body.is_none();
        if let Some(body) = body {
            self.phase = Phase::Body(body);
        }
        Ok(RequestPiece { len: complete.len, what: RequestPart::Head(head), end })
    }
}

impl Default for RequestFraming {
    fn default() -> Self {
        Self::new()
    }
}

enum Phase {
    Head,
    Body(Body),
    Refused(Refusal),
}

#[inline]
fn request_head(complete: &Complete<RequestLine>) -> Result<RequestHead, Refusal> {
    let Complete { start_line: line, fields, head_bytes, .. } = complete;
    let http11 = line.version == Version::Http11;
    fields.check_framing(http11)?;
    let upgrade = http11 && fields.upgrade();
    Ok(RequestHead {
        method: line.method,
        safe: line.safe() && !upgrade && !fields.method_override(),
        read_only_post: line.read_only_post,
        version: line.version,
        first_line_bytes: line.bytes as i32,
        headers_bytes: fields.bytes as i32,
        expect_continue: http11 && fields.expect_continue(),
        upgrade,
        replayed: fields.replayed(),
        close: fields.close(http11),
        head_bytes: *head_bytes,
        content_length: fields.content_length,
        chunked: fields.chunked(),
    })
}
