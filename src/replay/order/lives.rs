//! Which life of an index a write was applied to.
//!
//! An index that is deleted and made again counts its writes anew: numbers of before and after must not be compared.
//! Owns the deletions that unfinished requests can have met, and says on which side of them a request was: the records
//! tell where one of the two was answered before the other was sent, else the clock of the node that captured both.
//! That clock matters since the record of an answer can come half a second late.
//!
//! Making an index begins no second life: it is refused while there is one.

use super::documents::{NEVER, Op};
use super::locks::Slot;
use super::requests::{Entry, Requests};
use crate::replay::exchange::{ExchangeId, Seen};

/// The ends of lives, oldest first.
#[derive(Debug, Default)]
pub(super) struct Lives {
    ends: Vec<End>,
    /// How many there were after those nobody can have met were forgotten.
    left: usize,
}

/// A request that deleted indices, or may have.
#[derive(Debug)]
struct End {
    request: ExchangeId,
    /// Which; none are all.
    indices: Vec<u64>,
    span: Span,
}

/// From a request to its answer, in the records and on a clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// When the request and its answer were read.
    pub(super) admitted: u64,
    pub(super) answered: u64,
    /// The first byte of the request.
    pub(super) seen: Seen,
    /// The last byte of the answer, on the same clock.
    pub(super) until_ns: Option<i64>,
}

/// The life of its index that a write was applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// As many lives had ended before it, of those that are remembered.
    Known(usize),
    /// The answer to a deletion will tell.
    Undecided,
    /// Nothing tells.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
    Undecided,
    Unknown,
}

impl Lives {
    /// A request that may delete these indices, all when there is none, is admitted.
    pub(super) fn may_end(&mut self, entry: &Entry, indices: &[u64], requests: &Requests) {
        if self.ends.len() > ENDS_ENOUGH.max(2 * self.left) {
            let oldest = requests.iter().map(|(_, entry)| entry.span.admitted).min();
            self.ends.retain(|end| oldest.is_some_and(|oldest| end.span.answered > oldest));
            self.left = self.ends.len();
        }
        self.ends.push(End { request: entry.id, indices: indices.to_vec(), span: entry.span });
    }

    /// It is answered.
    pub(super) fn ended(&mut self, entry: &Entry) {
        if let Some(end) = self.ends.iter_mut().find(|end| end.request == entry.id) {
            end.span = entry.span;
        }
    }

    /// It deleted nothing, or was never admitted.
    pub(super) fn goes_on(&mut self, request: ExchangeId) {
        self.ends.retain(|end| end.request != request);
    }

    /// The life that a request found an index in.
    fn of(&self, index: u64, span: &Span) -> Life {
        let (mut count, mut undecided) = (0, false);
        for end in &self.ends {
            if !(end.indices.is_empty() || end.indices.contains(&index)) {
                continue;
            }
            match end.span.side(span) {
                Side::Before => {}
                Side::After => count += 1,
                Side::Undecided => undecided = true,
                Side::Unknown => return Life::Unknown,
            }
        }
        if undecided { Life::Undecided } else { Life::Known(count) }
    }
}

impl Span {
    pub(super) fn new(admitted: u64, seen: Seen) -> Self {
        Self { admitted, answered: NEVER, seen, until_ns: None }
    }

    /// This one was sent when another had been answered.
    pub(super) fn is_after(&self, other: &Self) -> bool {
        self.side(other) == Side::Before
    }

    /// On which side of this one another was.
    fn side(&self, other: &Self) -> Side {
        if other.answered < self.admitted {
            return Side::Before;
        }
        if self.answered < other.admitted {
            return Side::After;
        }
        if self.answered == NEVER {
            return Side::Undecided;
        }
        let ended = |one: &Self, other: &Self| {
            one.seen.clock == other.seen.clock
                && one.until_ns.is_some_and(|until_ns| until_ns < other.seen.ns)
        };
        match (ended(other, self), ended(self, other)) {
            (true, false) => Side::Before,
            (false, true) => Side::After,
            _ => Side::Unknown,
        }
    }
}

/// What tells the life of an operation's index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ages<'a> {
    pub(super) lives: &'a Lives,
    pub(super) requests: &'a Requests,
}

impl Ages<'_> {
    /// The life of its index that an answered operation was applied to.
    pub(super) fn of(&self, op: &Op) -> Life {
        if self.lives.ends.is_empty() {
            return Life::Known(0);
        }
        self.lives.of(op.document.index, &self.span(op.request))
    }

    fn span(&self, slot: Slot) -> Span {
        self.requests.get(slot).span
    }
}

/// Ends that are kept without looking whether anybody can have met them.
const ENDS_ENOUGH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn span(admitted: u64, answered: u64, from_ns: i64, until_ns: Option<i64>) -> Span {
        Span { admitted, answered, seen: Seen { clock: 1, ns: from_ns }, until_ns }
    }

    fn lives(spans: &[Span]) -> Lives {
        let end = |&span| End { request: ExchangeId(0), indices: vec![7], span };
        Lives { ends: spans.iter().map(end).collect(), left: 0 }
    }

    #[test]
    fn the_records_tell_what_did_not_overlap() {
        let deleted = lives(&[span(10, 20, 0, None)]);
        assert_eq!(deleted.of(7, &span(1, 9, 0, None)), Life::Known(0));
        assert_eq!(deleted.of(7, &span(21, 22, 0, None)), Life::Known(1));
        assert_eq!(deleted.of(7, &span(15, 22, 0, None)), Life::Unknown);
        assert_eq!(deleted.of(8, &span(15, 22, 0, None)), Life::Known(0), "another index");
    }

    #[test]
    fn the_clock_of_one_node_tells_what_the_records_do_not() {
        let deleted = lives(&[span(10, 20, 100, Some(200))]);
        assert_eq!(deleted.of(7, &span(1, 12, 0, Some(99))), Life::Known(0));
        assert_eq!(deleted.of(7, &span(15, 22, 201, Some(300))), Life::Known(1));
        assert_eq!(deleted.of(7, &span(15, 22, 200, Some(300))), Life::Unknown);
        let seen = Seen { clock: 2, ns: 201 };
        let elsewhere = Span { seen, ..span(15, 22, 201, Some(300)) };
        assert_eq!(deleted.of(7, &elsewhere), Life::Unknown, "another node's clock");
        let open = lives(&[span(10, 20, 100, Some(200)), span(30, NEVER, 400, None)]);
        assert_eq!(open.of(7, &span(21, 31, 0, Some(0))), Life::Undecided);
        assert_eq!(open.of(7, &span(21, 29, 0, Some(0))), Life::Known(1));
    }
}
