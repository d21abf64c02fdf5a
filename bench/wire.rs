//! As much of HTTP/1.1 as a closed loop of fixed requests needs (RFC 9112 sections 2 and 6).
//!
//! It owns finding the end of a head and the few fields that matter. It never buffers, and knows
//! no framing but Content-Length: whatever else arrives is an error of the run.

use std::ops::Range;

/// The longest head either side of the bench accepts, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;

/// A head seen before on a connection and what it meant. Requests and answers repeat, so the
/// next one is first compared with the last, which costs less than parsing it.
#[derive(Default)]
pub(crate) struct KnownHead<M> {
    bytes: Vec<u8>,
    meaning: M,
}

impl<M: Copy> KnownHead<M> {
    /// Length and meaning of the head at the start of `data`; `None` while it is incomplete.
    pub(crate) fn read(
        &mut self,
        data: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<M, String>,
    ) -> Result<Option<(usize, M)>, String> {
        if !self.bytes.is_empty() && data.starts_with(&self.bytes) {
            return Ok(Some((self.bytes.len(), self.meaning)));
        }
        let Some(end) = memchr::memmem::find(data, b"\r\n\r\n").map(|at| at + 4) else {
            return if data.len() > HEAD_BYTES_MAX {
                Err(format!("a head longer than {HEAD_BYTES_MAX} bytes"))
            } else {
                Ok(None)
            };
        };
        self.meaning = parse(&data[..end])?;
        self.bytes.clear();
        self.bytes.extend_from_slice(&data[..end]);
        Ok(Some((end, self.meaning)))
    }
}

/// The status code of an answer's head.
pub(crate) fn status(head: &[u8]) -> Option<u16> {
    text(head, 9..12)?.parse().ok()
}

/// The value of Content-Length; absent, unreadable or repeated is `None`.
pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    let mut found = None;
    for line in head.split(|b| *b == b'\n').skip(1) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        if line[..colon].eq_ignore_ascii_case(b"content-length") {
            let value = text(line, colon + 1..line.len())?.trim().parse().ok()?;
            if found.replace(value).is_some() {
                return None;
            }
        }
    }
    found
}

/// The number that ends the path of a request's head, if one does.
pub(crate) fn size_asked(head: &[u8]) -> Option<usize> {
    let target = head.split(|b| *b == b' ').nth(1)?;
    let slash = memchr::memrchr(b'/', target)?;
    text(target, slash + 1..target.len())?.parse().ok()
}

fn text(bytes: &[u8], range: Range<usize>) -> Option<&str> {
    std::str::from_utf8(bytes.get(range)?).ok()
}
