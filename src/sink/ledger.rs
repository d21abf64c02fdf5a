//! What of a spool has been read, and what of that has arrived: how far the position may move on.

use std::collections::{BTreeSet, VecDeque};

/// Reading places of one incarnation. Records arrive in any order; the position moves in theirs.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Read and not yet passed by the position, oldest first.
    places: VecDeque<Place>,
    /// Arrived, but something before them has not.
    arrived: BTreeSet<u64>,
    /// The newest that the position has passed.
    passed: Option<Place>,
}

/// Behind a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The record.
    pub(super) sequence: u64,
    /// First sequence of the segment behind it, and the offset there.
    pub(super) segment: u64,
    /// In bytes.
    pub(super) offset: u64,
}

impl Ledger {
    /// A record was read.
    pub(super) fn read(&mut self, place: Place) {
        self.places.push_back(place);
        self.pass();
    }

    /// A record has arrived; it may be one that was never read.
    pub(super) fn arrived(&mut self, sequence: u64) {
        self.arrived.insert(sequence);
        self.pass();
    }

    /// Whether everything that was read has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Behind the last record before which everything has arrived; `None` when it did not move since the last call.
    pub(super) fn take_passed(&mut self) -> Option<Place> {
        self.passed.take()
    }

    fn pass(&mut self) {
        while let Some(place) = self.places.front()
            && self.arrived.remove(&place.sequence)
        {
            self.passed = self.places.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_position_is_behind_the_longest_arrived_beginning(
            steps in prop::collection::vec((prop::bool::ANY, 0_u64..30), 0..120)
        ) {
            let (mut ledger, mut next, mut there) = (Ledger::default(), 0, BTreeSet::new());
            let mut passed = 0;
            for (reads, sequence) in steps {
                if reads {
                    ledger.read(Place { sequence: next, segment: 0, offset: next * 8 });
                    next += 1;
                } else if sequence >= passed && there.insert(sequence) {
                    ledger.arrived(sequence);
                }
                if let Some(place) = ledger.take_passed() {
                    prop_assert_eq!(place.offset, place.sequence * 8);
                    passed = place.sequence + 1;
                }
                let whole = (0..next).take_while(|sequence| there.contains(sequence)).count();
                prop_assert_eq!(passed, whole as u64);
                prop_assert_eq!(ledger.is_empty(), whole as u64 == next);
            }
        }
    }
}
