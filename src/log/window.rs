//! A block of a segment in memory, and the frames in it.
//!
//! Owns the one reused buffer of a reader and the checking of frames. Never decides what a missing
//! or bad frame means.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::error::LogError;
use super::format::{FRAME_ALIGN, FRAME_HEAD_BYTES, FrameHead, PAYLOAD_BYTES_MAX};
use super::tail::SECTOR_BYTES;

/// Reads one segment at a time.
#[derive(Debug)]
pub(super) struct Window {
    file: File,
    path: PathBuf,
    salt: u32,
    buffer: Vec<u8>,
    /// Offset in the file of the buffer's first byte.
    base: u64,
    filled: usize,
    /// How much the next read asks for: little at the end of a live log, much in the middle.
    step: usize,
}

/// An intact frame; `payload` is a range of the window's buffer.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) head: FrameHead,
    pub(super) payload: Range<usize>,
}

impl Window {
    /// A window on a segment of the incarnation with this salt.
    pub(super) fn new(file: File, path: PathBuf, salt: u32) -> Self {
        Self { file, path, salt, buffer: Vec::new(), base: 0, filled: 0, step: STEP_BYTES_MIN }
    }

    /// The same window, with its buffer, on another segment.
    pub(super) fn moved_to(mut self, file: File, path: PathBuf, salt: u32) -> Self {
        (self.file, self.path, self.salt) = (file, path, salt);
        self.forget();
        self
    }

    /// Drops what was read, so that the file is asked again.
    pub(super) fn forget(&mut self) {
        self.filled = 0;
        self.step = STEP_BYTES_MIN;
    }

    /// The intact frame at this offset, if there is one.
    pub(super) fn frame(&mut self, offset: u64) -> Result<Option<Found>, LogError> {
        let Some(start) = self.ensure(offset, FRAME_HEAD_BYTES)? else { return Ok(None) };
        let head = FrameHead::parse(&self.buffer[start..start + FRAME_HEAD_BYTES]);
        if !head.plausible(self.salt) {
            return Ok(None);
        }
        let bytes = head.frame_bytes();
        let Some(start) = self.ensure(offset, bytes)? else { return Ok(None) };
        if !head.intact(&self.buffer[start..start + bytes]) {
            return Ok(None);
        }
        Ok(Some(Found { head, payload: start + FRAME_HEAD_BYTES..start + bytes }))
    }

    /// The payload of the frame found last.
    pub(super) fn payload(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Whether nothing was ever written at this offset: zeroes, or the end of the file.
    pub(super) fn is_blank(&mut self, offset: u64) -> Result<bool, LogError> {
        Ok(match self.ensure(offset, FRAME_HEAD_BYTES)? {
            Some(start) => {
                self.buffer[start..start + FRAME_HEAD_BYTES].iter().all(|byte| *byte == 0)
            }
            None => self.buffer[..self.filled].iter().all(|byte| *byte == 0),
        })
    }

    /// The first intact frame behind a bad one: at `offset` or later, of sequence `least` or later.
    pub(super) fn seek(
        &mut self,
        offset: u64,
        least: u64,
    ) -> Result<Option<(u64, FrameHead)>, LogError> {
        let mut at = offset.next_multiple_of(FRAME_ALIGN);
        while let Some(start) = self.ensure(at, FRAME_HEAD_BYTES)? {
            let salt = self.salt;
            let candidate = (start..=self.filled - FRAME_HEAD_BYTES)
                .step_by(FRAME_ALIGN as usize)
                .find(|index| {
                    let head = &self.buffer[*index..*index + FRAME_HEAD_BYTES];
                    let head = FrameHead::parse(head);
                    head.plausible(salt) && head.sequence >= least
                });
            let Some(index) = candidate else {
                let tried = (self.filled - FRAME_HEAD_BYTES - start) as u64 / FRAME_ALIGN + 1;
                at += tried * FRAME_ALIGN;
                continue;
            };
            at += (index - start) as u64;
            if let Some(found) = self.frame(at)? {
                return Ok(Some((at, found.head)));
            }
            at += FRAME_ALIGN;
        }
        Ok(None)
    }

    /// Whether a sector between two places is blank, or the rest of the one that `start` is in.
    pub(super) fn has_blank_sector(&mut self, start: u64, end: u64) -> Result<bool, LogError> {
        let mut from = start;
        loop {
            let to = (from + 1).next_multiple_of(SECTOR_BYTES);
            if to > end {
                return Ok(false);
            }
            let bytes = (to - from) as usize;
            let Some(at) = self.ensure(from, bytes)? else { return Ok(false) };
            if self.buffer[at..at + bytes].iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            from = to;
        }
    }

    /// Makes `bytes` from `offset` on available; the index of the first in the buffer, or `None`
    /// when the file ends before.
    fn ensure(&mut self, offset: u64, bytes: usize) -> Result<Option<usize>, LogError> {
        let end = self.base + self.filled as u64;
        if offset >= self.base && offset + bytes as u64 <= end {
            return Ok(Some((offset - self.base) as usize));
        }
        if offset >= self.base && offset < end {
            let start = (offset - self.base) as usize;
            self.buffer.copy_within(start..self.filled, 0);
            self.filled -= start;
        } else {
            self.filled = 0;
        }
        self.base = offset;
        let failed = |error| LogError::io(&self.path, "read", error);
        if bytes > STEP_BYTES_MAX
            && offset + bytes as u64 > self.file.metadata().map_err(failed)?.len()
        {
            return Ok(None);
        }
        let wanted = bytes.max(self.step);
        self.step = (self.step * 4).min(STEP_BYTES_MAX);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while self.filled < bytes {
            let room = &mut self.buffer[self.filled..wanted];
            match self.file.read_at(room, offset + self.filled as u64) {
                Ok(0) => return Ok(None),
                Ok(taken) => self.filled += taken,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LogError::io(&self.path, "read", error)),
            }
        }
        Ok(Some(0))
    }
}

const STEP_BYTES_MIN: usize = 4 << 10;
const STEP_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(STEP_BYTES_MIN >= FRAME_HEAD_BYTES);
const _: () = assert!(PAYLOAD_BYTES_MAX < u32::MAX as usize);
