//! What can go wrong with the log, in words an operator can act on.
//!
//! Every text names the path, what happened and what to do next. The values are cheap to clone, for
//! a poisoned writer answers every later call with the first error.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An error of the capture log.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum LogError {
    /// The operating system refused; nothing more specific is known.
    Io { path: PathBuf, doing: &'static str, source: Arc<io::Error> },
    /// No space (or no quota, or less than the reserve) is left. The batch was undone, the writer
    /// goes on working once there is space.
    DiskFull { path: PathBuf, doing: &'static str },
    /// We may not read or write this path.
    Permission { path: PathBuf, doing: &'static str },
    /// The directory belongs to another user.
    WrongOwner { path: PathBuf, owner: u32, ours: u32 },
    /// The directory is writable for its group or for everybody.
    OpenToOthers { path: PathBuf, mode: u32 },
    /// A segment was written by a newer format than this program reads.
    NewerVersion { path: PathBuf, found: u32, supported: u32 },
    /// The header of a segment is damaged; its frames may still be good.
    BadHeader { path: PathBuf },
    /// Frames were written and cannot be read; reading goes on after them.
    Corrupt { path: PathBuf, sequences: Range<u64> },
    /// Segments a reader had not read are gone; `end` is `None` when nothing tells how far.
    Missing { path: PathBuf, first: u64, end: Option<u64> },
    /// A stored reading position does not parse or does not fit the log.
    BadPosition { path: PathBuf, why: String },
    /// A group or node name that may not be used.
    BadName { name: String, why: &'static str },
    /// A payload above [`crate::log::PAYLOAD_BYTES_MAX`].
    TooLarge { bytes: usize, bytes_max: usize },
    /// An earlier error left it unknown what the disk holds; nothing more is written.
    Poisoned { cause: Arc<LogError> },
}

impl LogError {
    /// Whether space ran out: waiting for space helps, and the writer still works.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    /// Whether the reader reported a loss and can be asked for the next frame after it.
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Missing { .. } | Self::BadHeader { .. })
    }

    /// An error that its user met beside the log's own operations.
    pub fn failed(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::io(path, doing, source)
    }

    /// A failed fdatasync. Never a full disk, whatever the code (a device that is provisioned thinly says ENOSPC): the
    /// pages may be gone, and no room that comes later brings them back.
    pub(super) fn unsynced(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.into(), doing: "fdatasync", source: Arc::new(source) }
    }

    /// Sorts an I/O error into the kinds that need different action.
    pub(super) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, doing }
            }
            io::ErrorKind::PermissionDenied => Self::Permission { path, doing },
            _ => Self::Io { path, doing, source: Arc::new(source) },
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, doing, source } => {
                write!(
                    f,
                    "{}: {doing} failed: {source}; check the disk and the kernel's messages",
                    path.display()
                )
            }
            Self::DiskFull { path, doing } => write!(
                f,
                "{}: the disk is full ({doing}); nothing of the batch was kept; free space or \
                 lower the log's retention, then it goes on",
                path.display()
            ),
            Self::Permission { path, doing } => write!(
                f,
                "{}: permission denied ({doing}); run as the owner of the log or correct the owner",
                path.display()
            ),
            Self::WrongOwner { path, owner, ours } => write!(
                f,
                "{}: owned by user {owner}, we run as {ours}; run as that user or change the owner with chown",
                path.display()
            ),
            Self::OpenToOthers { path, mode } => write!(
                f,
                "{}: mode {mode:04o} lets others write into the log; run chmod 0700 on it",
                path.display()
            ),
            Self::NewerVersion { path, found, supported } => write!(
                f,
                "{}: format version {found}, this program knows up to {supported}; use a newer \
                 tapline or another directory",
                path.display()
            ),
            Self::BadHeader { path } => write!(
                f,
                "{}: the segment's header is damaged; keep the file; its frames are read by their own checksums",
                path.display()
            ),
            Self::Corrupt { path, sequences } => write!(
                f,
                "{}: frames {} to {} are damaged and lost; keep the file and check the disk; reading goes on at {}",
                path.display(),
                sequences.start,
                sequences.end.saturating_sub(1),
                sequences.end
            ),
            Self::Missing { path, first, end: Some(end) } => write!(
                f,
                "{}: frames {first} to {} were deleted before they were read; reading goes on at \
                 {end}; raise the log's retention",
                path.display(),
                end.saturating_sub(1)
            ),
            Self::Missing { path, first, end: None } => write!(
                f,
                "{}: deleted; frames from {first} on may not have been read; reading goes on with \
                 what follows; raise the log's retention",
                path.display()
            ),
            Self::BadPosition { path, why } => write!(
                f,
                "{}: not a reading position of this log ({why}); delete it to read from the start",
                path.display()
            ),
            Self::BadName { name, why } => write!(f, "name {name:?} cannot be used: {why}"),
            Self::TooLarge { bytes, bytes_max } => write!(
                f,
                "a record of {bytes} bytes is above the log's limit of {bytes_max}; split it before it is appended"
            ),
            Self::Poisoned { cause } => write!(
                f,
                "the log stopped after an earlier error and must be reopened by a restart: {cause}"
            ),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source.as_ref()),
            Self::Poisoned { cause } => Some(cause.as_ref()),
            _ => None,
        }
    }
}
