//! A head read a second time, where someone needs more of it than its framing.
//!
//! Owns the places of the request line's parts and of the field lines. Judges nothing: the framing has accepted the
//! head, or it is the front of one. Field lines of such a front end where the bytes end.

use std::ops::Range;

use super::bytes::{LF, SP, trim};

/// The request line and the fields of a complete request head.
#[derive(Clone, Copy, Debug)]
pub struct RequestLines<'a> {
    head: &'a [u8],
    /// Where the request line begins and where the fields do.
    line: usize,
    fields: usize,
}

impl<'a> RequestLines<'a> {
    /// `head` as the framing accepted it, perhaps with empty lines before it.
    pub fn new(head: &'a [u8]) -> Self {
        let (line, fields) = start_line(head);
        Self { head, line, fields }
    }

    /// The method.
    pub fn method(&self) -> &'a [u8] {
        self.part(0)
    }

    /// The target as it came.
    pub fn target(&self) -> &'a [u8] {
        self.part(1)
    }

    /// Method, blank and target.
    pub fn method_and_target(&self) -> &'a [u8] {
        let line = &self.head[self.line..];
        &line[..self.method().len() + 1 + self.target().len()]
    }

    /// The field lines.
    pub fn fields(&self) -> FieldLines<'a> {
        FieldLines { head: self.head, at: self.fields }
    }

    /// The value of the first field of this name, without the blanks around it.
    pub fn first(&self, name: &[u8]) -> Option<&'a [u8]> {
        let line = self.fields().find(|line| line.is_named(self.head, name))?;
        Some(&self.head[line.value])
    }

    fn part(&self, number: usize) -> &'a [u8] {
        let line = &self.head[self.line..self.fields];
        line.split(|&byte| byte == SP).nth(number).unwrap_or(&[])
    }
}

/// The field lines of a head, in order.
#[derive(Clone, Debug)]
pub struct FieldLines<'a> {
    head: &'a [u8],
    at: usize,
}

/// Where a field line and its parts stand in the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLine {
    /// All of it, with its line end.
    pub line: Range<usize>,
    /// Its name.
    pub name: Range<usize>,
    /// Its value without the blanks around it.
    pub value: Range<usize>,
}

impl<'a> FieldLines<'a> {
    /// Of any head, request or response, complete or the front of one.
    pub fn of(head: &'a [u8]) -> Self {
        Self { head, at: start_line(head).1 }
    }
}

impl FieldLine {
    /// Is it a field of this name?
    pub fn is_named(&self, head: &[u8], name: &[u8]) -> bool {
        head[self.name.clone()].eq_ignore_ascii_case(name)
    }
}

impl Iterator for FieldLines<'_> {
    type Item = FieldLine;

    fn next(&mut self) -> Option<FieldLine> {
        let from = self.at;
        let to = line_end(self.head, from);
        let text = &self.head[from..to];
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            return None;
        }
        self.at = to;
        let colon = memchr::memchr(b':', text).unwrap_or(text.len());
        let rest = text.get(colon + 1..).unwrap_or(&[]);
        let value = trim(rest);
        let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let begin = if value.is_empty() { from + text.len() } else { from + colon + 1 + blanks };
        Some(FieldLine {
            line: from..to,
            name: from..from + colon,
            value: begin..begin + value.len(),
        })
    }
}

/// Where the start line begins, behind empty lines, and where the line after it does.
fn start_line(head: &[u8]) -> (usize, usize) {
    let mut begin = 0;
    while head[begin..].starts_with(b"\r\n") {
        begin += 2;
    }
    (begin, line_end(head, begin))
}

fn line_end(head: &[u8], from: usize) -> usize {
    memchr::memchr(LF, &head[from..]).map_or(head.len(), |length| from + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_head_is_read_again() {
        let head = b"\r\nPUT /a/_doc/1?x=y HTTP/1.1\r\nHost: a\r\nX-A:\r\nx-a: \t b c \t\r\n\r\n";
        let lines = RequestLines::new(head);
        assert_eq!((lines.method(), lines.target()), (&b"PUT"[..], &b"/a/_doc/1?x=y"[..]));
        assert_eq!(lines.method_and_target(), b"PUT /a/_doc/1?x=y");
        let fields: Vec<_> = lines.fields().collect();
        let texts: Vec<&[u8]> = fields.iter().map(|field| &head[field.value.clone()]).collect();
        assert_eq!(texts, [&b"a"[..], b"", b"b c"]);
        assert_eq!(&head[fields[2].line.clone()], b"x-a: \t b c \t\r\n");
        assert_eq!(lines.first(b"HOST"), Some(&b"a"[..]));
        assert_eq!(lines.first(b"x-a"), Some(&b""[..]));
        assert_eq!(lines.first(b"x"), None);
    }

    #[test]
    fn the_front_of_a_head_ends_where_its_bytes_end() {
        let head = b"HTTP/1.1 200 OK\r\nSet-Cookie: secret\r\nA: b\r\n\r\n";
        for end in 0..=head.len() {
            let front = &head[..end];
            let fields: Vec<_> = FieldLines::of(front).collect();
            assert!(fields.len() <= 2, "{end}");
            let covered = fields.iter().map(|field| field.line.len()).sum::<usize>();
            assert!(17 + covered <= end.max(17), "{end}");
            if end >= 30 {
                let value = &front[fields[0].value.clone()];
                assert!(b"secret".starts_with(value), "{end}");
            }
        }
    }
}
