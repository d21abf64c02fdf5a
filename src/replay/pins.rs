//! Which records are still needed: the position of a lane may not move past the oldest of them.
//!
//! Owns the counts only; what a number means (an offset, a frame) is the feed's.

use std::collections::{BTreeMap, VecDeque};

use super::exchange::Mark;

/// The records of all lanes that something unfinished began in.
#[derive(Debug, Default)]
pub struct Pins {
    lanes: BTreeMap<u32, Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Number of the record that `counts[0]` is about.
    base: u64,
    counts: VecDeque<u32>,
    held: u64,
}

impl Pins {
    /// A record was read. Numbers of a lane come without a hole.
    pub fn read(&mut self, mark: Mark) {
        let lane = self
            .lanes
            .entry(mark.lane)
            .or_insert_with(|| Lane { base: mark.number, ..Lane::default() });
        debug_assert_eq!(
            lane.base + lane.counts.len() as u64,
            mark.number,
            "invariant: records come in order"
        );
        lane.counts.push_back(0);
    }

    /// Something that began in this record is unfinished.
    pub fn hold(&mut self, mark: Mark) {
        if let Some(count) = self.count(mark) {
            *count += 1;
            self.lanes.get_mut(&mark.lane).expect("invariant: it has a count").held += 1;
        }
    }

    /// It is finished. A lane that was dropped meanwhile is none.
    pub fn release(&mut self, mark: Mark) {
        if let Some(count) = self.count(mark) {
            *count = count.checked_sub(1).expect("invariant: what is released was held");
            self.lanes.get_mut(&mark.lane).expect("invariant: it has a count").held -= 1;
        }
    }

    /// For every lane, the number of its first record that is still needed, or of the next one to come. Forgets what
    /// lies before.
    pub fn done(&mut self, mut each: impl FnMut(u32, u64)) {
        for (number, lane) in &mut self.lanes {
            while lane.counts.front() == Some(&0) {
                lane.counts.pop_front();
                lane.base += 1;
            }
            each(*number, lane.base);
        }
    }

    /// Holds of one lane.
    pub fn held(&self, lane: u32) -> u64 {
        self.lanes.get(&lane).map_or(0, |lane| lane.held)
    }

    /// The lane is somebody else's now.
    pub fn drop_lane(&mut self, lane: u32) {
        self.lanes.remove(&lane);
    }

    fn count(&mut self, mark: Mark) -> Option<&mut u32> {
        let lane = self.lanes.get_mut(&mark.lane)?;
        let at = mark.number.checked_sub(lane.base)?;
        lane.counts.get_mut(at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u64) -> Mark {
        Mark { lane: 3, number }
    }

    fn done(pins: &mut Pins) -> u64 {
        let mut at = 0;
        pins.done(|lane, number| {
            assert_eq!(lane, 3);
            at = number;
        });
        at
    }

    #[test]
    fn a_lane_moves_on_to_its_oldest_hold() {
        let mut pins = Pins::default();
        for number in 10..15 {
            pins.read(mark(number));
        }
        pins.hold(mark(11));
        pins.hold(mark(11));
        pins.hold(mark(13));
        assert_eq!(done(&mut pins), 11);
        pins.release(mark(11));
        assert_eq!(done(&mut pins), 11);
        pins.release(mark(11));
        assert_eq!(done(&mut pins), 13);
        assert_eq!(pins.held(3), 1);
        pins.release(mark(13));
        assert_eq!(done(&mut pins), 15);
        pins.read(mark(15));
        assert_eq!(done(&mut pins), 16);
    }

    #[test]
    fn a_dropped_lane_is_not_asked_for_again() {
        let mut pins = Pins::default();
        pins.read(mark(0));
        pins.hold(mark(0));
        pins.drop_lane(3);
        pins.release(mark(0));
        pins.done(|_, _| panic!("there is no lane"));
    }
}
