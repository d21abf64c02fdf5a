//! What the sink says of itself.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_utils::CachePadded;

/// Counters of the sink thread.
#[derive(Debug, Default)]
pub struct SinkCounters {
    records: CachePadded<AtomicU64>,
    bytes: AtomicU64,
    commits: AtomicU64,
    errors: AtomicU64,
    rebuilds: AtomicU64,
    state: Mutex<SinkState>,
}

/// Whether records are being made durable right now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SinkState {
    /// Yes.
    #[default]
    Working,
    /// No, and why; held requests wait.
    Waiting(String),
}

impl SinkCounters {
    pub(super) fn durable(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rebuilt(&self) {
        self.rebuilds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_state(&self, state: SinkState) {
        *self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = state;
    }

    /// The state now.
    pub fn state(&self) -> SinkState {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// As one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        serde_json::json!({
            "records": get(&self.records),
            "bytes": get(&self.bytes),
            "commits": get(&self.commits),
            "errors": get(&self.errors),
            "producer_rebuilds": get(&self.rebuilds),
        })
    }
}

/// Lets one message of a kind through per interval and counts the rest.
#[derive(Debug)]
pub(super) struct Quiet {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Quiet {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, last: None, suppressed: 0 }
    }

    /// Whether to write the message now, and how many were left out since the last one.
    pub(super) fn allow(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < self.interval) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}
