//! The field lines of a head: their syntax, and what the few that decide framing say.
//!
//! Owns `Content-Length`, `Transfer-Encoding`, `Connection`, `Upgrade`, `Expect`, `Host` and the
//! fields that make a request suspect. Never keeps a value: each line is read once, then forgotten.

use super::Refusal;
use super::bytes::{CR, HT, LF, SP, stop_at, token_len, trim, trim_leading_blanks};

/// Whose head is being read; some fields mean something in requests only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// What one look at the front of the unread bytes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The line end is not there yet and nothing is wrong so far.
    Incomplete,
    /// A whole line of this many bytes, line end included.
    Line(usize),
    /// The blank line that ends the head.
    End,
}

/// What the field lines read so far have said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields {
    /// Sum of the line lengths without line ends, in bytes; the blank line counts 0.
    pub bytes: usize,
    pub content_length: Option<u64>,
    count: usize,
    marks: u16,
}

impl Fields {
    /// Reads the line at the front of `window`. Judges byte for byte from the left, so that the
    /// verdict does not depend on how many bytes there are behind the one that decides it.
    #[inline]
    pub(super) fn line(
        &mut self,
        side: Side,
        fields_max: usize,
        window: &[u8],
    ) -> Result<Step, Refusal> {
        let name_bytes = token_len(window);
        let Some(&stop) = window.get(name_bytes) else { return Ok(Step::Incomplete) };
        if stop != b':' || name_bytes == 0 {
            return end_of_head(name_bytes, stop, window);
        }
        let Some(value_end) = value_end(window, name_bytes + 1)? else {
            return Ok(Step::Incomplete);
        };
        self.count += 1;
        if self.count > fields_max {
            return Err(Refusal::TooManyFields);
        }
        self.bytes += value_end;
        self.note(side, &window[..name_bytes], &window[name_bytes + 1..value_end])?;
        Ok(Step::Line(value_end + 2))
    }

    /// Is the body framed by chunks?
    pub(super) fn chunked(&self) -> bool {
        self.has(CHUNKED)
    }

    /// Will the connection end after this exchange? HTTP/1.1 keeps it unless told otherwise,
    /// HTTP/1.0 ends it unless told otherwise (RFC 9112 section 9.3).
    pub(super) fn close(&self, http11: bool) -> bool {
        self.has(CLOSE) || (!http11 && !self.has(KEEP_ALIVE))
    }

    /// An `Upgrade` field that the `Connection` field names.
    pub(super) fn upgrade(&self) -> bool {
        self.has(UPGRADE | CONNECTION_UPGRADE)
    }

    /// `Expect: 100-continue`.
    pub(super) fn expect_continue(&self) -> bool {
        self.has(EXPECT_CONTINUE)
    }

    /// A field by which some servers let a client replace the method.
    pub(super) fn method_override(&self) -> bool {
        self.has(METHOD_OVERRIDE)
    }

    /// The mark of a replay.
    pub(super) fn replayed(&self) -> bool {
        self.has(REPLAYED)
    }

    /// Judges the two framing fields together, once all fields are known.
    pub(super) fn check_framing(&self, http11: bool) -> Result<(), Refusal> {
        if !self.chunked() {
            return Ok(());
        }
        if self.content_length.is_some() {
            return Err(Refusal::LengthAndTransferEncoding);
        }
        if !http11 {
            return Err(Refusal::TransferEncodingHttp10);
        }
        Ok(())
    }

    #[inline]
    fn note(&mut self, side: Side, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        // Length and first letter leave hardly any other field of real traffic to compare.
        match (name.len(), name[0] | 0x20) {
            (14, b'c') if name.eq_ignore_ascii_case(b"content-length") => {
                if self.content_length.is_some() {
                    return Err(Refusal::ContentLengthDuplicate);
                }
                self.content_length = Some(content_length(value)?);
            }
            (17, b't') if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked() {
                    return Err(Refusal::TransferEncodingDuplicate);
                }
                check_transfer_encoding(value)?;
                self.mark(CHUNKED);
            }
            (10, b'c') if name.eq_ignore_ascii_case(b"connection") => self.note_connection(value),
            _ if side == Side::Request => self.note_request(name, value)?,
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn note_request(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match (name.len(), name[0] | 0x20) {
            (4, b'h') if name.eq_ignore_ascii_case(b"host") => {
                if self.has(HOST) {
                    return Err(Refusal::HostDuplicate);
                }
                self.mark(HOST);
            }
            (6, b'e')
                if name.eq_ignore_ascii_case(b"expect")
                    && trim(value).eq_ignore_ascii_case(b"100-continue") =>
            {
                self.mark(EXPECT_CONTINUE);
            }
            (7, b'u') if name.eq_ignore_ascii_case(b"upgrade") => self.mark(UPGRADE),
            (13, b'x') if name.eq_ignore_ascii_case(b"x-http-method") => {
                self.mark(METHOD_OVERRIDE);
            }
            (16, b'x') if name.eq_ignore_ascii_case(super::REPLAY_FIELD.as_bytes()) => {
                self.mark(REPLAYED);
            }
            (17, b'x') if name.eq_ignore_ascii_case(b"x-method-override") => {
                self.mark(METHOD_OVERRIDE);
            }
            (18, b's')
                if name.eq_ignore_ascii_case(b"sec-websocket-key1")
                    || name.eq_ignore_ascii_case(b"sec-websocket-key2") =>
            {
                return Err(Refusal::WebSocketDraft);
            }
            (22, b'x') if name.eq_ignore_ascii_case(b"x-http-method-override") => {
                self.mark(METHOD_OVERRIDE);
            }
            _ => {}
        }
        Ok(())
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(trim) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.mark(KEEP_ALIVE);
            } else if option.eq_ignore_ascii_case(b"close") {
                self.mark(CLOSE);
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.mark(CONNECTION_UPGRADE);
            }
        }
    }

    fn mark(&mut self, mark: u16) {
        self.marks |= mark;
    }

    fn has(&self, marks: u16) -> bool {
        self.marks & marks == marks
    }
}

/// The line holds no field: the blank line that ends the head, or a fault.
fn end_of_head(name_bytes: usize, stop: u8, window: &[u8]) -> Result<Step, Refusal> {
    match (name_bytes, stop) {
        (0, CR) => match window.get(1) {
            None => Ok(Step::Incomplete),
            Some(&LF) => Ok(Step::End),
            Some(_) => Err(Refusal::BareCr),
        },
        (0, SP | HT) => Err(Refusal::ObsFold),
        (_, SP | HT) => Err(Refusal::FieldNameWhitespace),
        (_, CR) => Err(Refusal::FieldColonMissing),
        (_, LF) => Err(Refusal::BareLf),
        _ => Err(Refusal::FieldNameInvalid),
    }
}

/// Index of the CR of the CRLF that ends the value which starts at `from`.
#[inline]
pub(super) fn value_end(window: &[u8], from: usize) -> Result<Option<usize>, Refusal> {
    let mut at = from;
    while let Some(stop) = stop_at::<0x20>(window, at) {
        match window[stop] {
            HT => at = stop + 1,
            CR => {
                return match window.get(stop + 1) {
                    None => Ok(None),
                    Some(&LF) => Ok(Some(stop)),
                    Some(_) => Err(Refusal::BareCr),
                };
            }
            LF => return Err(Refusal::BareLf),
            0 => return Err(Refusal::FieldValueNul),
            _ => return Err(Refusal::FieldValueControl),
        }
    }
    Ok(None)
}

/// A `Content-Length` (RFC 9112 section 6.3), narrower than its grammar: blanks may stand before
/// the digits but nothing behind them, and no leading zero, which some parsers take for octal.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = trim_leading_blanks(value);
    if trim(value).is_empty() {
        return Err(Refusal::ContentLengthEmpty);
    }
    if digits.contains(&b',') {
        return Err(Refusal::ContentLengthList);
    }
    if !digits.iter().all(u8::is_ascii_digit) || (digits[0] == b'0' && digits.len() > 1) {
        return Err(Refusal::ContentLengthNotDecimal);
    }
    let mut length: u64 = 0;
    for digit in digits {
        let tenfold = length.checked_mul(10).and_then(|n| n.checked_add(u64::from(digit - b'0')));
        // Java counts in signed longs.
        length = tenfold
            .filter(|&length| i64::try_from(length).is_ok())
            .ok_or(Refusal::ContentLengthOverflow)?;
    }
    Ok(length)
}

/// Exactly `chunked`, in any case, with nothing but blanks before it.
fn check_transfer_encoding(value: &[u8]) -> Result<(), Refusal> {
    if trim_leading_blanks(value).eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let is_registered =
        |coding: &[u8]| TRANSFER_CODINGS.iter().any(|known| coding.eq_ignore_ascii_case(known));
    if trim_leading_blanks(value)
        .split(|&byte| byte == b',')
        .map(trim_leading_blanks)
        .all(is_registered)
    {
        return Err(Refusal::TransferCodingUnsupported);
    }
    Err(Refusal::TransferEncodingNotChunked)
}

/// The transfer codings of the IANA registry, and `identity` of RFC 2616.
const TRANSFER_CODINGS: [&[u8]; 7] =
    [b"chunked", b"compress", b"deflate", b"gzip", b"x-compress", b"x-gzip", b"identity"];

const CHUNKED: u16 = 1;
const CLOSE: u16 = 1 << 1;
const KEEP_ALIVE: u16 = 1 << 2;
const UPGRADE: u16 = 1 << 3;
const CONNECTION_UPGRADE: u16 = 1 << 4;
const EXPECT_CONTINUE: u16 = 1 << 5;
const HOST: u16 = 1 << 6;
const METHOD_OVERRIDE: u16 = 1 << 7;
const REPLAYED: u16 = 1 << 8;
