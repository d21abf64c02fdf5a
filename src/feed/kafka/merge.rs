//! Which of several rows of records goes on: the one whose next record is the oldest.
//!
//! Pure: no broker, no clock. A partition holds the records of its connections in their order, but
//! what was written through one connection may rest on what was answered on another, in another
//! partition. So the partitions are merged by the newest observation in each record: a write was read
//! before the source saw it, so before anything that the source answered afterwards. Two writes
//! through two hosts keep their order as long as the clocks differ by less than an acknowledgement takes.
//! The time of production would not do: a spool drains into each partition at its own pace.
//!
//! A partition of which nothing is known stops the merge: its next record may be the oldest. One
//! that is read to its end stops it only for [`SLACK_MS`] after a record was produced: what can
//! precede that has been produced before, or is being produced now; the slack is for what the brokers
//! have and this reader has not been sent yet, and for clocks of capturing hosts that are behind.

use std::collections::{BTreeMap, BTreeSet};

/// How old a record must be to pass a partition that is at its end, in milliseconds.
pub(super) const SLACK_MS: i64 = 1000;

/// The rows and what is known of their next records.
#[derive(Debug, Default)]
pub(super) struct Merge {
    rows: BTreeMap<u32, Row>,
    heads: BTreeSet<(Time, u32)>,
    unknown: usize,
    at_end: usize,
    /// How much the producers' clocks are ahead of ours, as far as records show it.
    ahead_ms: i64,
}

/// When a record was made. Orders by what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    /// The newest observation in it, Unix nanoseconds.
    pub(super) seen_ns: i64,
    /// When it was produced, Unix milliseconds.
    pub(super) produced_ms: i64,
}

/// What comes next in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// Not known yet.
    Unknown,
    /// Nothing now, but it may go on at any time.
    AtEnd,
    /// Nothing ever.
    Ended,
    /// A record of this time.
    Head(Time),
}

/// What a merge comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// The record of this row is next.
    Take(u32),
    /// Nothing can be said before more is known of other rows.
    Blocked,
    /// The oldest record is too young to pass a row at its end.
    TooYoung,
    /// There is no record.
    Nothing,
    /// Every row has ended, and there is at least one.
    Ended,
}

impl Merge {
    /// Says what comes next in a row; a new row is added. `now_ms` is the wall clock.
    pub(super) fn set(&mut self, lane: u32, row: Row, now_ms: i64) {
        self.remove(lane);
        match row {
            Row::Unknown => self.unknown += 1,
            Row::AtEnd => self.at_end += 1,
            Row::Ended => {}
            Row::Head(time) => {
                // Nobody can produce in the future: then it is their clock.
                self.ahead_ms = self.ahead_ms.max(time.produced_ms.saturating_sub(now_ms));
                self.heads.insert((time, lane));
            }
        }
        self.rows.insert(lane, row);
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, lane: u32) {
        match self.rows.remove(&lane) {
            Some(Row::Unknown) => self.unknown -= 1,
            Some(Row::AtEnd) => self.at_end -= 1,
            Some(Row::Head(time)) => {
                self.heads.remove(&(time, lane));
            }
            Some(Row::Ended) | None => {}
        }
    }

    /// What is known of a row.
    pub(super) fn row(&self, lane: u32) -> Option<Row> {
        self.rows.get(&lane).copied()
    }

    /// Whether every row is read to its end.
    pub(super) fn all_at_end(&self) -> bool {
        self.unknown == 0 && self.heads.is_empty() && !self.rows.is_empty()
    }

    /// The row to take from; it stays as it is until it is set anew.
    pub(super) fn pick(&self, now_ms: i64) -> Pick {
        let Some((time, lane)) = self.heads.first() else {
            let ended = self.unknown == 0 && self.at_end == 0 && !self.rows.is_empty();
            return if ended { Pick::Ended } else { Pick::Nothing };
        };
        if self.unknown > 0 {
            return Pick::Blocked;
        }
        let horizon = now_ms.saturating_add(self.ahead_ms) - SLACK_MS;
        if self.at_end > 0 && time.produced_ms > horizon {
            Pick::TooYoung
        } else {
            Pick::Take(*lane)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(ms: i64) -> Row {
        Row::Head(Time { produced_ms: ms, seen_ns: ms })
    }

    #[test]
    fn what_was_seen_first_goes_first_whenever_it_was_produced() {
        let mut merge = Merge::default();
        for (lane, seen_ns, produced_ms) in [(1, 700, 10), (2, 300, 10), (3, 900, 9)] {
            merge.set(lane, Row::Head(Time { seen_ns, produced_ms }), 1_000_000);
        }
        for lane in [2, 1, 3] {
            assert_eq!(merge.pick(1_000_000), Pick::Take(lane));
            merge.set(lane, Row::Ended, 1_000_000);
        }
    }

    #[test]
    fn a_row_that_is_not_known_stops_everything() {
        let mut merge = Merge::default();
        assert_eq!(merge.pick(0), Pick::Nothing);
        merge.set(1, head(10), 1_000_000);
        merge.set(2, Row::Unknown, 1_000_000);
        assert_eq!(merge.pick(1_000_000), Pick::Blocked);
        merge.set(2, head(10), 1_000_000);
        assert_eq!(merge.pick(1_000_000), Pick::Take(1));
        merge.set(1, head(11), 1_000_000);
        assert_eq!(merge.pick(1_000_000), Pick::Take(2));
        merge.remove(2);
        assert_eq!(merge.pick(1_000_000), Pick::Take(1));
        merge.set(1, Row::Ended, 1_000_000);
        assert_eq!(merge.pick(1_000_000), Pick::Ended);
        merge.set(3, Row::AtEnd, 1_000_000);
        assert_eq!(merge.pick(1_000_000), Pick::Nothing);
        assert!(merge.all_at_end());
    }

    #[test]
    fn at_the_live_edge_a_record_waits_for_the_slack_and_not_longer() {
        let mut merge = Merge::default();
        merge.set(1, Row::AtEnd, 0);
        merge.set(2, head(5_000), 5_000);
        assert_eq!(merge.pick(5_000), Pick::TooYoung);
        assert_eq!(merge.pick(5_999), Pick::TooYoung);
        assert_eq!(merge.pick(6_000), Pick::Take(2));
        merge.set(1, Row::Ended, 0);
        assert_eq!(merge.pick(5_000), Pick::Take(2), "an ended row brings nothing older");
        // A producer whose clock is an hour ahead is not waited for an hour.
        let mut merge = Merge::default();
        merge.set(1, Row::AtEnd, 0);
        merge.set(2, head(3_600_000), 0);
        assert_eq!(merge.pick(999), Pick::TooYoung);
        assert_eq!(merge.pick(1_000), Pick::Take(2));
    }

    /// A partition made up of times, of which a reader knows what has arrived.
    struct Made {
        times: Vec<i64>,
        taken: usize,
        arrived: usize,
    }

    proptest! {
        /// Whatever the order of arrival, records come out by time when each row is in order, and
        /// all of them come out.
        #[test]
        fn records_come_out_by_time_however_they_arrive(
            rows in prop::collection::vec(prop::collection::vec(0_i64..2000, 0..30), 1..6),
            arrivals in prop::collection::vec((0_usize..6, 1_usize..5), 0..200),
        ) {
            let now = 1_000_000;
            let mut made: Vec<Made> = rows.into_iter().map(|mut times| {
                times.sort_unstable();
                Made { times, taken: 0, arrived: 0 }
            }).collect();
            let mut merge = Merge::default();
            let state = |row: &Made| match row.times.get(row.taken) {
                Some(time) if row.taken < row.arrived => head(*time),
                Some(_) => Row::Unknown,
                None => Row::Ended,
            };
            for (lane, row) in made.iter().enumerate() {
                merge.set(lane as u32, state(row), now);
            }
            let mut out = Vec::new();
            let all = (0..made.len()).map(|lane| (lane, usize::MAX));
            for (lane, count) in arrivals.into_iter().chain(all) {
                let lane = lane % made.len();
                let row = &mut made[lane];
                row.arrived = row.arrived.saturating_add(count).min(row.times.len());
                merge.set(lane as u32, state(row), now);
                while let Pick::Take(lane) = merge.pick(now) {
                    let row = &mut made[lane as usize];
                    out.push(row.times[row.taken]);
                    row.taken += 1;
                    merge.set(lane, state(row), now);
                }
            }
            prop_assert!(out.is_sorted(), "{out:?}");
            prop_assert_eq!(out.len(), made.iter().map(|row| row.times.len()).sum::<usize>());
            prop_assert_eq!(merge.pick(now), Pick::Ended);
        }
    }
}
