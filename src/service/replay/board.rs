//! The board of replay: what its thread says of itself about twice a second, for the admin endpoint.
//!
//! The endpoint has a thread of its own; the conductor's thread only leaves its last look here.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Map, Value, json};

use super::progress::View;
use crate::{
    admin::{
        self, Cause, Door, Exposition, History, Kind, Loop, Pushes, Readiness, Severity, Subject,
        Verdict,
    },
    config::{Effective, replay::ReplayConfig},
    observe::{ExitCode, Failure},
    replay::totals::Totals,
    sys::bell::Bell,
};

/// How often the counters are sampled and the causes looked for.
const TICK: Duration = Duration::from_secs(1);

/// What replay is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before the conditions of the start hold, or before the target was found.
    Waiting,
    Replaying,
    Stopping,
}

struct Now {
    phase: Phase,
    view: View,
}

/// See the module.
pub(super) struct Board {
    now: Mutex<Now>,
    /// Turns of the conductor's thread.
    turns: AtomicU64,
    bell: Arc<Bell>,
    facts: Value,
    started: Instant,
    started_at: SystemTime,
    history: Mutex<History>,
    readiness: Mutex<Readiness>,
    effective: Effective,
    otlp: Option<String>,
    pushes: Arc<Pushes>,
}

impl Board {
    /// A board that is told at `door` for as long as the process lives; `bell` wakes the conductor's thread.
    pub(super) fn open(
        config: &ReplayConfig,
        effective: &Effective,
        bell: &Arc<Bell>,
        door: Door,
    ) -> Result<Arc<Self>, Failure> {
        let board = Arc::new(Self {
            now: Mutex::new(Now { phase: Phase::Waiting, view: View::default() }),
            turns: AtomicU64::new(0),
            bell: Arc::clone(bell),
            facts: json!({
                "target": config.target.to_string(),
                "group": config.group,
                "speed": format!("{:?}", config.speed),
                "order": format!("{:?}", config.order),
                "input": format!("{:?}", config.input),
            }),
            started: Instant::now(),
            started_at: SystemTime::now(),
            history: Mutex::default(),
            readiness: Mutex::new(Readiness::new(config.admin.patience)),
            effective: effective.clone(),
            otlp: config.admin.otlp.clone(),
            pushes: Arc::default(),
        });
        if !door.is_off() || config.admin.otlp.is_some() {
            let told = Arc::clone(&board);
            thread::Builder::new()
                .name("admin".into())
                .spawn(move || told.serve(door))
                .map_err(|error| Failure::new(ExitCode::Failed, error))?;
        }
        Ok(board)
    }

    fn serve(self: Arc<Self>, door: Door) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(event = "admin.failed", %error, "the admin endpoint cannot be served");
                return;
            }
        };
        runtime.block_on(async {
            tokio::spawn(door.answer(Arc::<Self>::clone(&self)));
            if let Some(endpoint) = self.otlp.clone() {
                let (subject, pushes) = (Arc::<Self>::clone(&self), Arc::clone(&self.pushes));
                tokio::spawn(admin::push(endpoint, "replay", subject, pushes));
            }
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                self.tick();
            }
        });
    }

    /// The conductor's thread turns.
    pub(super) fn turned(&self) {
        // One owner; others only read.
        self.turns.store(self.turns.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Its last look.
    pub(super) fn note(&self, view: &View) {
        lock(&self.now).view.clone_from(view);
    }

    /// What it is doing from now on.
    pub(super) fn phase(&self, phase: Phase) {
        lock(&self.now).phase = phase;
    }

    fn tick(&self) {
        let at = self.started.elapsed();
        let totals = lock(&self.now).view.totals;
        let sampled = [totals.read_records, totals.read_bytes, totals.sent, totals.done];
        lock(&self.history).note(at, sampled.to_vec());
        let causes = self.causes();
        lock(&self.readiness).note(at, causes);
    }

    fn causes(&self) -> Vec<Cause> {
        let now = lock(&self.now);
        let mut causes = Vec::new();
        let mut add =
            |name, severity, detail: String| causes.push(Cause { name, severity, detail });
        match now.phase {
            Phase::Waiting => {
                let detail = "waiting for --start-after, or for the target".to_owned();
                add("waiting_to_start", Severity::Blocking, detail);
            }
            Phase::Stopping => {
                add(
                    "draining",
                    Severity::Final,
                    "stopping: what is in flight is being finished".into(),
                );
            }
            Phase::Replaying => {}
        }
        if let Some(why) = &now.view.unreachable {
            add("target_down", Severity::Blocking, format!("no answer of the target: {why}"));
        }
        if let Some(why) = &now.view.no_records {
            add("records_unavailable", Severity::Blocking, why.clone());
        }
        let quarantined = now.view.totals.quarantined;
        if quarantined > 0 {
            let detail = format!("{quarantined} entries in the quarantine; look at them there");
            add("quarantine", Severity::Note, detail);
        }
        causes
    }

    fn rates(&self) -> Value {
        let history = lock(&self.history);
        let mut all = Map::new();
        for (number, name) in
            ["records_read", "bytes_read", "requests_sent", "requests_done"].iter().enumerate()
        {
            let [one, ten, sixty] = history.rates(number).map(|rate| (rate * 10.0).round() / 10.0);
            all.insert((*name).into(), json!({ "1s": one, "10s": ten, "60s": sixty }));
        }
        all.into()
    }
}

impl Subject for Board {
    fn loops(&self) -> Vec<Loop> {
        let turns = self.turns.load(Ordering::Relaxed);
        // Conditions of the start are waited for without the loop.
        let ended = lock(&self.now).phase == Phase::Waiting;
        vec![Loop { name: "conductor".into(), turns, ended }]
    }

    fn nudge(&self) {
        self.bell.ring_always();
    }

    fn readiness(&self) -> (Verdict, Value) {
        let at = self.started.elapsed();
        let causes = self.causes();
        let mut readiness = lock(&self.readiness);
        readiness.note(at, causes);
        (readiness.verdict(at), readiness.to_json(at))
    }

    fn measure(&self) -> Exposition {
        let mut out = Exposition::default();
        out.family("build_info", Kind::Gauge, "What was built; always 1.");
        out.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let now = lock(&self.now);
        write(&mut out, &now.view);
        drop(now);
        self.pushes.write(&mut out);
        out
    }

    fn status(&self) -> Value {
        let at = self.started.elapsed();
        let rates = self.rates();
        let readiness = lock(&self.readiness).to_json(at);
        let now = lock(&self.now);
        let view = &now.view;
        let left = view.bytes_left;
        let rate = rates["bytes_read"]["10s"].as_f64().filter(|rate| *rate > 0.0);
        let started = jiff::Timestamp::try_from(self.started_at).map(|time| time.to_string());
        let mut status = json!({
            "command": "replay",
            "version": env!("CARGO_PKG_VERSION"),
            "started": started.ok(),
            "uptime_seconds": at.as_secs(),
            "phase": format!("{:?}", now.phase).to_lowercase(),
            "readiness": readiness,
            "lag": {
                "seconds": view.lag_s,
                "records": view.records_left,
                "bytes": left,
                "eta_seconds": left.zip(rate).map(|(left, rate)| (left as f64 / rate).round()),
                "why": Some(view.why.as_str()).filter(|why| !why.is_empty()),
            },
            "in_flight": view.in_flight,
            "in_flight_limit": view.in_flight_limit,
            "open_requests": view.open,
            "open_bytes": view.open_bytes,
            "rates_per_second": rates,
            "totals": view.totals,
        });
        if let (Value::Object(to), Value::Object(facts)) = (&mut status, &self.facts) {
            to.extend(facts.clone());
        }
        status
    }

    fn config(&self) -> Value {
        self.effective.to_json()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(out: &mut Exposition, view: &View) {
    let gauge = |out: &mut Exposition, name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            out.single(name, Kind::Gauge, help, value);
        }
    };
    let help = "How far the oldest unfinished request lies behind now, captured time.";
    gauge(out, "replay_lag_seconds", help, Some(view.lag_s.unwrap_or(0.0)));
    let count = |n: Option<u64>| n.map(|n| n as f64);
    gauge(out, "replay_lag_records", "Records that were not read yet.", count(view.records_left));
    gauge(
        out,
        "replay_lag_bytes",
        "Bytes of records that were not read yet.",
        count(view.bytes_left),
    );
    let help = "Requests on their way to the target.";
    gauge(out, "replay_inflight_requests", help, Some(view.in_flight as f64));
    let help = "Requests that may be on their way at a time.";
    gauge(out, "replay_inflight_limit", help, Some(view.in_flight_limit as f64));
    let help = "Requests read and not finished.";
    gauge(out, "replay_open_requests", help, Some(view.open as f64));
    let help = "Memory of everything read and not finished.";
    gauge(out, "replay_open_bytes", help, Some(view.open_bytes as f64));
    let down = f64::from(u8::from(view.unreachable.is_some()));
    gauge(out, "replay_target_down", "1 while the target does not answer.", Some(down));
    let stuck = f64::from(u8::from(view.no_records.is_some()));
    let help = "1 while the source of the records gives none since something is wrong with it.";
    gauge(out, "replay_records_unavailable", help, Some(stuck));
    let values = serde_json::to_value(view.totals).unwrap_or_default();
    let value = |field: &str| values[field].as_u64().unwrap_or(0) as f64;
    for (name, help, samples) in COUNTERS {
        out.family(name, Kind::Counter, help);
        for (label, field) in *samples {
            let labels = label.split_once('=');
            out.sample(labels.as_slice(), value(field));
        }
    }
    let Totals { quarantined, failed, unsendable, .. } = view.totals;
    out.family("replay_dead_letters_total", Kind::Counter, "Entries in the quarantine, by reason.");
    for (reason, count) in [
        ("failed_on_target", failed),
        ("unsendable", unsendable),
        ("unreadable", quarantined.saturating_sub(failed + unsendable)),
    ] {
        out.sample(&[("reason", reason)], count as f64);
    }
}

/// Name, help, and for each sample its label and the field of the totals.
type Family = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const COUNTERS: &[Family] = &[
    ("replay_records_read_total", "Records read.", &[("", "read_records")]),
    ("replay_read_bytes_total", "Bytes of records read.", &[("", "read_bytes")]),
    (
        "replay_heartbeats_total",
        "Records read that are no traffic: a worker of the capture says where it stands.",
        &[("", "heartbeats")],
    ),
    (
        "replay_records_undecodable_total",
        "Records that cannot be decoded.",
        &[("", "undecodable_records")],
    ),
    (
        "replay_records_missing_total",
        "Records missing within a connection.",
        &[("", "missing_records")],
    ),
    (
        "replay_losses_total",
        "Places where the source of records lost something.",
        &[("", "losses")],
    ),
    (
        "replay_duplicates_dropped_total",
        "What had been read or sent before and was dropped.",
        &[("kind=record", "duplicate_records"), ("kind=request", "duplicates_skipped")],
    ),
    ("replay_requests_total", "Whole requests read.", &[("", "requests")]),
    (
        "replay_requests_unanswered_total",
        "Requests without a captured answer.",
        &[("", "unanswered")],
    ),
    (
        "replay_requests_uncaptured_total",
        "Requests that passed uncaptured, as markers say.",
        &[("", "uncaptured_requests")],
    ),
    (
        "replay_requests_truncated_total",
        "Requests of which a part is missing; never sent.",
        &[("", "truncated_requests")],
    ),
    ("replay_attempts_total", "Requests sent, every attempt.", &[("", "sent")]),
    ("replay_sent_bytes_total", "Bytes of requests sent.", &[("", "sent_bytes")]),
    ("replay_received_bytes_total", "Bytes of answers.", &[("", "received_bytes")]),
    (
        "replay_retries_total",
        "Answers, or the want of one, after which it was tried again, by status; ok: a bulk with failed items.",
        &[
            ("status=429", "retries_429"),
            ("status=ok", "retries_items"),
            ("status=5xx", "retries_5xx"),
            ("status=other", "retries_other"),
            ("status=none", "retries_unanswered"),
        ],
    ),
    (
        "replay_requests_done_total",
        "Requests with an answer as good as the source's, or as bad.",
        &[("", "done")],
    ),
    (
        "replay_response_mismatch_total",
        "Answers of the target worse than the source's.",
        &[
            ("kind=request", "failed"),
            ("kind=bulk_item", "failed_items"),
            ("kind=read", "reads_differing"),
        ],
    ),
    (
        "replay_skipped_requests_total",
        "Requests left out, by reason.",
        &[
            ("reason=only", "skipped_only"),
            ("reason=filter", "skipped_filtered"),
            ("reason=refused", "skipped_refused"),
            ("reason=undelivered", "skipped_undelivered"),
            ("reason=context", "skipped_context"),
            ("reason=handed_back", "handed_back"),
        ],
    ),
    (
        "replay_skipped_items_total",
        "Items of bulks that the source refused, left out.",
        &[("", "skipped_refused_items")],
    ),
    ("replay_requests_unsendable_total", "Requests that could not be made.", &[("", "unsendable")]),
    (
        "replay_transforms_failed_total",
        "Requests sent as captured because a transform failed.",
        &[("", "transforms_failed")],
    ),
    (
        "replay_possible_duplicates_total",
        "Requests that may have reached the target twice.",
        &[("", "possible_duplicates")],
    ),
    (
        "replay_ids_pinned_total",
        "Ids of the source that were put into requests.",
        &[("", "ids_pinned")],
    ),
    (
        "replay_conditions_dropped_total",
        "Conditions on sequence numbers taken out.",
        &[("", "conditions_dropped")],
    ),
    (
        "replay_overlaps_total",
        "Overlapping writes to one document, by what told their order.",
        &[("by=answer", "overlaps_by_answer"), ("by=capture", "overlaps_by_capture")],
    ),
    (
        "replay_order_cycles_total",
        "Times that requests waited for each other.",
        &[("", "order_cycles")],
    ),
    (
        "replay_late_writes_total",
        "Writes read more than a second of captured time after what was seen later.",
        &[("", "late_writes")],
    ),
    (
        "replay_tuple_waits_total",
        "Times that nothing was sent since the tuples were waited for.",
        &[("", "tuple_waits")],
    ),
    (
        "replay_bulk_parts_total",
        "Parts in which bulks went that could not go as a whole.",
        &[("", "bulk_parts")],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_total_is_a_metric_and_every_metric_a_total() {
        let totals = serde_json::to_value(Totals::default()).unwrap();
        let mut fields: Vec<&str> =
            totals.as_object().unwrap().keys().map(String::as_str).collect();
        let mut told: Vec<&str> = COUNTERS
            .iter()
            .flat_map(|(.., samples)| samples.iter().map(|(_, field)| *field))
            .collect();
        // The sum of the retries, and what is told by its parts.
        told.extend(["retries", "quarantined"]);
        fields.sort_unstable();
        told.sort_unstable();
        assert_eq!(fields, told);
    }
}
