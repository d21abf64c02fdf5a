//! When a request is due: captured time laid over the time of the run.
//!
//! Owns the baseline, the first request and the moment it was read, and never moves it: what is late is sent at once
//! and nothing else is caught up. Reads no clock.

/// How fast captured time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This many times as fast as captured; finite and above 0.
    Factor(f64),
    /// Nothing waits for its time.
    Max,
}

/// The pace of one run.
#[derive(Clone, Debug)]
pub struct Pace {
    speed: Speed,
    baseline: Option<Baseline>,
}

#[derive(Clone, Copy, Debug)]
struct Baseline {
    captured_ns: i64,
    now_ns: u64,
}

impl Pace {
    /// A pace whose baseline is the first request it is asked about.
    ///
    /// # Panics
    /// When the factor is not finite or not above 0: configuration refuses such a one first.
    pub fn new(speed: Speed) -> Self {
        if let Speed::Factor(factor) = speed {
            assert!(factor.is_finite() && factor > 0.0, "a speed is finite and above 0");
        }
        Self { speed, baseline: None }
    }

    /// When a request captured at `captured_ns` (Unix nanoseconds) is due, on the clock of `now_ns`. What was
    /// captured before the baseline, as when a clock was set back, is due with it.
    pub fn due_ns(&mut self, captured_ns: i64, now_ns: u64) -> u64 {
        let Baseline { captured_ns: from_ns, now_ns: start_ns } =
            *self.baseline.get_or_insert(Baseline { captured_ns, now_ns });
        let Speed::Factor(factor) = self.speed else { return start_ns };
        let passed_ns = captured_ns.saturating_sub(from_ns).max(0);
        // The cast ends at u64::MAX. Exact to the nanosecond over 104 days.
        start_ns.saturating_add((passed_ns as f64 / factor) as u64)
    }

    /// Where in captured time the run should be. `None` before the first request, and where nothing waits for its
    /// time.
    pub fn captured_ns(&self, now_ns: u64) -> Option<i64> {
        let Speed::Factor(factor) = self.speed else { return None };
        let Baseline { captured_ns, now_ns: start_ns } = self.baseline?;
        let passed_ns = now_ns.saturating_sub(start_ns) as f64 * factor;
        Some(captured_ns.saturating_add(passed_ns as i64))
    }
}

/// How much later than due it is.
pub fn late_ns(due_ns: u64, now_ns: u64) -> u64 {
    now_ns.saturating_sub(due_ns)
}

/// How far what was captured at `captured_ns` lies behind the wall clock, both in Unix nanoseconds. 0 when the
/// capturing node's clock runs ahead.
pub fn behind_ns(captured_ns: i64, wall_ns: i64) -> u64 {
    u64::try_from(wall_ns.saturating_sub(captured_ns)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_time_is_laid_over_the_runs() {
        let mut pace = Pace::new(Speed::Factor(2.0));
        assert_eq!(pace.captured_ns(5), None);
        assert_eq!(pace.due_ns(1_000, 50), 50);
        assert_eq!(pace.due_ns(1_200, 60), 150);
        // The baseline stays, however late it is.
        assert_eq!(pace.due_ns(1_200, 9_000), 150);
        assert_eq!(pace.captured_ns(150), Some(1_200));
        assert_eq!(pace.captured_ns(0), Some(1_000));
        let mut slow = Pace::new(Speed::Factor(0.5));
        assert_eq!(slow.due_ns(0, 0), 0);
        assert_eq!(slow.due_ns(10, 0), 20);
    }

    #[test]
    fn time_that_runs_backwards_or_far_ahead() {
        let mut pace = Pace::new(Speed::Factor(1.1));
        pace.due_ns(1_000, 50);
        assert_eq!(pace.due_ns(-5_000, 60), 50);
        assert_eq!(pace.due_ns(i64::MIN, 60), 50);
        let mut slow = Pace::new(Speed::Factor(0.001));
        slow.due_ns(i64::MIN, 50);
        assert_eq!(slow.due_ns(i64::MAX, 60), u64::MAX);
    }

    #[test]
    fn without_a_pace_everything_is_due() {
        let mut pace = Pace::new(Speed::Max);
        assert_eq!(pace.due_ns(1_000, 50), 50);
        assert_eq!(pace.due_ns(999_000, 60), 50);
        assert_eq!(pace.captured_ns(99), None);
    }

    #[test]
    #[should_panic(expected = "finite")]
    fn a_speed_of_nothing_is_refused() {
        Pace::new(Speed::Factor(0.0));
    }

    #[test]
    fn lags() {
        assert_eq!((late_ns(5, 9), late_ns(9, 5)), (4, 0));
        assert_eq!(
            (behind_ns(5, 9), behind_ns(9, 5), behind_ns(i64::MIN, 9)),
            (4, 0, i64::MAX as u64)
        );
    }
}
