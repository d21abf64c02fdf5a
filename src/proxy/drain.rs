//! The end of a worker: it stops accepting, finishes what is in flight, and cuts what does not end in time.

use super::{core::Drain, worker::Worker};
use crate::{capture::UndeliveredCause, config::limits, observe::Counter, ring::Ring};

impl<R: Ring> Worker<R> {
    /// Looks at what the worker was told: to accept anew, to drain.
    pub(super) fn check_control(&mut self) {
        let anew = self.control.accept_anew_wanted();
        if anew != self.accepted_anew && self.core.drain.is_none() {
            // Ended accepts are armed again, and then look at the queue first.
            self.accepted_anew = anew;
            self.listeners.iter().for_each(|listener| self.core.ring.stop_accepting(listener.fd));
        }
        let wanted = self.control.drain_wanted();
        let Some(haste) = wanted.filter(|_| wanted > self.core.drain.map(|drain| drain.haste))
        else {
            return;
        };
        let now = self.core.now.monotonic_ns;
        let timeout = self.core.settings.drain_timeout.as_nanos() as u64;
        let first = self.core.drain.is_none();
        self.drain_deadline_ns = self.drain_deadline_ns.min(now + timeout);
        self.next_drain_scan_ns = now;
        self.core.drain = Some(Drain { haste, began_ns: now, patience_ns: timeout / 2 });
        if first {
            for (_, listener) in std::mem::take(&mut self.paused_listeners) {
                self.close_listener(listener);
            }
            self.listeners.iter().for_each(|listener| self.core.ring.stop_accepting(listener.fd));
        }
    }

    fn touch_all(&mut self) {
        for index in self.connections.indexes() {
            if let Some(token) = self.connections.at(index).map(|connection| connection.token) {
                let _ = self.find(token);
            }
        }
    }

    /// Looks at all connections from time to time, and cuts them when the time is over.
    pub(super) fn check_drain(&mut self) {
        let now = self.core.now.monotonic_ns;
        if self.core.drain.is_some() && now >= self.next_drain_scan_ns {
            self.next_drain_scan_ns = now + limits::DRAIN_SCAN.as_nanos() as u64;
            self.touch_all();
        }
        if self.core.drain.is_some() && now >= self.drain_deadline_ns {
            self.drain_deadline_ns = now + limits::FLUSH_TIMEOUT.as_nanos() as u64;
            self.cut_all();
        }
    }

    /// The drain time is over.
    fn cut_all(&mut self) {
        if self.connections.len() == 0 {
            // Only records are outstanding: the sink did not take or return them in time.
            self.unpublished = None;
            self.core.recorder.unacknowledged_bytes = 0;
            return;
        }
        for index in self.connections.indexes() {
            let Some(connection) = self.connections.at(index) else { continue };
            self.core.counters.add(Counter::DrainCut, 1);
            connection.drop_held(&mut self.core, UndeliveredCause::Stopped);
            connection.close(&mut self.core, true, true);
            if !connection.dirty {
                connection.dirty = true;
                self.dirty.push(index);
            }
        }
    }

    /// No client is there, and none will come.
    pub(super) fn is_deserted(&self) -> bool {
        self.core.drain.is_some() && self.listeners.is_empty() && self.connections.len() == 0
    }

    /// Nothing is left to do.
    pub(super) fn is_done(&self) -> bool {
        self.is_deserted()
            && self.unpublished.is_none()
            && (self.sink.is_none() || self.core.recorder.unacknowledged_bytes == 0)
    }
}
