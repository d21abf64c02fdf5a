//! Sets of numbers that arrive almost in order, kept as ranges.
//!
//! Memory is one entry per range, so a whole sequence costs one however long it is.

use std::collections::BTreeMap;

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Intervals {
    /// First number of a range to its last one; ranges neither touch nor overlap.
    ranges: BTreeMap<u64, u64>,
}

/// Numbers from the first to the last, both included.
pub(super) type Range = (u64, u64);

impl Intervals {
    /// Adds a number; false when it was there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let joins_next = number != u64::MAX && self.ranges.contains_key(&(number + 1));
        let last = if joins_next {
            self.ranges.get(&(number + 1)).copied().unwrap_or(number)
        } else {
            number
        };
        if let Some((_, end)) = self.ranges.range_mut(..=number).next_back() {
            if number <= *end {
                return false;
            }
            if number == *end + 1 {
                *end = last;
                if joins_next {
                    self.ranges.remove(&(number + 1));
                }
                return true;
            }
        }
        if joins_next {
            self.ranges.remove(&(number + 1));
        }
        self.ranges.insert(number, last);
        true
    }

    /// The smallest number.
    pub(super) fn first(&self) -> Option<u64> {
        self.ranges.first_key_value().map(|(first, _)| *first)
    }

    /// The largest number.
    pub(super) fn last(&self) -> Option<u64> {
        self.ranges.last_key_value().map(|(_, last)| *last)
    }

    /// The ranges, in order.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range> {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }

    /// What is missing between `from` and the largest number.
    pub(super) fn holes(&self, from: u64) -> Vec<Range> {
        let mut next = from;
        let mut holes = Vec::new();
        for (first, last) in self.ranges() {
            if first > next {
                holes.push((next, first - 1));
            }
            next = next.max(last.saturating_add(1));
        }
        holes
    }
}

/// How many numbers lie in these ranges.
pub(super) fn count(ranges: impl IntoIterator<Item = Range>) -> u64 {
    ranges.into_iter().map(|(first, last)| last - first + 1).sum()
}

/// `3-7, 9`.
pub(super) fn list(ranges: impl IntoIterator<Item = Range>) -> String {
    let name = |(first, last): Range| {
        if first == last { format!("{first}") } else { format!("{first}-{last}") }
    };
    ranges.into_iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_what_a_plain_set_says(numbers in prop::collection::vec(0_u64..40, 0..80)) {
            let (mut intervals, mut plain) = (Intervals::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(intervals.insert(number), plain.insert(number));
            }
            let all: Vec<u64> = intervals.ranges().flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(all, plain.iter().copied().collect::<Vec<_>>());
            prop_assert!(intervals.ranges().zip(intervals.ranges().skip(1)).all(|(a, b)| a.1 + 1 < b.0));
            let missing: Vec<u64> =
                intervals.holes(1).into_iter().flat_map(|(first, last)| first..=last).collect();
            let last = plain.last().copied().unwrap_or(0);
            let expected: Vec<u64> = (1..=last).filter(|number| !plain.contains(number)).collect();
            prop_assert_eq!(missing, expected);
        }
    }

    #[test]
    fn the_ends_of_the_number_range_are_numbers_too() {
        let mut intervals = Intervals::default();
        assert!(
            intervals.insert(u64::MAX) && intervals.insert(u64::MAX - 1) && intervals.insert(0)
        );
        assert!(!intervals.insert(u64::MAX));
        assert_eq!(list(intervals.ranges()), format!("0, {}-{}", u64::MAX - 1, u64::MAX));
        assert_eq!(intervals.holes(0), [(1, u64::MAX - 2)]);
        assert_eq!(count([(3, 7), (9, 9)]), 6);
    }
}
