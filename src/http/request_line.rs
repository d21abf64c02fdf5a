//! The request line: method, target, version (RFC 9112 section 3).
//!
//! Owns the forms of targets that are let through and the classes of methods. Parts are separated
//! by exactly one blank; no other white space is taken for one. Never decodes a target.

use super::bytes::{CR, LF, SP, stop_at, token_len};
use super::fields::Side;
use super::head::StartLine;
use super::{Refusal, is_read_only_post};

/// The method of a request. Methods are case-sensitive: `get` is `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `PATCH`
    Patch,
    /// `OPTIONS`
    Options,
    /// Any other token; never safe.
    Other,
}

/// The protocol version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// What a request line said.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestLine {
    pub method: Method,
    pub version: Version,
    /// Origin-form or `*`: the target names nothing but a resource of the server asked.
    pub plain_target: bool,
    pub read_only_post: bool,
    /// Length without line end.
    pub bytes: usize,
}

impl StartLine for RequestLine {
    type Fault = Refusal;
    const SIDE: Side = Side::Request;
    /// RFC 9112 section 2.2 wants at least one skipped; old clients send one after a POST body.
    const EMPTY_LINES_MAX: u8 = 4;
    const TOO_LONG: Refusal = Refusal::RequestLineTooLong;

    #[inline]
    fn read(window: &[u8]) -> Result<Option<(Self, usize)>, Refusal> {
        let method_bytes = token_len(window);
        let Some(&stop) = window.get(method_bytes) else { return Ok(None) };
        if stop != SP || method_bytes == 0 {
            return Err(no_method(method_bytes, stop));
        }
        let method = method(&window[..method_bytes])?;

        let target_start = method_bytes + 1;
        let Some(target_end) = stop_at::<0x21>(window, target_start) else { return Ok(None) };
        match window[target_end] {
            SP => {}
            CR => return Err(Refusal::Http09),
            LF => return Err(Refusal::BareLf),
            _ => return Err(Refusal::TargetInvalid),
        }
        let target = &window[target_start..target_end];
        let plain_target = check_target(method, target)?;

        let Some(version) = version(&window[target_end + 1..])? else { return Ok(None) };
        let read_only_post = method == Method::Post && is_read_only_post(target);
        let bytes = target_end + 1 + VERSION_BYTES;
        let line = Self { method, version, plain_target, read_only_post, bytes };
        Ok(Some((line, bytes + 2)))
    }
}

impl RequestLine {
    /// May a request with this line go on before its record is durable?
    pub(super) fn safe(&self) -> bool {
        let safe_method = matches!(self.method, Method::Get | Method::Head | Method::Options);
        self.plain_target && (safe_method || self.read_only_post)
    }
}

#[cold]
fn no_method(method_bytes: usize, stop: u8) -> Refusal {
    match (method_bytes, stop) {
        (0, 0x16) => Refusal::TlsHandshake,
        (_, LF) => Refusal::BareLf,
        _ => Refusal::MethodInvalid,
    }
}

#[inline]
fn method(token: &[u8]) -> Result<Method, Refusal> {
    Ok(match token {
        b"GET" => Method::Get,
        b"POST" => Method::Post,
        b"PUT" => Method::Put,
        b"HEAD" => Method::Head,
        b"DELETE" => Method::Delete,
        b"PATCH" => Method::Patch,
        b"OPTIONS" => Method::Options,
        b"CONNECT" => return Err(Refusal::MethodConnect),
        b"PRI" => return Err(Refusal::Http2Preface),
        _ => Method::Other,
    })
}

/// True for origin-form and for the `*` of OPTIONS, false for absolute-form. Bytes from 0x80 on are
/// let through: Elasticsearch takes raw UTF-8, and they end a target for no parser.
#[inline]
fn check_target(method: Method, target: &[u8]) -> Result<bool, Refusal> {
    match target {
        [b'/', ..] => Ok(true),
        b"*" if method == Method::Options => Ok(true),
        _ if has_authority(target, b"http://") || has_authority(target, b"https://") => Ok(false),
        _ => Err(Refusal::TargetInvalid),
    }
}

fn has_authority(target: &[u8], scheme: &[u8]) -> bool {
    target.split_at_checked(scheme.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(scheme) && !matches!(rest, [] | [b'/' | b'?' | b'#', ..])
    })
}

/// The version and the line end behind it; `None` until all of it is there.
#[inline]
fn version(rest: &[u8]) -> Result<Option<Version>, Refusal> {
    match rest.first_chunk::<10>() {
        Some(b"HTTP/1.1\r\n") => Ok(Some(Version::Http11)),
        Some(b"HTTP/1.0\r\n") => Ok(Some(Version::Http10)),
        _ => other_version(rest),
    }
}

#[cold]
fn other_version(rest: &[u8]) -> Result<Option<Version>, Refusal> {
    for (index, &byte) in rest.iter().take(VERSION_BYTES + 2).enumerate() {
        let fits = match index {
            0..=4 => byte == b"HTTP/"[index],
            6 => byte == b'.',
            5 | 7 => byte.is_ascii_digit(),
            8 => byte == CR,
            _ => byte == LF,
        };
        match (index, byte) {
            _ if fits => {}
            (9, _) => return Err(Refusal::BareCr),
            (8, LF) => return Err(Refusal::BareLf),
            _ => return Err(Refusal::VersionInvalid),
        }
    }
    if rest.len() < VERSION_BYTES + 2 { Ok(None) } else { Err(Refusal::VersionUnsupported) }
}

const VERSION_BYTES: usize = 8;
