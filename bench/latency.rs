//! A log-linear histogram of latencies.
//!
//! It owns counts at a resolution of 1/64 of the value, from 1 ns to about 500 years, in 30 KiB.
//! It never allocates after it is made and never forgets a sample.

/// Latencies, in nanoseconds.
pub(crate) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    /// An empty histogram.
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], total: 0 }
    }

    /// Counts one sample.
    pub(crate) fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
    }

    /// How many samples there are.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The latency that `share` (0 to 1) of the samples do not exceed, in microseconds, rounded
    /// up to the end of its bucket.
    pub(crate) fn quantile_us(&self, share: f64) -> f64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return bucket_end(index) as f64 / 1e3;
            }
        }
        0.0
    }
}

/// Values below `2 * PARTS` have a bucket each; above, each power of two is cut into `PARTS`.
fn bucket(ns: u64) -> usize {
    if ns < 2 * PARTS {
        return ns as usize;
    }
    let shift = ns.ilog2() - PARTS.ilog2();
    (u64::from(shift) * PARTS + (ns >> shift)) as usize
}

/// The largest value of a bucket.
fn bucket_end(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * PARTS {
        return index;
    }
    let shift = index / PARTS - 1;
    let first = u128::from(index - shift * PARTS) << shift;
    u64::try_from(first + (1 << shift) - 1).unwrap_or(u64::MAX)
}

const PARTS: u64 = 64;
