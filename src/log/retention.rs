//! Retention: deletes whole segments from the old end of the log.
//!
//! Owns the choice of what may go. Never touches the segment a writer is in, never goes past the
//! segment an unread group stands in unless told to, and never leaves a hole: it stops at the first
//! segment that has to stay.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::directory::{
    Incarnation, SegmentFile, incarnations, lock_setup, prepare, remove_incarnation, sync_directory,
};
use super::error::LogError;
use super::position::Groups;

/// How much of the log is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Total bytes on disk of all segments; the oldest go until the rest is within it.
    pub bytes: Option<u64>,
    /// A segment last written longer ago than this goes.
    pub age: Option<Duration>,
    /// The caller's wall clock.
    pub now: SystemTime,
    /// What happens to segments that a group has not read.
    pub unread: Unread,
}

/// Whether unread segments stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// They stay whatever the limits say.
    Keep,
    /// They go like others; the group's reader reports [`LogError::Missing`].
    Delete,
}

/// A segment that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The writer's life it belonged to.
    pub incarnation: u64,
    /// Its first sequence.
    pub first: u64,
    /// What it took on disk.
    pub bytes: u64,
    /// Where it was.
    pub path: PathBuf,
}

/// Deletes what the limits no longer allow, the oldest first; returns what is gone.
pub fn retain(dir: &Path, limits: &Limits) -> Result<Vec<Deleted>, LogError> {
    prepare(dir)?;
    let mut held = Vec::new();
    if limits.unread == Unread::Keep {
        for (_, position) in Groups::open(dir)?.list()? {
            held.push((position.incarnation, position.segment));
        }
    }
    let held = held.into_iter().min();
    let candidates = candidates(dir)?;
    let mut total: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
    let mut deleted = Vec::new();
    for candidate in candidates {
        let too_much = limits.bytes.is_some_and(|bytes| total > bytes);
        let age = limits.now.duration_since(candidate.written).unwrap_or_default();
        let too_old = limits.age.is_some_and(|limit| age > limit);
        let place = (candidate.incarnation.name.clone(), candidate.file.first);
        let unread = held.as_ref().is_some_and(|held| place >= *held);
        if !(too_much || too_old) || unread || candidate.in_use {
            break;
        }
        let path = candidate.file.path;
        std::fs::remove_file(&path).map_err(|error| LogError::io(&path, "remove", error))?;
        sync_directory(&candidate.incarnation.path)?;
        total -= candidate.bytes;
        if candidate.last && held.as_ref().is_none_or(|held| held.0 != candidate.incarnation.name) {
            remove_dead(dir, &candidate.incarnation)?;
        }
        deleted.push(Deleted {
            incarnation: candidate.incarnation.id,
            first: candidate.file.first,
            bytes: candidate.bytes,
            path,
        });
    }
    Ok(deleted)
}

/// A segment, with what the choice depends on.
#[derive(Debug)]
struct Candidate {
    incarnation: Incarnation,
    file: SegmentFile,
    bytes: u64,
    written: SystemTime,
    last: bool,
    in_use: bool,
}

fn candidates(dir: &Path) -> Result<Vec<Candidate>, LogError> {
    let mut found = Vec::new();
    for incarnation in incarnations(dir)? {
        let live = incarnation.is_live()?;
        let files = incarnation.segments()?;
        let count = files.len();
        for (index, file) in files.into_iter().enumerate() {
            let data = std::fs::metadata(&file.path)
                .map_err(|error| LogError::io(&file.path, "stat", error))?;
            let last = index + 1 == count;
            found.push(Candidate {
                incarnation: incarnation.clone(),
                bytes: data.blocks() * 512,
                written: data.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                file,
                last,
                in_use: live && last,
            });
        }
    }
    Ok(found)
}

/// Removes the directory of a dead incarnation without segments.
fn remove_dead(dir: &Path, incarnation: &Incarnation) -> Result<(), LogError> {
    let _setup = lock_setup(dir)?;
    let Some(_lock) = incarnation.seize()? else { return Ok(()) };
    remove_incarnation(incarnation)
}
