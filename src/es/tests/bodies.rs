use std::borrow::Cow;
use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use crate::es::body::{BodyError, DECODED_BYTES_MAX, decoded, field, rebuilt};

const TEXT: &[u8] = b"{\"index\":{}}\n{\"a\":1}\n";

fn message(fields: &str, body: &[u8]) -> (Vec<u8>, usize) {
    let head = format!("POST /_bulk HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let mut bytes = head.into_bytes();
    let head_bytes = bytes.len();
    bytes.extend_from_slice(body);
    (bytes, head_bytes)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn codings_are_undone() {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(TEXT).unwrap();
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
    bare.write_all(TEXT).unwrap();
    let two_members = [gzip(&TEXT[..5]), gzip(&TEXT[5..])].concat();
    for (coding, coded) in [
        ("gzip", gzip(TEXT)),
        ("X-GZIP", two_members),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", bare.finish().unwrap()),
        ("identity", TEXT.to_vec()),
        ("", TEXT.to_vec()),
    ] {
        let (bytes, head_bytes) = message(&format!("CONTENT-encoding: {coding} \r\n"), &coded);
        let body = decoded(&bytes, head_bytes, false, DECODED_BYTES_MAX).unwrap();
        assert_eq!(body, TEXT, "{coding}");
    }
    let (bytes, head_bytes) = message("Content-Encoding: br\r\n", TEXT);
    let fault = decoded(&bytes, head_bytes, false, 99).unwrap_err();
    assert_eq!(fault, BodyError::Coding("br".into()));
    let (bytes, head_bytes) = message("Content-Encoding: gzip\r\n", TEXT);
    let fault = decoded(&bytes, head_bytes, false, 99).unwrap_err();
    assert!(matches!(fault, BodyError::Corrupt(_)));
    assert_eq!(decoded(&bytes[..head_bytes], head_bytes, false, 99).unwrap(), b"".as_slice());
}

#[test]
fn a_small_body_may_not_become_a_large_one() {
    let (bytes, head_bytes) = message("Content-Encoding: gzip\r\n", &gzip(&vec![b'a'; 100_000]));
    let fault = decoded(&bytes, head_bytes, false, 99_999).unwrap_err();
    assert_eq!(fault, BodyError::TooLarge { bytes_max: 99_999 });
    assert_eq!(decoded(&bytes, head_bytes, false, 100_000).unwrap().len(), 100_000);
    let (bytes, head_bytes) = message("", TEXT);
    assert!(decoded(&bytes, head_bytes, false, TEXT.len() - 1).is_err());
}

#[test]
fn chunks_are_undone() {
    let (bytes, head_bytes) = message("", b"3;x=y\r\nabc\r\nA \r\n0123456789\r\n0\r\nT: v\r\n\r\n");
    assert_eq!(decoded(&bytes, head_bytes, true, 99).unwrap(), b"abc0123456789".as_slice());
    let (bytes, head_bytes) = message("", b"3\r\nabc\r\n0\r\n\r\n");
    let body = decoded(&bytes, head_bytes, true, 99).unwrap();
    assert!(matches!(body, Cow::Borrowed(b"abc")));
    for (framed, fault) in [
        (&b"3\r\nabcd\r\n"[..], BodyError::Chunk { at: head_bytes + 6 }),
        (b"\r\n", BodyError::Chunk { at: head_bytes }),
        (b"x\r\n", BodyError::Chunk { at: head_bytes }),
        (b"fffffffffffffffff\r\n", BodyError::Chunk { at: head_bytes }),
        (b"ffffffffffffffff\r\n", BodyError::Truncated),
        (b"3\r\nab", BodyError::Truncated),
        (b"3\r\nabc\r", BodyError::Truncated),
        (b"", BodyError::Truncated),
    ] {
        let (bytes, head_bytes) = message("", framed);
        let found = decoded(&bytes, head_bytes, true, 99).map(Cow::into_owned);
        assert_eq!(found, Err(fault), "{framed:?}");
    }
    assert_eq!(decoded(b"GET", 4, false, 99), Err(BodyError::Truncated));
}

#[test]
fn a_new_body_changes_nothing_but_the_length() {
    let (bytes, head_bytes) = message("content-LENGTH:  21 \r\nX-A:  b \r\n", TEXT);
    let new = rebuilt(&bytes, head_bytes, false, None, Some(b"abc")).unwrap();
    let expected = b"POST /_bulk HTTP/1.1\r\nHost: h\r\ncontent-LENGTH:  3 \r\nX-A:  b \r\n\r\nabc";
    assert_eq!(String::from_utf8_lossy(&new), String::from_utf8_lossy(expected));

    let line = Some(&b"PUT /x HTTP/1.1"[..]);
    let new = rebuilt(&bytes, head_bytes, false, line, None).unwrap();
    assert_eq!(new, [b"PUT /x HTTP/1.1", &bytes[20..]].concat());

    let (bytes, head_bytes) = message("", b"");
    let new = rebuilt(&bytes, head_bytes, false, None, Some(b"ab")).unwrap();
    assert!(new.ends_with(b"Host: h\r\nContent-Length: 2\r\n\r\nab"));
    assert_eq!(rebuilt(&bytes, head_bytes, false, None, Some(b"")).unwrap(), bytes);

    let (bytes, head_bytes) =
        message("Transfer-Encoding: chunked\r\n", b"1\r\na\r\n1\r\nb\r\n0\r\nT: v\r\n\r\n");
    let new = rebuilt(&bytes, head_bytes, true, None, Some(&[b'c'; 17])).unwrap();
    let chunks = b"11\r\nccccccccccccccccc\r\n0\r\nT: v\r\n\r\n";
    assert_eq!(new, [&bytes[..head_bytes], chunks].concat());
    let new = rebuilt(&bytes, head_bytes, true, None, Some(b"")).unwrap();
    assert_eq!(new, [&bytes[..head_bytes], b"0\r\nT: v\r\n\r\n"].concat());

    let with_lines = [b"\r\n\r\n", &bytes[..]].concat();
    let new = rebuilt(&with_lines, head_bytes + 4, true, None, None).unwrap();
    assert_eq!(new, bytes);
    assert!(rebuilt(b"\r\n\r\n", 4, false, None, None).is_err());
}

#[test]
fn fields_are_found_by_name() {
    let head = b"GET / HTTP/1.1\r\nAccept-X: 1\r\nACCEPT:\t a b \r\nEmpty:\r\n\r\n";
    assert_eq!(field(head, b"accept"), Some(&b"a b"[..]));
    assert_eq!(field(head, b"empty"), Some(&b""[..]));
    assert_eq!(field(head, b"get / http/1.1"), None);
    assert_eq!(field(head, b"missing"), None);
    assert_eq!(field(b"GET", b"missing"), None);
}

proptest! {
    #[test]
    fn a_body_survives_its_framing_and_coding(
        body in prop::collection::vec(any::<u8>(), 0..300),
        gzipped in any::<bool>(),
        chunked in any::<bool>(),
    ) {
        let coding = if gzipped { "Content-Encoding: gzip\r\n" } else { "" };
        let framing = if chunked { "Transfer-Encoding: chunked\r\n" } else { "Content-Length: 0\r\n" };
        let old = if chunked { &b"0\r\n\r\n"[..] } else { b"" };
        let (bytes, head_bytes) = message(&format!("{framing}{coding}"), old);
        let new = rebuilt(&bytes, head_bytes, chunked, None, Some(&body)).unwrap();
        let head_bytes = memchr::memmem::find(&new, b"\r\n\r\n").unwrap() + 4;
        let found = decoded(&new, head_bytes, chunked, 300).unwrap();
        prop_assert_eq!(found, body);
        if !chunked {
            let length = field(&new, b"content-length").unwrap();
            let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
            prop_assert_eq!(length, new.len() - head_bytes);
        }
    }

    #[test]
    fn any_message_is_read(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        head_bytes in 0..220_usize,
        chunked in any::<bool>(),
    ) {
        let _ = decoded(&bytes, head_bytes, chunked, 1000);
        let _ = rebuilt(&bytes, head_bytes, chunked, None, Some(b"x"));
        let _ = rebuilt(&bytes, head_bytes, chunked, Some(b"x"), None);
    }
}
