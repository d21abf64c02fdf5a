//! Source bytes: passed to the client at once, recorded, and followed only to know which request they answer.

use super::{
    connection::{Connection, CoreParts, Phase, SOURCE, Upstream},
    core::Core,
    secure::Arrival,
    timers::Deadline,
};
use crate::{
    capture::UndeliveredCause,
    config::limits,
    http::{self, Eof, ResponsePart},
    observe::{Counter, Timing},
    ring::{Chunk, Errno, Ring, Segment},
    tls::Session,
};

impl Connection {
    /// Bytes came from the source.
    pub(super) fn source_data<R: Ring>(&mut self, core: &mut Core<R>, arrival: Arrival<'_>) {
        if self.phase != Phase::Flowing || self.reset_after_flush {
            arrival.release(&mut core.ring);
            return;
        }
        let (good, fault) = self.follow(core, arrival);
        if good == 0 {
            arrival.release(&mut core.ring);
        } else {
            self.pass_back(core, arrival, good);
        }
        if let Some(fault) = fault {
            self.source_nonsense(core, fault);
        }
    }

    /// The source sent FIN.
    pub(super) fn source_eof<R: Ring>(&mut self, core: &mut Core<R>) {
        self.source.eof = true;
        if !self.tunnel && self.response.eof() == Eof::Complete {
            self.answered(core);
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

    /// Follows the framing; returns how many bytes make sense and, if not all do, why.
    fn follow<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        arrival: Arrival<'_>,
    ) -> (usize, Option<&'static str>) {
        let len = arrival.len();
        let limits = core.settings.limits;
        let mut at = 0;
        while at < len && !self.tunnel {
            let Some(request) = self.pipeline.front().copied() else {
                return (at, Some("bytes that answer no request"));
            };
            let bytes = &arrival.bytes(&core.ring)[at..];
            let piece = match self.response.next(&limits, request, bytes) {
                Ok(piece) => piece,
                Err(malformed) => return (at, Some(malformed.reason())),
            };
            let mut interim = false;
            if let ResponsePart::Head(head) = &piece.what {
                interim = head.interim;
                if !interim {
                    core.counters.add(Counter::of_status(head.status), 1);
                }
                if head.upgraded {
                    if !self.upgrade_asked || self.pipeline.len() != 1 {
                        return (at, Some("101 without an upgrade asked for"));
                    }
                    self.tunnel = true;
                }
            }
            at += piece.len;
            self.answer_began = !piece.end;
            if piece.end && !interim {
                self.answered(core);
            }
        }
        (len, None)
    }

    fn answered<R: Ring>(&mut self, core: &mut Core<R>) {
        let now_ns = core.now.monotonic_ns;
        core.counters.add(Counter::Responses, 1);
        core.counters.observe(Timing::Request, now_ns.saturating_sub(self.asked_ns));
        self.asked_ns = now_ns;
        self.pipeline.pop_front();
        self.answer_began = false;
    }

    fn pass_back<R: Ring>(&mut self, core: &mut Core<R>, arrival: Arrival<'_>, len: usize) {
        core.counters.add(Counter::ToClients, len as u64);
        let scarce = core.is_scarce();
        let mut parts = CoreParts::of(core);
        let ring = parts.ring;
        let bytes = &arrival.bytes(ring)[..len];
        self.shed(&mut parts);
        if self.capturing {
            self.record(&mut parts, SOURCE, bytes, false);
        } else {
            self.miss(&parts, len, false);
        }
        let segment = match arrival {
            Arrival::Lent(Chunk { buffer, offset, .. }) if !scarce => {
                Segment::Provided { buffer, offset, len: len as u32 }
            }
            Arrival::Lent(Chunk { buffer, .. }) => {
                parts.counters.add(Counter::Copied, 1);
                let copy = parts.recorder.copy(bytes);
                core.ring.release(buffer);
                copy
            }
            Arrival::Loose(_) => parts.recorder.copy(bytes),
        };
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
        let Some(address) = core.settings.source_addresses.get(attempt).copied() else {
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
