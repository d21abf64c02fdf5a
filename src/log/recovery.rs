//! Recovery: ends what dead writers left open.
//!
//! Cuts a torn tail, for it was never durable, and keeps a damaged segment as it is, under another
//! name, where it stays readable; which is which is judged in `tail.rs`. Leaves incarnations alone
//! whose writer lives. Never changes a frame.
//!
//! Only the last segment of an incarnation is searched: the ones before it were synced before it
//! was created, so a crash cannot have torn them; the reader reports other damage in them.

use std::fs::File;
use std::io::IoSlice;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::directory::{
    CORRUPT_SUFFIX, Incarnation, SegmentFile, check_versions, incarnations, lock_setup,
    open_to_mend, open_to_read, prepare, read_header, remove_incarnation, sync_directory,
};
use super::disk::{Kernel, sync_all, sync_data, write_all};
use super::error::LogError;
use super::format::{END, FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES, RECOVERED, salt};
use super::tail::search;
use super::window::Window;

/// An incarnation that recovery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The dead writer's incarnation.
    pub incarnation: u64,
    /// Its directory.
    pub directory: PathBuf,
    /// What was found and done.
    pub outcome: Outcome,
}

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Outcome {
    /// The log was cut behind its last good frame and closed; `torn` when a part of a frame had to
    /// go. The incarnation's records are those below `next`.
    Closed { next: u64, torn: bool },
    /// Frames that were durable are damaged, with good ones behind them: the segment
    /// is kept untouched as `kept` and readers
    /// serve its good frames. `lost` names the sequences that cannot be read; the caller decides
    /// whether to go on.
    Corrupt { kept: PathBuf, lost: Vec<Range<u64>>, next: u64 },
    /// The writer died before its first segment existed; the directory was removed.
    Empty,
}

/// Recovers every incarnation in `dir` that was not closed and has no live writer. Run it before
/// [`super::Writer::create`]. What was recovered once is not reported again.
pub fn recover(dir: &Path) -> Result<Vec<Recovered>, LogError> {
    prepare(dir)?;
    let setup = lock_setup(dir)?;
    check_versions(dir)?;
    let mut dead = Vec::new();
    for incarnation in incarnations(dir)? {
        if !is_ended(&incarnation)?
            && let Some(lock) = incarnation.seize()?
        {
            dead.push((incarnation, lock));
        }
    }
    drop(setup);
    let mut recovered = Vec::new();
    for (incarnation, _lock) in dead {
        recovered.extend(end_seized(&incarnation)?);
    }
    Ok(recovered)
}

/// Ends an incarnation whose lock the caller has; `None` when its writer had ended it.
pub(super) fn end_seized(incarnation: &Incarnation) -> Result<Option<Recovered>, LogError> {
    // A writer may have closed it between the first look and the seizing.
    if is_ended(incarnation)? {
        return Ok(None);
    }
    let outcome = end(incarnation)?;
    let (incarnation, directory) = (incarnation.id, incarnation.path.clone());
    Ok(Some(Recovered { incarnation, directory, outcome }))
}

/// Whether the incarnation has a closing frame, or was kept aside before.
fn is_ended(incarnation: &Incarnation) -> Result<bool, LogError> {
    let Some(last) = incarnation.segments()?.pop() else { return Ok(false) };
    if last.corrupt {
        return Ok(true);
    }
    let failed = |error| LogError::io(&last.path, "read", error);
    let file = open_to_read(&last.path)?;
    let length = file.metadata().map_err(failed)?.len();
    if length < (HEADER_BYTES + FRAME_HEAD_BYTES) as u64 {
        return Ok(false);
    }
    let mut bytes = [0; FRAME_HEAD_BYTES];
    file.read_exact_at(&mut bytes, length - FRAME_HEAD_BYTES as u64).map_err(failed)?;
    let head = FrameHead::parse(&bytes);
    let whole = head.plausible(salt(incarnation.id)) && head.payload_bytes == 0;
    Ok(whole && head.kind == END && head.intact(&bytes))
}

fn end(incarnation: &Incarnation) -> Result<Outcome, LogError> {
    while let Some(last) = incarnation.segments()?.pop() {
        if last.corrupt {
            return keep_aside(incarnation, &last, Vec::new(), last.first);
        }
        let file = open_settled(&last.path)?;
        let header_good = read_header(&file, &last.path).is_ok();
        let salt = salt(incarnation.id);
        let handle = file.try_clone().map_err(|error| LogError::io(&last.path, "dup", error))?;
        let mut window = Window::new(handle, last.path.clone(), salt);
        let found = search(&mut window, 0, last.first)?;
        if !header_good && found.next == last.first {
            // The creation of the segment was cut short: no frame was ever written to it.
            remove(&last.path, &incarnation.path)?;
            continue;
        }
        if !header_good || found.damaged {
            return keep_aside(incarnation, &last, found.lost, found.next);
        }
        // Also when there is a closing frame: the power came before what is behind it was cut off.
        close(&file, &last.path, found.end, found.next, salt)?;
        return Ok(Outcome::Closed { next: found.next, torn: found.torn });
    }
    remove_incarnation(incarnation)?;
    Ok(Outcome::Empty)
}

/// Opens a segment and has the disk, not the page cache, say what it holds: after a failed fsync
/// the kernel keeps pages as clean that never reached the disk.
fn open_settled(path: &Path) -> Result<File, LogError> {
    let file = open_to_mend(path)?;
    sync_data(&file).map_err(|error| LogError::io(path, "fdatasync", error))?;
    fadvise(&file, 0, None, Advice::DontNeed)
        .map_err(|error| LogError::io(path, "fadvise", error.into()))?;
    Ok(file)
}

/// Cuts the tail and writes the closing frame, in two durable steps: a crash between them leaves a
/// log that is recovered once more.
fn close(file: &File, path: &Path, end: u64, next: u64, salt: u32) -> Result<(), LogError> {
    file.set_len(end).map_err(|error| LogError::io(path, "truncate", error))?;
    sync_all(file).map_err(|error| LogError::io(path, "fsync", error))?;
    let head = FrameHead::seal(next, END, RECOVERED, 0, salt, &[]);
    write_all(&mut Kernel, file, &mut [IoSlice::new(&head)], end)
        .map_err(|error| LogError::io(path, "write of the closing frame", error))?;
    sync_all(file).map_err(|error| LogError::io(path, "fsync", error))
}

fn keep_aside(
    incarnation: &Incarnation,
    segment: &SegmentFile,
    lost: Vec<Range<u64>>,
    next: u64,
) -> Result<Outcome, LogError> {
    let kept = incarnation.path.join(format!("{:020}{CORRUPT_SUFFIX}", segment.first));
    std::fs::rename(&segment.path, &kept)
        .map_err(|error| LogError::io(&segment.path, "rename", error))?;
    sync_directory(&incarnation.path)?;
    Ok(Outcome::Corrupt { kept, lost, next })
}

fn remove(path: &Path, directory: &Path) -> Result<(), LogError> {
    std::fs::remove_file(path).map_err(|error| LogError::io(path, "remove", error))?;
    sync_directory(directory)
}
