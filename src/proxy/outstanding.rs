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

    /// When the oldest batch went that is not back; 0 when there is none.
    pub(super) fn oldest_unix_ns(&self) -> u64 {
        self.batches.front().map_or(0, |batch| batch.unix_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_back_with_its_last_record() {
        let mut outstanding = Outstanding::default();
        outstanding.sent(3, true, 10, 1010);
        outstanding.sent(1, false, 20, 1020);
        outstanding.sent(2, true, 30, 1030);
        let mut took = Vec::new();
        outstanding.back(2, 40, |ns| took.push(ns));
        assert_eq!((took.len(), outstanding.oldest_unix_ns()), (0, 1010));
        outstanding.back(2, 50, |ns| took.push(ns));
        assert_eq!((took.as_slice(), outstanding.oldest_unix_ns()), (&[40][..], 1030));
        outstanding.back(2, 60, |ns| took.push(ns));
        assert_eq!((took.as_slice(), outstanding.oldest_unix_ns()), (&[40, 30][..], 0));
    }
}
