//! The requests that were read and have no outcome yet, by their number.
//!
//! Owns them and knows their memory at all times.

use std::collections::VecDeque;

use super::{
    amend::{Change, Needs},
    exchange::{Answer, ExchangeId, Request, Unanswered},
    order::Ready,
    outcome::Sent,
    retry,
};
use crate::{feed::Place, http::RequestHead, rewrite::Changed};

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its answer is awaited in the records, or something before it.
    Waiting,
    /// It may go; its time or a free place is awaited.
    Queued,
    /// It is on its way to the target.
    InFlight,
    /// It failed and will be sent again.
    Delayed,
    /// It was on its way when its partition was lost: the reply is nobody's.
    Abandoned,
}

/// One try to send it.
#[derive(Debug)]
pub struct Attempt {
    /// What came of it.
    pub result: Result<AttemptAnswer, String>,
    /// From the start of sending to the last byte of the answer, nanoseconds.
    pub took_ns: u64,
}

/// The target's answer.
#[derive(Debug)]
pub struct AttemptAnswer {
    /// Status code.
    pub status: u16,
    /// Head and body, perhaps cut.
    pub bytes: Vec<u8>,
    /// Bytes of the head with its blank line.
    pub head_bytes: usize,
    /// Bytes on the wire.
    pub wire_bytes: u64,
}

/// A request and what is known about it.
// Independent facts.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Request,
    /// Where in the records it became complete.
    pub(super) place: Place,
    pub(super) answer: Option<Answer>,
    pub(super) unanswered: Option<Unanswered>,
    pub(super) stage: Stage,
    /// An earlier run has sent it.
    pub(super) known: bool,
    /// What the lines of a bulk call for.
    pub(super) needs: Needs,
    /// It never reached the source.
    pub(super) undelivered: bool,
    /// Whether it goes at all, and as what, was looked at.
    pub(super) examined: bool,
    /// What goes instead of the captured bytes.
    pub(super) change: Option<Box<Change>>,
    /// What the schedule lets go now.
    pub(super) part: Part,
    /// Of a part of a bulk, the message.
    pub(super) part_message: Option<Message>,
    /// The bytes of the next attempt, made and not yet sent; `None` inside: the captured ones.
    pub(super) prepared: Option<Prepared>,
    pub(super) asked: retry::Asked,
    pub(super) progress: retry::Progress,
    /// What goes again.
    pub(super) again: retry::Body,
    /// The captured bytes are with a worker.
    pub(super) lent: bool,
    /// Where in what was sent last that begins which followed another head; 0: all of it went.
    pub(super) sent_from: usize,
    /// What was sent last, where that is not what was captured.
    pub(super) sent: Option<Sent>,
    pub(super) attempts: Vec<Attempt>,
    /// Attempts of the part.
    pub(super) attempt_count: u32,
    /// What failed in the parts so far.
    pub(super) failure: Option<String>,
    pub(super) possible_duplicate: bool,
    pub(super) notes: Vec<&'static str>,
    /// What [`Table::bytes`] counts for it.
    counted: u64,
}

/// What the schedule lets go: all, or some items of a bulk.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) items: Option<Vec<u32>>,
    /// Items that are not to be sent, from all parts.
    pub(super) left_out: Vec<usize>,
    pub(super) last: bool,
}

/// A request that was made of a captured one.
#[derive(Debug)]
pub(super) struct Message {
    /// Head and body; empty when nothing is left of it.
    pub(super) bytes: Vec<u8>,
    /// What its head says.
    pub(super) head: RequestHead,
}

/// An attempt that can be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The head, where it is not that of the bytes.
    pub(super) head: Option<Vec<u8>>,
    /// `None`: the captured bytes.
    pub(super) bytes: Option<Vec<u8>>,
    /// Where in them what follows `head` begins.
    pub(super) from: usize,
    pub(super) head_request: bool,
}

impl Prepared {
    /// Bytes that go over the wire, when the captured ones are so many.
    pub(super) fn wire_bytes(&self, captured: usize) -> usize {
        let bytes = self.bytes.as_ref().map_or(captured, Vec::len);
        self.head.as_ref().map_or(0, Vec::len) + bytes - self.from
    }
}

impl From<Changed> for Prepared {
    fn from(changed: Changed) -> Self {
        let Changed { bytes, head_request } = changed;
        Self { head: None, bytes: Some(bytes), from: 0, head_request }
    }
}

impl Exchange {
    pub(super) fn new(
        request: Request,
        place: Place,
        known: bool,
        needs: Needs,
        asked: retry::Asked,
    ) -> Self {
        Self {
            request,
            place,
            answer: None,
            unanswered: None,
            stage: Stage::Waiting,
            known,
            needs,
            undelivered: false,
            examined: false,
            change: None,
            part: Part::default(),
            part_message: None,
            prepared: None,
            asked,
            progress: retry::Progress::default(),
            again: retry::Body::All,
            lent: false,
            sent_from: 0,
            sent: None,
            attempts: Vec::new(),
            attempt_count: 0,
            failure: None,
            possible_duplicate: false,
            notes: Vec::new(),
            counted: 0,
        }
    }

    /// The message that goes, before transforms and headers; all of it, when it goes in parts. And what its head says.
    pub(super) fn base(&self) -> (&[u8], &RequestHead) {
        match &self.change {
            Some(change) => (&change.bytes, &change.head),
            None => (&self.request.bytes, &self.request.head),
        }
    }

    /// The schedule lets it, or a part of it, go.
    pub(super) fn let_go(&mut self, ready: Ready) {
        self.part.items = ready.items;
        self.part.last = ready.last;
        self.part.left_out = ready.left_out.into_iter().map(|item| item as usize).collect();
        self.part_message = None;
        self.prepared = None;
        self.progress = retry::Progress::default();
        self.again = retry::Body::All;
        self.attempt_count = 0;
    }

    /// Captured bytes and what replay keeps beside them: an amended copy, and this struct.
    fn bytes(&self) -> u64 {
        let answer = self.answer.as_ref().map_or(0, |answer| answer.bytes.capacity());
        let answers: usize = self
            .attempts
            .iter()
            .filter_map(|attempt| attempt.result.as_ref().ok())
            .map(|answer| answer.bytes.capacity())
            .sum();
        (2 * self.request.bytes.capacity() + answer + answers + OVERHEAD_BYTES) as u64
    }
}

/// All of them. Numbers rise by one, so that a queue with holes is the map.
#[derive(Debug, Default)]
pub(super) struct Table {
    base: u64,
    slots: VecDeque<Option<Box<Exchange>>>,
    count: usize,
    bytes: u64,
}

impl Table {
    pub(super) fn insert(&mut self, mut exchange: Box<Exchange>) {
        let id = exchange.request.id.0;
        if self.slots.is_empty() {
            self.base = id;
        }
        debug_assert_eq!(self.base + self.slots.len() as u64, id, "invariant: numbers rise by one");
        exchange.counted = exchange.bytes();
        self.bytes += exchange.counted;
        self.count += 1;
        self.slots.push_back(Some(exchange));
    }

    pub(super) fn get(&self, id: ExchangeId) -> Option<&Exchange> {
        let at = id.0.checked_sub(self.base)?;
        self.slots.get(at as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        let at = id.0.checked_sub(self.base)?;
        self.slots.get_mut(at as usize)?.as_deref_mut()
    }

    /// Its memory has changed.
    pub(super) fn recount(&mut self, id: ExchangeId) {
        let Some(exchange) = self.get_mut(id) else { return };
        let (before, after) = (exchange.counted, exchange.bytes());
        exchange.counted = after;
        self.bytes = self.bytes + after - before;
    }

    pub(super) fn remove(&mut self, id: ExchangeId) -> Option<Box<Exchange>> {
        let at = id.0.checked_sub(self.base)?;
        let exchange = self.slots.get_mut(at as usize)?.take()?;
        self.bytes -= exchange.counted;
        self.count -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
        Some(exchange)
    }

    /// The oldest.
    pub(super) fn first(&self) -> Option<&Exchange> {
        self.slots.front()?.as_deref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Exchange> {
        self.slots.iter().filter_map(|slot| slot.as_deref())
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Memory of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a request costs beside its bytes: this struct, its place in queues and in the conflict order.
const OVERHEAD_BYTES: usize = 1024;
