//! One client connection and its source connection: the state, and how it ends.

use std::collections::VecDeque;

use super::{
    core::{Core, Recorder, discard},
    hold::{HoldQueue, Mark},
};
use crate::{
    capture::{ConnectionId, Stamp, Stream, Undelivered, UndeliveredCause},
    http::{Answering, Refusal, RequestFraming, ResponseFraming},
    observe::{Counter, Counters},
    ring::{Fd, Ring, SendQueue, Token},
    tls::Session,
};

/// The side number of clients in tokens.
pub(super) const CLIENT: u8 = 0;
/// The side number of the source in tokens.
pub(super) const SOURCE: u8 = 1;

#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; they combine freely")]
pub(super) struct Connection {
    pub(super) token: Token,
    pub(super) client: Side,
    pub(super) source: Side,
    pub(super) upstream: Upstream,
    pub(super) phase: Phase,
    pub(super) request: RequestFraming,
    pub(super) response: ResponseFraming,
    /// The request that is arriving.
    pub(super) arriving: Option<Arriving>,
    /// When the first bytes of an incomplete head came.
    pub(super) head_began: Option<Stamp>,
    /// Requests without a complete answer, oldest first.
    pub(super) pipeline: VecDeque<Answering>,
    /// Bytes of the oldest answer have gone to the client.
    pub(super) answer_began: bool,
    /// The newest request asked for another protocol.
    pub(super) upgrade_asked: bool,
    /// After a 101: bytes both ways, no more HTTP.
    pub(super) tunnel: bool,
    pub(super) refused: Option<Refusal>,
    /// Held for too long: answered 503 when what came before it has its answers.
    pub(super) expired: bool,
    /// On the list of connections on which something is held.
    pub(super) holding: bool,
    pub(super) hold: HoldQueue,
    pub(super) stream: Stream,
    /// False while traffic passes uncaptured.
    pub(super) capturing: bool,
    /// Requests and bytes that passed uncaptured since the last record.
    pub(super) gap: (u64, u64),
    /// The last record is finished.
    pub(super) stream_ended: bool,
    /// The client has sent something.
    pub(super) has_bytes: bool,
    /// On the list of connections to settle at the end of the turn.
    pub(super) dirty: bool,
    /// On the list of connections with an open record; since when it is open.
    pub(super) ageing: bool,
    /// On the list of connections that wait for the memory budget.
    pub(super) over_budget: bool,
    pub(super) opened_ns: u64,
    /// In a drain: when it was last seen to be busy; 0: not looked at yet.
    pub(super) busy_ns: u64,
    /// In a drain: nothing more is read of the client, since it is idle.
    pub(super) leaving: bool,
    /// Nothing more is read or forwarded; it is closed when that is said to whoever speaks TLS.
    pub(super) parting: bool,
    /// When the oldest request without a complete answer came, or the answer before its own ended.
    pub(super) asked_ns: u64,
    /// Since when bytes wait for their records; 0: none do.
    pub(super) waiting_ns: u64,
    /// When the connect that is under way has taken too long.
    pub(super) connect_due_ns: u64,
    /// The source broke: the client is reset when what it is due is sent.
    pub(super) reset_after_flush: bool,
}

/// One socket.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; they combine freely")]
pub(super) struct Side {
    pub(super) fd: Option<Fd>,
    /// TLS, if it speaks that.
    pub(super) tls: Option<Box<Session>>,
    /// What is to be sent to it, in plaintext.
    pub(super) out: SendQueue,
    /// Bytes of the send under way, sealed if it speaks TLS; 0: none.
    pub(super) sending: u64,
    /// Something that was queued for it was dropped: what it got is not all.
    pub(super) cut: bool,
    pub(super) receiving: Receiving,
    /// A hang-up watch is under way.
    pub(super) watching: bool,
    pub(super) connecting: bool,
    /// The peer sent FIN.
    pub(super) eof: bool,
    /// We sent FIN.
    pub(super) shut: bool,
    /// It takes no more bytes; what it sent before is still worth reading.
    pub(super) deaf: bool,
    /// To be closed when no operation is under way; whether by a reset.
    pub(super) closing: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Receiving {
    #[default]
    Off,
    On,
    Stopping,
    /// Waits for a buffer, on the list of starved sides.
    Starved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    /// No byte to send yet.
    None,
    /// Trying the address of this number.
    Connecting(usize),
    /// Connected; TLS is being agreed upon.
    Securing,
    Connected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Flowing,
    /// tapline answered by itself: input is discarded until the client is done.
    Answered,
    Closing,
}

/// A request between its head and its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arriving {
    pub(super) held: bool,
    pub(super) first_line_bytes: i32,
    pub(super) headers_bytes: i32,
    /// Where its first byte stands in the held queue.
    pub(super) mark: Mark,
    /// Some of it was recorded or queued for the source.
    pub(super) forwarded: bool,
}

impl Side {
    /// No operation under way that the kernel could still complete.
    pub(super) fn is_still(&self) -> bool {
        let receiving = matches!(self.receiving, Receiving::On | Receiving::Stopping);
        !receiving && self.sending == 0 && !self.watching && !self.connecting
    }

    /// Everything given to it has been sent.
    pub(super) fn is_flushed(&self) -> bool {
        let said = self.tls.as_ref().is_none_or(|tls| !tls.has_outgoing());
        self.sending == 0 && self.out.is_empty() && said
    }

    /// Bytes queued and under way.
    pub(super) fn backlog(&self) -> u64 {
        self.sending + self.out.bytes()
    }
}

impl Connection {
    pub(super) fn new(token: Token, fd: Fd, id: ConnectionId) -> Self {
        Self {
            token,
            client: Side { fd: Some(fd), ..Side::default() },
            source: Side::default(),
            upstream: Upstream::None,
            phase: Phase::Flowing,
            request: RequestFraming::new(),
            response: ResponseFraming::new(),
            arriving: None,
            head_began: None,
            pipeline: VecDeque::new(),
            answer_began: false,
            upgrade_asked: false,
            tunnel: false,
            refused: None,
            expired: false,
            holding: false,
            hold: HoldQueue::default(),
            stream: Stream::new(id),
            capturing: false,
            gap: (0, 0),
            stream_ended: false,
            has_bytes: false,
            dirty: false,
            ageing: false,
            over_budget: false,
            opened_ns: 0,
            busy_ns: 0,
            leaving: false,
            parting: false,
            asked_ns: 0,
            waiting_ns: 0,
            connect_due_ns: 0,
            reset_after_flush: false,
        }
    }

    pub(super) fn side(&mut self, side: u8) -> &mut Side {
        if side == CLIENT { &mut self.client } else { &mut self.source }
    }

    /// The token for operations on the source side.
    pub(super) fn source_token(&self) -> Token {
        Token::new(self.token.index(), self.token.generation(), SOURCE)
    }

    /// Nothing asked, nothing owed: safe to close.
    pub(super) fn is_idle(&self) -> bool {
        self.pipeline.is_empty()
            && self.arriving.is_none()
            && self.request.at_boundary()
            && self.hold.is_empty()
            && self.client.is_flushed()
            && self.source.is_flushed()
            && !self.tunnel
    }

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

    /// Counts bytes that pass uncaptured for want of memory; `starts`: a request begins with them.
    pub(super) fn miss<R: Ring>(&mut self, core: &CoreParts<'_, R>, bytes: usize, starts: bool) {
        if !core.capture {
            return;
        }
        let (requests, bytes) = (u64::from(starts), bytes as u64);
        self.gap = (self.gap.0 + requests, self.gap.1 + bytes);
        core.counters.add(Counter::Uncaptured, requests);
        core.counters.add(Counter::UncapturedBytes, bytes);
    }

    /// Records bytes of one side, over as many records as it takes; held ones are entered into the held queue.
    pub(super) fn record<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        side: u8,
        bytes: &[u8],
        held: bool,
    ) {
        let mut rest = bytes;
        let mut starts = self.arriving.is_some_and(|arriving| !arriving.forwarded);
        while !rest.is_empty() {
            let room = self.stream.room(&core.recorder.identity, core.record_bytes_max);
            if room == 0 {
                self.finish_record(core.recorder, core.counters, false);
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            let place = core.recorder.on(|to, stamp| match side {
                CLIENT => self.stream.read(to, stamp, now),
                _ => self.stream.write(to, stamp, now),
            });
            if held {
                self.hold.hold(place, now.len() as u32, starts, core.now_ns);
                starts = false;
            }
            rest = later;
        }
        if self.stream.open_bytes() >= core.record_bytes_target {
            self.finish_record(core.recorder, core.counters, false);
        }
    }

    /// Makes sure that the next observation fits beside what is in the open record.
    pub(super) fn record_small<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        observe: impl FnOnce(&mut Stream, &mut crate::capture::Context<'_>, &Stamp),
    ) {
        if !core.settings.capture || self.stream_ended {
            return;
        }
        core.recorder.on(|to, stamp| observe(&mut self.stream, to, stamp));
    }

    /// Writes the last record of the connection. Connections that never sent a byte leave no trace.
    pub(super) fn end_stream<R: Ring>(&mut self, core: &mut Core<R>) {
        if self.stream_ended {
            return;
        }
        if self.has_bytes && core.settings.capture {
            self.note_gap();
            self.record_unfinished_head(core);
            self.record_small(core, Stream::close);
            self.finish_record(&mut core.recorder, &core.counters, true);
        }
        self.stream_ended = true;
    }

    /// The records say from here on what passed by them.
    pub(super) fn note_gap(&mut self) {
        let (requests, bytes) = std::mem::take(&mut self.gap);
        if bytes > 0 {
            self.stream.note(|notes| {
                let (r, b) = notes.gap.unwrap_or_default();
                notes.gap = Some((r + requests, b + bytes));
            });
        }
    }

    /// A head that never got complete was never forwarded either, but it did arrive.
    fn record_unfinished_head<R: Ring>(&mut self, core: &mut Core<R>) {
        if self.refused.is_some() || self.request.kept().is_empty() || self.arriving.is_some() {
            return;
        }
        let kept = self.request.take_kept();
        let mut parts = CoreParts::of(core);
        self.record(&mut parts, CLIENT, &kept, false);
    }

    /// Ends the connection: nothing more is sent, both sockets are closed as soon as the kernel lets go of them.
    pub(super) fn close<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        reset_client: bool,
        reset_source: bool,
    ) {
        self.end_stream(core);
        self.drop_queued(core, SOURCE);
        self.drop_queued(core, CLIENT);
        self.close_side(core, CLIENT, reset_client);
        self.close_side(core, SOURCE, reset_source);
        self.phase = Phase::Closing;
    }

    /// Closes one socket as soon as no operation is under way on it.
    pub(super) fn close_side<R: Ring>(&mut self, core: &mut Core<R>, number: u8, reset: bool) {
        let token = Token::new(self.token.index(), self.token.generation(), number);
        let side = self.side(number);
        let (Some(fd), None) = (side.fd, side.closing) else { return };
        side.closing = Some(reset);
        if !reset {
            super::secure::send_farewell(&mut core.ring, side, token, fd);
        }
        if !side.is_still() {
            core.ring.cancel_all(fd);
        }
    }

    /// Answers in place of the source. The client saw this answer, so it stands in the records, before the reason for
    /// it: the reference's replayer ignores what is written after an exception.
    pub(super) fn answer_for_source<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        answer: Vec<u8>,
        why: &str,
    ) {
        if self.capturing && !self.stream_ended {
            self.record(&mut CoreParts::of(core), SOURCE, &answer, false);
        }
        self.record_small(core, |stream, to, stamp| stream.exception(to, stamp, why));
        self.answer(core, answer);
    }

    /// Answers the client by itself and ends the conversation. The source connection is dropped.
    pub(super) fn answer<R: Ring>(&mut self, core: &mut Core<R>, answer: Vec<u8>) {
        self.end_stream(core);
        self.drop_queued(core, SOURCE);
        self.close_side(core, SOURCE, true);
        // Behind the source's FIN there is nowhere to say it.
        if !self.client.shut && !answer.is_empty() {
            self.client.out.push(crate::ring::Segment::owned(answer));
        }
        self.phase = Phase::Answered;
        core.timers.set(super::timers::Deadline::Linger, self.token, core.now.monotonic_ns);
    }

    /// Drops what is held and notes which requests never reached the source: the held ones, or all of them if there
    /// never was a connection to it. Returns how many.
    pub(super) fn drop_held<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        cause: UndeliveredCause,
    ) -> u32 {
        let unconnected = self.upstream != Upstream::Connected;
        let never_sent = if unconnected { self.pipeline.len() as u32 } else { 0 };
        let Core { ring, recorder, counters, .. } = core;
        let held = self.hold.clear(&mut |segment| discard(ring, &mut recorder.pool, segment));
        let requests = held.max(never_sent);
        if requests > 0 && !self.stream_ended {
            counters.add(Counter::Undelivered, u64::from(requests));
            self.stream.note(|notes| {
                let before = notes.undelivered.map_or(0, |undelivered| undelivered.requests);
                let requests = before + requests;
                notes.undelivered = Some(Undelivered { requests, cause });
            });
        }
        requests
    }

    pub(super) fn drop_queued<R: Ring>(&mut self, core: &mut Core<R>, side: u8) {
        let Core { ring, recorder, .. } = core;
        if side == SOURCE {
            self.hold.clear(&mut |segment| discard(ring, &mut recorder.pool, segment));
        }
        while let Some(segment) = self.side(side).out.pop() {
            self.side(side).cut = true;
            discard(ring, &mut recorder.pool, segment);
        }
    }
}

/// What recording needs of the core while the ring is borrowed for the bytes.
pub(super) struct CoreParts<'a, R> {
    pub(super) recorder: &'a mut Recorder,
    pub(super) counters: &'a Counters,
    /// False with `--no-capture`.
    pub(super) capture: bool,
    pub(super) record_bytes_max: usize,
    pub(super) record_bytes_target: usize,
    pub(super) now_ns: u64,
    pub(super) ring: &'a R,
}

impl<'a, R: Ring> CoreParts<'a, R> {
    pub(super) fn of(core: &'a mut Core<R>) -> Self {
        Self {
            capture: core.settings.capture,
            record_bytes_max: core.settings.record_bytes_max,
            record_bytes_target: core.settings.record_bytes_target(),
            recorder: &mut core.recorder,
            counters: &core.counters,
            now_ns: core.now.monotonic_ns,
            ring: &core.ring,
        }
    }
}
