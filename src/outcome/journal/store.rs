//! The journal's files: names, locks, appending, replacing.
//!
//! Never judges which entries are needed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use foldhash::fast::RandomState;

use super::format::{self, HEADER, NOTED_BYTES, Noted, Read};
use super::{Lanes, Members, OutcomeError};
use crate::outcome::files;

/// One member's file, open for appending, and the directory it lies in.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    /// The group as file names have it.
    group: String,
    member: u32,
    path: PathBuf,
    file: File,
    bytes: u64,
    scratch: Vec<u8>,
    #[allow(dead_code, reason = "held for its lock")]
    lock: File,
}

/// Entries by fingerprint.
pub(super) type Found = HashMap<u64, Noted, RandomState>;

/// The journal of a member that is dead, locked until it is buried.
#[derive(Debug)]
pub(super) struct Dead {
    path: PathBuf,
    #[allow(dead_code, reason = "held for its lock")]
    lock: File,
}

impl Store {
    /// Takes the first free member and gives back its entries. The caller writes them anew with [`Self::replace`]
    /// before anything else: until then the file is as the last run left it.
    pub(super) fn open(
        dir: &Path,
        group: &str,
        members: Members,
    ) -> Result<(Self, Found), OutcomeError> {
        files::prepare(dir)?;
        let name = file_name(group);
        let members_max = if members == Members::One { 1 } else { MEMBERS_MAX };
        let mut taken = None;
        for member in 0..members_max {
            if let Some(lock) = lock(&lock_path(dir, &name, member))? {
                taken = Some((member, lock));
                break;
            }
        }
        let Some((member, lock)) = taken else {
            let (path, group) = (dir.to_path_buf(), group.to_owned());
            return Err(match members {
                Members::One => OutcomeError::GroupBusy { path, group },
                Members::Many => OutcomeError::TooManyMembers { path, group, members_max },
            });
        };
        let path = journal_path(dir, &name, member);
        remove(&fresh_path(&path))?;
        let entries = load(&path)?;
        let file = files::open_or_create(&path)
            .map_err(|error| OutcomeError::io(&path, "opening the journal", error))?;
        let (dir, scratch) = (dir.to_path_buf(), Vec::new());
        let store = Self { dir, group: name, member, path, file, bytes: 0, scratch, lock };
        Ok((store, entries))
    }

    /// Writes entries with one call.
    pub(super) fn append(&mut self, entries: &[Noted]) -> Result<(), OutcomeError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.scratch.clear();
        format::write(&mut self.scratch, entries);
        self.append_scratch()
    }

    /// Writes saved positions with one call.
    pub(super) fn append_saved(&mut self, lanes: Lanes<'_>) -> Result<(), OutcomeError> {
        self.scratch.clear();
        format::write_saved(&mut self.scratch, lanes);
        self.append_scratch()
    }

    fn append_scratch(&mut self) -> Result<(), OutcomeError> {
        if self.bytes + self.scratch.len() as u64 > BYTES_MAX {
            return Err(OutcomeError::JournalFull {
                path: self.path.clone(),
                bytes_max: BYTES_MAX,
            });
        }
        files::append(&mut self.file, &mut self.bytes, &self.scratch)
            .map_err(|error| OutcomeError::io(&self.path, "writing the journal", error))
    }

    /// Makes the file hold exactly these entries: all of them or, after a crash, all it held before.
    pub(super) fn replace(&mut self, entries: &[Noted]) -> Result<(), OutcomeError> {
        let fresh = fresh_path(&self.path);
        remove(&fresh)?;
        let failed = |error| OutcomeError::io(&fresh, "writing the journal", error);
        let mut file = files::open_or_create(&fresh).map_err(failed)?;
        self.scratch.clear();
        self.scratch.extend_from_slice(&HEADER);
        format::write(&mut self.scratch, entries);
        file.write_all(&self.scratch).map_err(failed)?;
        std::fs::rename(&fresh, &self.path)
            .map_err(|error| OutcomeError::io(&self.path, "renaming the journal", error))?;
        self.bytes = self.scratch.len() as u64;
        self.file = file;
        self.scratch.shrink_to(SCRATCH_BYTES_MAX);
        Ok(())
    }

    /// More than half of the file is not needed, and that is worth a new one.
    pub(super) fn is_stale(&self, needed: usize) -> bool {
        self.bytes > STALE_BYTES_MIN && (needed * NOTED_BYTES) as u64 * 2 < self.bytes
    }

    /// The journals of dead members with their entries.
    pub(super) fn dead(&self) -> Result<Vec<(Dead, Found)>, OutcomeError> {
        let mut found = Vec::new();
        for (member, path) in self.members()? {
            let Some(lock) = lock(&lock_path(&self.dir, &self.group, member))? else { continue };
            let entries = load(&path)?;
            found.push((Dead { path, lock }, entries));
        }
        Ok(found)
    }

    /// Removes an adopted journal. Its lock file stays: a lock is only a lock while everybody means the same file.
    #[allow(clippy::unused_self, clippy::needless_pass_by_value, reason = "the lock ends here")]
    pub(super) fn bury(&self, dead: Dead) -> Result<(), OutcomeError> {
        remove(&fresh_path(&dead.path))?;
        remove(&dead.path)
    }

    /// The entries of all other members, whether they live or not.
    pub(super) fn others(&self) -> Result<Vec<Found>, OutcomeError> {
        self.members()?.into_iter().map(|(_, path)| load(&path)).collect()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The other members that have a journal.
    fn members(&self) -> Result<Vec<(u32, PathBuf)>, OutcomeError> {
        let member = |name: &str| {
            let name = name.strip_prefix(&self.group)?.strip_prefix('.')?;
            let digits = name.strip_suffix(".journal")?;
            let number: u32 = digits.parse().ok()?;
            (number != self.member && number.to_string() == digits).then_some(number)
        };
        let paths = files::list(&self.dir, |name| member(name).is_some())?;
        let named = |path: PathBuf| {
            let number = path.file_name()?.to_str().and_then(member)?;
            Some((number, path))
        };
        Ok(paths.into_iter().filter_map(named).collect())
    }
}

/// The entries of a journal that the saved position needs.
fn load(path: &Path) -> Result<Found, OutcomeError> {
    let failed = |error| OutcomeError::io(path, "reading the journal", error);
    let bytes = match std::fs::read(path) {
        // A member that never noted anything, or one whose journal was adopted just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(failed)?,
    };
    match format::read(&bytes) {
        Read::Good(entries) => Ok(entries),
        Read::Foreign => Err(OutcomeError::NotAJournal { path: path.into() }),
    }
}

fn lock(path: &Path) -> Result<Option<File>, OutcomeError> {
    let failed = |error| OutcomeError::io(path, "locking", error);
    let file = files::open_or_create(path).map_err(failed)?;
    Ok(files::try_lock(&file).map_err(failed)?.then_some(file))
}

fn remove(path: &Path) -> Result<(), OutcomeError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OutcomeError::io(path, "removing", error))
        }
        _ => Ok(()),
    }
}

fn lock_path(dir: &Path, group: &str, member: u32) -> PathBuf {
    dir.join(format!("{group}.{member}.lock"))
}

fn journal_path(dir: &Path, group: &str, member: u32) -> PathBuf {
    dir.join(format!("{group}.{member}.journal"))
}

fn fresh_path(path: &Path) -> PathBuf {
    path.with_extension("journal.new")
}

/// Kafka lets a group be called anything; a file name does not. `%` makes the mapping one to one.
fn file_name(group: &str) -> String {
    use std::fmt::Write;
    let mut name = String::with_capacity(group.len());
    for (at, byte) in group.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && at > 0) {
            name.push(char::from(byte));
        } else {
            write!(name, "%{byte:02X}").expect("invariant: writing to a string cannot fail");
        }
    }
    name
}

/// Replayers of one group in one state directory.
const MEMBERS_MAX: u32 = 64;
/// Some 40 million requests; the read-ahead window is far below.
const BYTES_MAX: u64 = 1 << 30;
/// Below this a stale journal is not worth a rename.
const STALE_BYTES_MIN: u64 = 64 << 10;
/// What is kept for the next batch.
const SCRATCH_BYTES_MAX: usize = 64 << 10;
