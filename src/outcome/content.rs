//! From the body on the wire to its content: out of its chunks, out of its compression, up to a bound.
//!
//! Never fails: a body that is not what its head says is shown as it came, and one that was cut as far as it goes.
//! That, and counting what is not shown, is why it is not `es::body`, which refuses both.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::head::Facts;

/// What `Content-Encoding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Coding {
    /// Nothing, or `identity`.
    #[default]
    None,
    /// `gzip`, `x-gzip`.
    Gzip,
    /// `deflate`, `x-deflate`: zlib by the standard, raw deflate by some senders.
    Deflate,
    /// One that is not undone here; the body is shown as bytes.
    Unknown,
}

impl Coding {
    pub(super) fn of(value: &[u8]) -> Self {
        let is = |name: &[u8]| value.eq_ignore_ascii_case(name);
        if is(b"gzip") || is(b"x-gzip") {
            Self::Gzip
        } else if is(b"deflate") || is(b"x-deflate") {
            Self::Deflate
        } else if is(b"identity") || value.is_empty() {
            Self::None
        } else {
            Self::Unknown
        }
    }
}

/// The content of a body, or its beginning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content<'a> {
    /// As much as is shown.
    pub(super) bytes: Cow<'a, [u8]>,
    /// Bytes of all of it and their CRC-32C, where it is more than is shown.
    pub(super) more: Option<More>,
    /// The compression that the head names was undone.
    pub(super) decompressed: bool,
}

/// What is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// The whole content, in bytes, and its CRC-32C.
    Of { bytes: u64, crc32c: u32 },
    /// At least so many bytes; the rest was not decompressed.
    AtLeast(u64),
}

/// The content of `body`, of which at most `bytes_max` bytes are kept.
pub(super) fn content(facts: Facts, body: &[u8], bytes_max: usize) -> Content<'_> {
    let plain = if facts.chunked { dechunk(body) } else { Cow::Borrowed(body) };
    let unpacked = match facts.coding {
        _ if plain.is_empty() => None,
        Coding::None | Coding::Unknown => None,
        Coding::Gzip => unpack(MultiGzDecoder::new(&plain[..]), bytes_max),
        Coding::Deflate => unpack(ZlibDecoder::new(&plain[..]), bytes_max)
            .or_else(|| unpack(DeflateDecoder::new(&plain[..]), bytes_max)),
    };
    if let Some((bytes, more)) = unpacked {
        return Content { bytes: Cow::Owned(bytes), more, decompressed: true };
    }
    if plain.len() <= bytes_max {
        return Content { bytes: plain, more: None, decompressed: false };
    }
    let more = Some(More::Of { bytes: plain.len() as u64, crc32c: crc32c::crc32c(&plain) });
    let bytes = match plain {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..bytes_max]),
        Cow::Owned(mut bytes) => {
            bytes.truncate(bytes_max);
            Cow::Owned(bytes)
        }
    };
    Content { bytes, more, decompressed: false }
}

/// The data of all chunks that are there; a body that is not made of chunks is left as it is.
fn dechunk(body: &[u8]) -> Cow<'_, [u8]> {
    let mut data = Cow::Borrowed(&body[..0]);
    let mut rest = body;
    while let Some(line_end) = memchr::memchr(b'\n', rest) {
        let line = rest[..line_end].split(|&byte| byte == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(line.trim_ascii()).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(digits, 16) else { return Cow::Borrowed(body) };
        if size == 0 {
            return data;
        }
        rest = &rest[line_end + 1..];
        let there = size.min(rest.len());
        if data.is_empty() {
            // Most bodies have one chunk, and that needs no copy.
            data = Cow::Borrowed(&rest[..there]);
        } else {
            data.to_mut().extend_from_slice(&rest[..there]);
        }
        let after = &rest[there..];
        rest = after.strip_prefix(b"\r\n").or(after.strip_prefix(b"\n")).unwrap_or(after);
    }
    // The message was cut within its chunks, or there was none.
    data
}

/// `None` when not even the beginning can be read.
fn unpack(mut from: impl Read, bytes_max: usize) -> Option<(Vec<u8>, Option<More>)> {
    let mut shown = Vec::new();
    let ended = from.by_ref().take(bytes_max as u64).read_to_end(&mut shown);
    match ended {
        Err(_) if shown.is_empty() => return None,
        // Cut or damaged: what could be read is shown, and is all there is.
        Err(_) => return Some((shown, None)),
        Ok(_) => {}
    }
    let mut total = shown.len() as u64;
    let mut crc32c = crc32c::crc32c(&shown);
    let mut scratch = [0; 16 * 1024];
    loop {
        match from.read(&mut scratch) {
            Ok(0) | Err(_) if total == shown.len() as u64 => return Some((shown, None)),
            Ok(0) | Err(_) => return Some((shown, Some(More::Of { bytes: total, crc32c }))),
            Ok(_) if total > UNPACKED_BYTES_MAX => {
                return Some((shown, Some(More::AtLeast(total))));
            }
            Ok(read) => {
                total += read as u64;
                crc32c = crc32c::crc32c_append(crc32c, &scratch[..read]);
            }
        }
    }
}

/// Above this a decompressed body is not counted to its end: a few MiB can unpack to thousands of times as much.
const UNPACKED_BYTES_MAX: u64 = 256 << 20;

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use flate2::{Compression, write};

    use super::*;

    pub(in crate::outcome) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn facts(chunked: bool, coding: Coding) -> Facts {
        Facts { chunked, coding, form: false }
    }

    #[test]
    fn chunks_are_taken_apart_and_a_cut_body_shows_what_is_there() {
        let body =
            b"4\r\nWiki\r\n6;x=y\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nTrailer: 1\r\n\r\n";
        let whole = b"Wikipedia in \r\n\r\nchunks.";
        assert_eq!(&dechunk(body)[..], whole);
        for cut in 0..body.len() {
            let shown = dechunk(&body[..cut]);
            assert!(whole.starts_with(&shown) || cut == 0, "{cut}: {shown:?}");
        }
        assert_eq!(&dechunk(b"no chunks\n")[..], b"no chunks\n");
        assert_eq!(&dechunk(b"")[..], b"");
    }

    #[test]
    fn compressed_bodies_are_unpacked_and_bounded() {
        let text = vec![b'x'; 100_000];
        let packed = gzip(&text);
        let all = content(facts(false, Coding::Gzip), &packed, 1 << 20);
        assert_eq!((all.bytes.len(), all.more, all.decompressed), (100_000, None, true));
        let exact = content(facts(false, Coding::Gzip), &packed, 100_000);
        assert_eq!((exact.bytes.len(), exact.more), (100_000, None));
        let some = content(facts(false, Coding::Gzip), &packed, 10);
        let more = More::Of { bytes: 100_000, crc32c: crc32c::crc32c(&text) };
        assert_eq!((&some.bytes[..], some.more), (&b"xxxxxxxxxx"[..], Some(more)));
        let mut chunked = format!("{:x}\r\n", packed.len()).into_bytes();
        chunked.extend_from_slice(&packed);
        chunked.extend_from_slice(b"\r\n0\r\n\r\n");
        assert_eq!(content(facts(true, Coding::Gzip), &chunked, 1 << 20), all);
    }

    #[test]
    fn deflate_is_read_in_both_of_its_meanings() {
        let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"hello").expect("to memory");
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(b"hello").expect("to memory");
        for body in [zlib.finish().expect("done"), raw.finish().expect("done")] {
            let shown = content(facts(false, Coding::Deflate), &body, 100);
            assert_eq!((&shown.bytes[..], shown.decompressed), (&b"hello"[..], true));
        }
    }

    #[test]
    fn what_is_not_what_it_says_is_shown_as_it_came() {
        let shown = content(facts(false, Coding::Gzip), b"plain", 100);
        assert_eq!((&shown.bytes[..], shown.decompressed), (&b"plain"[..], false));
        assert!(!content(facts(true, Coding::Gzip), b"", 100).decompressed);
    }
}
