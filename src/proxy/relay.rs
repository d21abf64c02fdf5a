//! Source bytes: passed to the client at once, recorded, and followed only to know which request they answer.

use super::{
    connection::{Connection, Phase, SOURCE, Upstream},
    core::Core,
    intake::Pass,
    recording::{CoreParts, Hold},
    request::Telling,
    secure::Arrival,
    timers::Deadline,
};
use crate::{
    capture::UndeliveredCause,
    config::limits,
    http::{self, Eof, ResponsePart},
    observe::{Counter, Counters, Timing},
    ring::{Errno, Ring},
    tls::Session,
};

impl Connection {
    /// Bytes came from the source.
    pub(super) fn source_data<R: Ring>(&mut self, core: &mut Core<R>, arrival: Arrival<'_>) {
        if self.phase != Phase::Flowing || self.reset_after_flush {
            arrival.release(&mut core.ring);
            return;
        }
        let mut pass = Pass::new(arrival, core.is_scarce());
        let mut parts = CoreParts::of(core);
        let bytes = arrival.bytes(parts.ring);
        let fault = self.follow(&mut parts, &mut pass, bytes);
        pass.settle(&mut core.ring);
        if let Some(fault) = fault {
            self.source_nonsense(core, fault);
        }
    }

    /// The source sent FIN.
    pub(super) fn source_eof<R: Ring>(&mut self, core: &mut Core<R>) {
        self.source.eof = true;
        if !self.tunnel && self.response.eof() == Eof::Complete {
            self.ended_by_fin = true;
            self.answered(&core.counters, core.now.monotonic_ns);
        }
        core.timers.set(Deadline::SourceClosed, self.token, core.now.monotonic_ns);
    }

    /// The connection to the source broke: the client gets what was received for it, then a reset.
    pub(super) fn source_failed<R: Ring>(&mut self, core: &mut Core<R>, errno: Errno) {
        if self.upstream == Upstream::Securing {
            self.source_unreachable(core, &errno.to_string());
            return;
        }
        if self.phase == Phase::Flowing && !self.reset_after_flush {
            core.counters.add(Counter::SourceReset, 1);
            self.drop_held(core, UndeliveredCause::SourceClosed);
            let text = format!("source: {errno}");
            self.record_small(core, |stream, to, stamp| stream.exception(to, stamp, &text));
            self.reset_after_flush = true;
        }
        self.close_side(core, SOURCE, true);
    }

    /// No address of the source could be connected to, or TLS could not be agreed upon with it.
    pub(super) fn source_unreachable<R: Ring>(&mut self, core: &mut Core<R>, why: &str) {
        core.counters.add(Counter::SourceUnreachable, 1);
        self.drop_held(core, UndeliveredCause::SourceUnreachable);
        let answer = http::bad_gateway(&core.settings.source_name, why);
        self.answer_for_source(core, answer, &format!("source: {why}"));
    }

    /// Follows the framing and passes on what makes sense; the fault where not all does. Answers that the records are
    /// to treat alike are passed on together.
    fn follow<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        pass: &mut Pass<'_>,
        bytes: &[u8],
    ) -> Option<&'static str> {
        let limits = core.settings.limits;
        let filter = self.filter.clone();
        let redaction = filter.as_ref().and_then(|f| f.redaction.as_ref());
        let (mut at, mut run, mut fault) = (0, 0, None);
        let mut telling = self.telling;
        while at < bytes.len() && !self.tunnel {
            let Some(asked) = self.pipeline.front() else {
                fault = Some("bytes that answer no request");
                break;
            };
            telling = asked.telling;
            let piece = match self.response.next(&limits, asked.answering, &bytes[at..]) {
                Ok(piece) => piece,
                Err(malformed) => {
                    fault = Some(malformed.reason());
                    break;
                }
            };
            let (mut interim, mut upgraded) = (false, false);
            if let ResponsePart::Head(head) = &piece.what {
                interim = head.interim;
                if !interim {
                    core.counters.add(Counter::of_status(head.status), 1);
                } else if self.pipeline.len() == 1
                    && let Some(arriving) = &mut self.arriving
                {
                    arriving.waits_for_100 = false;
                }
                if head.upgraded {
                    if !self.upgrade_asked || self.pipeline.len() != 1 {
                        fault = Some("101 without an upgrade asked for");
                        break;
                    }
                    upgraded = true;
                }
            }
            if let Some(redaction) = redaction
                && telling == Telling::Record
            {
                self.veil_answer(core, redaction, &piece, &bytes[at..at + piece.len]);
            }
            at += piece.len;
            if upgraded {
                // What follows is recorded as it comes.
                self.pass_back(core, pass, &bytes[run..at], run, telling);
                (self.tunnel, run) = (true, at);
            }
            self.answer_began = !piece.end;
            if piece.end && !interim {
                if self.pipeline.get(1).is_some_and(|next| next.differs_from(telling)) {
                    self.pass_back(core, pass, &bytes[run..at], run, telling);
                    run = at;
                }
                self.answered(core.counters, core.now_ns);
            }
        }
        let good = if fault.is_none() { bytes.len() } else { at };
        if run < good {
            self.pass_back(core, pass, &bytes[run..good], run, telling);
        }
        fault
    }

    fn answered(&mut self, counters: &Counters, now_ns: u64) {
        counters.add(Counter::Responses, 1);
        counters.observe(Timing::Request, now_ns.saturating_sub(self.asked_ns));
        self.asked_ns = now_ns;
        self.pipeline.pop_front();
        self.answer_began = false;
        self.answer_own();
    }

    /// Bytes of answers that the records treat alike go to the client.
    fn pass_back<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        pass: &mut Pass<'_>,
        part: &[u8],
        from: usize,
        telling: Telling,
    ) {
        core.counters.add(Counter::ToClients, part.len() as u64);
        self.shed(core);
        // What was to be recorded when it was asked is not any more when memory is gone.
        let shed = telling == Telling::Record && !self.capturing;
        match if shed { Telling::Miss } else { telling } {
            // Piece by piece, see `veil`.
            Telling::Record if self.redacts() && !self.tunnel => {}
            Telling::Record => self.record(core, SOURCE, part, Hold::No),
            other => self.miss(core, other, part.len(), false),
        }
        let segment = pass.segment(core, part, from);
        self.client.out.push(segment);
    }

    /// What the source sent cannot be an answer. 502 if the client has nothing of it yet, else both sides are cut.
    fn source_nonsense<R: Ring>(&mut self, core: &mut Core<R>, fault: &'static str) {
        core.counters.add(Counter::SourceFraming, 1);
        self.drop_held(core, UndeliveredCause::SourceClosed);
        let text = format!("source framing: {fault}");
        if self.answer_began || self.pipeline.is_empty() {
            self.record_small(core, |stream, to, stamp| stream.exception(to, stamp, &text));
            self.end_stream(core);
            self.reset_after_flush = true;
            self.close_side(core, SOURCE, true);
            return;
        }
        let why = format!("the source answered nonsense: {fault}");
        let answer = http::bad_gateway(&core.settings.source_name, &why);
        self.answer_for_source(core, answer, &text);
    }

    /// A connect ended.
    pub(super) fn source_connected<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        result: Result<(), Errno>,
    ) {
        self.source.connecting = false;
        let Upstream::Connecting(attempt) = self.upstream else { return };
        if self.phase != Phase::Flowing {
            return;
        }
        match result {
            Ok(()) => match core.settings.source_tls.as_ref().map(Session::connect) {
                None => self.upstream = Upstream::Connected,
                Some(Ok(session)) => self.secure_source(core, session),
                Some(Err(fault)) => self.source_unreachable(core, &fault.to_string()),
            },
            Err(errno) => {
                // A connect is only ever cancelled by its deadline.
                let late = errno.0 == libc::ECANCELED;
                let errno = if late { Errno(libc::ETIMEDOUT) } else { errno };
                if let Some(fd) = self.source.fd.take() {
                    core.ring.close(fd, false);
                }
                self.connect_source(core, attempt + 1, errno);
            }
        }
    }

    /// Connects to the address of this number, or gives up with the reason of the last attempt.
    pub(super) fn connect_source<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        attempt: usize,
        last: Errno,
    ) {
        let Some(address) = core.source_addresses.get(attempt).copied() else {
            self.source_unreachable(core, &last.to_string());
            return;
        };
        match core.ring.open(&address) {
            Ok(fd) => {
                self.source.fd = Some(fd);
                self.source.connecting = true;
                self.upstream = Upstream::Connecting(attempt);
                let token = self.source_token();
                core.ring.connect(token, fd, &address);
                let now = core.now.monotonic_ns;
                self.connect_due_ns = now + limits::CONNECT_TIMEOUT.as_nanos() as u64;
                core.timers.set(Deadline::Connect, token, now);
            }
            Err(errno) => self.source_unreachable(core, &errno.to_string()),
        }
    }
}
