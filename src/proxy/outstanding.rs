//! Batches that are with the sink: since when, and how long each took to come back.
//!
//! Only counts: batches come back whole or in parts, and in the order of their partitions, so a batch counts as back
//! when as many records came back as had been handed over up to its end.

use std::collections::VecDeque;

/// A batch that went to the sink.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Records handed over up to its end.
    until: u64,
    monotonic_ns: u64,
    unix_ns: u64,
    /// Something waits for it.
    held: bool,
}

/// What a worker has outstanding.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    batches: VecDeque<Sent>,
    sent: u64,
    back: u64,
}

impl Outstanding {
    /// A batch of so many records goes to the sink.
    pub(super) fn sent(&mut self, records: usize, held: bool, monotonic_ns: u64, unix_ns: u64) {
        self.sent += records as u64;
        self.batches.push_back(Sent { until: self.sent, monotonic_ns, unix_ns, held });
    }

    /// So many records came back; tells how long each batch took that is back with them and had held records.
    pub(super) fn back(&mut self, records: usize, now_ns: u64, mut took: impl FnMut(u64)) {
        self.back += records as u64;
        while let Some(batch) = self.batches.front().filter(|batch| batch.until <= self.back) {
            if batch.held {
                took(now_ns.saturating_sub(batch.monotonic_ns));
            }
            self.batches.pop_front();
        }
    }

    /// For how long the oldest batch has not come back.
    pub(super) fn waits_ns(&self, now_ns: u64) -> Option<u64> {
        self.batches.front().map(|batch| now_ns.saturating_sub(batch.monotonic_ns))
    }

    /// When the oldest batch went that is not back; 0 when there is none.
    pub(super) fn oldest_unix_ns(&self) -> u64 {
        self.batches.front().map_or(0, |batch| batch.unix_ns)
    }
}

/// How far everything is back, told at the worker's heartbeats: records come back in the order of their partitions, so
/// each says between which of them it was made.
#[derive(Debug)]
pub(super) struct Epochs {
    /// Of each epoch that is not back: records outstanding, and its last sequence once it is over. The newest is open.
    open: VecDeque<(u64, u64)>,
    /// The number of the oldest of them.
    oldest: u16,
    stored: u64,
}

impl Default for Epochs {
    fn default() -> Self {
        Self { open: VecDeque::from([(0, 0)]), oldest: 0, stored: 0 }
    }
}

impl Epochs {
    /// A record goes to the sink; the epoch that it belongs to.
    pub(super) fn sent(&mut self) -> u16 {
        if let Some((outstanding, _)) = self.open.back_mut() {
            *outstanding += 1;
        }
        self.oldest.wrapping_add(self.open.len() as u16 - 1)
    }

    /// A record is back.
    pub(super) fn back(&mut self, epoch: u16) {
        let at = usize::from(epoch.wrapping_sub(self.oldest));
        if let Some((outstanding, _)) = self.open.get_mut(at) {
            *outstanding -= 1;
        }
    }

    /// An epoch ends with `sequence`; the sequence up to which every record is back.
    pub(super) fn turn(&mut self, sequence: u64) -> u64 {
        // A sink that stands still for weeks makes one long epoch of them.
        if self.open.len() < EPOCHS_MAX {
            if let Some((_, last)) = self.open.back_mut() {
                *last = sequence;
            }
            self.open.push_back((0, 0));
        }
        while self.open.len() > 1
            && let Some((0, last)) = self.open.front()
        {
            self.stored = *last;
            self.open.pop_front();
            self.oldest = self.oldest.wrapping_add(1);
        }
        self.stored
    }
}

/// Far fewer than there are numbers for them.
const EPOCHS_MAX: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_is_what_is_back_with_everything_before_it() {
        let mut epochs = Epochs::default();
        let first: Vec<u16> = (0..3).map(|_| epochs.sent()).collect();
        assert_eq!(epochs.turn(3), 0);
        let second = epochs.sent();
        epochs.back(second);
        assert_eq!(epochs.turn(4), 0, "the first ones are still out");
        for epoch in first {
            epochs.back(epoch);
        }
        assert_eq!(epochs.turn(4), 4);
        for sequence in 5..200_000 {
            let epoch = epochs.sent();
            epochs.back(epoch);
            assert_eq!(epochs.turn(sequence), sequence, "epochs go round");
        }
    }

    #[test]
    fn a_sink_that_stands_still_costs_no_end_of_memory() {
        let mut epochs = Epochs::default();
        let out: Vec<u16> = (1..100_000u64)
            .map(|sequence| {
                let epoch = epochs.sent();
                assert_eq!(epochs.turn(sequence), 0);
                epoch
            })
            .collect();
        assert!(epochs.open.len() <= EPOCHS_MAX);
        for epoch in out {
            epochs.back(epoch);
        }
        assert!(epochs.turn(100_000) >= EPOCHS_MAX as u64 - 2);
        let epoch = epochs.sent();
        epochs.back(epoch);
        assert_eq!(epochs.turn(100_001), 100_001);
    }

    #[test]
    fn a_batch_is_back_with_its_last_record() {
        let mut outstanding = Outstanding::default();
        outstanding.sent(3, true, 10, 1010);
        outstanding.sent(1, false, 20, 1020);
        outstanding.sent(2, true, 30, 1030);
        let mut took = Vec::new();
        outstanding.back(2, 40, |ns| took.push(ns));
        assert_eq!((took.len(), outstanding.oldest_unix_ns()), (0, 1010));
        assert_eq!(outstanding.waits_ns(40), Some(30));
        outstanding.back(2, 50, |ns| took.push(ns));
        assert_eq!((took.as_slice(), outstanding.oldest_unix_ns()), (&[40][..], 1030));
        outstanding.back(2, 60, |ns| took.push(ns));
        assert_eq!((took.as_slice(), outstanding.oldest_unix_ns()), (&[40, 30][..], 0));
        assert_eq!(outstanding.waits_ns(60), None);
    }
}
