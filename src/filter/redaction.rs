//! Credentials in the records, replaced by keyed hashes of equal length.
//!
//! Equal values become equal letters under the key of one node, so that it still shows who did what; without the key
//! nothing can be tried out against them. Lengths, lines and chunk framing stay as they are, so records are read as
//! before. A value is always hashed whole, never byte by byte: else whoever sends requests and reads records could
//! guess one letter after the other.

use std::{fmt, str::FromStr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::secret_calls;
use crate::http::{FieldLines, RequestLines, is_field_name};

/// The fields whose values are credentials.
const CREDENTIALS: [&str; 6] = [
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
    "es-secondary-authorization",
    "X-Amz-Security-Token",
];

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// A body is hashed in blocks of so many bytes on the wire, so that it takes no more memory than that.
pub(super) const BLOCK_BYTES: usize = 64 << 10;

/// The name of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(Vec<u8>);

impl FromStr for FieldName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_field_name(text.as_bytes()) {
            return Ok(Self(text.as_bytes().to_vec()));
        }
        Err("give the name of a header alone, without a colon".to_owned())
    }
}

/// What is replaced, and with which key.
#[derive(Clone)]
pub struct Redaction {
    mac: Hmac<Sha256>,
    names: Vec<Vec<u8>>,
    bodies: bool,
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction").field("bodies", &self.bodies).finish_non_exhaustive()
    }
}

impl Redaction {
    /// `credentials`: the fields that carry them and the bodies of calls about them; beside them the fields `named`.
    pub fn new(key: &[u8; KEY_BYTES], credentials: bool, named: &[FieldName]) -> Self {
        let known = CREDENTIALS.iter().filter(|_| credentials).map(|name| name.as_bytes().to_vec());
        let names = known.chain(named.iter().map(|name| name.0.clone())).collect();
        let mac = Hmac::new_from_slice(key).expect("invariant: HMAC takes keys of any length");
        Self { mac, names, bodies: credentials }
    }

    /// The head as it is to be recorded, or `None` when that is how it is: of a request or a response, complete or the
    /// front of one.
    pub fn head(&self, head: &[u8]) -> Option<Vec<u8>> {
        let mut out: Option<Vec<u8>> = None;
        for line in FieldLines::of(head) {
            let is_secret = self.names.iter().any(|name| line.is_named(head, name));
            if is_secret && !line.value.is_empty() {
                let out = out.get_or_insert_with(|| head.to_vec());
                let mut letters = self.letters([&head[line.value.clone()]]);
                letters.write(&mut out[line.value]);
            }
        }
        out
    }

    /// Are the bodies of this request and of its answer to be replaced?
    pub fn hides_bodies(&self, request: &RequestLines<'_>) -> bool {
        self.bodies && secret_calls::is_secret(request.method(), request.target())
    }

    fn letters<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Letters<'_> {
        let mut mac = self.mac.clone();
        parts.into_iter().for_each(|part| mac.update(part));
        let block = mac.finalize().into_bytes().into();
        Letters { redaction: self, block, at: 0 }
    }
}

/// An endless text that a hash makes.
struct Letters<'a> {
    redaction: &'a Redaction,
    block: [u8; 32],
    at: usize,
}

impl Letters<'_> {
    fn write(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.at == self.block.len() {
                let mut mac = self.redaction.mac.clone();
                mac.update(&self.block);
                self.block = mac.finalize().into_bytes().into();
                self.at = 0;
            }
            *byte = ALPHABET[usize::from(self.block[self.at] % 64)];
            self.at += 1;
        }
    }
}

/// The body of one message on its way into the records, block by block.
#[derive(Debug)]
pub struct HiddenBody {
    kept: Vec<u8>,
    /// `None`: all of it is content.
    chunks: Option<Chunks>,
}

/// A block of a body: as it came, and as it is recorded.
pub struct Block {
    /// As it came.
    pub original: Vec<u8>,
    /// The same framing with other content.
    pub recorded: Vec<u8>,
}

impl HiddenBody {
    /// A body of which nothing has come.
    pub fn new(chunked: bool) -> Self {
        Self { kept: Vec::new(), chunks: chunked.then(Chunks::default) }
    }

    /// Bytes that wait for their block to be complete.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Takes bytes in and hands complete blocks out. How the bytes were cut makes no difference.
    pub fn push(&mut self, redaction: &Redaction, mut bytes: &[u8], each: &mut dyn FnMut(Block)) {
        while self.kept.len() + bytes.len() >= BLOCK_BYTES {
            let (now, later) = bytes.split_at(BLOCK_BYTES - self.kept.len());
            self.kept.extend_from_slice(now);
            bytes = later;
            each(self.block(redaction));
        }
        self.kept.extend_from_slice(bytes);
    }

    /// Hands out what is left: the body has ended, or will not.
    pub fn finish(&mut self, redaction: &Redaction) -> Option<Block> {
        (!self.kept.is_empty()).then(|| self.block(redaction))
    }

    fn block(&mut self, redaction: &Redaction) -> Block {
        let original = std::mem::take(&mut self.kept);
        let mut recorded = original.clone();
        let whole = std::iter::once(0..original.len()).collect();
        let content = self.chunks.as_mut().map_or(whole, |chunks| chunks.content(&original));
        let mut letters = redaction.letters(content.iter().map(|part| &original[part.clone()]));
        for part in content {
            letters.write(&mut recorded[part]);
        }
        Block { original, recorded }
    }
}

/// Where the content of a chunked body stands. Its framing has been checked by whoever follows the message.
#[derive(Debug, Default)]
struct Chunks {
    size: u64,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Size,
    /// The rest of the line with the size.
    Extension,
    Content,
    /// The line end behind the content.
    End,
    Trailers,
}

impl Chunks {
    fn content(&mut self, bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
        let (mut at, mut parts) = (0, Vec::new());
        while let Some(&byte) = bytes.get(at) {
            match self.place {
                Place::Size => match char::from(byte).to_digit(16) {
                    Some(digit) => self.size = self.size << 4 | u64::from(digit),
                    None => self.place = Place::Extension,
                },
                Place::Content => {
                    let taken = self.size.min((bytes.len() - at) as u64);
                    parts.push(at..at + taken as usize);
                    self.size -= taken;
                    at += taken as usize;
                    if self.size == 0 {
                        self.place = Place::End;
                    }
                    continue;
                }
                Place::End if byte == b'\n' => self.place = Place::Size,
                Place::End | Place::Trailers | Place::Extension => {}
            }
            if matches!(self.place, Place::Extension) && byte == b'\n' {
                self.place = if self.size == 0 { Place::Trailers } else { Place::Content };
            }
            at += 1;
        }
        parts
    }
}

/// URL-safe base64's: allowed in field values, cookies and JSON texts alike.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redaction() -> Redaction {
        Redaction::new(&[7; KEY_BYTES], true, &["X-Api-Key".parse().expect("a name")])
    }

    fn recorded(body: &[u8], chunked: bool, cuts: &[usize]) -> Vec<u8> {
        let redaction = redaction();
        let mut hidden = HiddenBody::new(chunked);
        let (mut original, mut out, mut at) = (Vec::new(), Vec::new(), 0);
        let mut each = |block: Block| {
            original.extend_from_slice(&block.original);
            out.extend_from_slice(&block.recorded);
        };
        for cut in cuts.iter().copied().chain([body.len()]) {
            let cut = cut.clamp(at, body.len());
            hidden.push(&redaction, &body[at..cut], &mut each);
            assert!(hidden.kept() < BLOCK_BYTES);
            at = cut;
        }
        hidden.finish(&redaction).into_iter().for_each(&mut each);
        assert_eq!(original, body);
        out
    }

    #[test]
    fn credentials_in_heads_become_letters_of_equal_length() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nauthorization:  Basic dXNlcjpwYXNz \r\n\
                     x-api-key: k\r\nCookie:\r\nCookies: kept\r\nCookie: a=secret; b=c\r\n\r\n";
        let out = redaction().head(head).expect("something to replace");
        assert_eq!(out.len(), head.len());
        let (before, after) = (String::from_utf8_lossy(head), String::from_utf8_lossy(&out));
        for secret in ["dXNlcjpwYXNz", "Basic", "secret", "x-api-key: k\r\n"] {
            assert!(before.contains(secret) && !after.contains(secret), "{secret}: {after}");
        }
        for kept in
            ["GET / HTTP/1.1\r\nHost: a\r\nauthorization:  ", "Cookie:\r\nCookies: kept\r\n"]
        {
            assert!(after.contains(kept), "{after}");
        }
        assert!(redaction().head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_none());
        let answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=secret\r\n\r\n";
        assert!(!redaction().head(answer).expect("a cookie").windows(6).any(|w| w == b"secret"));
    }

    #[test]
    fn equal_values_stay_equal_and_keys_differ() {
        let value = |redaction: &Redaction, value: &str| {
            let head = format!("GET / HTTP/1.1\r\nAuthorization: {value}\r\n\r\n");
            redaction.head(head.as_bytes()).expect("replaced")
        };
        let (one, other) = (redaction(), Redaction::new(&[8; KEY_BYTES], true, &[]));
        assert_eq!(value(&one, "Basic YTpi"), value(&one, "Basic YTpi"));
        assert_ne!(value(&one, "Basic YTpi"), value(&one, "Basic YTpj"));
        assert_ne!(value(&one, "Basic YTpi"), value(&other, "Basic YTpi"));
        // A common beginning does not show.
        let (a, b) = (value(&one, &"a".repeat(90)), value(&one, &("a".repeat(89) + "b")));
        let same = a[31..121].iter().zip(&b[31..121]).filter(|(a, b)| a == b).count();
        assert!(same < 20, "{same} of 90 letters are the same");
    }

    #[test]
    fn the_front_of_a_head_shows_nothing_either() {
        let head = b"GET / HTTP/1.1\r\nAuthorization: Basic c2VjcmV0\r\n\r\n";
        for end in 0..head.len() {
            let out = redaction().head(&head[..end]).unwrap_or_else(|| head[..end].to_vec());
            assert_eq!(out.len(), end);
            assert!(!out.windows(3).any(|w| w == b"Bas" || w == b"c2V"), "{end}");
        }
    }

    #[test]
    fn the_framing_of_chunks_stays() {
        let body = b"5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n";
        let out = recorded(body, true, &[]);
        for (at, (a, b)) in body.iter().zip(&out).enumerate() {
            let content = (7..12).contains(&at) || (17..27).contains(&at);
            assert!(content || a == b, "{at}");
        }
        assert_ne!(&out[7..12], b"hello");
        assert_ne!(&out[17..27], b"0123456789");
    }

    proptest! {
        /// However a body was cut and chunked, its records are the same, and only its content differs.
        #[test]
        fn cuts_make_no_difference(
            len in 0_usize..200_000,
            size in 1_usize..90_000,
            chunked in any::<bool>(),
            mut cuts in prop::collection::vec(0_usize..200_000, 0..6),
        ) {
            let content: Vec<u8> = (0..len).map(|i| b'a' + (i % 26) as u8).collect();
            let mut body = Vec::new();
            if chunked {
                for part in content.chunks(size) {
                    body.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                    body.extend_from_slice(part);
                    body.extend_from_slice(b"\r\n");
                }
                body.extend_from_slice(b"0\r\n\r\n");
            } else {
                body.clone_from(&content);
            }
            cuts.sort_unstable();
            let out = recorded(&body, chunked, &cuts);
            prop_assert_eq!(&out, &recorded(&body, chunked, &[]));
            let letter = |byte: &u8| !byte.is_ascii_lowercase();
            if chunked {
                let framing = body.iter().zip(&out).filter(|(a, _)| letter(a) && !a.is_ascii_hexdigit());
                prop_assert!(framing.clone().all(|(a, b)| a == b));
            }
            let same = body.iter().zip(&out).filter(|(a, b)| a == b).count();
            prop_assert!(same <= body.len() - content.len() + content.len() / 20 + 20);
        }
    }
}
