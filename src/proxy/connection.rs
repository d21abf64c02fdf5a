//! One client connection and its source connection: the state, and how it ends.

use std::{collections::VecDeque, net::IpAddr, rc::Rc};

use super::{
    admission::Counted,
    core::{Core, discard},
    deadlines::Pace,
    hold::HoldQueue,
    recording::{CoreParts, Hold},
    request::{Arriving, Asked, Telling},
    veil::Veil,
};
use crate::{
    capture::{ConnectionId, Gap, LeftOut, Stamp, Stream, Undelivered, UndeliveredCause},
    filter::Filter,
    http::{Refusal, RequestFraming, ResponseFraming},
    observe::Counter,
    ring::{Fd, Ring, Segment, SendQueue, Token},
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
    pub(super) pipeline: VecDeque<Asked>,
    /// The source's FIN ended an answer: what stood behind it would be taken for a part of that.
    pub(super) ended_by_fin: bool,
    /// Bytes of the oldest answer have gone to the client.
    pub(super) answer_began: bool,
    /// The newest request asked for another protocol.
    pub(super) upgrade_asked: bool,
    /// After a 101: bytes both ways, no more HTTP.
    pub(super) tunnel: bool,
    pub(super) refused: Option<Refusal>,
    /// Held for too long: answered 503 when what came before it has its answers; what the records are to say of it.
    pub(super) expired: Option<Telling>,
    /// On the list of connections on which something is held.
    pub(super) holding: bool,
    pub(super) hold: HoldQueue,
    pub(super) stream: Stream,
    /// False while traffic passes uncaptured for want of memory.
    pub(super) capturing: bool,
    /// Of the newest request; in a tunnel, of everything.
    pub(super) telling: Telling,
    /// What passed uncaptured since the last record.
    pub(super) gap: Option<Box<Gap>>,
    /// It breaks off something that is in the records: they must say it themselves.
    pub(super) gap_breaks: bool,
    /// What passes uncaptured does so because records cannot be stored.
    pub(super) unstored: bool,
    /// Requests and bytes that were left out since the last record, by [`LeftOut`].
    pub(super) left_out: [(u64, u64); LeftOut::ALL.len()],
    /// There is something to tell of the connection: not all of it was left out on purpose.
    pub(super) told: bool,
    /// Something goes to the source, or is likely to.
    pub(super) asks_source: bool,
    /// The connection ends when the client has what it is due.
    pub(super) dismissed: bool,
    /// What has come of a PROXY protocol header that is still to be complete.
    pub(super) preface: Option<Vec<u8>>,
    /// The client's, where it matters.
    pub(super) address: Option<IpAddr>,
    pub(super) counted: Option<Counted>,
    /// Requests that have begun, and bytes of the client.
    pub(super) begun: u64,
    pub(super) client_bytes: u64,
    pub(super) pace: Pace,
    /// What its requests are changed by; another one is taken between conversations only.
    pub(super) filter: Option<Rc<Filter>>,
    /// Where something is redacted.
    pub(super) veil: Option<Box<Veil>>,
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
    /// [`Connection::uncounted_memory`] as it was counted last.
    pub(super) open_bytes: u64,
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
    /// Bytes of earlier sends.
    pub(super) sent: u64,
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
            ended_by_fin: false,
            answer_began: false,
            upgrade_asked: false,
            tunnel: false,
            refused: None,
            expired: None,
            holding: false,
            hold: HoldQueue::default(),
            stream: Stream::new(id),
            capturing: false,
            telling: Telling::Miss,
            gap: None,
            gap_breaks: false,
            unstored: false,
            left_out: [(0, 0); LeftOut::ALL.len()],
            told: false,
            asks_source: false,
            dismissed: false,
            preface: None,
            address: None,
            counted: None,
            begun: 0,
            client_bytes: 0,
            pace: Pace::default(),
            filter: None,
            veil: None,
            stream_ended: false,
            has_bytes: false,
            dirty: false,
            ageing: false,
            over_budget: false,
            open_bytes: 0,
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

    /// Memory of what the client sent that is in no record handed over: the open record, and what waits for the source
    /// to take it.
    pub(super) fn uncounted_memory(&self) -> u64 {
        self.stream.open_memory() + self.source.backlog()
    }

    /// Takes up another filter, unless something that was begun under the old one still goes on.
    pub(super) fn follow_filter<R: Ring>(&mut self, core: &Core<R>) {
        let address = |filter: &Option<Rc<Filter>>| filter.as_ref().map(Rc::as_ptr);
        if address(&self.filter) == address(&core.filter)
            || !self.pipeline.is_empty()
            || self.arriving.is_some()
            || !self.request.at_boundary()
            || self.tunnel
        {
            return;
        }
        self.filter.clone_from(&core.filter);
        if self.address.is_none() && self.appends_address() {
            let address = self.client.fd.and_then(|fd| core.ring.peer(fd));
            self.address = address.map(|address| address.ip());
        }
    }

    /// The client's address is forwarded in a field.
    pub(super) fn appends_address(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.forwarded_for)
    }

    /// Records are to differ from what is forwarded.
    pub(super) fn redacts(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.redaction.is_some())
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

    /// Answers in place of the source. The client saw this answer, so it stands in the records as the source's would,
    /// before the reason for it: the reference's replayer ignores what is written after an exception.
    pub(super) fn answer_for_source<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        answer: Vec<u8>,
        why: &str,
    ) {
        // Without a request nobody asked.
        let asked = self.pipeline.front().map(|asked| asked.telling);
        match asked.or(self.expired).filter(|_| !self.stream_ended && self.hears_more()) {
            Some(Telling::Record) => {
                self.record(&mut CoreParts::of(core), SOURCE, &answer, Hold::No);
            }
            Some(other) => self.miss(&CoreParts::of(core), other, answer.len(), false),
            None => {}
        }
        self.record_small(core, |stream, to, stamp| stream.exception(to, stamp, why));
        self.answer(core, answer);
    }

    /// Answers the client by itself and ends the conversation. The source connection is dropped.
    pub(super) fn answer<R: Ring>(&mut self, core: &mut Core<R>, answer: Vec<u8>) {
        if self.hears_more() && !answer.is_empty() {
            self.client.out.push(Segment::owned(answer));
        }
        self.dismiss(core);
    }

    /// Behind a FIN there is nowhere to say anything to the client.
    fn hears_more(&self) -> bool {
        !self.client.shut && !self.ended_by_fin
    }

    /// The client has all it will get: the source connection is dropped, and what still comes is discarded.
    pub(super) fn dismiss<R: Ring>(&mut self, core: &mut Core<R>) {
        self.end_stream(core);
        self.drop_queued(core, SOURCE);
        self.close_side(core, SOURCE, true);
        self.phase = Phase::Answered;
        core.timers.set(super::timers::Deadline::Linger, self.token, core.now.monotonic_ns);
    }

    /// Drops what is held and notes which requests never reached the source: the held ones, or all of them if there
    /// never was a connection to it.
    pub(super) fn drop_held<R: Ring>(&mut self, core: &mut Core<R>, cause: UndeliveredCause) {
        let unconnected = self.upstream != Upstream::Connected;
        // Only what is in the records can be taken back in them, and must be, even if its answer is to be in none.
        let recorded = |asked: &&Asked| asked.recorded;
        let never_sent =
            if unconnected { self.pipeline.iter().filter(recorded).count() as u32 } else { 0 };
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
