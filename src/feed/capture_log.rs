//! Records out of a capture log directory, with a group's position in it.
//!
//! Without following it ends where the log ends at the moment the reader gets there: a log that is
//! being written is read up to what was written by then.
//!
//! A frame that is damaged is a loss that is told and passed. Frames that retention deleted before
//! the group had them end the feed, unless the operator chose to go on without them.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{Backlog, Feed, Next, Place, Record, track::LogTrack};
use crate::{
    log::{Groups, LogError, Position, RECORD, Reader, bytes_from},
    observe::{ExitCode, Failure},
};

/// What a [`LogFeed`] is told.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Whose position is kept.
    pub group: String,
    /// End at the end rather than wait there for more.
    pub until_end: bool,
    /// Go on with the oldest record there is when those the group needs were deleted.
    pub from_oldest: bool,
}

/// The records of a capture log; all are in lane 0.
#[derive(Debug)]
pub struct LogFeed {
    dir: PathBuf,
    options: LogOptions,
    reader: Reader,
    groups: Groups,
    /// Keeps every other process out of the group.
    _held: File,
    track: LogTrack,
    saved: Position,
    /// The first record that is not done with, that was so when the position was stored, and that was told.
    done: u64,
    stored: u64,
    told: u64,
    is_new: bool,
    ended: bool,
    idle: bool,
}

impl LogFeed {
    /// Opens the log at the group's position, or at its beginning when the group has none.
    pub fn open(dir: &Path, options: LogOptions) -> Result<Self, Failure> {
        check_log(dir, !options.until_end)?;
        let groups = Groups::open(dir).map_err(log_failure)?;
        let held = groups.hold(&options.group).map_err(log_failure)?.ok_or_else(|| {
            Failure::configuration(format!(
                "another process reads {} as the group {}. Stop it, or name another --group",
                dir.display(),
                options.group
            ))
        })?;
        let saved = groups.load(&options.group).map_err(log_failure)?;
        let start = saved.clone().unwrap_or_else(Position::start);
        if saved.is_none() {
            // From now on retention waits for the group.
            groups.save(&options.group, &start).map_err(log_failure)?;
        }
        let mut probe = Reader::open(dir, &start).map_err(log_failure)?;
        if let Err(error @ LogError::Missing { .. }) = probe.next()
            && !options.from_oldest
        {
            return Err(deleted(&error, &options.group));
        }
        let reader = Reader::open(dir, &start).map_err(log_failure)?;
        let is_new = saved.is_none();
        Ok(Self {
            dir: dir.to_path_buf(),
            options,
            reader,
            groups,
            _held: held,
            track: LogTrack::new(start.clone()),
            saved: start,
            done: 0,
            stored: 0,
            told: 0,
            is_new,
            ended: false,
            idle: false,
        })
    }
}

impl Feed for LogFeed {
    fn is_new(&self) -> bool {
        self.is_new
    }

    fn next(&mut self, want_records: bool, _now: Instant) -> Result<Next<'_>, Failure> {
        if self.ended {
            return Ok(Next::End);
        }
        if !want_records {
            return Ok(Next::Idle);
        }
        self.idle = false;
        match self.reader.next() {
            Ok(Some(frame)) => {
                let known = frame.kind == RECORD;
                Ok(Next::Record(Record {
                    lane: LANE,
                    number: self.track.add(frame.after),
                    payload: frame.payload,
                    place: Place::Log { incarnation: frame.incarnation, sequence: frame.sequence },
                    poison: (!known).then(|| format!("a frame of the unknown kind {}", frame.kind)),
                }))
            }
            Ok(None) => {
                self.idle = true;
                self.ended = self.options.until_end;
                Ok(if self.ended { Next::End } else { Next::Idle })
            }
            Err(error @ LogError::Missing { .. }) if !self.options.from_oldest => {
                Err(deleted(&error, &self.options.group))
            }
            Err(error) if error.is_loss() => {
                Ok(Next::Loss { text: error.to_string(), records: lost_records(&error) })
            }
            Err(error) => Err(log_failure(error)),
        }
    }

    fn done(&mut self, lane: u32, number: u64) {
        if lane == LANE {
            self.track.done(number);
            self.done = number;
        }
    }

    fn stored(&mut self) -> Vec<(u32, u64)> {
        let moved = std::mem::replace(&mut self.told, self.stored) != self.stored;
        if moved { vec![(LANE, self.stored)] } else { Vec::new() }
    }

    fn save(&mut self, _wait: bool) -> Result<(), Failure> {
        let position = self.track.position();
        if *position != self.saved {
            self.groups.save(&self.options.group, position).map_err(log_failure)?;
            self.saved.clone_from(position);
            self.stored = self.done;
        }
        Ok(())
    }

    fn release(&mut self, _lane: u32) {}

    fn backlog(&mut self) -> Backlog {
        let bytes = bytes_from(&self.dir, &self.reader.position())
            .inspect_err(|error| tracing::debug!(event = "feed.backlog", %error))
            .ok();
        let at_live_end = self.idle && !self.ended;
        Backlog { records: None, bytes: if self.idle { Some(0) } else { bytes }, at_live_end }
    }

    fn close(mut self: Box<Self>) -> Result<(), Failure> {
        self.save(true)
    }
}

fn deleted(error: &LogError, group: &str) -> Failure {
    Failure::configuration(format!(
        "the group {group} has not read all that was deleted from the log: {error}. Begin anew from \
         a fresh snapshot under another --group, or go on without the deleted records with --from-oldest"
    ))
}

/// A directory without a log is a slip of the command line more often than an empty log; who
/// follows may be there before the first record.
pub fn check_log(dir: &Path, follow: bool) -> Result<(), Failure> {
    let name = dir.display();
    if !dir.is_dir() {
        return Err(Failure::configuration(format!(
            "there is no capture log at {name}. Name its directory with --log (tapline capture \
             writes to log in its --state-dir), or a topic with --kafka-brokers"
        )));
    }
    if follow || holds_segments(dir) {
        return Ok(());
    }
    let inner = dir.join("log");
    let advice = if holds_segments(&inner) {
        format!("There is one in {}: name that with --log", inner.display())
    } else {
        "Name another directory with --log, or start tapline capture with it first".into()
    };
    Err(Failure::configuration(format!("{name} holds no capture log. {advice}")))
}

/// Whether any directory below is one that a writer began. What cannot be listed is left to the
/// reader, which says why.
fn holds_segments(dir: &Path) -> bool {
    let Ok(entries) = dir.read_dir() else { return dir.is_dir() };
    entries.filter_map(Result::ok).any(|entry| {
        let Ok(mut files) = entry.path().read_dir() else { return false };
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().contains(".seg")))
    })
}

/// What an error of the log means for the process.
pub fn log_failure(error: LogError) -> Failure {
    let code = match error {
        LogError::Io { .. } | LogError::DiskFull { .. } => ExitCode::Failed,
        _ => ExitCode::Configuration,
    };
    Failure::new(code, error)
}

/// How many records a loss took, where that is known.
pub fn lost_records(error: &LogError) -> Option<u64> {
    match error {
        LogError::Corrupt { sequences, .. } => Some(sequences.end - sequences.start),
        LogError::Missing { first, end: Some(end), .. } => Some(end - first),
        _ => None,
    }
}

/// The one lane of a log.
const LANE: u32 = 0;

#[cfg(test)]
mod tests;
