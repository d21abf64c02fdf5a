//! The body of a whole message, out of its framing and its coding, and back into them.
//!
//! Owns de-chunking, the content codings and the rebuilding of a message around a new start line or body, where every
//! line of the head but `Content-Length` stays byte for byte. Never reads what a body says.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::ops::Range;

use super::coding::Coding;
use super::text::hex;

/// What a coded body may become, in bytes: the default of the servers' `http.max_content_length` (100 MB), which they
/// hold against what they have decoded, and room for those that raised it.
pub const DECODED_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Why a body cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// The message ends before its head or its chunks do.
    Truncated,
    /// A chunk line or the end of a chunk is not what RFC 9112 section 7.1 says.
    Chunk {
        /// Where in the message, in bytes.
        at: usize,
    },
    /// A content coding that is not handled here.
    Coding(String),
    /// The coded bytes are not what the coding makes.
    Corrupt(String),
    /// Decoded it has more bytes than the caller allows.
    TooLarge {
        /// What the caller allows.
        bytes_max: usize,
    },
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the message ends within its head or its body"),
            Self::Chunk { at } => write!(f, "no chunk at byte {at} of the message"),
            Self::Coding(name) => write!(
                f,
                "content coding {name:?} is not read here (gzip, x-gzip, deflate, identity are)"
            ),
            Self::Corrupt(fault) => write!(f, "the coded body is corrupt: {fault}"),
            Self::TooLarge { bytes_max } => {
                write!(f, "decoded, the body has more than the {bytes_max} bytes allowed here")
            }
        }
    }
}

impl std::error::Error for BodyError {}

/// The body of `message`, out of chunks and codings; borrowed where it lies plain. `head_bytes` are those of the head
/// with its blank line, `chunked` what the framing found, `bytes_max` what the body may have at most.
///
/// # Errors
/// [`BodyError`], when the body is not what its head says, is coded otherwise, or is too large.
pub fn decoded(
    message: &[u8],
    head_bytes: usize,
    chunked: bool,
    bytes_max: usize,
) -> Result<Cow<'_, [u8]>, BodyError> {
    let (head, body) = message.split_at_checked(head_bytes).ok_or(BodyError::Truncated)?;
    let coding = coding(head)?;
    let body = if chunked { without_chunks(body, head_bytes)?.body } else { Cow::Borrowed(body) };
    if coding == Coding::Identity || body.is_empty() {
        return if body.len() > bytes_max {
            Err(BodyError::TooLarge { bytes_max })
        } else {
            Ok(body)
        };
    }
    coding.decode(&body, bytes_max).map(Cow::Owned)
}

/// `body` as it has to stand behind `head`: in the head's content coding, and in one chunk when it is `chunked`.
///
/// # Errors
/// [`BodyError::Coding`] when the head names a coding that is not handled here.
pub fn encoded<'a>(head: &[u8], chunked: bool, body: &'a [u8]) -> Result<Cow<'a, [u8]>, BodyError> {
    let body = match coding(head)? {
        Coding::Identity => Cow::Borrowed(body),
        coding => Cow::Owned(coding.encode(body)?),
    };
    if !chunked {
        return Ok(body);
    }
    let mut out = Vec::with_capacity(body.len() + CHUNK_FRAMING_BYTES);
    if !body.is_empty() {
        // A Vec takes whatever is written to it.
        let _ = write!(out, "{:x}\r\n", body.len());
        out.extend_from_slice(&body);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(LAST_CHUNK);
    Ok(Cow::Owned(out))
}

/// `message` with another start line (given without its line end) or another body (given plain, as [`decoded`] gives
/// it), or both. `Content-Length` is set where it stands, or added when there was none and there is a body now.
/// Chunked stays chunked, in one chunk, with its trailers. All other lines of the head stay byte for byte.
///
/// # Errors
/// [`BodyError`], when the old framing or the coding cannot be read.
pub fn rebuilt(
    message: &[u8],
    head_bytes: usize,
    chunked: bool,
    start_line: Option<&[u8]>,
    body: Option<&[u8]>,
) -> Result<Vec<u8>, BodyError> {
    let (head, old) = message.split_at_checked(head_bytes).ok_or(BodyError::Truncated)?;
    let old_start_line = start_line_of(head).ok_or(BodyError::Truncated)?;
    let start_line = start_line.unwrap_or(&head[old_start_line.clone()]);
    let fields_from = old_start_line.end;
    let Some(body) = body else {
        return Ok([start_line, &head[fields_from..], old].concat());
    };
    let coded = encoded(head, chunked, body)?;
    let mut out = Vec::with_capacity(head.len() + start_line.len() + coded.len() + 64);
    out.extend_from_slice(start_line);
    if chunked {
        out.extend_from_slice(&head[fields_from..]);
        // The trailers and the blank line behind them instead of that of the last chunk.
        out.extend_from_slice(&coded[..coded.len() - 2]);
        out.extend_from_slice(without_chunks(old, head_bytes)?.trailers);
        return Ok(out);
    }
    if let Some(value) = value_of(head, fields_from, b"content-length") {
        out.extend_from_slice(&head[fields_from..value.start]);
        let _ = write!(out, "{}", coded.len());
        out.extend_from_slice(&head[value.end..]);
    } else if coded.is_empty() {
        out.extend_from_slice(&head[fields_from..]);
    } else {
        let blank_line = head.len().checked_sub(2).filter(|&at| at >= fields_from);
        let blank_line = blank_line.ok_or(BodyError::Truncated)?;
        out.extend_from_slice(&head[fields_from..blank_line]);
        let _ = write!(out, "Content-Length: {}\r\n\r\n", coded.len());
    }
    out.extend_from_slice(&coded);
    Ok(out)
}

/// The value of the first field of this name (in lower case) in a head, blanks around it left out.
pub fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let from = start_line_of(head)?.end;
    value_of(head, from, name).map(|value| &head[value])
}

fn coding(head: &[u8]) -> Result<Coding, BodyError> {
    field(head, b"content-encoding").map_or(Ok(Coding::Identity), Coding::of)
}

/// Where the start line stands, its line end left out. Empty lines may stand before it (RFC 9112 section 2.2).
fn start_line_of(head: &[u8]) -> Option<Range<usize>> {
    let from = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let end = from + memchr::memchr(b'\r', &head[from..])?;
    Some(from..end)
}

/// Where the value of a field stands; `from` is the line end of the start line.
fn value_of(head: &[u8], from: usize, name: &[u8]) -> Option<Range<usize>> {
    let mut at = from + 2;
    loop {
        let line = head.get(at..)?;
        let len = memchr::memchr(b'\n', line)?;
        // The lengths tell most lines apart.
        if line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name) {
            let value = &line[name.len() + 1..len];
            let trimmed = value.trim_ascii();
            let before = value.len() - value.trim_ascii_start().len();
            let start = at + name.len() + 1 + if trimmed.is_empty() { 0 } else { before };
            return Some(start..start + trimmed.len());
        }
        at += len + 1;
    }
}

struct Unchunked<'a> {
    body: Cow<'a, [u8]>,
    /// What stands behind the last chunk's line: trailers and the blank line.
    trailers: &'a [u8],
}

/// `offset` is where `framed` begins in the message, for the errors.
fn without_chunks(framed: &[u8], offset: usize) -> Result<Unchunked<'_>, BodyError> {
    let fault = |at: usize| BodyError::Chunk { at: offset + at };
    let mut body = Cow::Borrowed(&framed[..0]);
    let mut at = 0;
    loop {
        let line = &framed[at..];
        let line_bytes = memchr::memchr(b'\n', line).ok_or(BodyError::Truncated)? + 1;
        let size = chunk_size(line).ok_or_else(|| fault(at))?;
        at += line_bytes;
        if size == 0 {
            return Ok(Unchunked { body, trailers: &framed[at..] });
        }
        let data = at.checked_add(size).and_then(|end| framed.get(at..end));
        let data = data.ok_or(BodyError::Truncated)?;
        if body.is_empty() {
            // Most bodies have one chunk, and that needs no copy.
            body = Cow::Borrowed(data);
        } else {
            body.to_mut().extend_from_slice(data);
        }
        at += size;
        match framed.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Err(fault(at)),
            None => return Err(BodyError::Truncated),
        }
    }
}

/// The number at the front of a chunk line; extensions may follow it.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.iter().position(|&byte| hex(byte).is_none())?;
    if digits == 0 || !matches!(line[digits], b'\r' | b';' | b' ' | b'\t') {
        return None;
    }
    line[..digits].iter().try_fold(0_usize, |size, &digit| {
        size.checked_mul(16)?.checked_add(usize::from(hex(digit)?))
    })
}

/// A chunk line, the line end behind the chunk and the last chunk's line.
const CHUNK_FRAMING_BYTES: usize = 32;
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
