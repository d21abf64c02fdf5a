//! The requests that were read and have no outcome yet, by their number.
//!
//! Owns them and knows their memory at all times.

use std::collections::VecDeque;

use super::exchange::{Answer, ExchangeId, Request, Unanswered};

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
}

/// A request and what is known about it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Request,
    pub(super) answer: Option<Answer>,
    pub(super) unanswered: Option<Unanswered>,
    pub(super) stage: Stage,
    /// An earlier run has sent it.
    pub(super) known: bool,
    /// It never reached the source.
    pub(super) undelivered: bool,
    /// What is sent instead of the captured bytes.
    pub(super) amended: Option<Vec<u8>>,
    /// The bytes of the next attempt, made and not yet sent.
    pub(super) prepared: Option<Vec<u8>>,
    /// Items of a bulk whose place among others is not known.
    pub(super) uncertain_items: Vec<usize>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) attempt_count: u32,
    /// The connection was lost without an answer after something was sent.
    pub(super) possible_duplicate: bool,
    /// What [`Table::bytes`] counts for it.
    counted: u64,
}

impl Exchange {
    pub(super) fn new(request: Request, known: bool) -> Self {
        Self {
            request,
            answer: None,
            unanswered: None,
            stage: Stage::Waiting,
            known,
            undelivered: false,
            amended: None,
            prepared: None,
            uncertain_items: Vec::new(),
            attempts: Vec::new(),
            attempt_count: 0,
            possible_duplicate: false,
            counted: 0,
        }
    }

    /// Captured bytes and what replay keeps beside them: its own copy with another head, and this struct.
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
