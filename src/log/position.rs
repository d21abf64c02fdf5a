//! Reading positions, and where groups keep them.
//!
//! Owns `groups/`. A position is replaced as a whole by a rename, so a crash leaves the old or the
//! new one. Never judges whether a position is wise.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::directory::{
    make_directory, open_or_create, open_to_read, prepare, replace_file, sync_directory,
};
use super::error::LogError;

/// A place between two frames of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Name of the incarnation's directory; empty for the oldest there is.
    pub incarnation: String,
    /// First sequence of the segment.
    pub segment: u64,
    /// Offset of the next frame in the segment, in bytes; 0 for its first frame.
    pub offset: u64,
    /// Sequence of the next frame.
    pub next: u64,
}

impl Position {
    /// The oldest frame the log has.
    pub fn start() -> Self {
        Self::default()
    }

    /// Whether this is [`Self::start`].
    pub fn is_start(&self) -> bool {
        self.incarnation.is_empty()
    }

    /// One line of JSON, without a line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("invariant: strings and integers always serialise")
    }

    /// Reads a line of [`Self::to_line`]; `origin` is named in the error.
    pub fn from_line(line: &str, origin: &Path) -> Result<Self, LogError> {
        serde_json::from_str(line.trim_end())
            .map_err(|error| LogError::BadPosition { path: origin.into(), why: error.to_string() })
    }
}

/// The positions of reading groups under a log directory.
#[derive(Debug, Clone)]
pub struct Groups {
    directory: PathBuf,
}

impl Groups {
    /// The groups of the log in `dir`; makes the directory when it is not there.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        prepare(dir)?;
        let directory = dir.join(GROUPS_NAME);
        make_directory(&directory, false)?;
        super::directory::check_rights(&directory, false)?;
        Ok(Self { directory })
    }

    /// Takes the group for as long as the file is kept; `None` while another process has it.
    pub fn hold(&self, name: &str) -> Result<Option<File>, LogError> {
        check_name(name)?;
        let path = self.directory.join(format!(".{name}.lock"));
        let file = open_or_create(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(LogError::io(&path, "flock", error.into())),
        }
    }

    /// The stored position; `None` for a group that has stored none yet.
    pub fn load(&self, name: &str) -> Result<Option<Position>, LogError> {
        check_name(name)?;
        load_from(&self.directory.join(name))
    }

    /// Stores a position durably: when this returned, a restart resumes here.
    pub fn save(&self, name: &str, position: &Position) -> Result<(), LogError> {
        check_name(name)?;
        replace_file(&self.directory, name, &format!("{}\n", position.to_line()))
    }

    /// Forgets a group; it no longer holds back retention.
    pub fn remove(&self, name: &str) -> Result<(), LogError> {
        check_name(name)?;
        let path = self.directory.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(LogError::io(&path, "remove", error))
            }
            _ => sync_directory(&self.directory),
        }
    }

    /// All groups with their positions, by name.
    pub fn list(&self) -> Result<Vec<(String, Position)>, LogError> {
        let failed = |error| LogError::io(&self.directory, "list", error);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
            if check_name(&name).is_ok()
                && let Some(position) = load_from(&self.directory.join(&name))?
            {
                found.push((name, position));
            }
        }
        found.sort();
        Ok(found)
    }
}

pub(super) fn load_from(path: &Path) -> Result<Option<Position>, LogError> {
    use std::io::Read;
    let file = match open_to_read(path) {
        Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        other => other?,
    };
    let mut text = String::new();
    file.take(POSITION_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| LogError::io(path, "read", error))?;
    Position::from_line(&text, path).map(Some)
}

fn check_name(name: &str) -> Result<(), LogError> {
    let why = if name.is_empty() || name.len() > NAME_BYTES_MAX {
        "a group has 1 to 64 characters"
    } else if name.starts_with('.') {
        "a group does not begin with a dot"
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        "a group has letters, digits, dot, dash and underscore only"
    } else {
        return Ok(());
    };
    Err(LogError::BadName { name: name.into(), why })
}

const GROUPS_NAME: &str = "groups";
const NAME_BYTES_MAX: usize = 64;
const POSITION_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_their_position_across_reopening() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("log");
        let groups = Groups::open(&dir).unwrap();
        assert_eq!(groups.load("replay").unwrap(), None);
        let mut position =
            Position { incarnation: "20261121T0-1".into(), segment: 5, offset: 4096, next: 9 };
        groups.save("replay", &position).unwrap();
        position.next = 10;
        groups.save("replay", &position).unwrap();
        groups.save("other.one", &Position::start()).unwrap();
        // What a crash in the middle of a save leaves.
        std::fs::write(dir.join("groups/.replay.new"), "{").unwrap();
        let again = Groups::open(&dir).unwrap();
        assert_eq!(again.load("replay").unwrap(), Some(position.clone()));
        let names: Vec<_> = again.list().unwrap().into_iter().map(|group| group.0).collect();
        assert_eq!(names, ["other.one", "replay"]);
        let held = again.hold("replay").unwrap();
        assert!(held.is_some() && groups.hold("replay").unwrap().is_none());
        assert!(groups.hold("other.one").unwrap().is_some());
        drop(held);
        assert!(groups.hold("replay").unwrap().is_some());
        assert_eq!(again.list().unwrap().len(), 2);
        again.save("replay", &position).unwrap();
        again.remove("replay").unwrap();
        assert_eq!(again.load("replay").unwrap(), None);
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let groups = Groups::open(&scratch.path().join("log")).unwrap();
        for name in ["", ".", "..", "../x", "a/b", ".new", "a b", "ä", &"x".repeat(65)] {
            assert!(matches!(groups.load(name), Err(LogError::BadName { .. })), "{name}");
            assert!(groups.save(name, &Position::start()).is_err(), "{name}");
        }
    }

    #[test]
    fn damaged_position_is_an_error_that_names_the_file() {
        let scratch = tempfile::tempdir().unwrap();
        let groups = Groups::open(&scratch.path().join("log")).unwrap();
        std::fs::write(scratch.path().join("log/groups/g"), "{\"offset\":").unwrap();
        let error = groups.load("g").unwrap_err();
        assert!(error.to_string().contains("groups/g"), "{error}");
    }
}
