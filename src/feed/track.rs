//! From the number of a record back to the position behind it.
//!
//! Exact for every record in flight and small: eight bytes each for a log; for a partition nothing
//! but the places where offsets leave some out.

use std::{collections::VecDeque, sync::Arc};

use crate::log::Position;

/// Positions in a capture log.
#[derive(Debug)]
pub(super) struct LogTrack {
    /// Number of the record that `offsets` begins with.
    base: u64,
    /// Behind each record in flight, in its segment.
    offsets: VecDeque<u64>,
    runs: VecDeque<Run>,
    done: Position,
}

/// Records of one segment, one frame after another.
#[derive(Debug)]
struct Run {
    number: u64,
    incarnation: Arc<str>,
    segment: u64,
    /// [`Position::next`] behind the first.
    next: u64,
}

impl LogTrack {
    /// Begins behind what was done earlier.
    pub(super) fn new(done: Position) -> Self {
        Self { base: 0, offsets: VecDeque::new(), runs: VecDeque::new(), done }
    }

    /// The next record, and the position behind it; gives its number.
    pub(super) fn add(&mut self, after: &Position) -> u64 {
        let number = self.base + self.offsets.len() as u64;
        let goes_on = self.runs.back().is_some_and(|run| {
            run.segment == after.segment
                && run.next + (number - run.number) == after.next
                && *run.incarnation == *after.incarnation
        });
        if !goes_on {
            let incarnation = match self.runs.back() {
                Some(run) if *run.incarnation == *after.incarnation => Arc::clone(&run.incarnation),
                _ => after.incarnation.as_str().into(),
            };
            let (segment, next) = (after.segment, after.next);
            self.runs.push_back(Run { number, incarnation, segment, next });
        }
        self.offsets.push_back(after.offset);
        number
    }

    /// Every record before `number` is done with.
    pub(super) fn done(&mut self, number: u64) {
        debug_assert!(number <= self.base + self.offsets.len() as u64, "done before it was given");
        let number = number.min(self.base + self.offsets.len() as u64);
        if number <= self.base {
            return;
        }
        let last = number - 1;
        while self.runs.get(1).is_some_and(|run| run.number <= last) {
            self.runs.pop_front();
        }
        let run = self.runs.front().expect("invariant: a record in flight belongs to a run");
        self.done.incarnation.clear();
        self.done.incarnation.push_str(&run.incarnation);
        self.done.segment = run.segment;
        self.done.next = run.next + (last - run.number);
        let count = (number - self.base) as usize;
        self.done.offset = self.offsets[count - 1];
        self.offsets.drain(..count);
        self.base = number;
    }

    /// The position behind everything done.
    pub(super) fn position(&self) -> &Position {
        &self.done
    }
}

/// Offsets in a partition.
#[derive(Debug)]
pub(super) struct OffsetTrack {
    given: u64,
    /// Number and offset where a row of consecutive offsets begins.
    runs: VecDeque<(u64, i64)>,
    done: i64,
}

impl OffsetTrack {
    /// Begins with the offset that is read first.
    pub(super) fn new(first: i64) -> Self {
        Self { given: 0, runs: VecDeque::new(), done: first }
    }

    /// The next record; gives its number.
    pub(super) fn add(&mut self, offset: i64) -> u64 {
        let number = self.given;
        let goes_on = self
            .runs
            .back()
            .is_some_and(|(first, begin)| begin + (number - first) as i64 == offset);
        if !goes_on {
            self.runs.push_back((number, offset));
        }
        self.given += 1;
        number
    }

    /// Every record before `number` is done with.
    pub(super) fn done(&mut self, number: u64) {
        debug_assert!(number <= self.given, "done before it was given");
        let Some(last) = number.min(self.given).checked_sub(1) else { return };
        while self.runs.get(1).is_some_and(|(first, _)| *first <= last) {
            self.runs.pop_front();
        }
        if let Some((first, begin)) = self.runs.front()
            && *first <= last
        {
            self.done = self.done.max(begin + (last - first) as i64 + 1);
        }
    }

    /// The offset to commit: of the first record that is not done.
    pub(super) fn offset(&self) -> i64 {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(incarnation: &str, segment: u64, next: u64) -> Position {
        Position { incarnation: incarnation.into(), segment, offset: 4096 + next * 100, next }
    }

    #[test]
    fn every_position_of_a_log_comes_back_exactly() {
        let mut places = Vec::new();
        for (incarnation, segment, numbers) in
            [("a", 0, 1..8), ("a", 7, 8..9), ("a", 8, 9..12), ("a", 8, 15..20), ("b", 0, 1..4)]
        {
            places.extend(numbers.map(|next| position(incarnation, segment, next)));
        }
        for step in 1..=places.len() {
            let mut track = LogTrack::new(Position::start());
            let mut done = 0;
            for (number, place) in places.iter().enumerate() {
                assert_eq!(track.add(place), number as u64);
                if (number + 1).is_multiple_of(step) {
                    done = number + 1 - step / 2;
                    track.done(done as u64);
                }
                let expected = if done == 0 { &Position::start() } else { &places[done - 1] };
                assert_eq!(track.position(), expected);
                assert!(track.offsets.len() <= number + 1 - done);
            }
            track.done(places.len() as u64);
            track.done(1);
            assert_eq!(Some(track.position()), places.last());
            assert!(track.offsets.is_empty() && track.runs.len() == 1);
        }
    }

    #[test]
    fn offsets_that_are_left_out_are_left_out_of_commits() {
        let offsets = [5, 6, 7, 20, 21, 40, 41, 42];
        for step in 1..=offsets.len() {
            let mut track = OffsetTrack::new(3);
            track.done(0);
            assert_eq!(track.offset(), 3);
            for (number, offset) in offsets.iter().enumerate() {
                assert_eq!(track.add(*offset), number as u64);
                if (number + 1).is_multiple_of(step) {
                    track.done(number as u64 + 1);
                    assert_eq!(track.offset(), offset + 1);
                    assert!(track.runs.len() <= 1);
                }
            }
            track.done(1);
            assert!(track.offset() >= 6);
        }
    }
}
