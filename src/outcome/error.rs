//! What can go wrong with the files of outcomes, in words an operator can act on.
//!
//! Every text names the path, what happened and what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An error of the tuples, the quarantine or the journal. After one the replay stops: what could not be written is no
/// outcome, so the position stays before it and a later run sends the request again.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum OutcomeError {
    /// The operating system refused; nothing more specific is known.
    Io { path: PathBuf, doing: &'static str, source: Arc<io::Error> },
    /// No space or no quota is left.
    DiskFull { path: PathBuf, doing: &'static str },
    /// We may not read or write this path.
    Permission { path: PathBuf, doing: &'static str },
    /// Another replayer with the same group works in this state directory.
    GroupBusy { path: PathBuf, group: String },
    /// More replayers of one group than a state directory has journals for.
    TooManyMembers { path: PathBuf, group: String, members_max: u32 },
    /// The journal was written by a newer program, or is something else.
    NotAJournal { path: PathBuf },
    /// The position has not moved for so long that the journal reached its bound.
    JournalFull { path: PathBuf, bytes_max: u64 },
    /// The outcome thread ended without saying why.
    Gone,
}

impl OutcomeError {
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

impl fmt::Display for OutcomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, doing, source } => write!(
                f,
                "{}: {doing} failed: {source}; the replay stops; check the disk and the kernel's messages, then \
                 start again: it goes on at the saved position",
                path.display()
            ),
            Self::DiskFull { path, doing } => write!(
                f,
                "{}: the disk is full ({doing}); the replay stops; free space or name another directory with \
                 --tuples or --quarantine (--tuples off writes none), then start again: it goes on at the saved \
                 position",
                path.display()
            ),
            Self::Permission { path, doing } => write!(
                f,
                "{}: permission denied ({doing}); run as the owner of the directory or correct the owner with chown",
                path.display()
            ),
            Self::GroupBusy { path, group } => write!(
                f,
                "{}: another tapline replay of group {group} works in this state directory; stop it, or give this \
                 one another --group or --state-dir",
                path.display()
            ),
            Self::TooManyMembers { path, group, members_max } => write!(
                f,
                "{}: {members_max} replayers of group {group} work in this state directory already; give this one \
                 another --state-dir",
                path.display()
            ),
            Self::NotAJournal { path } => write!(
                f,
                "{}: not a journal this program can read (another file, or a newer tapline wrote it); use that \
                 version, or move the file away: what it names is then sent a second time",
                path.display()
            ),
            Self::JournalFull { path, bytes_max } => write!(
                f,
                "{}: the journal has reached {bytes_max} bytes, for the position has not moved in all that time; \
                 see in /status which request holds it back, then start again",
                path.display()
            ),
            Self::Gone => f.write_str(
                "the outcome thread ended without a word; this is a defect of tapline, please report the log lines \
                 before this one",
            ),
        }
    }
}

impl std::error::Error for OutcomeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}
