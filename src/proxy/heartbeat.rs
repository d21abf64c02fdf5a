//! A worker's heartbeats: records that say where it stands, at intervals, and a last one when it ends in order.

use std::time::Duration;

use super::worker::Worker;
use crate::{
    capture::{ConnectionId, Context, Heartbeat},
    observe::Counter,
    ring::Ring,
};

/// When the next one is due.
#[derive(Debug)]
pub(super) struct Heart {
    started_unix_ns: u64,
    next_ns: u64,
    /// The last one was given.
    ended: bool,
}

impl Heart {
    pub(super) fn new(now_ns: u64, unix_ns: u64) -> Self {
        Self { started_unix_ns: unix_ns, next_ns: now_ns, ended: false }
    }

    /// The next one is given at once.
    pub(super) fn hurry(&mut self, now_ns: u64) {
        self.next_ns = self.next_ns.min(now_ns);
    }

    /// When the worker must turn for it.
    pub(super) fn due_ns(&self) -> Option<u64> {
        (!self.ended && self.next_ns != u64::MAX).then_some(self.next_ns)
    }
}

impl<R: Ring> Worker<R> {
    /// Gives the heartbeat that is due: the first at once, so that the records say since when they are kept. `ending`:
    /// there will be no more connections.
    pub(super) fn check_heartbeat(&mut self, ending: bool) {
        let now_ns = self.core.now.monotonic_ns;
        let interval = self.core.settings.heartbeat_interval;
        if self.heart.ended || self.sink.is_none() || interval == Duration::ZERO {
            self.heart.next_ns = u64::MAX;
            return;
        }
        if !ending && now_ns < self.heart.next_ns {
            return;
        }
        self.heart.next_ns = now_ns.saturating_add(interval.as_nanos() as u64);
        self.heart.ended = ending;
        self.beat(interval, ending);
    }

    fn beat(&mut self, interval: Duration, last: bool) {
        self.serial = self.serial.wrapping_add(1);
        let recorder = &mut self.core.recorder;
        let get = |counter| self.core.counters.get(counter);
        let told = recorder.told;
        let heartbeat = Heartbeat {
            interval_ms: interval.as_millis() as u64,
            last,
            workers: self.core.settings.workers,
            stored: recorder.epochs.turn(recorder.sequence),
            started_unix_ns: self.heart.started_unix_ns,
            connections: get(Counter::Accepted),
            requests: get(Counter::Requests),
            forwarded_bytes: get(Counter::ToSource),
            told,
            untold: get(Counter::Uncaptured).saturating_sub(told.uncaptured),
            refused: self.core.counters.refused(),
            undelivered: get(Counter::Undelivered),
            early: get(Counter::PassedEarly),
            passes: self.core.settings.pass,
        };
        recorder.sequence += 1;
        let id = ConnectionId::new(&recorder.identity, self.serial, self.core.now.unix_ns);
        let mut to = Context { identity: &recorder.identity, pool: &mut recorder.pool };
        let record = heartbeat.record(&mut to, &recorder.stamp, id, recorder.sequence);
        recorder.push(record, &self.core.counters);
    }
}
