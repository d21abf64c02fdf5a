//! `/status` of capture: what people, and programs that show it to people, want to know.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{Board, SAMPLED, lock};
use crate::observe::{Counter, Counters, Gauge, Snapshot, Timing};

/// Records that are not back from the log.
pub(super) struct Backlog {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) oldest_seconds: f64,
}

impl Board {
    pub(super) fn write_status(&self) -> Value {
        let counted = Snapshot::of(self.counters.iter().map(|counters| &**counters));
        let config = &self.facts.config;
        let now = self.started.elapsed();
        let started = jiff::Timestamp::try_from(self.started_at).map(|time| time.to_string());
        let mut status = json!({
            "command": "capture",
            "version": env!("CARGO_PKG_VERSION"),
            "node": self.facts.node,
            "incarnation": format!("{:016x}", self.facts.incarnation),
            "started": started.ok(),
            "uptime_seconds": now.as_secs(),
            "readiness": lock(&self.readiness).to_json(now),
            "draining": self.draining.load(std::sync::atomic::Ordering::Relaxed),
            "source": config.source.to_string(),
            "listen": config.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "policy": { "on_capture_unavailable": config.policy() },
            "log": self.log_status(),
            "connections": {
                "open": open(counted.get(Counter::Accepted), counted.get(Counter::Closed)),
                "waiting": self.counters.iter().map(|c| c.gauge(Gauge::Waiting)).sum::<u64>(),
            },
            "rates_per_second": self.rates(),
            "latency_seconds": self.latencies(),
            "backlog": self.backlog().to_json(),
            "gaps": {
                "requests": counted.get(Counter::Uncaptured),
                "bytes": counted.get(Counter::UncapturedBytes),
                "writes": counted.get(Counter::PassedUncaptured),
            },
            "passing": {
                "now": self.workers_passing() > 0,
                "writes_early": counted.get(Counter::PassedEarly),
                "writes_uncaptured": counted.get(Counter::PassedUncaptured),
            },
            "reloads": self.reload.to_json(),
            "counters": counted.to_json(),
            "workers": self.counters.iter().map(|counters| worker(counters)).collect::<Vec<_>>(),
        });
        for (name, part) in &self.extras.status {
            status[*name] = part();
        }
        status
    }

    fn log_status(&self) -> Value {
        let config = &self.facts.config;
        let kind = match (&config.kafka, config.no_capture) {
            (_, true) => json!({ "kind": "none" }),
            (Some(kafka), _) => {
                json!({ "kind": "kafka", "brokers": kafka.brokers, "topic": kafka.topic })
            }
            (None, _) => json!({ "kind": "capture log", "dir": config.log_dir() }),
        };
        let mut log = kind;
        let state = self.sink.state();
        merge(&mut log, json!({ "state": state.label() }));
        if let Some(why) = state.cause() {
            merge(&mut log, json!({ "why": why }));
        }
        let backlog = self.sink.backlog();
        merge(
            &mut log,
            json!({
                "since_unix_ns": self.sink.since_unix_ns(),
                "spool": {
                    "records": backlog.records,
                    "bytes": backlog.bytes,
                    "oldest_unix_ns": backlog.oldest_unix_ns,
                    "earlier_runs": backlog.earlier_runs,
                    "losses": backlog.losses,
                },
            }),
        );
        merge(&mut log, self.sink.to_json());
        log
    }

    /// Per sampled counter: over the last 1, 10 and 60 s.
    fn rates(&self) -> Value {
        let history = lock(&self.history);
        let mut all = Map::new();
        for (number, counter) in SAMPLED.iter().enumerate() {
            let [one, ten, sixty] = history.rates(number).map(|rate| (rate * 10.0).round() / 10.0);
            all.insert(counter.label().into(), json!({ "1s": one, "10s": ten, "60s": sixty }));
        }
        all.into()
    }

    fn latencies(&self) -> Value {
        let mut all = Map::new();
        for timing in Timing::ALL {
            let spread = self.distribution(timing);
            let one = json!({
                "count": spread.count(),
                "p50": spread.quantile_s(0.5),
                "p99": spread.quantile_s(0.99),
                "p999": spread.quantile_s(0.999),
            });
            all.insert(timing.label().into(), one);
        }
        all.into()
    }

    pub(super) fn backlog(&self) -> Backlog {
        let records = self.sum(Counter::Records).saturating_sub(self.sum(Counter::RecordsReturned));
        let oldest = self.counters.iter().map(|c| c.gauge(Gauge::OldestUnixNs));
        Backlog {
            records,
            bytes: self.backlog_bytes(),
            oldest_seconds: age_s(oldest.filter(|ns| *ns > 0).min()),
        }
    }
}

impl Backlog {
    fn to_json(&self) -> Value {
        json!({ "records": self.records, "bytes": self.bytes, "oldest_seconds": self.oldest_seconds })
    }
}

fn worker(counters: &Counters) -> Value {
    let get = |counter| counters.get(counter);
    json!({
        "connections_open": open(get(Counter::Accepted), get(Counter::Closed)),
        "waiting": counters.gauge(Gauge::Waiting),
        "requests": get(Counter::Requests),
        "held": get(Counter::Held),
        "turns": get(Counter::Turns),
        "backlog_records": get(Counter::Records).saturating_sub(get(Counter::RecordsReturned)),
        "backlog_bytes": get(Counter::RecordBytes).saturating_sub(get(Counter::RecordBytesReturned)),
        "oldest_seconds": age_s(Some(counters.gauge(Gauge::OldestUnixNs)).filter(|ns| *ns > 0)),
    })
}

/// Counters are read one after the other, so more may have closed than had been accepted.
fn open(accepted: u64, closed: u64) -> u64 {
    accepted.saturating_sub(closed)
}

/// Seconds since then; 0: since nothing.
pub(in crate::service::capture) fn age_s(unix_ns: Option<u64>) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    unix_ns.map_or(0.0, |then| now.saturating_sub(then) as f64 / 1e9)
}

fn merge(to: &mut Value, from: Value) {
    if let (Value::Object(to), Value::Object(from)) = (to, from) {
        to.extend(from);
    }
}
