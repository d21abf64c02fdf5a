//! The journal of a group: fingerprints of requests that have an outcome while the saved position is still before
//! them.
//!
//! A position only moves past a request when everything before it has an outcome, so at any moment some requests
//! beyond it are done. After a restart they are read again, and the journal says not to send them again.
//!
//! **When it is written.** [`Journal::add`] makes one write(2) per batch and no fsync: what was added survives a
//! kill -9 of the process. If the host crashes the tail may be lost, and those requests are sent a second time;
//! never is one left out that had not been sent.
//!
//! **When it is shortened.** An entry is needed until the position that was *saved* is past its request, however many
//! saves that takes. So the caller first saves the position, then calls [`Journal::saved`], which forgets what lies
//! before it, notes that in the file and, when more than half of the file is stale, writes the rest into
//! `….journal.new` and renames it over the file; a start does so too. A crash before, within or after this leaves
//! the old file or the new one. Both hold all that the saved position needs, and a stale entry is harmless: its
//! request is not read again.
//!
//! **Who may write it.** `<group>.<member>.lock` is locked for as long as a replayer runs. One that reads a capture
//! log is the only member, 0; of Kafka groups each takes the first free member. Journals whose members are dead are
//! adopted at the start; those of the living can be read at any time ([`Journal::others`]), since partitions move.
//!
//! **When it must be emptied.** A group that begins anew (its position was removed on purpose) sends everything
//! again: the caller calls [`Journal::clear`] when it finds no saved position.

mod format;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, hash_map::Entry as MapEntry};
use std::path::Path;

use foldhash::fast::RandomState;

use self::format::Noted;
use self::store::Store;
use super::error::OutcomeError;

/// How far a request had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    /// The target has answered for good; the tuple may be missing.
    Answered = 1,
    /// Its outcome is written, or none was to be written.
    Written = 2,
}

/// A request that has an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The request's fingerprint, the same in every run.
    pub fingerprint: u64,
    /// How far it has come.
    pub stage: Stage,
    /// The lane of the record in which it begins, in this run.
    pub lane: u32,
    /// That record's number in the lane.
    pub number: u64,
}

/// Positions that were saved: lane, and the number of its first record that is not done with.
pub type Lanes<'a> = &'a [(u32, u64)];

/// How many replayers may share a group in one state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// One: all of them would read the same records.
    One,
    /// Several, as with Kafka, where each has its own partitions.
    Many,
}

/// A group's journal, locked for this process.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    live: HashMap<u64, Noted, RandomState>,
    /// Entries of this run by lane: number and fingerprint, in no order. They are looked through when a position was
    /// saved, which few of them outlive.
    lanes: HashMap<u32, Vec<(u64, u64)>, RandomState>,
    scratch: Vec<Noted>,
}

impl Journal {
    /// Opens the group's journal in `dir` (`<state-dir>/replay`). Gives back what earlier runs and other members have
    /// noted. `unix_s`: now; entries older than a week are forgotten.
    pub fn open(
        dir: &Path,
        group: &str,
        members: Members,
        unix_s: i64,
    ) -> Result<(Self, HashMap<u64, Stage>), OutcomeError> {
        let (store, live) = Store::open(dir, group, members)?;
        let (lanes, scratch) = (HashMap::default(), Vec::new());
        let mut journal = Self { store, live, lanes, scratch };
        let adopted = journal.store.dead()?;
        for (_, entries) in &adopted {
            for noted in entries.values() {
                let at = journal.live.entry(noted.fingerprint).or_insert(*noted);
                at.stage = at.stage.max(noted.stage);
            }
        }
        let oldest = seconds(unix_s).saturating_sub(AGE_S_MAX);
        journal.live.retain(|_, noted| noted.at_s >= oldest);
        journal.rewrite()?;
        for (dead, _) in adopted {
            journal.store.bury(dead)?;
        }
        let mut known: HashMap<u64, Stage> =
            journal.live.values().map(|noted| (noted.fingerprint, noted.stage)).collect();
        for (fingerprint, stage) in journal.others()? {
            let at = known.entry(fingerprint).or_insert(stage);
            *at = stage.max(*at);
        }
        Ok((journal, known))
    }

    /// Notes outcomes: one write(2) for all of them. Entries of earlier runs whose requests were met again are added
    /// again, so that they have a place in this run and can be forgotten in time.
    pub fn add(&mut self, entries: &[Entry], unix_s: i64) -> Result<(), OutcomeError> {
        let at_s = seconds(unix_s);
        self.scratch.clear();
        for &Entry { fingerprint, stage, lane, number } in entries {
            let mut noted = Noted { fingerprint, stage, at_s, place: Some((lane, number)) };
            let moved = match self.live.entry(fingerprint) {
                MapEntry::Vacant(slot) => {
                    slot.insert(noted);
                    true
                }
                MapEntry::Occupied(mut slot) => {
                    let before = slot.get();
                    noted.stage = noted.stage.max(before.stage);
                    let moved = before.place != noted.place;
                    if !moved && before.stage == noted.stage {
                        continue;
                    }
                    slot.insert(noted);
                    moved
                }
            };
            if moved {
                self.lanes.entry(lane).or_default().push((number, fingerprint));
            }
            self.scratch.push(noted);
        }
        self.store.append(&self.scratch)
    }

    /// The position was saved: forgets what lies before it. Call only after the save has returned. Costs one small
    /// write where it forgets anything.
    pub fn saved(&mut self, lanes: Lanes<'_>) -> Result<(), OutcomeError> {
        let before = self.live.len();
        for &(lane, first) in lanes {
            let Some(entries) = self.lanes.get_mut(&lane) else { continue };
            entries.retain(|&(number, fingerprint)| {
                // One that has another place since is forgotten with that.
                if number < first
                    && let MapEntry::Occupied(slot) = self.live.entry(fingerprint)
                    && slot.get().place == Some((lane, number))
                {
                    slot.remove();
                }
                number >= first
            });
        }
        if self.live.len() == before {
            return Ok(());
        }
        if self.store.is_stale(self.live.len()) {
            return self.rewrite();
        }
        self.store.append_saved(lanes)
    }

    /// The lane is no longer ours (its partition was revoked): its entries stay noted, for its records may come back,
    /// here under another lane or at another member.
    pub fn left(&mut self, lane: u32) {
        for (number, fingerprint) in self.lanes.remove(&lane).unwrap_or_default() {
            if let Some(noted) = self.live.get_mut(&fingerprint)
                && noted.place == Some((lane, number))
            {
                noted.place = None;
            }
        }
    }

    /// What the other members of the group have noted, as of now. Read it when partitions were assigned.
    pub fn others(&self) -> Result<HashMap<u64, Stage>, OutcomeError> {
        let mut known = HashMap::new();
        for entries in self.store.others()? {
            for noted in entries.into_values() {
                let at = known.entry(noted.fingerprint).or_insert(noted.stage);
                *at = noted.stage.max(*at);
            }
        }
        Ok(known)
    }

    /// Forgets everything: the group begins anew.
    pub fn clear(&mut self) -> Result<(), OutcomeError> {
        self.live.clear();
        self.lanes.clear();
        self.rewrite()
    }

    /// Entries that the saved position needs, or that have not been met in this run.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// No entries are noted.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    fn rewrite(&mut self) -> Result<(), OutcomeError> {
        self.scratch.clear();
        self.scratch.extend(self.live.values());
        self.store.replace(&self.scratch)
    }
}

fn seconds(unix_s: i64) -> u32 {
    u32::try_from(unix_s.max(0)).unwrap_or(u32::MAX)
}

/// Entries of requests that have not been met for so long are of partitions that others have, or of a log that is
/// gone.
const AGE_S_MAX: u32 = 7 * 24 * 3600;
