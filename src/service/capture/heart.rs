//! What the service manager is told, and whether the workers still turn.
//!
//! The watchdog is fed only when every worker has turned since the last time: a timer alone would go on while a worker
//! stands still. Without a manager a worker that stands still is an error line.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use super::board::age_s;
use crate::{
    config::limits,
    observe::{Counter, Counters, Gauge, Pulse, Snapshot},
    sink::SinkCounters,
    sys::{bell::Bell, notify::Notifier},
};

/// The control thread's look at the workers, once per tick.
pub(super) struct Heart {
    notifier: Notifier,
    pulse: Pulse,
    bells: Vec<Arc<Bell>>,
    counters: Vec<Arc<Counters>>,
    sink: Arc<SinkCounters>,
    /// As `--on-capture-unavailable` calls it.
    policy: &'static str,
    tick: Duration,
    due: Instant,
    /// Another process is the service: nothing is said.
    mute: bool,
    /// Stopping, and what had been done at the last tick.
    stopping: Option<u64>,
    /// Workers that were said to stand still.
    silent: Vec<usize>,
}

impl Heart {
    pub(super) fn new(
        notifier: Notifier,
        mute: bool,
        bells: &[Arc<Bell>],
        counters: &[Arc<Counters>],
        sink: Arc<SinkCounters>,
        policy: &'static str,
    ) -> Self {
        let now = Instant::now();
        // Systemd asks for half of its period; a quarter leaves room for a host that is short of processors.
        let period = notifier.watchdog().map_or(limits::PULSE_PERIOD, |watchdog| watchdog / 4);
        let tick = period.min(limits::PULSE_PERIOD);
        Self {
            notifier,
            pulse: Pulse::new(counters, now),
            bells: bells.to_vec(),
            counters: counters.to_vec(),
            sink,
            policy,
            tick,
            due: now + tick,
            mute,
            stopping: None,
            silent: Vec::new(),
        }
    }

    /// How long until the next tick.
    pub(super) fn wait(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// A service manager watches.
    pub(super) fn is_watched(&self) -> bool {
        self.notifier.is_on()
    }

    /// Everything is up, and this process is the service.
    pub(super) fn ready(&mut self) {
        self.mute = false;
        self.notifier.ready(&self.status());
    }

    /// Another process is the service from now on, and speaks for it.
    pub(super) fn hand_on(&mut self, process: u32) {
        self.notifier.main_process(process);
        self.mute = true;
        self.stopping = Some(self.done());
    }

    /// The configuration is read again; [`Heart::reloaded`] ends it.
    pub(super) fn reloading(&self) {
        if !self.mute {
            self.notifier.reloading();
        }
    }

    /// The end of [`Heart::reloading`].
    pub(super) fn reloaded(&self) {
        if !self.mute {
            self.notifier.ready(&self.status());
        }
    }

    /// The end has begun.
    pub(super) fn stopping(&mut self, status: &str, may_take: Duration) {
        self.stopping = Some(self.done());
        if !self.mute {
            self.notifier.stopping(status);
            self.notifier.extend(may_take + limits::EXTENSION);
        }
    }

    /// Looks, feeds the watchdog, says how it is. Call it when [`Heart::wait`] is over.
    pub(super) fn beat(&mut self) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + self.tick;
        self.pulse.look(now);
        match self.stopping {
            None => self.judge(now),
            // A worker that has ended does not turn and need not.
            Some(before) => {
                let done = self.done();
                self.stopping = Some(done);
                if !self.mute {
                    self.notifier.alive();
                    if done != before {
                        self.notifier.extend(limits::EXTENSION);
                    }
                }
            }
        }
        if !self.mute {
            self.notifier.status(&self.status());
        }
        // Whoever sleeps for want of work proves itself by the next look.
        self.bells.iter().for_each(|bell| bell.ring_always());
    }

    fn judge(&mut self, now: Instant) {
        if !self.mute && self.pulse.silent(self.tick * 2, now).is_empty() {
            self.notifier.alive();
        }
        let silent = self.pulse.silent(limits::STALL_AGE, now);
        for (worker, since) in &silent {
            if !self.silent.contains(worker) {
                tracing::error!(
                    event = "worker.stalled",
                    worker,
                    silent_ms = since.as_millis() as u64,
                    "a worker does not turn: its connections stand still. Is the process stopped or short of \
                     processors? Under systemd the watchdog restarts it"
                );
            }
        }
        for worker in &self.silent {
            if !silent.iter().any(|(other, _)| other == worker) {
                tracing::warn!(event = "worker.turns_again", worker, "the worker turns again");
            }
        }
        self.silent = silent.into_iter().map(|(worker, _)| worker).collect();
    }

    /// One line: whether the log takes records, the policy while it does not, what is open, and how far durability and
    /// Kafka are behind.
    fn status(&self) -> String {
        let now = Snapshot::of(self.counters.iter().map(|counters| &**counters));
        let open = now.get(Counter::Accepted) - now.get(Counter::Closed);
        let backlog = now.get(Counter::Records) - now.get(Counter::RecordsReturned);
        let doing = match self.stopping {
            Some(_) => "finishing what is in flight".into(),
            None => self.sink.state().describe(),
        };
        let oldest = self.counters.iter().map(|counters| counters.gauge(Gauge::OldestUnixNs));
        let oldest = oldest.filter(|unix_ns| *unix_ns > 0).min();
        let policy = self.policy;
        let passing = self.counters.iter().any(|counters| counters.gauge(Gauge::Passing) > 0);
        let doing = if passing { format!("{doing}, and PASS UNCAPTURED") } else { doing };
        let mut line = format!(
            "{doing}; policy {policy}; {open} connections open, {backlog} records not yet durable, {} behind",
            age(oldest)
        );
        let spool = self.sink.backlog();
        if spool.bytes > 0 {
            let oldest = Some(spool.oldest_unix_ns).filter(|unix_ns| *unix_ns > 0);
            let _ = write!(
                line,
                ", {} MiB in the spool, Kafka {} behind",
                spool.bytes.div_ceil(1 << 20),
                age(oldest)
            );
        }
        line
    }

    /// Grows with everything that is finished.
    fn done(&self) -> u64 {
        let now = Snapshot::of(self.counters.iter().map(|counters| &**counters));
        [
            Counter::Closed,
            Counter::Responses,
            Counter::ToClients,
            Counter::ToSource,
            Counter::RecordsReturned,
        ]
        .into_iter()
        .map(|counter| now.get(counter))
        .sum()
    }
}

/// How long ago that was, for people.
fn age(unix_ns: Option<u64>) -> String {
    let ms = (age_s(unix_ns) * 1000.0) as u64;
    match ms {
        0..10_000 => format!("{ms} ms"),
        _ => format!("{} s", ms / 1000),
    }
}
