//! Which sequence numbers of one worker were there: duplicates are recognised so far back.

use std::collections::VecDeque;

/// The numbers met, in words of 64, as far as the window reaches back from the highest. A worker's records are spread
/// over partitions, so that few numbers of a word may come here: only words with a number take memory.
#[derive(Debug, Default)]
pub(super) struct Window {
    words: VecDeque<(u64, u64)>,
}

impl Window {
    /// Notes a number; false when it had been there. One that lies before the window is taken for new.
    pub(super) fn insert(&mut self, number: u64, window: usize) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        let newest = self.words.back().map_or(word, |(newest, _)| *newest);
        let oldest = newest.max(word).saturating_sub(window as u64 / 64);
        if word < oldest {
            return true;
        }
        while self.words.front().is_some_and(|(first, _)| *first < oldest) {
            self.words.pop_front();
        }
        if word > newest || self.words.is_empty() {
            self.words.push_back((word, bit));
            return true;
        }
        match self.words.binary_search_by_key(&word, |(word, _)| *word) {
            Ok(at) => {
                let bits = &mut self.words[at].1;
                let new = *bits & bit == 0;
                *bits |= bit;
                new
            }
            Err(at) => {
                self.words.insert(at, (word, bit));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_lies_before_the_window_is_new() {
        let mut window = Window::default();
        assert!(window.insert(1, 128));
        assert!(!window.insert(1, 128));
        assert!(window.insert(130, 128));
        assert!(!window.insert(1, 128));
        assert!(window.insert(200, 128));
        assert!(window.insert(1, 128));
        assert_eq!(window.words.len(), 2);
    }

    proptest! {
        #[test]
        fn within_the_window_it_is_a_set(numbers in proptest::collection::vec(0_u64..2000, 0..200)) {
            let (mut window, mut set) = (Window::default(), HashSet::new());
            for number in numbers {
                prop_assert_eq!(window.insert(number, 2048), set.insert(number));
            }
        }
    }
}
