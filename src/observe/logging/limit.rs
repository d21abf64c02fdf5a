//! No place in the program writes more than so many lines in so long; what it left out it says later.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// Lines of one place in a [`WINDOW`].
const LINES_MAX: u32 = 20;
/// How long a window is.
const WINDOW: Duration = Duration::from_secs(10);

/// Who has written how much.
#[derive(Debug)]
pub(super) struct Limit<K> {
    places: HashMap<K, Place>,
}

#[derive(Debug)]
struct Place {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

impl<K> Default for Limit<K> {
    fn default() -> Self {
        Self { places: HashMap::new() }
    }
}

impl<K: Eq + Hash> Limit<K> {
    /// Whether a place may write a line now, and how many it has left out before.
    pub(super) fn allow(&mut self, place: K, now: Instant) -> Option<u64> {
        let fresh = || Place { since: now, lines: 0, suppressed: 0 };
        let place = self.places.entry(place).or_insert_with(fresh);
        if now.saturating_duration_since(place.since) >= WINDOW {
            place.since = now;
            place.lines = 0;
        }
        if place.lines == LINES_MAX {
            place.suppressed += 1;
            return None;
        }
        place.lines += 1;
        Some(std::mem::take(&mut place.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_few_lines_and_a_count() {
        let mut limit = Limit::default();
        let start = Instant::now();
        let written = (0..10_000).filter(|_| limit.allow("here", start).is_some()).count();
        assert_eq!(written, LINES_MAX as usize);
        assert_eq!(limit.allow("there", start), Some(0), "others are not concerned");
        assert_eq!(limit.allow("here", start + WINDOW), Some(10_000 - u64::from(LINES_MAX)));
        assert_eq!(limit.allow("here", start + WINDOW), Some(0));
    }
}
