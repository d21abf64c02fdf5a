//! The board: what the control thread knows of the process, for the admin endpoint.
//!
//! Workers and sink publish into counters that are theirs; the board reads them once a second for rates and causes, and
//! whenever somebody asks. Nothing here can hold a worker up.

mod causes;
mod metrics;
mod probe;
mod status;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tokio::task::AbortHandle;

use self::probe::Probe;
pub(super) use self::status::age_s;
use super::reload::ReloadState;
use crate::{
    admin::{self, Cause, Door, Exposition, History, Loop, Pushes, Readiness, Subject, Verdict},
    config::{CaptureConfig, Effective},
    observe::{Counter, Counters, Gauge},
    sink::SinkCounters,
    sys::bell::Bell,
};

/// How often the counters are sampled and the causes looked for.
const TICK: Duration = Duration::from_secs(1);

/// What the counters are sampled for; their numbers in the history.
const SAMPLED: [Counter; 7] = [
    Counter::Accepted,
    Counter::Requests,
    Counter::Held,
    Counter::Responses,
    Counter::ToSource,
    Counter::ToClients,
    Counter::RecordBytes,
];

/// What others add to the board.
#[derive(Default)]
pub(crate) struct Extras {
    /// Further causes, as of certificates.
    pub(crate) causes: Vec<CausesOf>,
    /// Further metrics.
    pub(crate) metrics: Vec<MetricsOf>,
    /// Further parts of `/status`, by name.
    pub(crate) status: Vec<(&'static str, StatusOf)>,
}

/// Gives causes.
pub(crate) type CausesOf = Box<dyn Fn() -> Vec<Cause> + Send + Sync>;
/// Writes metrics.
pub(crate) type MetricsOf = Box<dyn Fn(&mut Exposition) + Send + Sync>;
/// Gives a part of the status.
pub(crate) type StatusOf = Box<dyn Fn() -> Value + Send + Sync>;

/// What does not change while the process runs.
pub(super) struct Facts {
    pub(super) config: CaptureConfig,
    pub(super) node: String,
    pub(super) incarnation: u64,
    pub(super) memory_bytes: u64,
}

/// See the module.
pub(super) struct Board {
    facts: Facts,
    counters: Vec<Arc<Counters>>,
    bells: Vec<Arc<Bell>>,
    /// Workers that have ended in order.
    ended: Vec<Arc<AtomicBool>>,
    sink: Arc<SinkCounters>,
    reload: Arc<ReloadState>,
    draining: AtomicBool,
    started: Instant,
    started_at: SystemTime,
    history: Mutex<History>,
    readiness: Mutex<Readiness>,
    probe: Mutex<Probe>,
    effective: Mutex<Effective>,
    pushes: Arc<Pushes>,
    /// Ends the listening.
    answering: Mutex<Option<AbortHandle>>,
    extras: Extras,
}

/// Who the board reads from.
pub(super) struct Sources {
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) bells: Vec<Arc<Bell>>,
    pub(super) ended: Vec<Arc<AtomicBool>>,
    pub(super) sink: Arc<SinkCounters>,
    pub(super) reload: Arc<ReloadState>,
}

impl Board {
    pub(super) fn new(
        facts: Facts,
        sources: Sources,
        effective: Effective,
        extras: Extras,
    ) -> Self {
        let Sources { counters, bells, ended, sink, reload } = sources;
        let patience = facts.config.admin.patience;
        Self {
            facts,
            counters,
            bells,
            ended,
            sink,
            reload,
            draining: AtomicBool::new(false),
            started: Instant::now(),
            started_at: SystemTime::now(),
            history: Mutex::default(),
            readiness: Mutex::new(Readiness::new(patience)),
            probe: Mutex::default(),
            effective: Mutex::new(effective),
            pushes: Arc::default(),
            answering: Mutex::default(),
            extras,
        }
    }

    /// The process is ending; ready no more.
    pub(super) fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.tick();
    }

    /// Leaves the address to another process.
    pub(super) fn close(&self) {
        if let Some(answering) = lock(&self.answering).take() {
            answering.abort();
        }
    }

    /// The settings in effect are these from now on.
    pub(super) fn settings(&self, effective: Effective) {
        *lock(&self.effective) = effective;
    }

    /// Samples and probes until the runtime ends, and answers at `door`; does nothing when that is off.
    pub(super) async fn run(self: Arc<Self>, door: Door) {
        let otlp = self.facts.config.admin.otlp.clone();
        if door.is_off() && otlp.is_none() {
            return;
        }
        self.tick();
        if let Some(endpoint) = otlp {
            let (subject, pushes) = (Arc::<Self>::clone(&self), Arc::clone(&self.pushes));
            tokio::spawn(admin::push(endpoint, "capture", subject, pushes));
        }
        tokio::spawn(probe::run(Arc::clone(&self)));
        let answering = tokio::spawn(door.answer(Arc::<Self>::clone(&self)));
        *lock(&self.answering) = Some(answering.abort_handle());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tick();
        }
    }

    /// One sample, one look for causes.
    fn tick(&self) {
        let now = self.started.elapsed();
        let values = SAMPLED.iter().map(|counter| self.sum(*counter)).collect();
        lock(&self.history).note(now, values);
        let causes = self.causes();
        lock(&self.readiness).note(now, causes);
    }

    /// Workers that let writes pass.
    fn workers_passing(&self) -> usize {
        self.counters.iter().filter(|counters| counters.gauge(Gauge::Passing) > 0).count()
    }

    fn sum(&self, counter: Counter) -> u64 {
        self.counters.iter().map(|counters| counters.get(counter)).sum()
    }
}

impl Subject for Board {
    fn loops(&self) -> Vec<Loop> {
        let one = |(number, (counters, ended)): (usize, (&Arc<Counters>, &Arc<AtomicBool>))| Loop {
            name: format!("worker-{number}"),
            turns: counters.get(Counter::Turns),
            ended: ended.load(Ordering::Relaxed),
        };
        self.counters.iter().zip(&self.ended).enumerate().map(one).collect()
    }

    fn nudge(&self) {
        self.bells.iter().for_each(|bell| bell.ring_always());
    }

    fn readiness(&self) -> (Verdict, Value) {
        let now = self.started.elapsed();
        let causes = self.causes();
        let mut readiness = lock(&self.readiness);
        readiness.note(now, causes);
        (readiness.verdict(now), readiness.to_json(now))
    }

    fn measure(&self) -> Exposition {
        self.metrics()
    }

    fn status(&self) -> Value {
        self.write_status()
    }

    fn config(&self) -> Value {
        lock(&self.effective).to_json()
    }
}

/// A lock whose holders never panic while they change what is in it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
