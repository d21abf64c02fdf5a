//! Client bytes: cut into requests, recorded, and queued for the source at once or held.

use super::{
    connection::{Arriving, CLIENT, Connection, CoreParts, Phase},
    core::{Core, discard},
    secure::Arrival,
};
use crate::{
    capture::{Stamp, Stream, UndeliveredCause},
    http::{Answering, Method, Refusal, RequestHead, RequestPart},
    observe::Counter,
    ring::{Errno, Ring, Segment},
};

impl Connection {
    /// Bytes came from the client.
    pub(super) fn client_data<R: Ring>(&mut self, core: &mut Core<R>, arrival: Arrival<'_>) {
        let over = self.refused.is_some() || self.expired || self.reset_after_flush;
        if self.phase != Phase::Flowing || over {
            arrival.release(&mut core.ring);
            return;
        }
        self.has_bytes = true;
        let len = arrival.len();
        let scarce = core.is_scarce();
        let settings = &core.settings;
        let (limits, capture, hold_all_posts) =
            (settings.limits, settings.capture, settings.hold_all_posts);
        let mut parts = CoreParts::of(core);
        let ring = parts.ring;
        let bytes = arrival.bytes(ring);
        let mut pass = Pass { arrival, scarce, shares: 0 };
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
                    self.begin_request(&mut parts, &head, capture, hold_all_posts);
                    self.forward_kept(&mut parts);
                }
                RequestPart::Body => {}
            }
            at += piece.len;
            if piece.end {
                self.forward(&mut parts, &mut pass, bytes, run, at);
                self.end_request(&mut parts);
                run = at;
            }
        }
        if let Some(reason) = refusal {
            let arrived = &bytes[run..];
            self.refuse(&mut parts, reason, arrived);
        } else if run < len {
            self.forward(&mut parts, &mut pass, bytes, run, len);
        }
        let shares = pass.shares;
        arrival.share(&mut core.ring, shares);
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

    fn begin_request<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        request: &RequestHead,
        capture: bool,
        hold_all_posts: bool,
    ) {
        core.counters.add(Counter::Requests, 1);
        let held = capture && (!request.safe || (hold_all_posts && request.read_only_post));
        // What is held is always captured. The rest passes uncaptured rather than wait for memory; the change from one
        // to the other happens between conversations, so that an answer is not separated from its request.
        let was_capturing = self.capturing;
        if held || self.pipeline.is_empty() {
            self.capturing = capture && (held || !core.recorder.is_over_budget());
        }
        if self.capturing && !was_capturing {
            self.note_gap();
        }
        if held {
            core.counters.add(Counter::Held, 1);
        }
        self.upgrade_asked = request.upgrade;
        if self.pipeline.is_empty() {
            self.asked_ns = core.now_ns;
        }
        self.pipeline.push_back(if request.method == Method::Head {
            Answering::Head
        } else {
            Answering::Other
        });
        self.arriving = Some(Arriving {
            held,
            first_line_bytes: request.first_line_bytes,
            headers_bytes: request.headers_bytes,
            mark: self.hold.mark(),
            forwarded: false,
        });
    }

    /// The part of a head that came in earlier buffers: recorded with the time at which it began.
    fn forward_kept<R: Ring>(&mut self, core: &mut CoreParts<'_, R>) {
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
        if part.is_empty() {
            return;
        }
        self.pass_on(core, part, |core| {
            let Arrival::Lent(chunk) = pass.arrival else { return core.recorder.copy(part) };
            if pass.scarce {
                core.counters.add(Counter::Copied, 1);
                return core.recorder.copy(part);
            }
            pass.shares += 1;
            let (offset, len) = (chunk.offset + from as u32, part.len() as u32);
            Segment::Provided { buffer: chunk.buffer, offset, len }
        });
    }

    /// Records `part` and queues it: held in its record, behind what is held, or for sending (as what `segment` makes).
    fn pass_on<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        part: &[u8],
        segment: impl FnOnce(&mut CoreParts<'_, R>) -> Segment,
    ) {
        // In a tunnel nothing is positively known to be safe.
        let held = self.arriving.map_or(self.tunnel && self.capturing, |arriving| arriving.held);
        core.counters.add(Counter::ToSource, part.len() as u64);
        let starts = self.arriving.is_some_and(|arriving| !arriving.forwarded);
        self.shed(core);
        if self.capturing {
            self.record(core, CLIENT, part, held);
        } else {
            self.miss(core, part.len(), starts);
        }
        if !held {
            if self.hold.is_empty() {
                let segment = segment(core);
                self.source.out.push(segment);
            } else {
                let copy = core.recorder.copy(part);
                self.hold.behind(copy, starts, core.now_ns);
            }
        }
        if let Some(arriving) = &mut self.arriving {
            arriving.forwarded = true;
        }
    }

    /// Lets the rest of the conversation pass uncaptured when memory is far gone: an answer has no
    /// bound, and only what is held may wait.
    pub(super) fn shed<R: Ring>(&mut self, core: &mut CoreParts<'_, R>) {
        let held = self.arriving.is_some_and(|arriving| arriving.held);
        if !self.capturing || self.tunnel || held || !core.recorder.is_far_over_budget() {
            return;
        }
        self.capturing = false;
        if self.arriving.is_some_and(|arriving| arriving.forwarded) {
            core.recorder.on(|to, stamp| self.stream.request_dropped(to, stamp));
        }
    }

    fn end_request<R: Ring>(&mut self, core: &mut CoreParts<'_, R>) {
        let Some(arriving) = self.arriving.take() else { return };
        if self.capturing {
            let (line, headers) = (arriving.first_line_bytes, arriving.headers_bytes);
            core.recorder.on(|to, stamp| self.stream.end_of_request(to, stamp, line, headers));
        }
    }

    /// A request that two parsers could read differently. `arrived`: what came of it in this buffer.
    fn refuse<R: Ring>(&mut self, core: &mut CoreParts<'_, R>, reason: Refusal, arrived: &[u8]) {
        core.counters.refuse(reason);
        self.refused = Some(reason);
        let kept = self.request.take_kept();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&kept), arrived);
        let bytes = (kept.len() + arrived.len()) as u64;
        self.stream.note(|notes| notes.refused = Some((reason.reason(), bytes, crc)));
    }

    fn after_refusal<R: Ring>(&mut self, core: &mut Core<R>) {
        let reason = self.refused.map_or("", Refusal::reason);
        let mut begun = false;
        if let Some(arriving) = self.arriving.take() {
            // What stands in the queue, held or behind what is held, can be taken back; what never
            // did is with the source.
            let queued = self.hold.mark() != arriving.mark;
            let Core { ring, recorder, .. } = core;
            let free = &mut |segment| discard(ring, &mut recorder.pool, segment);
            let whole = self.hold.drop_from(arriving.mark, free);
            begun = arriving.forwarded && !(queued && whole);
            if arriving.forwarded && self.capturing {
                self.record_small(core, Stream::request_dropped);
            }
            if !begun {
                self.pipeline.pop_back();
            }
        }
        let text = format!("tapline refused the request: {reason}");
        self.record_small(core, |stream, to, stamp| stream.exception(to, stamp, &text));
        if begun {
            // Part of it is with the source already: neither side may take what follows for something else.
            self.close(core, true, true);
        }
    }
}

/// How the bytes of one buffer are passed on without a copy.
struct Pass<'a> {
    arrival: Arrival<'a>,
    /// Buffers are scarce: copy instead of keeping this one.
    scarce: bool,
    /// Segments that point into the buffer.
    shares: u16,
}
