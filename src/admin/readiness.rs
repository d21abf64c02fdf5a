//! Whether a write would be accepted now, without flapping.
//!
//! A load balancer resets the connections of a target that it takes for unhealthy, so a short trouble of the log must
//! not make one: a cause counts only when it has lasted for [`Readiness::new`]'s patience, and is shown as degraded
//! until then.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

/// Why a write would not be accepted, or what an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// A stable name.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is and what to do about it, in words.
    pub detail: String,
}

/// How bad a cause is, from bad to worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Writes are accepted, but something is wrong.
    Degraded,
    /// Writes are not accepted; unready when it lasts.
    Blocking,
    /// Unready at once, on purpose: the process is ending.
    Final,
}

/// What is said to whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Writes are accepted.
    Ready,
    /// Writes are accepted, or have not been for a short time only.
    Degraded,
    /// Writes are not accepted.
    Unready,
}

/// Causes and since when they are there.
#[derive(Clone, Debug)]
pub struct Readiness {
    patience: Duration,
    causes: BTreeMap<&'static str, (Duration, Cause)>,
}

impl Readiness {
    /// A cause must last for `patience` before it makes unready.
    pub fn new(patience: Duration) -> Self {
        Self { patience, causes: BTreeMap::new() }
    }

    /// The causes there are at a moment of a monotonic clock. One that is there again keeps its beginning.
    pub fn note(&mut self, now: Duration, causes: Vec<Cause>) {
        let before = std::mem::take(&mut self.causes);
        for cause in causes {
            let since = before.get(cause.name).map_or(now, |(since, _)| *since);
            self.causes.insert(cause.name, (since, cause));
        }
    }

    /// The verdict at a moment.
    pub fn verdict(&self, now: Duration) -> Verdict {
        let verdict = |(since, cause): &(Duration, Cause)| match cause.severity {
            Severity::Note => Verdict::Ready,
            Severity::Degraded => Verdict::Degraded,
            Severity::Blocking if now.saturating_sub(*since) < self.patience => Verdict::Degraded,
            Severity::Blocking | Severity::Final => Verdict::Unready,
        };
        let worst = |one, other| match (one, other) {
            (Verdict::Unready, _) | (_, Verdict::Unready) => Verdict::Unready,
            (Verdict::Degraded, _) | (_, Verdict::Degraded) => Verdict::Degraded,
            _ => Verdict::Ready,
        };
        self.causes.values().map(verdict).fold(Verdict::Ready, worst)
    }

    /// The verdict and its causes, worst first.
    pub fn to_json(&self, now: Duration) -> Value {
        let mut causes: Vec<_> = self.causes.values().collect();
        causes.sort_by_key(|(since, cause)| (std::cmp::Reverse(cause.severity), *since));
        let causes: Vec<Value> = causes
            .into_iter()
            .map(|(since, cause)| {
                json!({
                    "cause": cause.name,
                    "severity": cause.severity.name(),
                    "since_seconds": now.saturating_sub(*since).as_secs(),
                    "detail": cause.detail,
                })
            })
            .collect();
        json!({ "status": self.verdict(now).name(), "causes": causes })
    }
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Degraded => "degraded",
            Self::Blocking => "blocking",
            Self::Final => "final",
        }
    }
}

impl Verdict {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Unready => "unready",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(name: &'static str, severity: Severity) -> Cause {
        Cause { name, severity, detail: format!("{name} is wrong") }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_short_trouble_does_not_make_unready_and_a_long_one_does() {
        let mut readiness = Readiness::new(at(5));
        assert_eq!(readiness.verdict(at(0)), Verdict::Ready);
        readiness.note(at(1), vec![cause("sink", Severity::Blocking)]);
        assert_eq!(readiness.verdict(at(5)), Verdict::Degraded);
        readiness.note(at(5), Vec::new());
        assert_eq!(readiness.verdict(at(9)), Verdict::Ready);
        // It began anew.
        readiness.note(at(9), vec![cause("sink", Severity::Blocking)]);
        readiness.note(at(13), vec![cause("sink", Severity::Blocking)]);
        assert_eq!(readiness.verdict(at(13)), Verdict::Degraded);
        assert_eq!(readiness.verdict(at(14)), Verdict::Unready);
    }

    #[test]
    fn the_end_is_said_at_once_and_the_worst_first() {
        let mut readiness = Readiness::new(at(5));
        let causes = [
            cause("insecure", Severity::Note),
            cause("disk", Severity::Degraded),
            cause("draining", Severity::Final),
        ];
        readiness.note(at(1), causes[..1].to_vec());
        assert_eq!(readiness.verdict(at(100)), Verdict::Ready);
        readiness.note(at(2), causes[..2].to_vec());
        assert_eq!(readiness.verdict(at(100)), Verdict::Degraded);
        readiness.note(at(3), causes.to_vec());
        assert_eq!(readiness.verdict(at(3)), Verdict::Unready);
        let json = readiness.to_json(at(4));
        assert_eq!(json["status"], "unready");
        assert_eq!(json["causes"][0]["cause"], "draining");
        assert_eq!(json["causes"][2]["since_seconds"], 3);
    }
}
