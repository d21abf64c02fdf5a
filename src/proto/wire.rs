//! The protobuf wire format, read in place: varints, keys, lengths, unknown fields.
//!
//! Accepts exactly what `prost` accepts, so that a record is valid or not whoever reads it. Never copies.

use super::view::ViewError;

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<'a> {
    rest: &'a [u8],
}

/// How the value of a field is laid out (protobuf encoding guide, "Message structure").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Varint,
    Fixed64,
    Bytes,
    StartGroup,
    EndGroup,
    Fixed32,
}

/// Messages and groups within messages: `prost` follows so many.
pub(super) const DEPTH_MAX: u32 = 100;

type Result<T> = std::result::Result<T, ViewError>;

impl<'a> Wire<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64> {
        if let [byte @ 0..=0x7F, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for (at, &byte) in self.rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            value |= u64::from(byte & 0x7F) << (7 * at);
            if byte < 0x80 {
                if at == VARINT_BYTES_MAX - 1 && byte > 1 {
                    return Err(ViewError::Varint);
                }
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(ViewError::Varint)
    }

    /// The number and the layout of the next field.
    #[inline]
    pub(super) fn key(&mut self) -> Result<(u32, Layout)> {
        let key = u32::try_from(self.varint()?).map_err(|_| ViewError::Key)?;
        let layout = match key & 7 {
            0 => Layout::Varint,
            1 => Layout::Fixed64,
            2 => Layout::Bytes,
            3 => Layout::StartGroup,
            4 => Layout::EndGroup,
            5 => Layout::Fixed32,
            _ => return Err(ViewError::Key),
        };
        if key >> 3 == 0 {
            return Err(ViewError::Key);
        }
        Ok((key >> 3, layout))
    }

    #[inline]
    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let taken = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = taken.ok_or(ViewError::CutShort)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The value of a known field of type bytes, string or message.
    #[inline]
    pub(super) fn bytes(&mut self, layout: Layout) -> Result<&'a [u8]> {
        expect(layout, Layout::Bytes)?;
        let len = self.varint()?;
        self.take(len)
    }

    pub(super) fn text(&mut self, layout: Layout) -> Result<&'a str> {
        std::str::from_utf8(self.bytes(layout)?).map_err(|_| ViewError::Text)
    }

    /// The value of a known field of an integer type or bool.
    #[inline]
    pub(super) fn number(&mut self, layout: Layout) -> Result<u64> {
        expect(layout, Layout::Varint)?;
        self.varint()
    }

    pub(super) fn fixed64(&mut self, layout: Layout) -> Result<u64> {
        expect(layout, Layout::Fixed64)?;
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("invariant: eight were taken")))
    }

    pub(super) fn fixed32(&mut self, layout: Layout) -> Result<u32> {
        expect(layout, Layout::Fixed32)?;
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("invariant: four were taken")))
    }

    /// Passes over the value of an unknown field. `depth`: how much deeper groups may go.
    pub(super) fn skip(&mut self, number: u32, layout: Layout, depth: u32) -> Result<()> {
        if depth == 0 {
            return Err(ViewError::Depth);
        }
        match layout {
            Layout::Varint => self.varint().map(drop),
            Layout::Fixed64 => self.take(8).map(drop),
            Layout::Fixed32 => self.take(4).map(drop),
            Layout::Bytes => {
                let len = self.varint()?;
                self.take(len).map(drop)
            }
            Layout::EndGroup => Err(ViewError::Group),
            Layout::StartGroup => loop {
                match self.key()? {
                    (end, Layout::EndGroup) if end == number => return Ok(()),
                    (_, Layout::EndGroup) => return Err(ViewError::Group),
                    (inner, layout) => self.skip(inner, layout, depth - 1)?,
                }
            },
        }
    }
}

#[inline]
fn expect(layout: Layout, known: Layout) -> Result<()> {
    if layout == known { Ok(()) } else { Err(ViewError::Layout) }
}

/// Seven bits in each of them, 64 in all.
const VARINT_BYTES_MAX: usize = 10;
