//! `--on-capture-unavailable pass`: while records are not stored, writes go on without waiting for them.
//!
//! It begins when the oldest record has been with the sink for the hold timeout, and ends when none has been there for
//! half of that. Meanwhile a write is treated like a read: it is recorded as long as there is memory, and goes at once.
//! Its record is stored like every other when records are stored again: it *is* captured then, and counts as let
//! through early. What there is no memory for passes uncaptured, and is a gap. No record that was made is dropped but
//! by the end of the process.
//!
//! Gaps that lie between whole conversations are summed up in one marker of the worker when it is over; others stand in
//! the next record of their connection, since its answers cannot be matched without them.

use super::{connection::Connection, core::Core, worker::Worker};
use crate::{
    capture::{ConnectionId, Context, Gap, LeftOut},
    observe::{Counter, Gauge},
    ring::Ring,
};

impl<R: Ring> Worker<R> {
    /// Looks whether records are stored in time.
    pub(super) fn check_passing(&mut self) {
        let settings = &self.core.settings;
        let Some(timeout) = settings.hold_timeout.filter(|_| settings.pass) else { return };
        let limit = if self.core.passing { timeout / 2 } else { timeout };
        let waits_ns = self.outstanding.waits_ns(self.core.now.monotonic_ns);
        let passing = waits_ns.is_some_and(|ns| ns >= limit.as_nanos() as u64);
        if passing == self.core.passing {
            return;
        }
        self.core.passing = passing;
        self.core.counters.set(Gauge::Passing, u64::from(passing));
        if !passing {
            for index in self.connections.indexes() {
                if let Some(connection) = self.connections.at(index)
                    && connection.is_between_conversations()
                {
                    connection.give_gap(&mut self.core);
                }
            }
            self.mark_passed();
            self.heart.hurry(self.core.now.monotonic_ns);
        }
    }

    /// Says in a record what passed by all others.
    pub(super) fn mark_passed(&mut self) {
        let Some(gap) = self.core.passed.take() else { return };
        self.serial = self.serial.wrapping_add(1);
        let recorder = &mut self.core.recorder;
        recorder.sequence += 1;
        recorder.told.uncaptured += gap.requests;
        let id = ConnectionId::new(&recorder.identity, self.serial, self.core.now.unix_ns);
        let mut to = Context { identity: &recorder.identity, pool: &mut recorder.pool };
        let record = gap.marker(&mut to, &recorder.stamp, id, recorder.sequence);
        recorder.push(record, &self.core.counters);
    }
}

impl Connection {
    /// Lets go of everything that is held.
    pub(super) fn let_through<R: Ring>(&mut self, core: &Core<R>) {
        if let Some(arriving) = &mut self.arriving {
            arriving.early |= !self.hold.is_empty() && self.hold.mark() != arriving.mark;
        }
        let passed = self.hold.let_go(&mut self.source.out);
        core.counters.add(Counter::PassedEarly, u64::from(passed));
    }

    /// Nothing of it is in any record.
    pub(super) fn is_blank(&self) -> bool {
        self.stream.finished() == 0 && !self.stream.is_open()
    }

    /// All that a record of it would say is what passed uncaptured.
    pub(super) fn says_only_a_gap(&self) -> bool {
        self.gap.is_some()
            && self.is_blank()
            && self.refused.is_none()
            && self.request.kept().is_empty()
            && self.left_out == [(0, 0); LeftOut::ALL.len()]
    }

    /// What passed uncaptured breaks nothing off, and is over.
    fn is_between_conversations(&self) -> bool {
        self.pipeline.is_empty() && self.arriving.is_none() && !self.gap_breaks && !self.tunnel
    }

    /// Leaves it to the worker to say what passed uncaptured.
    pub(super) fn give_gap<R: Ring>(&mut self, core: &mut Core<R>) {
        let Some(gap) = self.gap.take() else { return };
        let gap = Gap { connections: 1, ..*gap };
        core.passed = Some(core.passed.map_or(gap, |before| before.joined(gap)));
    }
}
