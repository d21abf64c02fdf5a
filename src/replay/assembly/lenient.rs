//! Requests that another proxy took and tapline's framing refuses.
//!
//! Only what RFC 9112 lets a recipient do: a line may end with a line feed alone (section 2.2), a folded line is joined
//! by a blank (section 5.2). What comes out is a request that tapline's framing reads whole, or nothing.

use crate::http::{Limits, RequestFraming, RequestHead, RequestPart};

/// The request that `bytes` are, with the line ends of its head mended.
pub(super) fn mend(limits: &Limits, bytes: &[u8]) -> Option<(Vec<u8>, RequestHead)> {
    let mut rest = bytes;
    let mut mended = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    loop {
        let end = memchr::memchr(b'\n', rest)?;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        match line.first() {
            None if mended.is_empty() => {}
            None => break,
            Some(b' ' | b'\t') if !mended.is_empty() => {
                mended.truncate(mended.len() - CRLF.len());
                mended.push(b' ');
                mended.extend_from_slice(line.trim_ascii());
                mended.extend_from_slice(CRLF);
            }
            Some(_) => {
                mended.extend_from_slice(line);
                mended.extend_from_slice(CRLF);
            }
        }
    }
    mended.extend_from_slice(CRLF);
    mended.extend_from_slice(rest);
    let head = whole(limits, &mended)?;
    Some((mended, head))
}

/// The head, if `bytes` are one request and no more.
fn whole(limits: &Limits, bytes: &[u8]) -> Option<RequestHead> {
    let mut framing = RequestFraming::new();
    let (mut at, mut head) = (0, None);
    while at < bytes.len() {
        let piece = framing.next(limits, &bytes[at..]).ok()?;
        at += piece.len;
        if let RequestPart::Head(found) = piece.what {
            head = Some(found);
        }
        if piece.end {
            return head.filter(|_| at == bytes.len());
        }
    }
    None
}

const CRLF: &[u8] = b"\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(bytes: &[u8]) -> Option<String> {
        let (bytes, head) = mend(&Limits::default(), bytes)?;
        assert_eq!(&bytes[head.head_bytes - 4..head.head_bytes], b"\r\n\r\n");
        String::from_utf8(bytes).ok()
    }

    #[test]
    fn line_ends_and_folds_are_mended() {
        let expected = Some("GET / HTTP/1.1\r\nA: b c\r\n\r\n".to_owned());
        assert_eq!(mended(b"GET / HTTP/1.1\nA: b\n\tc\n\n"), expected);
        assert_eq!(mended(b"\nGET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), expected);
        let body = mended(b"PUT / HTTP/1.1\nContent-Length: 3\n\n\n\n\n").unwrap();
        assert_eq!(body, "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\n");
    }

    #[test]
    fn what_two_readers_could_take_for_two_things_stays_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\n"[..],
            b"",
            b"\n\n\n",
            b" GET / HTTP/1.1\n\n",
            b"GET /no-version\n\n",
            b"GET / HTTP/1.1\n\nGET / HTTP/1.1\n\n",
            b"PUT / HTTP/1.1\nContent-Length: 3\n\nab",
            b"PUT / HTTP/1.1\nContent-Length: 3\nContent-Length: 3\n\nabc",
            b"PUT / HTTP/1.1\nTransfer-Encoding: chunked\n\n1\na\n0\n\n",
        ] {
            assert_eq!(mended(bytes), None, "{bytes:?}");
        }
    }
}
