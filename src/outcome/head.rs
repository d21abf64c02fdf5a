//! A message's head as a tuple shows it: the parts of the first line and the fields by name.
//!
//! Reads leniently what capture and the target's framing have let through already; what it cannot read becomes the
//! tuple's `Exception`. Never decides framing for anybody but the tuple.

use super::content::Coding;

/// A head, borrowed from the message.
#[derive(Debug)]
pub(super) struct Head<'a> {
    /// Method, target, version; or version, status, reason phrase.
    pub(super) first_line: [&'a [u8]; 3],
    /// Name and value, in order.
    pub(super) fields: Vec<(&'a [u8], &'a [u8])>,
    /// The body's framing and coding.
    pub(super) facts: Facts,
}

/// What decides how the body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Facts {
    pub(super) chunked: bool,
    pub(super) coding: Coding,
    /// `application/x-www-form-urlencoded`.
    pub(super) form: bool,
}

/// Which kind of first line is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

impl<'a> Head<'a> {
    /// Reads the head at the front of a message.
    pub(super) fn read(kind: Kind, head: &'a [u8]) -> Result<Self, &'static str> {
        let mut lines = head
            .split(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            // A request may follow empty lines (RFC 9112 section 2.2).
            .skip_while(|line| line.is_empty());
        let first_line = first_line(kind, lines.next().ok_or("the message has no head")?)?;
        let mut fields = Vec::with_capacity(FIELDS_EXPECTED);
        let mut facts = Facts::default();
        for line in lines.take_while(|line| !line.is_empty()) {
            let colon = memchr::memchr(b':', line).ok_or("a header line has no colon")?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            facts.note(name, value);
            fields.push((name, value));
        }
        Ok(Self { first_line, fields, facts })
    }
}

impl Facts {
    fn note(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let last = value.rsplit(|&byte| byte == b',').next().unwrap_or_default();
            self.chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"content-encoding") {
            // Two fields or two codings are a combination nobody sends to these servers.
            self.coding =
                if self.coding == Coding::None { Coding::of(value) } else { Coding::Unknown };
        } else if name.eq_ignore_ascii_case(b"content-type") {
            let media = value.split(|&byte| byte == b';').next().unwrap_or_default();
            self.form =
                media.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
        }
    }
}

fn first_line(kind: Kind, line: &[u8]) -> Result<[&[u8]; 3], &'static str> {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let parts = [(); 3].map(|()| parts.next().unwrap_or_default());
    match kind {
        Kind::Request if !parts[2].starts_with(b"HTTP/") || parts[1].is_empty() => {
            Err("the request line is not that of HTTP/1")
        }
        Kind::Response
            if !parts[0].starts_with(b"HTTP/")
                || parts[1].len() != 3
                || parts[1][0] == b'0'
                || !parts[1].iter().all(u8::is_ascii_digit) =>
        {
            Err("the status line is not that of HTTP/1")
        }
        _ => Ok(parts),
    }
}

/// As many as most messages have.
const FIELDS_EXPECTED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_and_fields_are_taken_apart() {
        let text = b"\r\nPUT /a%20b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, Chunked\r\n\
            Content-Encoding: x-gzip\r\n\r\nbody: no\r\n";
        let head = Head::read(Kind::Request, text).expect("a head");
        assert_eq!(head.first_line, [&b"PUT"[..], b"/a%20b", b"HTTP/1.1"]);
        assert_eq!(head.fields.len(), 3);
        assert_eq!(head.facts, Facts { chunked: true, coding: Coding::Gzip, form: false });
        let head = Head::read(Kind::Response, b"HTTP/1.1 200\r\n\r\n").expect("no reason phrase");
        assert_eq!(head.first_line, [&b"HTTP/1.1"[..], b"200", b""]);
        let head = Head::read(Kind::Response, b"HTTP/1.1 404 Not Found\r\n\r\n").expect("a head");
        assert_eq!(head.first_line[2], b"Not Found");
    }

    #[test]
    fn what_is_no_head_is_said() {
        for text in [&b""[..], b"\r\n\r\n", b"GET\r\n\r\n", b"GET / FTP/1\r\n\r\n", b"\x16\x03\x01"]
        {
            assert!(Head::read(Kind::Request, text).is_err(), "{text:?}");
        }
        assert!(Head::read(Kind::Request, b"GET / HTTP/1.1\r\nx\r\n\r\n").is_err());
        for text in [&b"HTTP/1.1 20x OK\r\n\r\n"[..], b"HTTP/1.1\r\n\r\n", b"200 OK\r\n\r\n"] {
            assert!(Head::read(Kind::Response, text).is_err(), "{text:?}");
        }
    }
}
