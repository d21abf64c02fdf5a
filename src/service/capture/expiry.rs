//! When a certificate is about to end, and how that is said. Reads no clock: its callers say what time it is.

use std::path::Path;

use jiff::Timestamp;

use crate::admin::{Cause, Severity};

/// How far the end of a certificate was warned of.
#[derive(Debug, Default)]
pub(super) struct Warned {
    /// Whose end it is, by its end: a new certificate is warned of anew.
    not_after: i64,
    /// The fewest days left that were said; `None` for nothing yet.
    days: Option<i64>,
}

impl Warned {
    /// Seconds left, when that is to be said: once below each of [`WARN_DAYS`].
    pub(super) fn due(&mut self, not_after: i64, now: i64) -> Option<i64> {
        if self.not_after != not_after {
            *self = Self { not_after, days: None };
        }
        let left = not_after - now;
        let days = WARN_DAYS.into_iter().find(|days| left <= days * DAY)?;
        if self.days.is_some_and(|said| said <= days) {
            return None;
        }
        self.days = Some(days);
        Some(left)
    }
}

/// What readiness says of it. Once it is over clients that check it cannot connect, so no write is accepted.
pub(super) fn cause(not_after: i64, certificate: &Path, now: i64) -> Option<Cause> {
    let left = not_after - now;
    let (name, severity) = match left {
        ..=0 => ("certificate_expired", Severity::Blocking),
        _ if left < DAY => ("certificate_expiring", Severity::Degraded),
        _ if left <= WARN_DAYS_MAX * DAY => ("certificate_expiring", Severity::Note),
        _ => return None,
    };
    let certificate = certificate.display();
    let ends = time(not_after);
    let detail = format!("the certificate {certificate} ends {ends}; put a new pair in place");
    Some(Cause { name, severity, detail })
}

/// A point in time to show.
pub(super) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

pub(super) const DAY: i64 = 86_400;
const WARN_DAYS_MAX: i64 = 30;
/// When an operator is warned; at 0 it is too late.
const WARN_DAYS: [i64; 4] = [0, 1, 7, WARN_DAYS_MAX];

#[cfg(test)]
mod tests {
    use super::*;

    const END: i64 = 1_800_000_000;

    #[test]
    fn each_threshold_is_said_once_as_time_goes_by() {
        let mut warned = Warned::default();
        let mut said = Vec::new();
        // Every minute from 40 days before the end to a day after it.
        for now in (END - 40 * DAY..END + DAY).step_by(60) {
            if let Some(left) = warned.due(END, now) {
                said.push(left as f64 / DAY as f64);
            }
        }
        assert_eq!(said, [30.0, 7.0, 1.0, 0.0]);
    }

    #[test]
    fn a_start_says_the_nearest_only_and_a_new_certificate_begins_anew() {
        let mut warned = Warned::default();
        assert_eq!(warned.due(END, END - 5 * DAY), Some(5 * DAY));
        assert_eq!(warned.due(END, END - 5 * DAY + 1), None);
        // The clock is set back: what was said was said.
        assert_eq!(warned.due(END, END - 20 * DAY), None);
        let next = END + 90 * DAY;
        assert_eq!(warned.due(next, END), None);
        assert_eq!(warned.due(next, next - 30 * DAY), Some(30 * DAY));
        assert_eq!(warned.due(END, END - DAY / 2), Some(DAY / 2), "the old one is put back");
    }

    #[test]
    fn readiness_names_it_from_30_days_on_and_says_no_when_it_is_over() {
        let of = |left| cause(END, Path::new("c.pem"), END - left).map(|cause| cause.severity);
        assert_eq!(of(30 * DAY + 1), None);
        for left in [30 * DAY, 5 * DAY, DAY] {
            assert_eq!(of(left), Some(Severity::Note));
        }
        assert_eq!(of(DAY - 1), Some(Severity::Degraded));
        assert_eq!(of(1), Some(Severity::Degraded));
        assert_eq!(of(0), Some(Severity::Blocking));
        let cause = cause(END, Path::new("c.pem"), END - 5 * DAY).unwrap();
        assert!(
            cause.detail.contains("c.pem") && cause.detail.contains("2027"),
            "{}",
            cause.detail
        );
    }
}
