//! Content codings (RFC 9110 section 8.4.1): gzip and deflate, undone and done again.
//!
//! Owns the bound on what a small body may become. Never handles a coding whose result could not be written back.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use super::body::BodyError;

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    /// Reads the value of `Content-Encoding`. Two codings on top of each other are not handled.
    pub(super) fn of(value: &[u8]) -> Result<Self, BodyError> {
        let value = value.trim_ascii();
        let is = |name: &[u8]| value.eq_ignore_ascii_case(name);
        if value.is_empty() || is(b"identity") {
            return Ok(Self::Identity);
        }
        if is(b"gzip") || is(b"x-gzip") {
            return Ok(Self::Gzip);
        }
        if is(b"deflate") || is(b"x-deflate") {
            return Ok(Self::Deflate);
        }
        Err(BodyError::Coding(String::from_utf8_lossy(value).into_owned()))
    }

    /// Undoes a coding other than identity.
    pub(super) fn decode(self, coded: &[u8], bytes_max: usize) -> Result<Vec<u8>, BodyError> {
        match self {
            Self::Identity => read_all(coded, bytes_max),
            Self::Gzip => read_all(MultiGzDecoder::new(coded), bytes_max),
            // Deflate means zlib (RFC 1950), and yet some send it bare (RFC 1951).
            Self::Deflate if is_zlib(coded) => read_all(ZlibDecoder::new(coded), bytes_max),
            Self::Deflate => read_all(DeflateDecoder::new(coded), bytes_max),
        }
    }

    /// Does it again, fast rather than small.
    pub(super) fn encode(self, plain: &[u8]) -> Result<Vec<u8>, BodyError> {
        let out = Vec::with_capacity(plain.len() / 4 + 64);
        let done = match self {
            Self::Identity => Ok(plain.to_vec()),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::fast());
                encoder.write_all(plain).and_then(|()| encoder.finish())
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::fast());
                encoder.write_all(plain).and_then(|()| encoder.finish())
            }
        };
        done.map_err(|fault| corrupt(&fault))
    }
}

fn read_all(decoder: impl Read, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    let mut out = Vec::new();
    let mut bounded = decoder.take(bytes_max as u64 + 1);
    bounded.read_to_end(&mut out).map_err(|fault| corrupt(&fault))?;
    if out.len() > bytes_max {
        return Err(BodyError::TooLarge { bytes_max });
    }
    Ok(out)
}

fn corrupt(fault: &io::Error) -> BodyError {
    BodyError::Corrupt(fault.to_string())
}

fn is_zlib(coded: &[u8]) -> bool {
    matches!(coded, [cmf, flg, ..] if cmf & 15 == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)) % 31 == 0)
}
