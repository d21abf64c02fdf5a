//! What becomes of a connection in the records: bytes and notes into the open record, records onto their way.

use std::mem;

use super::{
    Settings,
    connection::{CLIENT, Connection},
    core::{Core, Recorder},
};
use crate::{
    capture::{Stamp, Stream},
    observe::Counters,
    ring::{Ring, Segment},
};

/// What becomes of bytes once they are recorded.
pub(super) enum Hold {
    /// They are sent without waiting for the record.
    No,
    /// They are sent from the record when it is durable.
    InRecord,
    /// This is sent in their place when they are durable.
    Instead(Segment),
    /// Nothing is sent for them: what is recorded next is sent in their place too.
    Before,
}

/// What recording needs of the core while the ring is borrowed for the bytes.
pub(super) struct CoreParts<'a, R> {
    pub(super) recorder: &'a mut Recorder,
    pub(super) counters: &'a Counters,
    pub(super) settings: &'a Settings,
    pub(super) draining: bool,
    pub(super) passing: bool,
    pub(super) now_ns: u64,
    pub(super) unix_ns: u64,
    pub(super) ring: &'a R,
}

impl<'a, R: Ring> CoreParts<'a, R> {
    pub(super) fn of(core: &'a mut Core<R>) -> Self {
        Self {
            recorder: &mut core.recorder,
            counters: &core.counters,
            settings: &core.settings,
            draining: core.drain.is_some(),
            passing: core.passing,
            now_ns: core.now.monotonic_ns,
            unix_ns: core.now.unix_ns,
            ring: &core.ring,
        }
    }
}

impl Connection {
    /// Closes the open record, if there is one, and puts it on its way.
    pub(super) fn finish_record(
        &mut self,
        recorder: &mut Recorder,
        counters: &Counters,
        last: bool,
    ) {
        if !self.stream.is_open() {
            return;
        }
        let held = self.hold.waits_for(self.stream.finished() + 1);
        if held {
            self.hold.record_finished();
        }
        recorder.finish(&mut self.stream, self.token, last, held, counters);
    }

    /// Records bytes of one side, over as many records as it takes; held ones are entered into the held queue.
    pub(super) fn record<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        side: u8,
        bytes: &[u8],
        mut hold: Hold,
    ) {
        self.told = true;
        let mut rest = bytes;
        let mut starts = self.arriving.is_some_and(|arriving| !arriving.forwarded);
        while !rest.is_empty() {
            let room = self.stream.room(&core.recorder.identity, core.settings.record_bytes_max);
            if room == 0 {
                self.finish_record(core.recorder, core.counters, false);
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            let place = core.recorder.on(|to, stamp| match side {
                CLIENT => self.stream.read(to, stamp, now),
                _ => self.stream.write(to, stamp, now),
            });
            match &mut hold {
                Hold::No => {}
                // What may have to go before its record is back cannot go out of the record's memory.
                Hold::InRecord if core.settings.pass => {
                    let copy = core.recorder.copy(now);
                    self.hold.instead(place.record, copy, starts, core.now_ns);
                    starts = false;
                }
                Hold::InRecord => {
                    self.hold.hold(place, now.len() as u32, starts, core.now_ns);
                    starts = false;
                }
                // Of a stretch over several records, the last one lets go of what is sent.
                Hold::Instead(segment) if later.is_empty() => {
                    let segment = mem::replace(segment, Segment::owned(Vec::new()));
                    self.hold.instead(place.record, segment, starts, core.now_ns);
                    starts = false;
                }
                Hold::Instead(_) | Hold::Before => {
                    let nothing = Segment::owned(Vec::new());
                    self.hold.instead(place.record, nothing, false, core.now_ns);
                }
            }
            rest = later;
        }
        if self.stream.open_bytes() >= core.settings.record_bytes_target() {
            self.finish_record(core.recorder, core.counters, false);
        }
    }

    /// Makes sure that the next observation fits beside what is in the open record.
    pub(super) fn record_small<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        observe: impl FnOnce(&mut Stream, &mut crate::capture::Context<'_>, &Stamp),
    ) {
        let told = self.told || !self.request.kept().is_empty();
        let told = told && !(core.passing && self.is_blank() && !self.capturing);
        if !core.settings.capture || self.stream_ended || !told {
            return;
        }
        core.recorder.on(|to, stamp| observe(&mut self.stream, to, stamp));
    }

    /// Writes the last record of the connection. Connections of which there is nothing to tell leave no trace.
    pub(super) fn end_stream<R: Ring>(&mut self, core: &mut Core<R>) {
        if self.stream_ended {
            return;
        }
        self.told |= !self.request.kept().is_empty();
        if core.passing && self.says_only_a_gap() {
            self.give_gap(core);
            self.told = false;
        }
        if self.told && core.settings.capture {
            self.note_gap();
            self.end_veil(core);
            self.record_unfinished_head(core);
            core.recorder.on(|to, stamp| self.stream.close(to, stamp));
            self.finish_record(&mut core.recorder, &core.counters, true);
        }
        self.stream_ended = true;
    }

    /// A head that never got complete was never forwarded either, but it did arrive.
    fn record_unfinished_head<R: Ring>(&mut self, core: &mut Core<R>) {
        if self.refused.is_some() || self.request.kept().is_empty() || self.arriving.is_some() {
            return;
        }
        let kept = self.request.take_kept();
        self.record_front(core, kept);
    }
}
