//! The names, the rights and the locks of the log directory.
//!
//! Owns what a path in the log may look like, who may own it, and how files are created in it
//! (0600, never through a link, never over another file). Never reads a frame.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::disk::{sync_all, sync_data};
use super::error::LogError;
use super::format::{FORMAT_VERSION, HEADER_BYTES, Header, HeaderFault};

/// One writer's life: a directory of segments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Incarnation {
    /// The directory's name; sorts by start.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) id: u64,
}

/// One file of an incarnation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentFile {
    /// Sequence of the first frame.
    pub(super) first: u64,
    pub(super) path: PathBuf,
    /// Kept aside by recovery.
    pub(super) corrupt: bool,
}

impl Incarnation {
    /// The directory `name` under `root`, when it is the name of an incarnation.
    pub(super) fn parse(root: &Path, name: &str) -> Option<Self> {
        let (stamp, hex) = name.split_once('-')?;
        let digits = stamp.bytes().all(|byte| byte.is_ascii_digit() || b"T.Z".contains(&byte));
        if !digits || stamp.len() != STAMP_BYTES || hex.len() != 16 {
            return None;
        }
        let id = u64::from_str_radix(hex, 16).ok()?;
        Some(Self { name: name.to_owned(), path: root.join(name), id })
    }

    /// The segments, in order.
    pub(super) fn segments(&self) -> Result<Vec<SegmentFile>, LogError> {
        let mut found = Vec::new();
        for name in names(&self.path)? {
            let (stem, corrupt) = match name.strip_suffix(SEGMENT_SUFFIX) {
                Some(stem) => (stem, false),
                None => match name.strip_suffix(CORRUPT_SUFFIX) {
                    Some(stem) => (stem, true),
                    None => continue,
                },
            };
            if stem.len() == 20
                && let Ok(first) = stem.parse()
            {
                found.push(SegmentFile { first, path: self.path.join(&name), corrupt });
            }
        }
        found.sort();
        Ok(found)
    }

    /// Whether a writer (or a recovery) holds the incarnation now.
    pub(super) fn is_live(&self) -> Result<bool, LogError> {
        let path = self.path.join(LOCK_NAME);
        match File::open(&path) {
            Ok(file) => match flock(&file, FlockOperation::NonBlockingLockShared) {
                Ok(()) => Ok(false),
                Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
                Err(error) => Err(LogError::io(&path, "flock", error.into())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(LogError::io(&path, "open", error)),
        }
    }

    /// Takes the incarnation of a dead writer; `None` while somebody holds it. Call with the set-up
    /// lock held, so that no writer is between making the directory and locking it.
    pub(super) fn seize(&self) -> Result<Option<File>, LogError> {
        let path = self.path.join(LOCK_NAME);
        let file = open_or_create(&path)?;
        // A reader's probe holds the lock for microseconds; that must not pass for a live writer.
        for _ in 0..SEIZE_TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(file)),
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(SEIZE_PAUSE),
                Err(error) => return Err(LogError::io(&path, "flock", error.into())),
            }
        }
        Ok(None)
    }
}

/// All incarnations, in order of their start.
pub(super) fn incarnations(root: &Path) -> Result<Vec<Incarnation>, LogError> {
    let mut found: Vec<_> =
        names(root)?.iter().filter_map(|name| Incarnation::parse(root, name)).collect();
    found.sort();
    Ok(found)
}

/// Makes the log directory if need be and checks owner and mode.
pub(super) fn prepare(root: &Path) -> Result<(), LogError> {
    make_directory(root, true)?;
    check_rights(root, false)
}

/// Refuses a directory somebody else could have written into. `reading` lets the superuser look
/// into another user's log.
pub(super) fn check_rights(path: &Path, reading: bool) -> Result<(), LogError> {
    let data = std::fs::metadata(path).map_err(|error| LogError::io(path, "stat", error))?;
    let ours = rustix::process::geteuid().as_raw();
    if data.uid() != ours && !(reading && ours == 0) {
        return Err(LogError::WrongOwner { path: path.into(), owner: data.uid(), ours });
    }
    if data.mode() & 0o022 != 0 {
        return Err(LogError::OpenToOthers { path: path.into(), mode: data.mode() & 0o7777 });
    }
    Ok(())
}

/// Refuses a log that a newer program has written to. Looks at the newest segment of each
/// incarnation, for a program writes one version all its life.
pub(super) fn check_versions(root: &Path) -> Result<(), LogError> {
    for incarnation in incarnations(root)? {
        if let Some(segment) = incarnation.segments()?.last() {
            let file = open_to_read(&segment.path)?;
            if let Err(error @ LogError::NewerVersion { .. }) = read_header(&file, &segment.path) {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Reads the header of an open segment.
pub(super) fn read_header(file: &File, path: &Path) -> Result<Header, LogError> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; HEADER_BYTES];
    let header = match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Header::decode(&bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(HeaderFault::Damaged),
        Err(error) => return Err(LogError::io(path, "read", error)),
    };
    header.map_err(|fault| match fault {
        HeaderFault::Damaged => LogError::BadHeader { path: path.into() },
        HeaderFault::Newer(found) => {
            LogError::NewerVersion { path: path.into(), found, supported: FORMAT_VERSION }
        }
    })
}

/// Serialises the creation of incarnations with each other and with recovery, across processes.
pub(super) fn lock_setup(root: &Path) -> Result<File, LogError> {
    let path = root.join(SETUP_LOCK_NAME);
    let file = open_or_create(&path)?;
    lock_exclusive(&file, &path)?;
    Ok(file)
}

/// Waits for the exclusive lock on a file.
pub(super) fn lock_exclusive(file: &File, path: &Path) -> Result<(), LogError> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(LogError::io(path, "flock", error.into())),
        }
    }
}

/// Makes a directory with mode 0700, and with `parents` what is missing above it, all of it durably; one that is there
/// is left as it is.
pub(super) fn make_directory(path: &Path, parents: bool) -> Result<(), LogError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| parents && !parent.exists()) {
        make_directory(parent, true)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_directory(parent.unwrap_or(Path::new("."))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(LogError::io(path, "mkdir", error)),
    }
}

/// A new file of mode 0600; fails when the name is taken, be it by a link.
pub(super) fn create_file(path: &Path) -> Result<File, LogError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .map_err(|error| LogError::io(path, "create", error))
}

/// A file to read, never through a link.
pub(super) fn open_to_read(path: &Path) -> Result<File, LogError> {
    open_with(path, OpenOptions::new().read(true))
}

/// A file to correct, never through a link.
pub(super) fn open_to_mend(path: &Path) -> Result<File, LogError> {
    open_with(path, OpenOptions::new().read(true).write(true))
}

/// Writes a small file anew: after a crash it holds the old text or the new one, and after this returned the new one.
pub(super) fn replace_file(directory: &Path, name: &str, text: &str) -> Result<(), LogError> {
    use std::io::Write;
    let path = directory.join(name);
    let fresh = directory.join(format!(".{name}.new"));
    let failed = |error| LogError::io(&fresh, "write", error);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(LogError::io(&fresh, "remove", error));
        }
        _ => {}
    }
    let mut file = create_file(&fresh)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    sync_data(&file).map_err(failed)?;
    std::fs::rename(&fresh, &path).map_err(|error| LogError::io(&path, "rename", error))?;
    sync_directory(directory)
}

/// Removes an incarnation's directory, which must have no segments any more.
pub(super) fn remove_incarnation(incarnation: &Incarnation) -> Result<(), LogError> {
    let path = &incarnation.path;
    for name in [DRAINED_NAME, LOCK_NAME] {
        let file = path.join(name);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::io(&file, "remove", error));
            }
            _ => {}
        }
    }
    std::fs::remove_dir(path).map_err(|error| LogError::io(path, "remove", error))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes creations, renames and removals in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), LogError> {
    File::open(path)
        .and_then(|directory| sync_all(&directory))
        .map_err(|error| LogError::io(path, "fsync of the directory", error))
}

/// The name of the segment that begins with this sequence.
pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}{SEGMENT_SUFFIX}")
}

/// The name of the incarnation directory; `after` is the newest there is, and the new one sorts
/// behind it even if the clock was set back: a reader never looks back.
pub(super) fn incarnation_name(started: SystemTime, id: u64, after: Option<&str>) -> String {
    let mut micros = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    if let Some(last) = after.and_then(|name| name.get(..STAMP_BYTES)).and_then(micros_of) {
        micros = micros.max(last + 1);
    }
    format!("{}-{id:016x}", stamp(micros))
}

fn open_with(path: &Path, options: &mut OpenOptions) -> Result<File, LogError> {
    options
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .map_err(|error| LogError::io(path, "open", error))
}

/// A file to lock; what it holds is of no matter.
pub(super) fn open_or_create(path: &Path) -> Result<File, LogError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .map_err(|error| LogError::io(path, "open", error))
}

fn names(path: &Path) -> Result<Vec<String>, LogError> {
    let failed = |error| LogError::io(path, "list", error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            found.push(name);
        }
    }
    Ok(found)
}

/// `YYYYMMDDTHHMMSS.ffffffZ`, by the civil calendar (days counted from March, eras of 400 years).
fn stamp(micros: u64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + DAYS_TO_1970;
    let (era, of_era) = (shifted / ERA_DAYS, shifted % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{fraction:06}Z")
}

/// The reverse of [`stamp`].
fn micros_of(stamp: &str) -> Option<u64> {
    let number = |from: usize, to: usize| stamp.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let year = year.checked_sub(u64::from(month <= 2))?;
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day.checked_sub(1)?;
    let of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + of_year;
    let days = (year / 400 * ERA_DAYS + of_era).checked_sub(DAYS_TO_1970)?;
    let seconds = days * 86_400 + number(9, 11)? * 3600 + number(11, 13)? * 60 + number(13, 15)?;
    Some(seconds * 1_000_000 + number(16, 22)?)
}

pub(super) const LOCK_NAME: &str = "lock";
/// In the incarnations of a spool: up to where it has been carried on.
pub(super) const DRAINED_NAME: &str = "drained";
const SETUP_LOCK_NAME: &str = "setup.lock";
const SEGMENT_SUFFIX: &str = ".seg";
/// What recovery names a segment with good frames behind bad ones.
pub(super) const CORRUPT_SUFFIX: &str = ".seg.corrupt";
const STAMP_BYTES: usize = 23;
const DAYS_TO_1970: u64 = 719_468;
const ERA_DAYS: u64 = 146_097;
const SEIZE_TRIES: u32 = 10;
const SEIZE_PAUSE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_start_and_never_go_back() {
        let started = UNIX_EPOCH + Duration::from_micros(1_795_231_200_123_456);
        let name = incarnation_name(started, 0xab, None);
        assert_eq!(name, "20261121T032000.123456Z-00000000000000ab");
        let earlier = started - Duration::from_hours(1);
        let next = incarnation_name(earlier, 1, Some(&name));
        assert_eq!(next, "20261121T032000.123457Z-0000000000000001");
        assert_eq!(Incarnation::parse(Path::new("/x"), &name).unwrap().id, 0xab);
        assert_eq!(Incarnation::parse(Path::new("/x"), "groups"), None);
    }

    #[test]
    fn stamps_come_back_through_leap_years() {
        for day in 0..60_000_u64 {
            let micros = day * 86_400_000_000 + 86_399_999_999;
            assert_eq!(micros_of(&stamp(micros)), Some(micros));
        }
        assert_eq!(stamp(951_782_400_000_000), "20000229T000000.000000Z");
    }
}
