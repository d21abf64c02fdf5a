//! Rates over the last second, ten seconds and minute, from samples taken once a second.

use std::{collections::VecDeque, time::Duration};

/// Samples kept: a minute and one.
const SAMPLES: usize = 61;

/// Values of a few counters over the last minute.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: VecDeque<(Duration, Vec<u64>)>,
}

/// Rises per second over 1, 10 and 60 s, or over as long as there are samples.
pub type Rates = [f64; 3];

impl History {
    /// Notes the counters at a moment of a monotonic clock; always the same ones, in the same order.
    pub fn note(&mut self, at: Duration, values: Vec<u64>) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((at, values));
    }

    /// The rates of the counter of this number.
    pub fn rates(&self, number: usize) -> Rates {
        [1, 10, 60].map(|seconds| self.rate(number, Duration::from_secs(seconds)))
    }

    /// The newest sample that is at least `age` older than the last one; else the oldest there is.
    fn rate(&self, number: usize, age: Duration) -> f64 {
        let Some((now, last)) = self.samples.back() else { return 0.0 };
        let old = |(at, _): &&(Duration, Vec<u64>)| now.saturating_sub(*at) + SLACK >= age;
        let Some((then, first)) = self.samples.iter().rev().find(old).or(self.samples.front())
        else {
            return 0.0;
        };
        let seconds = now.saturating_sub(*then).as_secs_f64();
        let value = |of: &[u64]| of.get(number).copied().unwrap_or(0);
        if seconds == 0.0 {
            0.0
        } else {
            (value(last).saturating_sub(value(first))) as f64 / seconds
        }
    }
}

/// A sample that came a little early is old enough.
const SLACK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    /// Of rates that are whole numbers.
    fn whole(rate: f64) -> u64 {
        (rate * 1e6).round() as u64 / 1_000_000
    }

    #[test]
    fn rates_look_back_as_far_as_they_say() {
        let mut history = History::default();
        assert_eq!(history.rates(0).map(whole), [0; 3]);
        let mut total = 0;
        for second in 0..=100 {
            // 10 a second for 90 s, then 50 a second.
            total += if second > 90 { 50 } else { 10 };
            history.note(Duration::from_secs(second), vec![total, 7]);
        }
        let [one, ten, sixty] = history.rates(0);
        assert_eq!([one, ten].map(whole), [50; 2]);
        assert!((sixty - (10.0 * 50.0 + 50.0 * 10.0) / 60.0).abs() < 1e-9, "{sixty}");
        assert_eq!(history.rates(1).map(whole), [0; 3]);
        assert_eq!(history.samples.len(), SAMPLES);
    }

    #[test]
    fn a_young_process_is_measured_over_its_life() {
        let mut history = History::default();
        history.note(Duration::ZERO, vec![0]);
        history.note(Duration::from_secs(2), vec![8]);
        assert_eq!(history.rates(0).map(whole), [4; 3]);
    }
}
