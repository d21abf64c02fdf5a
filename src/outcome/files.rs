//! The directory and the names of outcome files.
//!
//! Owns how files are created here: mode 0600, never through a link, never over another file, and locked from their
//! first moment, so that a starting process can tell the leftovers of dead runs from the files of living ones.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::error::OutcomeError;

/// Makes the directory and its parents (mode 0700) if need be.
pub(super) fn prepare(dir: &Path) -> Result<(), OutcomeError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| OutcomeError::io(dir, "creating the directory", error))
}

/// A short name that no other run has.
pub(super) fn run_name() -> String {
    let mut name = uuid::Uuid::new_v4().simple().to_string();
    name.truncate(8);
    name
}

/// `yyyyMMddTHHmmssZ`.
pub(super) fn stamp(unix_s: i64) -> String {
    match jiff::Timestamp::from_second(unix_s) {
        Ok(time) => time.strftime("%Y%m%dT%H%M%SZ").to_string(),
        Err(_) => "00000000T000000Z".into(),
    }
}

/// Held while files are created or dead runs' files are taken over, across processes.
pub(super) struct SetupLock(#[allow(dead_code, reason = "held for its lock")] File);

impl SetupLock {
    /// Waits for it; it is held for the time of a few system calls, or of a recovery.
    pub(super) fn take(dir: &Path) -> Result<Self, OutcomeError> {
        let path = dir.join(".lock");
        let failed = |error| OutcomeError::io(&path, "locking", error);
        let file = open_or_create(&path).map_err(failed)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}

/// A new file, locked for as long as it is open.
pub(super) fn create_locked(dir: &Path, path: &Path) -> Result<File, OutcomeError> {
    let _setup = SetupLock::take(dir)?;
    let file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .map_err(|error| OutcomeError::io(path, "creating the file", error))?;
    if try_lock(&file).map_err(|error| OutcomeError::io(path, "locking", error))? {
        return Ok(file);
    }
    let taken = io::Error::other("somebody else locked a file that was just made");
    Err(OutcomeError::io(path, "locking", taken))
}

/// A file to read and write, made when it is not there.
pub(super) fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

/// A file of a dead run, to be cut and renamed; never through a link.
pub(super) fn open_to_mend(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

/// Takes the lock of an open file unless somebody holds it.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Appends all of `bytes`, or leaves the file as it was as far as the disk lets us. `length` is the file's length.
pub(super) fn append(file: &mut File, length: &mut u64, bytes: &[u8]) -> io::Result<()> {
    match file.write_all(bytes) {
        Ok(()) => {
            *length += bytes.len() as u64;
            Ok(())
        }
        Err(error) => {
            // Half a member or half a line helps nobody; if this fails too, recovery cuts it off.
            let _ = file.set_len(*length);
            Err(error)
        }
    }
}

/// Makes creations and renames in a directory durable.
pub(super) fn sync_directory(dir: &Path) -> Result<(), OutcomeError> {
    File::open(dir)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| OutcomeError::io(dir, "fsync of the directory", error))
}

/// The plain files in a directory whose names `wanted` accepts, sorted by name.
pub(super) fn list(
    dir: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, OutcomeError> {
    let failed = |error| OutcomeError::io(dir, "listing", error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(&wanted) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
