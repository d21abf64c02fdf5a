//! What conversations share while a record is taken in: limits, counters, the account of memory, the way out.

use std::rc::Rc;

use super::{
    conversation::Open,
    report::{Counters, Event, Limits, Trouble, TroubleKind},
};
use crate::{
    proto::RecordView,
    replay::{
        exchange::{ConnectionName, ExchangeId, Mark, Unanswered},
        pins::Pins,
    },
};

/// What outlives a record.
pub(super) struct Books {
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    /// Memory of all unfinished messages.
    pub(super) bytes: u64,
    exchanges: u64,
    /// State of conversations that are idle now, for those that begin something.
    #[allow(clippy::vec_box, reason = "what is handed out and back is the box")]
    spare: Vec<Box<Open>>,
}

/// One record's way through.
pub(super) struct Desk<'a> {
    pub(super) books: &'a mut Books,
    pub(super) mark: Mark,
    /// The record notes a refused request.
    pub(super) refused: bool,
    /// The record notes a gap: answers in it cannot be told apart.
    pub(super) gap: bool,
    /// Requests of the connection's end that never reached the source, until they are dealt with.
    pub(super) undelivered: u32,
    /// Where in `out` the events of the record begin.
    pub(super) first_event: usize,
    pub(super) pins: &'a mut Pins,
    pub(super) out: &'a mut Vec<Event>,
}

impl Books {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, counters: Counters::default(), bytes: 0, exchanges: 0, spare: Vec::new() }
    }

    pub(super) fn desk<'a>(
        &'a mut self,
        mark: Mark,
        record: &RecordView<'_>,
        pins: &'a mut Pins,
        out: &'a mut Vec<Event>,
    ) -> Desk<'a> {
        let notes = record.provenance.as_ref();
        Desk {
            books: self,
            mark,
            refused: notes.is_some_and(|notes| notes.refused.is_some()),
            gap: notes.is_some_and(|notes| notes.gap.is_some()),
            undelivered: notes.and_then(|notes| notes.undelivered).map_or(0, |note| note.requests),
            first_event: out.len(),
            pins,
            out,
        }
    }

    /// Where no record is taken in.
    pub(super) fn bare_desk<'a>(
        &'a mut self,
        pins: &'a mut Pins,
        out: &'a mut Vec<Event>,
    ) -> Desk<'a> {
        let first_event = out.len();
        let mark = Mark { lane: 0, number: 0 };
        Desk {
            books: self,
            mark,
            refused: false,
            gap: false,
            undelivered: 0,
            first_event,
            pins,
            out,
        }
    }

    pub(super) fn take_spare(&mut self) -> Box<Open> {
        self.spare.pop().unwrap_or_default()
    }

    pub(super) fn put_spare(&mut self, open: Box<Open>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(open);
        }
    }

    pub(super) fn next_exchange(&mut self) -> ExchangeId {
        self.exchanges += 1;
        ExchangeId(self.exchanges - 1)
    }

    /// A buffer that cost `before` costs `now`.
    #[inline]
    pub(super) fn account(&mut self, before: &mut u64, now: u64) {
        self.bytes = self.bytes - *before + now;
        *before = now;
    }
}

impl Desk<'_> {
    pub(super) fn unanswered(&mut self, id: ExchangeId, why: Unanswered) {
        self.books.counters.unanswered += 1;
        self.out.push(Event::Unanswered { id, why });
    }

    pub(super) fn trouble(
        &mut self,
        connection: &Rc<ConnectionName>,
        mark: Mark,
        kind: TroubleKind,
        reason: impl Into<String>,
        bytes: Vec<u8>,
    ) {
        let counters = &mut self.books.counters;
        let counter = match kind {
            TroubleKind::Gap => &mut counters.gaps,
            TroubleKind::Truncated => &mut counters.truncated,
            TroubleKind::TooLarge => &mut counters.too_large,
            TroubleKind::NotARequest => &mut counters.not_requests,
            TroubleKind::Unreadable => &mut counters.unreadable,
            TroubleKind::CutOff => &mut counters.cut_off,
            TroubleKind::Uncaptured => &mut counters.uncaptured_notes,
        };
        *counter += 1;
        let (connection, reason) = (Rc::clone(connection), reason.into());
        self.out.push(Event::Trouble(Trouble { mark, connection, kind, reason, bytes }));
    }
}

/// States kept for the next conversation; more are rarely idle at once between two records.
const SPARE_MAX: usize = 64;
