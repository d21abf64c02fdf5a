//! How an exchange and its connection end: answered, cancelled, too late, lost or closed.

use super::{Broken, Connection, Core, Exchange, State, own};
use crate::{
    ring::{Errno, ReceiveEnd, Ring},
    target::{Counter, Reply, Response},
};

impl Connection {
    pub(in crate::target) fn receive_ended<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        end: ReceiveEnd,
    ) {
        self.receiving = false;
        let error = match end {
            ReceiveEnd::Cancelled | ReceiveEnd::Rearm => return self.touch(core),
            ReceiveEnd::NoBuffers => {
                core.counters.add(Counter::NoBuffers, 1);
                return self.touch(core);
            }
            ReceiveEnd::Eof => None,
            ReceiveEnd::Failed(errno) => Some(errno),
        };
        // Whoever speaks TLS says when all was said; an end without that may be anybody's (RFC 8446 section 6.1).
        let said = self.secure.is_none();
        self.ended(core, error, said);
    }

    /// Nothing more comes. `said`: by the will of the target.
    pub(super) fn ended<R: Ring>(&mut self, core: &mut Core<R>, error: Option<Errno>, said: bool) {
        match &mut self.state {
            State::Busy => {
                // Once a send has reported a reset, the receive finds a plain end: that ends no body.
                let in_order = said && error.is_none() && self.exchange.deaf.is_none();
                let response = if in_order { self.answer.end() } else { None };
                match response {
                    Some(response) => self.answered(core, response, true),
                    None => self.lost(core, error),
                }
            }
            State::Answered { close } => *close = true,
            State::Idle => {
                core.counters.add(Counter::ClosedIdle, 1);
                self.close(core, false);
            }
            State::Handshaking => self.unsecured(core, error),
            State::Connecting { .. } | State::Closing { .. } => self.touch(core),
        }
    }

    pub(super) fn lost<R: Ring>(&mut self, core: &mut Core<R>, error: Option<Errno>) {
        core.counters.add(Counter::Lost, 1);
        let why = Broken::Lost {
            reused: self.reused,
            response_begun: self.answer.has_begun(),
            error: error.or(self.exchange.deaf),
        };
        self.give_up(core, why, false);
    }

    /// Drops the job that it has, if it has one without a response.
    pub(in crate::target) fn cancel<R: Ring>(&mut self, core: &mut Core<R>) {
        if matches!(self.state, State::Connecting { .. } | State::Handshaking | State::Busy) {
            core.counters.add(Counter::Cancelled, 1);
            self.give_up(core, Broken::Cancelled, true);
        }
    }

    /// Looks at the deadline; when the next one is.
    pub(in crate::target) fn check_deadline<R: Ring>(&mut self, core: &mut Core<R>) -> u64 {
        if self.due_ns > core.now_ns {
            return self.due_ns;
        }
        self.due_ns = u64::MAX;
        match &mut self.state {
            State::Connecting { late, .. } => {
                *late = true;
                if let Some(fd) = self.fd {
                    core.ring.cancel_all(fd);
                }
            }
            State::Handshaking => {
                core.counters.add(Counter::ConnectFailures, 1);
                self.give_up(core, Broken::ConnectTimeout, true);
            }
            State::Idle => self.close(core, false),
            State::Busy => {
                core.counters.add(Counter::Timeouts, 1);
                let response_begun = self.answer.has_begun();
                self.give_up(core, Broken::Timeout { response_begun }, true);
            }
            State::Answered { .. } | State::Closing { .. } => {}
        }
        self.due_ns
    }

    pub(super) fn give_up<R: Ring>(&mut self, core: &mut Core<R>, why: Broken, reset: bool) {
        self.finish(core, Err(why));
        self.close(core, reset);
        self.hand_back(core);
    }

    pub(super) fn finish<R: Ring>(&mut self, core: &Core<R>, result: Result<Response, Broken>) {
        self.exchange.finished_ns = core.now_ns;
        self.result = Some(result);
    }

    /// Replies, if there is a result and the request's memory is free.
    pub(super) fn hand_back<R: Ring>(&mut self, core: &mut Core<R>) {
        if self.sending {
            return;
        }
        let Some(result) = self.result.take() else { return };
        let head = std::mem::take(own(&mut self.head));
        let bytes = std::mem::take(own(&mut self.request));
        (self.from, self.sent) = (0, 0);
        let Exchange { id, started_ns, sent_ns, finished_ns, .. } = self.exchange;
        core.replies.push(Reply { id, head, bytes, result, started_ns, sent_ns, finished_ns });
    }

    /// Closes it as soon as no operation is under way on it.
    pub(in crate::target) fn close<R: Ring>(&mut self, core: &mut Core<R>, reset: bool) {
        if self.state == State::Idle {
            let at = core.idle.iter().rposition(|index| *index == self.token.index());
            core.idle.remove(at.expect("invariant: idle connections are on the list"));
        }
        self.state = State::Closing { reset };
        self.due_ns = u64::MAX;
        if !reset {
            self.send_farewell(core);
        }
        if let Some(fd) = self.fd
            && !self.is_still()
        {
            core.ring.cancel_all(fd);
        }
        self.touch(core);
    }
}
