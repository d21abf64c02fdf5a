//! What the sink says of itself.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_utils::CachePadded;

use crate::observe::Histogram;

/// Counters of the sink thread.
#[derive(Debug, Default)]
pub struct SinkCounters {
    records: CachePadded<AtomicU64>,
    bytes: AtomicU64,
    commits: AtomicU64,
    errors: AtomicU64,
    rebuilds: AtomicU64,
    resent: AtomicU64,
    spooled: AtomicU64,
    spooled_bytes: AtomicU64,
    drained: AtomicU64,
    backlog: [AtomicU64; 5],
    kafka_errors: Mutex<BTreeMap<String, u64>>,
    state: Mutex<(SinkState, u64)>,
    sync: Histogram,
}

/// Whether records are being made durable right now, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SinkState {
    /// Where they belong.
    #[default]
    Working,
    /// In the spool, and why not in Kafka.
    Spooling(String),
    /// In the spool, until what is in it has gone to Kafka.
    CatchingUp,
    /// Nowhere, and why; held requests wait.
    Waiting(String),
}

impl SinkState {
    /// One stable word.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Spooling(_) => "spooling",
            Self::CatchingUp => "catching_up",
            Self::Waiting(_) => "waiting",
        }
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Working => "records are durable".into(),
            Self::Spooling(why) => format!("records go to the spool: {why}"),
            Self::CatchingUp => {
                "records go to the spool until what is in it has gone to Kafka".into()
            }
            Self::Waiting(why) => format!("writes wait: {why}"),
        }
    }

    /// What is wrong.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Working | Self::CatchingUp => None,
            Self::Spooling(cause) | Self::Waiting(cause) => Some(cause),
        }
    }

    /// Whether held requests are let through.
    pub fn is_durable(&self) -> bool {
        !matches!(self, Self::Waiting(_))
    }
}

/// What is in the spool and not in Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolBacklog {
    /// Records of this run.
    pub records: u64,
    /// Bytes of all runs, headers and padding included.
    pub bytes: u64,
    /// When the oldest was written, Unix nanoseconds; 0 when there is none.
    pub oldest_unix_ns: u64,
    /// Earlier runs that left something.
    pub earlier_runs: u64,
    /// Stretches of the spool that could not be read, since the start.
    pub losses: u64,
}

impl SinkCounters {
    pub(super) fn durable(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// An fdatasync took so long; told by the sink's thread only.
    pub(super) fn synced(&self, began: Instant) {
        self.sync.observe(began.elapsed().as_nanos() as u64);
    }

    /// How long each fdatasync of the capture log or the spool took.
    pub fn sync(&self) -> &Histogram {
        &self.sync
    }

    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn kafka_error(&self, code: String, count: u64) {
        let mut errors = self.kafka_errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(code).or_default() += count;
    }

    /// What Kafka's client complained of and records that it could not deliver, by librdkafka's code.
    pub fn kafka_errors(&self) -> BTreeMap<String, u64> {
        self.kafka_errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn rebuilt(&self) {
        self.rebuilds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn resent(&self, records: u64) {
        self.resent.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn spooled(&self, records: u64, bytes: u64) {
        self.spooled.fetch_add(records, Ordering::Relaxed);
        self.spooled_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn drained(&self, records: u64) {
        self.drained.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn set_backlog(&self, backlog: SpoolBacklog) {
        let SpoolBacklog { records, bytes, oldest_unix_ns, earlier_runs, losses } = backlog;
        let all = [records, bytes, oldest_unix_ns, earlier_runs, losses];
        for (value, now) in self.backlog.iter().zip(all) {
            value.store(now, Ordering::Relaxed);
        }
    }

    pub(super) fn set_state(&self, state: SinkState) {
        let mut current = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.label() != state.label() {
            current.1 = unix_ns();
        }
        current.0 = state;
    }

    /// The state now.
    pub fn state(&self) -> SinkState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Since when the state has its label, Unix nanoseconds; 0: since the start.
    pub fn since_unix_ns(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// What is in the spool and not in Kafka.
    pub fn backlog(&self) -> SpoolBacklog {
        let [records, bytes, oldest_unix_ns, earlier_runs, losses] =
            [0, 1, 2, 3, 4].map(|at: usize| self.backlog[at].load(Ordering::Relaxed));
        SpoolBacklog { records, bytes, oldest_unix_ns, earlier_runs, losses }
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
            "resent": get(&self.resent),
            "spooled": get(&self.spooled),
            "spooled_bytes": get(&self.spooled_bytes),
            "drained": get(&self.drained),
            "spool_backlog_records": get(&self.backlog[0]),
            "spool_backlog_bytes": get(&self.backlog[1]),
            "spool_losses": get(&self.backlog[4]),
        })
    }
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
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
