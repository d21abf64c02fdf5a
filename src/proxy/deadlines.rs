//! Whether a client takes too long: slow heads and bodies, answers left untaken, idle connections.
//!
//! Each connection is looked at now and then, and what has become of it since the last look decides, so that nothing
//! is set or taken back as requests pass. Nothing counts while tapline itself does not read.

use super::{
    connection::{Connection, Phase, Receiving},
    core::Core,
};
use crate::{
    capture::UndeliveredCause, config::Deadlines, http::Refusal, observe::Counter, ring::Ring,
};

/// What the last look saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// The head that was incomplete: how many requests had begun before it, and since when it is known.
    head: Option<(u64, u64)>,
    /// The body that was arriving: which request's, since when it is measured, and the client's bytes by then.
    body: Option<(u64, u64, u64)>,
    /// Since when nothing has happened, and the client's bytes by then.
    idle: Option<(u64, u64)>,
    /// The send that was under way: bytes sent before it, and since when it is known.
    send: Option<(u64, u64)>,
}

enum Late {
    Head,
    Body,
    Idle,
    Send,
}

impl Connection {
    /// Cuts the connection if its client takes too long.
    pub(super) fn look<R: Ring>(&mut self, core: &mut Core<R>) {
        let (deadlines, now) = (core.settings.deadlines, core.now.monotonic_ns);
        match self.late(&deadlines, now) {
            None => {}
            Some(Late::Head) if self.preface.is_some() => {
                core.counters.add(Counter::PrefaceFaults, 1);
                self.close(core, true, true);
            }
            Some(Late::Head) => self.refuse_late(core, Refusal::HeadTimeout),
            Some(Late::Body) => self.refuse_late(core, Refusal::BodyTooSlow),
            Some(Late::Idle) => {
                core.counters.add(Counter::IdleClosed, 1);
                self.close(core, false, false);
            }
            Some(Late::Send) => {
                core.counters.add(Counter::Stalled, 1);
                self.drop_held(core, UndeliveredCause::ClientReset);
                let text = "the client took nothing of its answer for too long";
                self.record_small(core, |stream, to, stamp| stream.exception(to, stamp, text));
                self.close(core, true, true);
            }
        }
    }

    fn late(&mut self, deadlines: &Deadlines, now: u64) -> Option<Late> {
        if self.phase == Phase::Closing {
            return None;
        }
        let over = |limit: Option<std::time::Duration>, since: u64| {
            limit.is_some_and(|limit| now >= since + limit.as_nanos() as u64)
        };
        let sends = self.client.sending > 0;
        let send = self.pace.send.filter(|send| sends && send.0 == self.client.sent);
        self.pace.send = sends.then(|| send.unwrap_or((self.client.sent, now)));
        if send.is_some_and(|(_, since)| over(deadlines.write_stall, since)) {
            return Some(Late::Send);
        }
        let deaf =
            self.refused.is_some() || self.reset_after_flush || self.dismissed || self.parting;
        if self.phase == Phase::Answered || deaf || self.client.receiving != Receiving::On {
            self.pace = Pace { send: self.pace.send, ..Pace::default() };
            return None;
        }
        let waits = self.preface.as_ref().is_some_and(|kept| !kept.is_empty());
        let unfinished = waits || (self.arriving.is_none() && !self.request.at_boundary());
        let head = self.pace.head.filter(|head| unfinished && head.0 == self.begun);
        self.pace.head = unfinished.then(|| head.unwrap_or((self.begun, now)));
        if head.is_some_and(|(_, since)| over(deadlines.head, since)) {
            return Some(Late::Head);
        }
        let idle = self.is_idle() && !waits;
        let known = self.pace.idle.filter(|known| idle && known.1 == self.client_bytes);
        self.pace.idle = idle.then(|| known.unwrap_or((now, self.client_bytes)));
        if known.is_some_and(|(since, _)| over(deadlines.idle, since)) {
            return Some(Late::Idle);
        }
        self.is_body_late(deadlines, now).then_some(Late::Body)
    }

    fn is_body_late(&mut self, deadlines: &Deadlines, now: u64) -> bool {
        // A client that waits for a 100 owes nothing yet.
        let owes = self.arriving.is_some_and(|arriving| !arriving.waits_for_100);
        let fresh = (self.begun, now, self.client_bytes);
        let known = self.pace.body.filter(|known| owes && known.0 == self.begun);
        self.pace.body = owes.then(|| known.unwrap_or(fresh));
        let Some((_, since, bytes)) = known else { return false };
        let window = deadlines.body_window.as_nanos() as u64;
        if deadlines.body_bytes_per_second == 0 || now < since + window {
            return false;
        }
        self.pace.body = Some(fresh);
        let due = u128::from(deadlines.body_bytes_per_second) * u128::from(now - since);
        u128::from(self.client_bytes - bytes) * 1_000_000_000 < due
    }
}
