//! A request taken apart: the request line, the field lines, the body as it lies.
//!
//! Owns the view on the head that programs and mappings work from, and the framing of what they made. Never copies
//! what it shows.

use std::ops::Range;

use super::edits::{CRLF, fields_start, line_end, trim};
use crate::http::{Limits, RequestFraming, RequestHead, RequestPart};

/// One whole request.
pub(super) struct Message<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    pub head: &'a RequestHead,
    pub method: &'a [u8],
    pub target: &'a [u8],
    pub protocol: &'a [u8],
    /// The field lines in order.
    pub fields: Vec<Field<'a>>,
    /// Empty lines before it and the request line with its line end.
    pub first_line: Range<usize>,
}

/// One field line.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub name: &'a [u8],
    /// Without blanks around it.
    pub value: &'a [u8],
    /// All of it with its line end.
    pub line: &'a [u8],
}

impl<'a> Message<'a> {
    /// Takes `bytes` apart, one whole message whose head says `head`.
    pub(super) fn new(bytes: &'a [u8], head: &'a RequestHead) -> Self {
        let start = fields_start(bytes, head);
        let line_start = start - CRLF.len() - head.first_line_bytes as usize;
        let line = &bytes[line_start..start - CRLF.len()];
        let mut parts = line.splitn(3, |&byte| byte == b' ');
        let mut part = || parts.next().unwrap_or_default();
        let (method, target, protocol) = (part(), part(), part());
        let mut fields = Vec::with_capacity(16);
        let mut at = start;
        while at < head.head_bytes - CRLF.len() {
            let next = line_end(bytes, at);
            let line = &bytes[at..next];
            let colon = memchr::memchr(b':', line).unwrap_or(0);
            fields.push(Field {
                name: &line[..colon],
                value: trim(&line[(colon + 1).min(line.len())..]),
                line,
            });
            at = next;
        }
        Self { bytes, head, method, target, protocol, fields, first_line: 0..start }
    }

    /// The body as it lies, chunk framing and trailers included.
    pub(super) fn body(&self) -> &'a [u8] {
        &self.bytes[self.head.head_bytes..]
    }

    /// The value of the first field of this name, in any case.
    pub(super) fn field(&self, name: &[u8]) -> Option<&'a [u8]> {
        let field = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| field.value)
    }
}

/// What the head of `message` says, if it is one whole request and no byte more.
pub(super) fn framed(message: &[u8]) -> Result<RequestHead, String> {
    let limits = Limits::default();
    let mut framing = RequestFraming::new();
    let mut head = None;
    let mut at = 0;
    while at < message.len() {
        let piece = framing
            .next(&limits, &message[at..])
            .map_err(|refusal| format!("what came out is no request: {}", refusal.reason()))?;
        at += piece.len;
        if let RequestPart::Head(found) = piece.what {
            head = Some(found);
        }
        if piece.end {
            break;
        }
    }
    match head {
        Some(head) if at == message.len() && framing.at_boundary() => Ok(head),
        _ => Err("what came out is not one whole request".to_owned()),
    }
}
