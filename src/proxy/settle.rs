//! The end of a turn for one connection: what can be sent is sent, what can be read is read, what is over is closed.
//!
//! Events only change state; this is the one place that turns state into operations, so that everything queued in a
//! turn goes out in one gathered send.

use std::time::Duration;

use super::{
    Haste,
    connection::{CLIENT, Connection, Phase, Receiving, SOURCE, Side, Upstream},
    core::{Core, Drain},
    seal,
    secure::shut,
};
use crate::{
    capture::UndeliveredCause,
    config::limits,
    http,
    observe::{Counter, Gauge, Timing},
    ring::{Errno, Ring, Token},
};

impl Connection {
    /// Brings the connection to rest. True when it is over and can be removed.
    pub(super) fn settle<R: Ring>(&mut self, core: &mut Core<R>) -> bool {
        if self.phase == Phase::Flowing {
            self.settle_flow(core);
        }
        if self.phase == Phase::Answered {
            self.settle_answered(core);
        }
        if self.phase != Phase::Closing {
            self.settle_sends(core);
            self.settle_receives(core);
            self.settle_age(core);
            self.settle_holding(core);
        }
        self.settle_waiting(core);
        self.settle_closing(core)
    }

    fn settle_flow<R: Ring>(&mut self, core: &mut Core<R>) {
        self.finish_held(core);
        if self.reset_after_flush {
            if self.client.is_flushed() {
                self.close(core, true, true);
            }
            return;
        }
        if let Some(refusal) = self.refused {
            // Earlier requests of the connection get their answers first.
            if self.pipeline.is_empty() && self.hold.is_empty() && self.source.is_flushed() {
                self.answer(core, http::refusal(refusal.status(), refusal.reason()));
                return;
            }
        }
        if self.expired.is_some() && self.pipeline.is_empty() && self.source.is_flushed() {
            self.answer_unavailable(core);
            return;
        }
        if self.dismissed && self.client.is_flushed() {
            self.drop_held(core, UndeliveredCause::Ended);
            self.dismiss(core);
            return;
        }
        let wanted =
            (self.refused.is_none() && self.expired.is_none()) || !self.pipeline.is_empty();
        if self.upstream == Upstream::None && self.has_bytes && self.asks_source && wanted {
            self.connect_source(core, 0, Errno(libc::ECONNREFUSED));
            if self.phase != Phase::Flowing {
                return;
            }
        }
        self.pass_on_fin(core);
        let both_done = self.client.eof
            && (self.source.shut || self.upstream == Upstream::None)
            && (self.source.eof || self.upstream == Upstream::None)
            && self.client.is_flushed();
        if both_done || self.parting {
            self.part(core);
        } else if let Some(drain) = core.drain {
            self.settle_leave(core, drain);
        }
    }

    /// The end of an idle connection in a drain. First its receive is ended; whatever the client had sent until then is
    /// a request like any other, and only if nothing came the connection is closed: as little as can be is lost that
    /// was on its way.
    fn settle_leave<R: Ring>(&mut self, core: &mut Core<R>, drain: Drain) {
        let now = core.now.monotonic_ns;
        if self.busy_ns == 0 || !self.is_idle() {
            self.busy_ns = now;
        }
        let pause = match drain.haste {
            Haste::None if now < drain.began_ns + drain.patience_ns => limits::IDLE_PAUSE,
            _ if self.has_bytes => Duration::ZERO,
            _ => limits::FRESH_GRACE,
        };
        if !self.is_idle() || now < self.busy_ns + pause.as_nanos() as u64 {
            self.leaving = false;
        } else if self.client.eof || (self.leaving && self.client.receiving == Receiving::Off) {
            self.part(core);
        } else if self.client.receiving != Receiving::Stopping {
            // One that is not armed, or waits for a buffer, is armed first: what was sent is then found.
            self.leaving = self.client.receiving == Receiving::On;
        }
    }

    /// Closes in order: whoever speaks TLS is told first that nothing more follows.
    fn part<R: Ring>(&mut self, core: &mut Core<R>) {
        self.parting = true;
        let mut tell = |side: &mut Side| {
            let told = side.tls.is_none() || side.fd.is_none() || side.closing.is_some();
            told || side.shut || (side.is_flushed() && shut(&mut core.ring, side))
        };
        if tell(&mut self.client) && tell(&mut self.source) {
            self.close(core, false, false);
        }
    }

    /// A record with held bytes goes to the sink when its request is complete or when nothing else is on its way:
    /// large bodies gather into large records while earlier ones are being made durable.
    fn finish_held<R: Ring>(&mut self, core: &mut Core<R>) {
        let open = self.stream.finished() + 1;
        if self.stream.is_open()
            && self.hold.waits_for(open)
            && (self.arriving.is_none() || self.hold.records_under_way() == 0)
        {
            self.finish_record(&mut core.recorder, &core.counters, false);
        }
    }

    /// Half-closes travel in order: behind everything that was sent before them.
    fn pass_on_fin<R: Ring>(&mut self, core: &mut Core<R>) {
        // To many servers a farewell in TLS means that nobody waits for the answer. Whole requests get theirs first.
        let waits = self.source.tls.is_some()
            && !self.source.eof
            && self.arriving.is_none()
            && !self.pipeline.is_empty();
        if self.client.eof
            && !self.source.shut
            && self.upstream == Upstream::Connected
            && self.hold.is_empty()
            && self.source.is_flushed()
            && !waits
        {
            shut(&mut core.ring, &mut self.source);
        }
        if self.source.eof && !self.client.shut && self.client.is_flushed() {
            shut(&mut core.ring, &mut self.client);
        }
    }

    fn settle_answered<R: Ring>(&mut self, core: &mut Core<R>) {
        if !self.client.is_flushed() {
            return;
        }
        let plain = self.client.tls.is_none();
        let told = self.client.shut
            || (self.client.eof && plain)
            || shut(&mut core.ring, &mut self.client);
        if self.client.eof && told {
            self.close(core, false, false);
        }
    }

    fn settle_sends<R: Ring>(&mut self, core: &mut Core<R>) {
        if self.source.deaf {
            self.drop_held(core, UndeliveredCause::SourceClosed);
            self.drop_queued(core, SOURCE);
        }
        let tokens = [self.token, self.source_token()];
        let connected = matches!(self.upstream, Upstream::Securing | Upstream::Connected);
        let mut failed = [false; 2];
        for (side, token) in [&mut self.client, &mut self.source].into_iter().zip(tokens) {
            let ready = token.side() == CLIENT || connected;
            if ready && side.sending == 0 && side.closing.is_none() && !side.is_flushed() {
                failed[usize::from(token.side())] = seal::send(core, side, token).is_err();
            }
        }
        if failed[usize::from(SOURCE)] {
            self.source_failed(core, Errno(libc::EPROTO));
        }
        if failed[usize::from(CLIENT)] {
            self.client_failed(core, Errno(libc::EPROTO));
        }
    }

    fn settle_receives<R: Ring>(&mut self, core: &mut Core<R>) {
        // What comes behind a refused request is read and dropped, so that the client's end is seen.
        let open = self.phase == Phase::Answered
            || (!self.reset_after_flush
                && (self.refused.is_some() || self.expired.is_some() || self.has_room(core)));
        let token = self.token;
        let leaving = self.leaving && self.client.receiving == Receiving::On;
        let open = open && !leaving && !self.parting;
        settle_receive(core, &mut self.client, token, open);
        let token = self.source_token();
        let connected = matches!(self.upstream, Upstream::Securing | Upstream::Connected);
        let open = connected && below(self.client.backlog(), self.source.receiving);
        settle_receive(core, &mut self.source, token, open);
    }

    /// Whether more may be read from the client.
    fn has_room<R: Ring>(&mut self, core: &mut Core<R>) -> bool {
        if core.pressed && (!self.hold.is_empty() || self.source.backlog() > 0) {
            if !self.over_budget {
                self.over_budget = true;
                core.counters.add(Counter::BudgetPauses, 1);
                core.over_budget.push(self.token);
            }
            return false;
        }
        let window = match self.client.receiving {
            Receiving::On => limits::HOLD_WINDOW_BYTES,
            _ => limits::HOLD_WINDOW_BYTES / 2,
        };
        self.pipeline.len() < limits::PIPELINE_DEPTH_MAX
            && self.hold.bytes() < window
            && below(self.source.backlog(), self.client.receiving)
    }

    /// Open records are on a list, so that none stays open for longer than the flush age.
    fn settle_age<R: Ring>(&mut self, core: &mut Core<R>) {
        if self.stream.is_open() && !self.ageing {
            self.ageing = true;
            self.opened_ns = core.now.monotonic_ns;
            core.ageing.push(self.token);
        }
    }

    /// Notes since when bytes wait for their records, and how long they did.
    fn settle_waiting<R: Ring>(&mut self, core: &mut Core<R>) {
        match (self.hold.is_empty(), self.waiting_ns) {
            (false, 0) => {
                // Never 0, which says that nothing waits.
                self.waiting_ns = core.now.monotonic_ns.max(1);
                core.counters.shift(Gauge::Waiting, 1);
            }
            (true, since) if since > 0 => {
                self.waiting_ns = 0;
                core.counters.shift(Gauge::Waiting, -1);
                // What was dropped was not released.
                if self.phase == Phase::Flowing && !self.reset_after_flush {
                    let waited_ns = core.now.monotonic_ns.saturating_sub(since);
                    core.counters.observe(Timing::Release, waited_ns);
                }
            }
            _ => {}
        }
    }

    fn settle_closing<R: Ring>(&mut self, core: &mut Core<R>) -> bool {
        for side in [&mut self.client, &mut self.source] {
            if let (Some(fd), Some(reset)) = (side.fd, side.closing)
                && side.is_still()
            {
                core.ring.close(fd, reset);
                side.fd = None;
                side.receiving = Receiving::Off;
            }
        }
        self.phase == Phase::Closing && self.client.fd.is_none() && self.source.fd.is_none()
    }
}

/// Above the high mark reading stops, below the low mark it goes on.
fn below(backlog: u64, receiving: Receiving) -> bool {
    match receiving {
        Receiving::On => backlog < limits::QUEUE_HIGH_BYTES,
        _ => backlog <= limits::QUEUE_LOW_BYTES,
    }
}

fn settle_receive<R: Ring>(core: &mut Core<R>, side: &mut Side, token: Token, open: bool) {
    let Some(fd) = side.fd else { return };
    if side.closing.is_some() || side.connecting {
        return;
    }
    let open = open && !side.eof;
    match (side.receiving, open) {
        (Receiving::Off, true) => {
            side.receiving = Receiving::On;
            if core.pressed && token.side() == CLIENT {
                core.ring.receive_once(token, fd, limits::PRESSED_RECEIVE_BYTES);
            } else {
                core.ring.receive(token, fd);
            }
        }
        (Receiving::On, false) => {
            side.receiving = Receiving::Stopping;
            core.ring.stop_receiving(token);
        }
        (Receiving::Off, false) if !side.watching && !side.shut => {
            // A reset must be noticed while nothing is read: what is held must then not be sent.
            side.watching = true;
            core.ring.watch_hangup(token, fd);
        }
        _ => {}
    }
}
