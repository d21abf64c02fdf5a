//! Durations in buckets that grow with them, counted by one owner and read by others.
//!
//! Eight buckets to the doubling, as `HdrHistogram` does it: a value read back is at most an eighth too large. Counting
//! is a shift, a mask and three relaxed stores; nothing is ever allocated, and reading disturbs nobody.

use std::sync::atomic::{AtomicU64, Ordering};

/// Durations below 2^14 ns (16 µs) share the first bucket.
const FIRST_BIT: u32 = 14;
/// Durations from 2^36 ns (69 s) on share the last one.
const LAST_BIT: u32 = 36;
/// Buckets per doubling, as a power of two.
const SUB_BITS: u32 = 3;
/// All buckets.
const BUCKETS: usize = (((LAST_BIT - FIRST_BIT) << SUB_BITS) + 2) as usize;

/// A histogram; only its owner counts.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_ns: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts a duration; only the owner may call it, so that no atomic read-modify-write is needed.
    pub fn observe(&self, ns: u64) {
        let add = |value: &AtomicU64, n: u64| {
            value.store(value.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        };
        add(&self.buckets[index(ns)], 1);
        add(&self.sum_ns, ns);
    }
}

/// What histograms held at one moment, added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    buckets: [u64; BUCKETS],
    sum_ns: u64,
}

impl Distribution {
    /// Adds up `all`.
    pub fn of<'a>(all: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut sum = Self { buckets: [0; BUCKETS], sum_ns: 0 };
        for one in all {
            for (to, from) in sum.buckets.iter_mut().zip(&one.buckets) {
                *to += from.load(Ordering::Relaxed);
            }
            sum.sum_ns = sum.sum_ns.wrapping_add(one.sum_ns.load(Ordering::Relaxed));
        }
        sum
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum, seconds.
    pub fn sum_s(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// The duration that a share `q` of all does not exceed, seconds; `None` when nothing was counted.
    pub fn quantile_s(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((count as f64 * q).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        let at = self.buckets.iter().position(|n| {
            seen += n;
            seen >= rank
        });
        Some(upper_ns(at.unwrap_or(BUCKETS - 1)) as f64 / 1e9)
    }

    /// Upper bounds in seconds and how many do not exceed them, one per half doubling, for Prometheus; what is above
    /// the last bound is in [`Self::count`] only.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let step = 1 << (SUB_BITS - 1);
        let mut seen = 0;
        let mut bounds = Vec::with_capacity(BUCKETS / step + 1);
        for (at, n) in self.buckets[..BUCKETS - 1].iter().enumerate() {
            seen += n;
            if at % step == 0 {
                bounds.push((upper_ns(at) as f64 / 1e9, seen));
            }
        }
        bounds
    }
}

fn index(ns: u64) -> usize {
    if ns < 1 << FIRST_BIT {
        return 0;
    }
    if ns >= 1 << LAST_BIT {
        return BUCKETS - 1;
    }
    let bit = ns.ilog2();
    let sub = (ns >> (bit - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    1 + ((((bit - FIRST_BIT) as usize) << SUB_BITS) | sub as usize)
}

/// The bound that every value of the bucket lies below.
fn upper_ns(at: usize) -> u64 {
    if at == 0 {
        return 1 << FIRST_BIT;
    }
    let bit = FIRST_BIT + ((at - 1) >> SUB_BITS) as u32;
    let sub = ((at - 1) & ((1 << SUB_BITS) - 1)) as u64;
    (1 << bit) + (sub + 1) * (1 << (bit - SUB_BITS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_are_kept() {
        assert_eq!((index(0), index((1 << FIRST_BIT) - 1), index(1 << FIRST_BIT)), (0, 0, 1));
        assert_eq!(index((1 << LAST_BIT) - 1), BUCKETS - 2);
        assert_eq!(upper_ns(BUCKETS - 2), 1 << LAST_BIT);
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_and_bounds_tell_the_same() {
        let (one, other) = (Histogram::default(), Histogram::default());
        (0..90).for_each(|_| one.observe(1_000_000));
        (0..10).for_each(|_| other.observe(400_000_000));
        let sum = Distribution::of([&one, &other].into_iter());
        assert_eq!(sum.count(), 100);
        assert!((sum.sum_s() - 4.09).abs() < 1e-9);
        let near = |q: f64, seconds: f64| {
            let is = sum.quantile_s(q).unwrap();
            assert!(is >= seconds && is <= seconds * 1.125, "{q}: {is}");
        };
        near(0.5, 0.001);
        near(0.9, 0.001);
        near(0.91, 0.4);
        let bounds = sum.cumulative();
        assert!(bounds.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        let below = |limit: f64| bounds.iter().rfind(|(bound, _)| *bound <= limit).unwrap().1;
        assert_eq!((below(0.0005), below(0.002), below(1.0)), (0, 90, 100));
        assert_eq!(Distribution::of(std::iter::empty()).quantile_s(0.5), None);
    }

    proptest! {
        #[test]
        fn every_value_lies_below_the_bound_of_its_bucket_and_not_far(ns in (1u64 << FIRST_BIT)..(1 << LAST_BIT)) {
            let upper = upper_ns(index(ns));
            prop_assert!(ns < upper && upper - ns <= ns / 8 + 1);
            prop_assert!(upper_ns(index(ns) - 1) <= ns);
        }
    }
}
