//! The chunked body (RFC 9112 section 7.1), followed byte for byte without a copy of anything.
//!
//! Owns chunk lines, the CRLF behind chunk data and the trailer section. Chunk data is skipped by
//! its length, never looked at. Never accepts a line end other than CRLF.

use super::bytes::{CR, HT, LF, SP, stop_at, token_len};
use super::{Limits, Refusal};

/// Where a chunked body stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    /// The size being read, or the bytes of data still to come.
    size: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
    trailer_fields: u16,
    /// Bytes of the trailer name read so far, as far as they matter.
    name_bytes: u8,
    /// One bit for each of [`FORBIDDEN_TRAILERS`] that the trailer name may still become.
    candidates: u8,
    size_digits: u8,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            size: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            trailer_fields: 0,
            name_bytes: 0,
            candidates: 0,
            size_digits: 0,
            place: Place::Size,
        }
    }

    /// Reads on: how many bytes of `input` belong to the body, and whether it ends with them. All of
    /// `input` does unless the body ends.
    pub(super) fn next(&mut self, limits: &Limits, input: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            at = match self.place {
                Place::Data => self.data(input, at),
                Place::Extension => self.extension(limits, input, at)?,
                Place::TrailerValue => self.trailer_value(limits, input, at)?,
                Place::LastLf if byte == LF => return Ok((at + 1, true)),
                _ => {
                    self.byte(limits, byte)?;
                    at + 1
                }
            };
        }
        Ok((at, false))
    }

    fn byte(&mut self, limits: &Limits, byte: u8) -> Result<(), Refusal> {
        match (self.place, byte) {
            (Place::Size, _) => return self.size_byte(byte),
            (Place::SizeLf, LF) if self.size == 0 => self.place = Place::TrailerStart,
            (Place::SizeLf, LF) => self.place = Place::Data,
            (Place::DataCr, CR) => self.place = Place::DataLf,
            (Place::DataLf, LF) => self.expect_size(),
            (Place::DataCr | Place::DataLf, _) => return Err(Refusal::ChunkDataUnterminated),
            (Place::TrailerStart, CR) => self.place = Place::LastLf,
            (Place::TrailerStart | Place::TrailerName, _) => {
                return self.trailer_name_byte(limits, byte);
            }
            (Place::TrailerLf, LF) => {
                self.count_trailer_bytes(limits, 1)?;
                self.place = Place::TrailerStart;
            }
            _ => return Err(Refusal::BareCr),
        }
        Ok(())
    }

    fn expect_size(&mut self) {
        self.size = 0;
        self.size_digits = 0;
        self.place = Place::Size;
    }

    fn size_byte(&mut self, byte: u8) -> Result<(), Refusal> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if self.size_digits == SIZE_DIGITS_MAX || self.size > i64::MAX as u64 >> 4 {
                return Err(Refusal::ChunkSizeOverflow);
            }
            self.size = self.size << 4 | u64::from(digit);
            self.size_digits += 1;
            return Ok(());
        }
        self.place = match byte {
            CR | b';' if self.size_digits == 0 => return Err(Refusal::ChunkSizeEmpty),
            CR => Place::SizeLf,
            b';' => {
                self.extension_bytes = add(self.extension_bytes, 1);
                Place::Extension
            }
            LF => return Err(Refusal::BareLf),
            _ => return Err(Refusal::ChunkSizeInvalid),
        };
        Ok(())
    }

    fn data(&mut self, input: &[u8], at: usize) -> usize {
        let there = (input.len() - at) as u64;
        let taken = self.size.min(there);
        self.size -= taken;
        if self.size == 0 {
            self.place = Place::DataCr;
        }
        at + taken as usize
    }

    /// Extensions mean nothing to us; a control byte in one, tab included, has no honest use.
    fn extension(&mut self, limits: &Limits, input: &[u8], at: usize) -> Result<usize, Refusal> {
        let stop = stop_at::<0x20>(input, at).unwrap_or(input.len());
        self.extension_bytes = add(self.extension_bytes, stop - at);
        if self.extension_bytes as usize > limits.chunk_extension_bytes_max {
            return Err(Refusal::ChunkExtensionsTooLarge);
        }
        match input.get(stop) {
            None => return Ok(stop),
            Some(&CR) => self.place = Place::SizeLf,
            Some(&LF) => return Err(Refusal::BareLf),
            Some(_) => return Err(Refusal::ChunkExtensionControl),
        }
        Ok(stop + 1)
    }

    fn trailer_name_byte(&mut self, limits: &Limits, byte: u8) -> Result<(), Refusal> {
        self.count_trailer_bytes(limits, 1)?;
        if self.place == Place::TrailerStart {
            self.trailer_fields = self.trailer_fields.saturating_add(1);
            if usize::from(self.trailer_fields) > limits.fields_max {
                return Err(Refusal::TrailersTooLarge);
            }
            self.name_bytes = 0;
            self.candidates = (1 << FORBIDDEN_TRAILERS.len()) - 1;
            self.place = Place::TrailerName;
        }
        if byte == b':' && self.name_bytes > 0 {
            let length = usize::from(self.name_bytes);
            let is_whole = |&(bit, name): &(usize, &&[u8])| {
                self.candidates & (1 << bit) != 0 && name.len() == length
            };
            if FORBIDDEN_TRAILERS.iter().enumerate().any(|entry| is_whole(&entry)) {
                return Err(Refusal::TrailerForbidden);
            }
            self.place = Place::TrailerValue;
            return Ok(());
        }
        match byte {
            LF => return Err(Refusal::BareLf),
            SP | HT if self.name_bytes == 0 => return Err(Refusal::ObsFold),
            SP | HT => return Err(Refusal::FieldNameWhitespace),
            _ if token_len(&[byte]) == 0 => return Err(Refusal::TrailerInvalid),
            _ => {}
        }
        for (bit, name) in FORBIDDEN_TRAILERS.iter().enumerate() {
            if name.get(usize::from(self.name_bytes)) != Some(&byte.to_ascii_lowercase()) {
                self.candidates &= !(1 << bit);
            }
        }
        self.name_bytes = self.name_bytes.saturating_add(1);
        Ok(())
    }

    fn trailer_value(
        &mut self,
        limits: &Limits,
        input: &[u8],
        at: usize,
    ) -> Result<usize, Refusal> {
        let stop = stop_at::<0x20>(input, at).unwrap_or(input.len());
        self.count_trailer_bytes(limits, stop - at)?;
        let Some(&byte) = input.get(stop) else { return Ok(stop) };
        self.count_trailer_bytes(limits, 1)?;
        match byte {
            HT => {}
            CR => self.place = Place::TrailerLf,
            LF => return Err(Refusal::BareLf),
            0 => return Err(Refusal::FieldValueNul),
            _ => return Err(Refusal::FieldValueControl),
        }
        Ok(stop + 1)
    }

    fn count_trailer_bytes(&mut self, limits: &Limits, bytes: usize) -> Result<(), Refusal> {
        self.trailer_bytes = add(self.trailer_bytes, bytes);
        if self.trailer_bytes as usize > limits.trailer_bytes_max {
            return Err(Refusal::TrailersTooLarge);
        }
        Ok(())
    }
}

fn add(sum: u32, bytes: usize) -> u32 {
    sum.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// As many as a 64-bit size can have.
const SIZE_DIGITS_MAX: u8 = 16;

/// Trailers that a parser which merges them into the head would obey.
const FORBIDDEN_TRAILERS: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
