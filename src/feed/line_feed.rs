//! Records out of a text of lines, read once to its end.
//!
//! Keeps no position: a restart begins at the first line again.

use std::{path::Path, sync::Arc, time::Instant};

use super::{Backlog, Feed, Lines, Next, Place, Record};
use crate::observe::Failure;

/// The records of a text; all are in lane 0.
#[derive(Debug)]
pub struct LinesFeed {
    lines: Lines,
    name: Arc<str>,
    given: u64,
    ended: bool,
}

impl LinesFeed {
    /// Opens a file, or the standard input for `-`. Reading the standard input waits for it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        Lines::open(path).map(Self::new)
    }

    /// The records of these lines.
    pub fn new(lines: Lines) -> Self {
        let name = Arc::clone(lines.name());
        Self { lines, name, given: 0, ended: false }
    }
}

impl Feed for LinesFeed {
    fn next(&mut self, want_records: bool, _now: Instant) -> Result<Next<'_>, Failure> {
        if self.ended {
            return Ok(Next::End);
        }
        if !want_records {
            return Ok(Next::Idle);
        }
        let Some(line) = self.lines.next()? else {
            self.ended = true;
            return Ok(Next::End);
        };
        let number = self.given;
        self.given += 1;
        Ok(Next::Record(Record {
            lane: 0,
            number,
            payload: line.payload,
            place: Place::Line { name: Arc::clone(&self.name), line: line.number },
            poison: line.poison,
        }))
    }

    fn done(&mut self, _lane: u32, _number: u64) {}

    fn save(&mut self, _wait: bool) -> Result<(), Failure> {
        Ok(())
    }

    fn release(&mut self, _lane: u32) {}

    fn backlog(&mut self) -> Backlog {
        if self.ended {
            return Backlog { records: Some(0), bytes: Some(0), at_live_end: false };
        }
        Backlog::default()
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn bad_lines_are_poison_and_the_rest_goes_on() {
        let lines = Lines::new("f.gz", Cursor::new(b"YQ==\n\nno!\nk|Yg==\n")).unwrap();
        let mut feed = LinesFeed::new(lines);
        let now = Instant::now();
        assert!(matches!(feed.next(false, now), Ok(Next::Idle)));
        let mut seen = Vec::new();
        while let Next::Record(record) = feed.next(true, now).unwrap() {
            assert_eq!(record.number, seen.len() as u64);
            seen.push((record.place.to_string(), record.payload.to_vec(), record.poison.is_some()));
        }
        let expected = [
            ("line 1 of f.gz".to_owned(), b"a".to_vec(), false),
            ("line 3 of f.gz".to_owned(), b"no!".to_vec(), true),
            ("line 4 of f.gz".to_owned(), b"b".to_vec(), false),
        ];
        assert_eq!(seen, expected);
        assert!(matches!(feed.next(false, now), Ok(Next::End)));
    }
}
