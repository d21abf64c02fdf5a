//! Why a write would not be accepted now, or what an operator should know.

use std::sync::atomic::Ordering;

use super::{Board, lock};
use crate::{
    admin::{Cause, Severity},
    observe::{Counter, Gauge},
    sink::SinkState,
    sys::disk,
};

/// The log's file system counts as nearly full when less than this share of it is free, or when less is free than the
/// log's reserve and one more segment.
const FREE_SHARE_MIN: f64 = 0.05;

/// It is said to fill up when less than this share of it is free.
const FREE_SHARE_LOW: f64 = 0.2;

impl Board {
    pub(super) fn causes(&self) -> Vec<Cause> {
        let mut causes = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            let detail = "stopping: what is in flight is being finished".to_owned();
            causes.push(Cause { name: "draining", severity: Severity::Final, detail });
        }
        causes.extend(self.passing());
        causes.extend(self.sink_waits());
        causes.extend(self.memory());
        causes.extend(self.source_down());
        causes.extend(self.disk());
        causes.extend(self.gaps());
        causes.extend(self.extras.causes.iter().flat_map(|more| more()));
        causes
    }

    /// Writes go on, so that this is no reason to send them elsewhere.
    fn passing(&self) -> Option<Cause> {
        let workers = self.workers_passing();
        let state = self.sink.state();
        let why = state.cause().unwrap_or("records are stored too slowly");
        let (early, without) =
            (self.sum(Counter::PassedEarly), self.sum(Counter::PassedUncaptured));
        (workers > 0).then(|| Cause {
            name: "passing",
            severity: Severity::Degraded,
            detail: format!(
                "writes pass before their records are stored, or without one, as --on-capture-unavailable pass asks \
                 for: {why}; since the start {early} with a record in memory, {without} uncaptured"
            ),
        })
    }

    fn sink_waits(&self) -> Option<Cause> {
        let why = match self.sink.state() {
            SinkState::Working => return None,
            SinkState::Waiting(why) => why,
            state @ (SinkState::Spooling(_) | SinkState::CatchingUp) => {
                let detail = format!("{}; nothing waits", state.describe());
                return Some(Cause { name: "spooling", severity: Severity::Degraded, detail });
            }
        };
        let log = if self.facts.config.kafka.is_some() { "Kafka" } else { "the capture log" };
        let waiting: u64 = self.counters.iter().map(|c| c.gauge(Gauge::Waiting)).sum();
        let detail =
            format!("{log} takes no records: {why}; {waiting} connections wait, reads go on");
        // Under pass writes wait for no longer than the hold timeout.
        let severity = self.gravity();
        Some(Cause { name: "sink_waiting", severity, detail })
    }

    /// Records wait in memory until they are durable; when that is used up, writes are not read any more.
    fn memory(&self) -> Option<Cause> {
        let used = self.backlog_bytes();
        let max = self.facts.memory_bytes;
        (used > max).then(|| Cause {
            name: "capture_memory",
            severity: self.gravity(),
            detail: format!(
                "{used} bytes of records are not durable, more than --capture-memory allows ({max}); {}",
                if self.facts.config.passes() {
                    "what comes passes uncaptured, writes after --hold-timeout"
                } else {
                    "writes are not read until there are fewer, reads pass uncaptured"
                }
            ),
        })
    }

    /// Of records that cannot be stored.
    fn gravity(&self) -> Severity {
        if self.facts.config.passes() { Severity::Degraded } else { Severity::Blocking }
    }

    fn source_down(&self) -> Option<Cause> {
        let probe = lock(&self.probe).clone();
        let (since, why) = probe.down?;
        let seconds = since.elapsed().as_secs();
        Some(Cause {
            name: "source_down",
            severity: Severity::Blocking,
            detail: format!(
                "the source {} cannot be connected to for {seconds} s: {why}; clients get 502",
                self.facts.config.source
            ),
        })
    }

    fn disk(&self) -> Option<Cause> {
        let config = &self.facts.config;
        let dir = config.log_dir()?;
        let space = disk::space(&dir).ok()?;
        let below = |share: f64| (space.free_bytes as f64) < space.all_bytes as f64 * share;
        let room = config.log_reserve + config.segment_bytes;
        let (name, severity) = if space.free_bytes < room || below(FREE_SHARE_MIN) {
            ("disk_nearly_full", Severity::Degraded)
        } else if below(FREE_SHARE_LOW) {
            ("disk_filling", Severity::Note)
        } else {
            return None;
        };
        let then = if config.passes() { "pass uncaptured" } else { "be held" };
        let detail = format!(
            "{} MiB of {} MiB are free where the log {} lies; writes will {then} when it is full",
            space.free_bytes >> 20,
            space.all_bytes >> 20,
            dir.display()
        );
        Some(Cause { name, severity, detail })
    }

    fn gaps(&self) -> Option<Cause> {
        let (requests, bytes) = (self.sum(Counter::Uncaptured), self.sum(Counter::UncapturedBytes));
        (bytes > 0).then(|| Cause {
            name: "gaps",
            severity: Severity::Note,
            detail: format!(
                "{requests} requests ({} writes) and {bytes} bytes passed uncaptured since the start; markers in the \
                 records say where, and why",
                self.sum(Counter::PassedUncaptured)
            ),
        })
    }

    /// Bytes of records that are not back from the sink.
    pub(super) fn backlog_bytes(&self) -> u64 {
        self.sum(Counter::RecordBytes).saturating_sub(self.sum(Counter::RecordBytesReturned))
    }
}
