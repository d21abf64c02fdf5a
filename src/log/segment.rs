//! The segment being written.
//!
//! Owns one file, its preallocation and the undoing of a failed batch. Never rolls and never
//! counts records: that is the writer's.

use std::fs::File;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

use super::directory::{create_file, segment_name, sync_directory};
use super::disk::{Disk, sync_all, write_all};
use super::error::LogError;
use super::format::{HEADER_BYTES, Header};

/// What stays cached behind the head, for readers that follow.
const CACHED_BYTES: u64 = 16 << 20;
/// How much is let go of at a time.
const FORGET_STEP_BYTES: u64 = 4 << 20;

/// An open segment; `written` bytes of it are whole frames.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    pub(super) path: PathBuf,
    /// Where the next frame goes.
    pub(super) written: u64,
    /// Where the next segment begins instead.
    limit: u64,
    dirty: bool,
    /// Up to here the kernel was told that its cached pages are not needed.
    forgotten: u64,
}

impl Segment {
    /// Creates, preallocates and makes durable an empty segment. On any error nothing is left.
    pub(super) fn create(
        disk: &mut dyn Disk,
        directory: &Path,
        header: &Header,
        bytes: u64,
    ) -> Result<Self, LogError> {
        let path = directory.join(segment_name(header.first));
        let file = create_file(&path)?;
        match Self::fill(disk, &file, &path, header, bytes) {
            Ok(()) => {
                sync_directory(directory)?;
                Ok(Self {
                    file,
                    path,
                    written: HEADER_BYTES as u64,
                    limit: bytes,
                    dirty: false,
                    forgotten: 0,
                })
            }
            Err(error) => {
                // The first error is the one to tell; a file that stays is an empty segment, which
                // recovery removes.
                let _ = std::fs::remove_file(&path).map(|()| sync_directory(directory));
                Err(error)
            }
        }
    }

    /// Whether a batch of this length belongs into this segment.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.written + bytes <= self.limit
    }

    /// Whether anything was appended.
    pub(super) fn is_empty(&self) -> bool {
        self.written == HEADER_BYTES as u64
    }

    /// Writes parts behind the last frame without counting them as written yet.
    pub(super) fn write(
        &mut self,
        disk: &mut dyn Disk,
        parts: &mut [IoSlice<'_>],
        ahead: u64,
    ) -> Result<(), LogError> {
        self.dirty = true;
        write_all(disk, &self.file, parts, self.written + ahead)
            .map_err(|error| LogError::io(&self.path, "write", error))
    }

    /// Counts `bytes` behind the last frame as written.
    pub(super) fn accept(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Removes what a failed batch left behind the last whole frame, preallocated space included.
    pub(super) fn undo(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        disk.truncate(&self.file, self.written)
            .map_err(|error| LogError::io(&self.path, "undoing of a batch", error))
    }

    /// fdatasync, when anything was written since the last one.
    pub(super) fn sync(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        if self.dirty {
            disk.sync(&self.file).map_err(|error| LogError::unsynced(&self.path, error))?;
            self.check_presence()?;
            self.dirty = false;
            self.forget_behind();
        }
        Ok(())
    }

    /// A file that was deleted under the writer takes writes and syncs as before, and nobody will ever read them.
    fn check_presence(&self) -> Result<(), LogError> {
        use std::os::unix::fs::MetadataExt;
        match self.file.metadata() {
            Ok(data) if data.nlink() == 0 => {
                let gone = std::io::Error::new(
                    std::io::ErrorKind::NotFound,
                    "the segment was deleted while it was written",
                );
                Err(LogError::io(&self.path, "making it durable", gone))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(LogError::io(&self.path, "stat", error)),
        }
    }

    /// Lets go of cached pages that a live reader has most likely read: a log that grows for days would otherwise push
    /// everything else out of the page cache, and every write would take a page never used before (measured on a
    /// virtual machine whose host backs memory on first touch: 2.6 us per KiB instead of 0.2).
    fn forget_behind(&mut self) {
        let end = self.written.saturating_sub(CACHED_BYTES);
        if end < self.forgotten + FORGET_STEP_BYTES {
            return;
        }
        let len = std::num::NonZeroU64::new(end - self.forgotten);
        // Advice: whether it is taken changes nothing but speed.
        let _ = rustix::fs::fadvise(&self.file, self.forgotten, len, rustix::fs::Advice::DontNeed);
        self.forgotten = end;
    }

    /// Gives the unused space back.
    pub(super) fn trim(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        self.dirty = true;
        disk.truncate(&self.file, self.written)
            .map_err(|error| LogError::io(&self.path, "truncate", error))
    }

    fn fill(
        disk: &mut dyn Disk,
        file: &File,
        path: &Path,
        header: &Header,
        bytes: u64,
    ) -> Result<(), LogError> {
        disk.allocate(file, bytes).map_err(|error| LogError::io(path, "preallocation", error))?;
        let encoded = header.encode();
        write_all(disk, file, &mut [IoSlice::new(&encoded)], 0)
            .map_err(|error| LogError::io(path, "write", error))?;
        sync_all(file).map_err(|error| LogError::io(path, "fsync", error))
    }
}
