//! What a filter does to the requests of a connection: heads forwarded in another form, requests answered here.
//!
//! Only entered where there is a filter; everything else takes the way of `intake` untouched.

use super::{
    connection::{CLIENT, Connection},
    recording::{CoreParts, Hold},
    request::{Asked, OwnAnswer, Telling, Way},
};
use crate::{
    capture::Stamp,
    filter::{Filter, HiddenBody, Verdict},
    http::{self, Answering, RequestHead, RequestLines},
    observe::Counter,
    ring::{Ring, Segment},
};

impl Connection {
    /// A head became complete with `rest`, under a filter. True when it has been taken care of; else it goes the way of
    /// every head.
    pub(super) fn begin_filtered<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        filter: &Filter,
        request: &RequestHead,
        rest: &[u8],
    ) -> bool {
        let kept = self.request.head_kept().len();
        let head = [self.request.head_kept(), rest].concat();
        let verdict = filter.judge(request, &head);
        self.begin_request(core, request, verdict);
        if verdict == Verdict::Answer {
            self.request.release_head();
            self.head_began = None;
            return true;
        }
        let edited = filter.edited(&head, self.address);
        let redacted = self.redacted(core, filter, request, &head);
        // In front of a hidden body the head goes by itself, so that it goes first.
        let hides_body = self.veil.as_ref().is_some_and(|veil| veil.request.is_some());
        if edited.is_none() && redacted.is_none() && !hides_body {
            self.forward_kept(core);
            return false;
        }
        core.counters.add(Counter::Edited, u64::from(edited.is_some()));
        core.counters.add(Counter::Redacted, u64::from(redacted.is_some()));
        self.request.release_head();
        let recorded = redacted.as_ref().unwrap_or(&head).clone();
        self.pass_other(core, &recorded, kept, edited.unwrap_or(head));
        true
    }

    /// The head as it is to be recorded, if it is to be recorded in another form. From here on the body is hidden, if
    /// that is asked for.
    fn redacted<R: Ring>(
        &mut self,
        core: &CoreParts<'_, R>,
        filter: &Filter,
        request: &RequestHead,
        head: &[u8],
    ) -> Option<Vec<u8>> {
        let redaction = filter.redaction.as_ref()?;
        if self.telling != Telling::Record {
            return None;
        }
        if redaction.hides_bodies(&RequestLines::new(head))
            && let Some(asked) = self.pipeline.back_mut()
        {
            core.counters.add(Counter::HiddenBodies, 1);
            asked.hides_body = true;
            let veil = self.veil.get_or_insert_default();
            let has_body = request.chunked || request.content_length.unwrap_or(0) > 0;
            veil.request = has_body.then(|| HiddenBody::new(request.chunked));
        }
        redaction.head(head)
    }

    /// Records `head`, of which the first `kept` bytes came earlier, and forwards `other` in its place.
    pub(super) fn pass_other<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        head: &[u8],
        kept: usize,
        other: Vec<u8>,
    ) {
        core.counters.add(Counter::ToSource, other.len() as u64);
        self.shed(core);
        let Some(arriving) = self.arriving else { return };
        let held = self.holds(core);
        let other = Segment::owned(other);
        let now: Stamp = core.recorder.stamp;
        let began = self.head_began.take().unwrap_or(now);
        if arriving.telling == Telling::Record {
            let (early, late) = head.split_at(kept);
            core.recorder.stamp = began;
            self.record(core, CLIENT, early, if held { Hold::Before } else { Hold::No });
            core.recorder.stamp = now;
            if held {
                self.record(core, CLIENT, late, Hold::Instead(other));
                return self.begun();
            }
            self.record(core, CLIENT, late, Hold::No);
        } else {
            self.miss(core, arriving.telling, head.len(), !arriving.forwarded);
        }
        self.queue(other, core.now_ns);
        self.begun();
    }

    /// A request that tapline answers by itself is complete.
    pub(super) fn end_own<R: Ring>(&mut self, core: &mut CoreParts<'_, R>) {
        let Some(arriving) = self.arriving.take() else { return };
        core.counters.add(Counter::HealthChecks, 1);
        let close = arriving.close || core.draining;
        let to_head = arriving.answering == Answering::Head;
        let bytes = http::health(core.draining, to_head, close);
        let (answering, telling) = (arriving.answering, arriving.telling);
        let own = Some(Box::new(OwnAnswer { bytes, close }));
        let waits = (!self.hold.is_empty()).then(|| self.hold.mark());
        let recorded = false;
        self.pipeline.push_back(Asked {
            answering,
            telling,
            recorded,
            waits,
            hides_body: false,
            own,
        });
        self.answer_own();
    }

    /// Gives tapline's own answers whose turn it is.
    pub(super) fn answer_own(&mut self) {
        while let Some(own) = self.pipeline.front_mut().and_then(|asked| asked.own.take()) {
            self.pipeline.pop_front();
            // Behind the source's FIN there is nowhere to say it: it may have ended an answer that has no other end.
            if !self.client.shut && !self.source.eof {
                self.client.out.push(Segment::owned(own.bytes));
            }
            self.dismissed |= own.close;
        }
    }

    /// The newest request goes nowhere.
    pub(super) fn is_own(&self) -> bool {
        self.arriving.is_some_and(|arriving| arriving.way == Way::Own)
    }
}
