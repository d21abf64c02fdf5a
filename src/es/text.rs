//! Text in targets: the target of a request line, percent decoding and encoding.
//!
//! Decodes as the servers do: each path segment by itself, ill-formed UTF-8 as U+FFFD. Never refuses anything.

use std::borrow::Cow;

/// The target of a request, as it was sent. `None` when the bytes do not begin with a request line.
pub fn request_target(message: &[u8]) -> Option<&[u8]> {
    let start = message.iter().position(|&byte| byte != b'\r' && byte != b'\n')?;
    let line = &message[start..];
    let from = memchr::memchr(b' ', line)? + 1;
    let target_bytes = memchr::memchr2(b' ', b'\r', &line[from..])?;
    Some(&line[from..from + target_bytes])
}

/// The target without scheme and authority (RFC 9112 section 3.2.2), in its path and its query.
pub(super) fn path_and_query(target: &[u8]) -> (&[u8], &[u8]) {
    let target = without_authority(target);
    let Some(mark) = memchr::memchr2(b'?', b'#', target) else { return (target, b"") };
    let (path, rest) = target.split_at(mark);
    if rest[0] == b'#' {
        return (path, b"");
    }
    let query = &rest[1..];
    (path, &query[..memchr::memchr(b'#', query).unwrap_or(query.len())])
}

fn without_authority(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    for scheme in [&b"http://"[..], b"https://"] {
        if let Some((start, rest)) = target.split_at_checked(scheme.len())
            && start.eq_ignore_ascii_case(scheme)
        {
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
            return &rest[end.unwrap_or(rest.len())..];
        }
    }
    target
}

/// One path segment, decoded.
pub(super) fn decoded_segment(raw: &[u8]) -> Cow<'_, str> {
    decoded(raw, false)
}

/// One name or value of a query, decoded: there a plus is a blank.
pub(super) fn decoded_query(raw: &[u8]) -> Cow<'_, str> {
    decoded(raw, true)
}

fn decoded(raw: &[u8], plus_is_blank: bool) -> Cow<'_, str> {
    let plain = !raw.iter().any(|&byte| byte == b'%' || (plus_is_blank && byte == b'+'));
    if plain {
        return String::from_utf8_lossy(raw);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'%' => match behind.split_first_chunk::<2>() {
                Some((&[high, low], behind)) if hex(high).is_some() && hex(low).is_some() => {
                    bytes.push(hex(high).unwrap_or(0) << 4 | hex(low).unwrap_or(0));
                    rest = behind;
                }
                _ => bytes.push(byte),
            },
            b'+' if plus_is_blank => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    Cow::Owned(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(fault) => String::from_utf8_lossy(fault.as_bytes()).into_owned(),
    })
}

pub(super) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Appends `text` as a path segment or a query value that every server and proxy reads alike: all but the unreserved
/// bytes (RFC 3986 section 2.3) escaped. `.` and `..`, which some take for steps in a path, are escaped too.
pub fn percent_encoded_into(text: &str, out: &mut Vec<u8>) {
    let dots_only = text.bytes().all(|byte| byte == b'.');
    for byte in text.bytes() {
        let unreserved = byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || byte == b'.';
        if unreserved && !(byte == b'.' && dots_only) {
            out.push(byte);
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_requests() {
        assert_eq!(request_target(b"GET /a?b HTTP/1.1\r\n\r\n"), Some(&b"/a?b"[..]));
        assert_eq!(request_target(b"\r\n\r\nPUT /x HTTP/1.1\r\n"), Some(&b"/x"[..]));
        assert_eq!(request_target(b"PUT /x"), None);
        assert_eq!(request_target(b"\r\n"), None);
        assert_eq!(path_and_query(b"/a?b=c#d"), (&b"/a"[..], &b"b=c"[..]));
        assert_eq!(path_and_query(b"/a#b?c"), (&b"/a"[..], &b""[..]));
        assert_eq!(path_and_query(b"HTTP://h:1/a?b"), (&b"/a"[..], &b"b"[..]));
        assert_eq!(path_and_query(b"https://h?b"), (&b""[..], &b"b"[..]));
    }

    #[test]
    fn escapes() {
        assert!(matches!(decoded_segment(b"plain+"), Cow::Borrowed("plain+")));
        assert_eq!(decoded_segment(b"a%2fb%2Cc+%"), "a/b,c+%");
        assert_eq!(decoded_segment(b"%4"), "%4");
        assert_eq!(decoded_segment(b"%zz"), "%zz");
        assert_eq!(decoded_segment(b"%C3%A9\xff"), "\u{e9}\u{fffd}");
        assert_eq!(decoded_query(b"a+b%2B"), "a b+");
        for text in ["a b/c?d=e&f%", "\u{e9}\u{1f600}", ".", "..", "a.b~c-_", ""] {
            let mut out = Vec::new();
            percent_encoded_into(text, &mut out);
            assert_eq!(decoded_segment(&out), text);
            assert!(out.iter().all(|byte| byte.is_ascii_alphanumeric() || b"%-_~.".contains(byte)));
        }
        let mut out = Vec::new();
        percent_encoded_into("..", &mut out);
        assert_eq!(out, b"%2E%2E");
    }
}
