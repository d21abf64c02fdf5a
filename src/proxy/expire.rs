//! Held requests whose records cannot be stored in time: answered 503 and never sent, or let through if the operator
//! chose that.

use std::time::Duration;

use super::{
    connection::{Connection, Upstream},
    core::Core,
    request::Asked,
    worker::Worker,
};
use crate::{capture::UndeliveredCause, http, observe::Counter, ring::Ring};

/// What is held is looked through this many times per hold timeout, but at least so often.
const SCANS: u32 = 8;
/// See above.
const SCAN_PERIOD_MAX: Duration = Duration::from_millis(250);
/// When a client is told to come again.
const RETRY_AFTER_S: u32 = 5;

impl<R: Ring> Worker<R> {
    /// Answers what has been held for too long, or lets it through.
    pub(super) fn check_holding(&mut self) {
        let now = self.core.now.monotonic_ns;
        let Some(timeout) = self.core.settings.hold_timeout else { return };
        let passing = self.core.passing;
        if self.core.holding.is_empty() || (now < self.next_hold_scan_ns && !passing) {
            return;
        }
        let period = (timeout / SCANS).clamp(Duration::from_millis(1), SCAN_PERIOD_MAX);
        self.next_hold_scan_ns = now + period.as_nanos() as u64;
        let limit_ns = timeout.as_nanos() as u64;
        let mut left = Vec::new();
        for token in std::mem::take(&mut self.core.holding) {
            let Some(connection) = self.connections.get(token.index(), token.generation()) else {
                continue;
            };
            match connection.hold.waits_since_ns() {
                None => connection.holding = false,
                Some(since_ns) if !passing && now < since_ns.saturating_add(limit_ns) => {
                    left.push(token);
                }
                Some(_) => {
                    connection.holding = false;
                    if let Some((connection, core)) = self.find(token) {
                        connection.expire(core);
                    }
                }
            }
        }
        self.core.holding.append(&mut left);
    }
}

impl Connection {
    /// Connections on which something is held are on a list, so that it does not wait for ever.
    pub(super) fn settle_holding<R: Ring>(&mut self, core: &mut Core<R>) {
        if !self.holding && !self.hold.is_empty() && core.settings.hold_timeout.is_some() {
            self.holding = true;
            core.holding.push(self.token);
        }
    }

    /// What is held has waited for too long. Where all of it is still here the client gets a 503 behind the answers to
    /// what it asked before; where a part is with the source neither side may take the rest for something else.
    fn expire<R: Ring>(&mut self, core: &mut Core<R>) {
        if core.settings.pass {
            return self.let_through(core);
        }
        core.counters.add(Counter::Expired, 1);
        let whole = self.hold.begins_whole() && !self.tunnel;
        let connected = self.upstream == Upstream::Connected;
        let waits = |asked: &Asked| asked.waits.is_some_and(|mark| self.hold.has_all_from(mark));
        let asked_before = self.pipeline.iter().take_while(|asked| !waits(asked)).count();
        // Without a connection none of them gets another answer, and the client takes this one for that to the first.
        let answers = if connected { asked_before } else { 0 };
        let telling = self.pipeline.get(answers).map_or(self.telling, |asked| asked.telling);
        self.drop_held(core, UndeliveredCause::Unstored);
        if !whole {
            self.record_small(core, |stream, to, stamp| stream.exception(to, stamp, CUT));
            self.close(core, true, true);
            return;
        }
        self.arriving = None;
        self.expired = Some(telling);
        self.pipeline.truncate(asked_before);
        if !connected {
            // Nothing went before it: there is no connection to the source yet.
            self.pipeline.clear();
            self.drop_queued(core, super::connection::SOURCE);
        }
    }

    /// The answer to what expired; everything before it has its own.
    pub(super) fn answer_unavailable<R: Ring>(&mut self, core: &mut Core<R>) {
        let answer = http::unavailable("its record could not be stored in time", RETRY_AFTER_S);
        self.answer_for_source(core, answer, "tapline: the record could not be stored in time");
    }
}

const CUT: &str = "tapline: the rest of the request could not be stored in time";
