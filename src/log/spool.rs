//! Incarnations that are carried elsewhere and then deleted: a spool.
//!
//! Owns the file `drained` in the incarnation's directory, which says up to where its records have arrived where they
//! belong. Its presence makes the incarnation a spool: a capture log that happens to lie in the same directory is never
//! carried off. Never deletes a segment before the position behind it is durable.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::Reader;
use super::directory::{
    DRAINED_NAME, Incarnation, incarnations, lock_setup, remove_incarnation, replace_file,
    sync_directory,
};
use super::error::LogError;
use super::position::{Position, load_from};
use super::recovery::{Recovered, end_seized};
use super::writer::Writer;

/// The records of one incarnation on their way elsewhere.
#[derive(Debug)]
pub struct Spool {
    root: PathBuf,
    incarnation: Incarnation,
    /// Of a dead writer's: held until it is carried off, so that nobody else carries it too.
    lock: Option<File>,
}

impl Spool {
    /// Declares the incarnation of this writer a spool. Call it before the first record.
    pub fn of(writer: &Writer, root: &Path) -> Result<Self, LogError> {
        let incarnation = writer.incarnation().clone();
        let spool = Self { root: root.to_path_buf(), incarnation, lock: None };
        let start = Position { incarnation: spool.name().into(), ..Position::start() };
        spool.save(&start)?;
        Ok(spool)
    }

    /// Takes the spools that dead writers left, oldest first, and ends them as [`super::recover`] does. Those whose
    /// writer lives, or that another process is carrying off, are left alone.
    pub fn leftovers(root: &Path) -> Result<Vec<(Self, Option<Recovered>)>, LogError> {
        let mut seized = Vec::new();
        if !any_leftover(root)? {
            return Ok(Vec::new());
        }
        let setup = lock_setup(root)?;
        for incarnation in incarnations(root)? {
            if incarnation.path.join(DRAINED_NAME).exists()
                && let Some(lock) = incarnation.seize()?
            {
                seized.push((incarnation, lock));
            }
        }
        drop(setup);
        let mut found = Vec::new();
        for (incarnation, lock) in seized {
            let recovered = end_seized(&incarnation)?;
            // Recovery removes what never held a record.
            if incarnation.path.exists() {
                let lock = Some(lock);
                found.push((Self { root: root.to_path_buf(), incarnation, lock }, recovered));
            }
        }
        Ok(found)
    }

    /// The incarnation.
    pub fn incarnation(&self) -> u64 {
        self.incarnation.id
    }

    /// The name of its directory.
    pub fn name(&self) -> &str {
        &self.incarnation.name
    }

    /// Whether its writer has ended: then nothing is added to it any more.
    pub fn is_leftover(&self) -> bool {
        self.lock.is_some()
    }

    /// Everything before this has arrived.
    pub fn position(&self) -> Result<Position, LogError> {
        let stored = load_from(&self.incarnation.path.join(DRAINED_NAME))?;
        let start = || Position { incarnation: self.name().into(), ..Position::start() };
        Ok(stored.unwrap_or_else(start))
    }

    /// Reads on from a position, to the end of this incarnation.
    pub fn reader(&self, from: &Position) -> Result<Reader, LogError> {
        Reader::confined(&self.root, from)
    }

    /// Everything before `position` has arrived: stores that durably, then deletes the segments before it.
    pub fn advance(&self, position: &Position) -> Result<(), LogError> {
        self.save(position)?;
        let mut deleted = false;
        for segment in self.incarnation.segments()? {
            if segment.first < position.segment {
                std::fs::remove_file(&segment.path)
                    .map_err(|error| LogError::io(&segment.path, "remove", error))?;
                deleted = true;
            }
        }
        if deleted { sync_directory(&self.incarnation.path) } else { Ok(()) }
    }

    /// Everything has arrived and no writer adds to it: deletes all of it. A segment that recovery kept aside stays,
    /// and with it the directory.
    pub fn remove(self) -> Result<(), LogError> {
        let _setup = lock_setup(&self.root)?;
        self.remove_locked()
    }

    /// Ends the writer; `arrived`: nothing of it is left to carry, so that it goes with its directory.
    pub fn close(self, writer: Writer, arrived: bool) -> Result<(), LogError> {
        // With the set-up lock nobody takes it for a dead writer's in between.
        let _setup = lock_setup(&self.root)?;
        writer.close()?;
        if arrived { self.remove_locked() } else { Ok(()) }
    }

    fn remove_locked(self) -> Result<(), LogError> {
        let mut kept = false;
        for segment in self.incarnation.segments()? {
            if segment.corrupt {
                kept = true;
                continue;
            }
            std::fs::remove_file(&segment.path)
                .map_err(|error| LogError::io(&segment.path, "remove", error))?;
        }
        // Before the mark: segments without one are a capture log, which nobody carries off.
        sync_directory(&self.incarnation.path)?;
        if !kept {
            return remove_incarnation(&self.incarnation);
        }
        // Without the mark it is no spool any more, and is not read again at every start.
        let mark = self.incarnation.path.join(DRAINED_NAME);
        std::fs::remove_file(&mark).map_err(|error| LogError::io(&mark, "remove", error))?;
        sync_directory(&self.incarnation.path)
    }

    /// Bytes of its segments behind a position, heads and padding included; never exact to the byte.
    pub fn bytes_from(&self, position: &Position) -> u64 {
        super::backlog::bytes_of(&self.incarnation, position)
    }

    fn save(&self, position: &Position) -> Result<(), LogError> {
        replace_file(&self.incarnation.path, DRAINED_NAME, &format!("{}\n", position.to_line()))
    }
}

/// Whether there is any spool whose writer is dead. Takes no lock for longer than a look.
pub fn any_leftover(root: &Path) -> Result<bool, LogError> {
    for incarnation in incarnations(root)? {
        if incarnation.path.join(DRAINED_NAME).exists() && !incarnation.is_live()? {
            return Ok(true);
        }
    }
    Ok(false)
}
