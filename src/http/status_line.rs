//! The status line of a response (RFC 9112 section 4).
//!
//! Owns the status code and the version. A missing reason phrase is let through, with or without
//! the blank before it. Never skips anything before the line.

use super::bytes::{CR, SP};
use super::fields::{Side, value_end};
use super::head::StartLine;
use super::{Malformed, Refusal, Version};

/// What a status line said.
#[derive(Debug, Clone, Copy)]
pub(super) struct StatusLine {
    pub version: Version,
    pub status: u16,
}

impl StartLine for StatusLine {
    type Fault = Malformed;
    const SIDE: Side = Side::Response;
    const EMPTY_LINES_MAX: u8 = 0;
    const TOO_LONG: Malformed = Malformed::StatusLineTooLong;

    #[inline]
    fn read(window: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(fixed) = window.first_chunk::<PHRASE_AT>() else {
            check_shape(window)?;
            return Ok(None);
        };
        let version = match fixed.first_chunk::<9>() {
            Some(b"HTTP/1.1 ") => Version::Http11,
            Some(b"HTTP/1.0 ") => Version::Http10,
            _ => {
                check_shape(fixed)?;
                return Err(Malformed::Version);
            }
        };
        let [.., hundreds, tens, ones, _] = *fixed;
        if !(hundreds.is_ascii_digit() && tens.is_ascii_digit() && ones.is_ascii_digit()) {
            return Err(Malformed::StatusLine);
        }
        let digit = |byte: u8| u16::from(byte - b'0');
        let status = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
        check_shape(fixed)?;
        if !(100..600).contains(&status) {
            return Err(Malformed::Status);
        }
        let end = value_end(window, PHRASE_AT - 1).map_err(|fault| match fault {
            Refusal::BareCr | Refusal::BareLf => Malformed::Framing(fault),
            _ => Malformed::StatusLine,
        })?;
        Ok(end.map(|end| (Self { version, status }, end + 2)))
    }
}

/// Judges as much of `HTTP/d.d ddd` and the byte behind it as there is.
fn check_shape(fixed: &[u8]) -> Result<(), Malformed> {
    for (index, &byte) in fixed.iter().take(PHRASE_AT).enumerate() {
        let fits = match index {
            0..=4 => byte == b"HTTP/"[index],
            6 => byte == b'.',
            8 => byte == SP,
            5 | 7 | 9..=11 => byte.is_ascii_digit(),
            _ => byte == SP || byte == CR,
        };
        if !fits {
            return Err(Malformed::StatusLine);
        }
    }
    Ok(())
}

/// `HTTP/1.1 200` and the blank or line end behind it.
const PHRASE_AT: usize = 13;
