//! Client bytes: cut into requests, recorded, and queued for the source at once or held.

use super::{
    connection::{CLIENT, Connection, Phase},
    core::{Core, discard},
    hold::Mark,
    recording::{CoreParts, Hold},
    request::{Arriving, Asked, Telling, Way},
    secure::Arrival,
};
use crate::{
    capture::{LeftOut, Stamp, Stream, UndeliveredCause},
    filter::Verdict,
    http::{Answering, Method, Refusal, RequestHead, RequestPart},
    observe::Counter,
    ring::{Errno, Ring, Segment},
};

impl Connection {
    /// Bytes came from the client.
    pub(super) fn client_data<R: Ring>(&mut self, core: &mut Core<R>, arrival: Arrival<'_>) {
        let deaf = self.refused.is_some()
            || self.expired.is_some()
            || self.reset_after_flush
            || self.dismissed;
        if self.phase != Phase::Flowing || deaf {
            arrival.release(&mut core.ring);
            return;
        }
        self.has_bytes = true;
        self.follow_filter(core);
        let filter = self.filter.clone();
        let filter = filter.as_deref();
        let len = arrival.len();
        self.client_bytes += len as u64;
        let scarce = core.is_scarce();
        let mut parts = CoreParts::of(core);
        let (ring, limits) = (parts.ring, parts.settings.limits);
        let bytes = arrival.bytes(ring);
        let mut pass = Pass::new(arrival, scarce);
        let (mut at, mut run, mut refusal) = (0, 0, None);
        if self.tunnel {
            at = len;
        }
        while at < len {
            let piece = match self.request.next(&limits, &bytes[at..]) {
                Ok(piece) => piece,
                Err(reason) => {
                    refusal = Some(reason);
                    break;
                }
            };
            match piece.what {
                RequestPart::HeadPart => {
                    self.head_began.get_or_insert(parts.recorder.stamp);
                    run = len;
                }
                RequestPart::Head(head) => {
                    run = at;
                    if let Some(filter) = filter {
                        let rest = &bytes[at..at + piece.len];
                        if self.begin_filtered(&mut parts, filter, &head, rest) {
                            run = at + piece.len;
                        }
                    } else {
                        self.begin_request(&mut parts, &head, Verdict::Record);
                        self.forward_kept(&mut parts);
                    }
                }
                RequestPart::Body => {
                    if let Some(redaction) = filter.and_then(|filter| filter.redaction.as_ref()) {
                        let body = &bytes[at..at + piece.len];
                        if self.veil_request(&mut parts, redaction, body, piece.end) {
                            run = at + piece.len;
                        }
                    }
                }
            }
            at += piece.len;
            if piece.end {
                self.forward(&mut parts, &mut pass, bytes, run, at);
                self.end_request(&mut parts);
                run = at;
            }
            if self.dismissed {
                run = len;
                break;
            }
        }
        if let Some(reason) = refusal {
            let arrived = &bytes[run..];
            self.refuse(&mut parts, reason, arrived);
        } else if run < len {
            self.forward(&mut parts, &mut pass, bytes, run, len);
        }
        pass.settle(&mut core.ring);
        if refusal.is_some() {
            self.after_refusal(core);
        }
    }

    /// The client sent FIN. It may still wait for answers, so nothing is dropped.
    pub(super) fn client_eof(&mut self) {
        self.client.eof = true;
    }

    /// The client reset the connection: what is held is dropped and never sent.
    pub(super) fn client_failed<R: Ring>(&mut self, core: &mut Core<R>, errno: Errno) {
        core.counters.add(Counter::ClientReset, 1);
        if self.phase == Phase::Flowing {
            self.drop_held(core, UndeliveredCause::ClientReset);
            if self.has_bytes {
                let text = errno.to_string();
                self.record_small(core, |stream, to, stamp| stream.exception(to, stamp, &text));
            }
        }
        self.close(core, true, true);
    }

    pub(super) fn begin_request<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        request: &RequestHead,
        verdict: Verdict,
    ) {
        core.counters.add(Counter::Requests, 1);
        self.begun += 1;
        let (capture, hold_all_posts) = (core.settings.capture, core.settings.hold_all_posts);
        let (mut way, mut telling) = (Way::Free, Telling::LeaveOut(LeftOut::Suppressed));
        match verdict {
            Verdict::Record if request.replayed && !core.settings.record_replayed => {
                telling = Telling::LeaveOut(LeftOut::Replayed);
            }
            Verdict::Record => {
                if capture && (!request.safe || (hold_all_posts && request.read_only_post)) {
                    way = Way::Held;
                }
                telling = self.telling_of(core, way == Way::Held && !core.passing);
                if way == Way::Held && !core.passing {
                    core.counters.add(Counter::Held, 1);
                }
            }
            Verdict::LeaveOut => {}
            Verdict::Answer => way = Way::Own,
        }
        let answering =
            if request.method == Method::Head { Answering::Head } else { Answering::Other };
        if way != Way::Own {
            if self.pipeline.is_empty() {
                self.asked_ns = core.now_ns;
            }
            self.asks_source = true;
            self.telling = telling;
            self.upgrade_asked = request.upgrade;
            let waits = (way == Way::Held || !self.hold.is_empty()).then(|| self.hold.mark());
            let recorded = telling == Telling::Record;
            let asked = Asked { answering, telling, recorded, waits, hides_body: false, own: None };
            self.pipeline.push_back(asked);
        }
        self.arriving = Some(Arriving {
            way,
            telling,
            write: !request.safe,
            first_line_bytes: request.first_line_bytes,
            headers_bytes: request.headers_bytes,
            mark: self.hold.mark(),
            forwarded: false,
            gone: false,
            answering,
            early: false,
            close: request.close,
            waits_for_100: request.expect_continue,
        });
    }

    /// What is held is always captured. The rest passes uncaptured rather than wait for memory; the change from one to
    /// the other happens between conversations, so that an answer is not separated from its request.
    fn telling_of<R: Ring>(&mut self, core: &mut CoreParts<'_, R>, held: bool) -> Telling {
        let is_left_out = |asked: &Asked| matches!(asked.telling, Telling::LeaveOut(_));
        if held || self.pipeline.iter().all(is_left_out) {
            self.capturing = core.settings.capture && (held || !core.recorder.is_over_budget());
        }
        if !self.capturing {
            self.unstored |= core.passing;
            return Telling::Miss;
        }
        self.unstored &= !self.pipeline.is_empty();
        self.note_gap();
        Telling::Record
    }

    /// The part of a head that came in earlier buffers: recorded with the time at which it began.
    pub(super) fn forward_kept<R: Ring>(&mut self, core: &mut CoreParts<'_, R>) {
        let kept = self.request.head_kept();
        let began = self.head_began.take();
        if kept.is_empty() {
            return;
        }
        let kept = kept.to_vec();
        self.request.release_head();
        let now: Stamp = core.recorder.stamp;
        core.recorder.stamp = began.unwrap_or(now);
        self.pass_on(core, &kept, |core| core.recorder.copy(&kept));
        core.recorder.stamp = now;
    }

    fn forward<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        pass: &mut Pass<'_>,
        bytes: &[u8],
        from: usize,
        to: usize,
    ) {
        let part = &bytes[from..to];
        if part.is_empty() || self.is_own() {
            return;
        }
        self.pass_on(core, part, |core| pass.segment(core, part, from));
    }

    /// Records `part` and queues it: held in its record, behind what is held, or for sending (as what `segment` makes).
    fn pass_on<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        part: &[u8],
        segment: impl FnOnce(&mut CoreParts<'_, R>) -> Segment,
    ) {
        core.counters.add(Counter::ToSource, part.len() as u64);
        self.shed(core);
        let held = self.holds(core);
        let (telling, starts) = match &self.arriving {
            Some(arriving) => (arriving.telling, !arriving.forwarded),
            None => (self.telling, false),
        };
        if telling == Telling::Record {
            let hold = if held { Hold::InRecord } else { Hold::No };
            self.record(core, CLIENT, part, hold);
        } else {
            self.miss(core, telling, part.len(), starts);
        }
        if !held && self.goes_at_once() {
            let segment = segment(core);
            self.send_on(segment);
        } else if !held {
            let copy = core.recorder.copy(part);
            self.queue(copy, core.now_ns);
        }
        self.begun();
    }

    /// Whether what comes must be durable before it goes; where it need not be for once, that is counted.
    pub(super) fn holds<R: Ring>(&mut self, core: &CoreParts<'_, R>) -> bool {
        let (held, telling) = match &self.arriving {
            Some(arriving) => (arriving.held(), arriving.telling),
            // In a tunnel nothing is positively known to be safe.
            None => (self.tunnel, self.telling),
        };
        let held = held && telling == Telling::Record;
        if let Some(arriving) = self.arriving.as_mut().filter(|_| held && core.passing)
            && !std::mem::replace(&mut arriving.early, true)
        {
            core.counters.add(Counter::PassedEarly, 1);
        }
        held && !core.passing
    }

    /// Nothing waits that came before. What a source that takes nothing any more never gets is dropped with what waits,
    /// and noted like that.
    fn goes_at_once(&self) -> bool {
        self.hold.is_empty() && !self.source.deaf
    }

    fn send_on(&mut self, segment: Segment) {
        self.source.out.push(segment);
        if let Some(arriving) = &mut self.arriving {
            arriving.gone = true;
        }
    }

    /// Queues what need not wait for a record of its own.
    pub(super) fn queue(&mut self, segment: Segment, now_ns: u64) {
        if self.goes_at_once() {
            return self.send_on(segment);
        }
        // What stands in no record cannot be taken back in them.
        let recorded = |a: &Arriving| !a.forwarded && a.telling == Telling::Record;
        self.hold.behind(segment, self.arriving.as_ref().is_some_and(recorded), now_ns);
    }

    /// Some of the request has been recorded or queued.
    pub(super) fn begun(&mut self) {
        if let Some(arriving) = &mut self.arriving {
            arriving.forwarded = true;
        }
    }

    /// Lets the rest of the conversation pass uncaptured when memory is far gone: an answer has no
    /// bound, and only what is held may wait.
    pub(super) fn shed<R: Ring>(&mut self, core: &mut CoreParts<'_, R>) {
        let held = self.tunnel || self.arriving.as_ref().is_some_and(Arriving::held);
        let must_wait = held && !core.passing;
        if !self.capturing || must_wait || !core.recorder.is_far_over_budget() {
            return;
        }
        self.capturing = false;
        self.unstored |= core.passing;
        if self.tunnel {
            self.telling = self.telling.without_memory();
        }
        self.gap_breaks |= self.pipeline.iter().any(|asked| asked.telling == Telling::Record);
        for asked in &mut self.pipeline {
            asked.telling = asked.telling.without_memory();
        }
        let Some(arriving) = &mut self.arriving else { return };
        let told = arriving.telling == Telling::Record;
        let (broken, write) = (told && arriving.forwarded, arriving.write);
        let mark = arriving.mark;
        arriving.telling = arriving.telling.without_memory();
        if told {
            self.unrecord(mark);
        }
        if broken {
            core.recorder.on(|to, stamp| self.stream.request_dropped(to, stamp));
            self.pass_by(core, 1, u64::from(write), 0);
        }
    }

    /// The request that is arriving is not in the records, or given up there: they cannot take it back either.
    fn unrecord(&mut self, mark: Mark) {
        self.hold.unrecord(mark);
        // An answer that came early took its place with it.
        if let Some(asked) = self.pipeline.back_mut() {
            asked.recorded = false;
        }
    }

    fn end_request<R: Ring>(&mut self, core: &mut CoreParts<'_, R>) {
        if self.is_own() {
            return self.end_own(core);
        }
        let Some(arriving) = self.arriving.take() else { return };
        if arriving.telling == Telling::Record {
            let (line, headers) = (arriving.first_line_bytes, arriving.headers_bytes);
            core.recorder.on(|to, stamp| self.stream.end_of_request(to, stamp, line, headers));
        }
    }

    /// A request that two parsers could read differently. `arrived`: what came of it in this buffer.
    fn refuse<R: Ring>(&mut self, core: &mut CoreParts<'_, R>, reason: Refusal, arrived: &[u8]) {
        core.counters.refuse(reason);
        self.refused = Some(reason);
        self.told = true;
        let kept = self.request.take_kept();
        // A checksum would let passwords be tried out against it.
        let crc =
            if self.redacts() { 0 } else { crc32c::crc32c_append(crc32c::crc32c(&kept), arrived) };
        if let Some(veil) = &mut self.veil {
            veil.request = None;
        }
        let bytes = (kept.len() + arrived.len()) as u64;
        self.stream.note(|notes| notes.refused = Some((reason.reason(), bytes, crc)));
    }

    /// Refuses what is arriving for what it has come to, not for what came.
    pub(super) fn refuse_late<R: Ring>(&mut self, core: &mut Core<R>, reason: Refusal) {
        self.refuse(&mut CoreParts::of(core), reason, &[]);
        self.after_refusal(core);
    }

    fn after_refusal<R: Ring>(&mut self, core: &mut Core<R>) {
        let reason = self.refused.map_or("", Refusal::reason);
        let mut begun = false;
        if let Some(arriving) = self.arriving.take() {
            // What stands in the queue, held or behind what is held, can be taken back; what never did is with the
            // source, also where later parts had to wait because writes pass no more.
            let Core { ring, recorder, .. } = core;
            let free = &mut |segment| discard(ring, &mut recorder.pool, segment);
            let whole = self.hold.drop_from(arriving.mark, free);
            begun = arriving.gone || !whole;
            if arriving.forwarded && arriving.telling == Telling::Record {
                self.record_small(core, Stream::request_dropped);
                self.unrecord(arriving.mark);
            }
            if !begun && arriving.way != Way::Own {
                self.pipeline.pop_back();
            }
        }
        let text = format!("tapline refused the request: {reason}");
        self.record_small(core, |stream, to, stamp| stream.exception(to, stamp, &text));
        if begun {
            // Part of it is with the source already: neither side may take what follows for something else. Where there
            // is no connection to the source yet, nothing is.
            self.drop_held(core, UndeliveredCause::Ended);
            self.close(core, true, true);
        }
    }
}

/// How the bytes of one buffer are passed on without a copy.
pub(super) struct Pass<'a> {
    pub(super) arrival: Arrival<'a>,
    /// Buffers are scarce: copy instead of keeping this one.
    pub(super) scarce: bool,
    /// Segments that point into the buffer.
    pub(super) shares: u16,
}

impl<'a> Pass<'a> {
    pub(super) fn new(arrival: Arrival<'a>, scarce: bool) -> Self {
        Self { arrival, scarce, shares: 0 }
    }

    /// A segment for `part` of the bytes, which begins at `from`.
    pub(super) fn segment<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        part: &[u8],
        from: usize,
    ) -> Segment {
        let Arrival::Lent(chunk) = self.arrival else { return core.recorder.copy(part) };
        if self.scarce {
            core.counters.add(Counter::Copied, 1);
            return core.recorder.copy(part);
        }
        self.shares += 1;
        let (offset, len) = (chunk.offset + from as u32, part.len() as u32);
        Segment::Provided { buffer: chunk.buffer, offset, len }
    }

    /// Gives back what nobody keeps.
    pub(super) fn settle<R: Ring>(&self, ring: &mut R) {
        self.arrival.share(ring, self.shares);
    }
}
