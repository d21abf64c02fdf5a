//! Answers that wait while a bulk is still arriving.
//!
//! A request is known when its last byte is. That is soon enough for all but large bulks: Elasticsearch applies the
//! front of one while the rest arrives, from 1 MiB on, when its memory is short (`rest.incremental_bulk`, on by default
//! since the end of 2024; `indexing_pressure.memory.split_bulk`). A write that was answered meanwhile may have come
//! before or after items of the bulk, so the order hears of its answer only when the bulk is known: then the two have
//! overlapped, and the source's numbers tell.
//!
//! Owns who waits for whom. A bulk is waited for no longer than [`WAIT_NS`] of captured time, nor longer than that in
//! which no record comes at all: then the writes go in the order of the records.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::exchange::{ConnectionId, ExchangeId};

/// Bulks that are arriving, and answers that wait for them.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Counts what began and what was answered: tells which was first.
    clock: u64,
    open: BTreeMap<u64, Arrival>,
    by_connection: HashMap<ConnectionId, u64>,
    /// In the order of the records.
    held: VecDeque<Held>,
    /// Records that had been read when it was last looked.
    records: u64,
    /// Since when it is so many, though more are wanted, on the caller's clock.
    silent_since_ns: u64,
}

#[derive(Debug)]
struct Arrival {
    connection: ConnectionId,
    /// The first byte, Unix nanoseconds.
    first_ns: i64,
}

#[derive(Debug)]
struct Held {
    at: u64,
    id: ExchangeId,
    until_ns: Option<i64>,
}

impl Arrivals {
    /// A bulk whose first byte was seen then is arriving on a connection.
    pub(super) fn began(&mut self, connection: ConnectionId, first_ns: i64) {
        self.ended(connection);
        self.clock += 1;
        self.open.insert(self.clock, Arrival { connection, first_ns });
        self.by_connection.insert(connection, self.clock);
    }

    /// It is whole, or gone.
    pub(super) fn ended(&mut self, connection: ConnectionId) {
        if let Some(began) = self.by_connection.remove(&connection) {
            self.open.remove(&began);
        }
    }

    /// Nothing is waited for any more.
    pub(super) fn give_up(&mut self) {
        self.open.clear();
        self.by_connection.clear();
    }

    /// Gives up when records are wanted and none has come for too long: their writer may be gone, and with it the
    /// captured time.
    pub(super) fn listen(&mut self, records: u64, wanted: bool, now_ns: u64) {
        if records != self.records || !wanted || self.held.is_empty() {
            (self.records, self.silent_since_ns) = (records, now_ns);
        } else if now_ns.saturating_sub(self.silent_since_ns) > WAIT_NS as u64 {
            self.give_up();
        }
    }

    /// Nothing arrives, and nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.held.is_empty()
    }

    /// Somebody waits.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// A request is answered, its last byte seen then, or known to have no answer.
    pub(super) fn hold(&mut self, id: ExchangeId, until_ns: Option<i64>) {
        self.clock += 1;
        self.held.push_back(Held { at: self.clock, id, until_ns });
    }

    /// The next that waits for nothing any more, at this captured time.
    pub(super) fn next(&mut self, now_ns: i64) -> Option<(ExchangeId, Option<i64>)> {
        let at = self.held.front()?.at;
        while let Some((&began, arrival)) = self.open.first_key_value() {
            if began > at {
                break;
            }
            if now_ns.saturating_sub(arrival.first_ns) <= WAIT_NS {
                return None;
            }
            self.by_connection.remove(&arrival.connection);
            self.open.pop_first();
        }
        self.held.pop_front().map(|held| (held.id, held.until_ns))
    }
}

/// How long a bulk is waited for, nanoseconds. A client that takes longer sends a few bytes at a time.
const WAIT_NS: i64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn all(arrivals: &mut Arrivals, now_ns: i64) -> Vec<u64> {
        std::iter::from_fn(|| arrivals.next(now_ns)).map(|(id, _)| id.0).collect()
    }

    #[test]
    fn answers_wait_for_the_bulks_that_were_arriving_then_and_for_no_later_ones() {
        let mut arrivals = Arrivals::default();
        arrivals.hold(ExchangeId(0), None);
        arrivals.began(A, 0);
        arrivals.hold(ExchangeId(1), None);
        arrivals.began(B, 0);
        arrivals.hold(ExchangeId(2), None);
        assert_eq!(all(&mut arrivals, 1), [0]);
        arrivals.ended(A);
        assert_eq!(all(&mut arrivals, 1), [1]);
        arrivals.ended(B);
        arrivals.ended(B);
        assert_eq!(all(&mut arrivals, 1), [2]);
        assert!(arrivals.is_idle());
    }

    #[test]
    fn the_next_bulk_of_a_connection_is_another_one() {
        let mut arrivals = Arrivals::default();
        arrivals.began(A, 0);
        arrivals.hold(ExchangeId(1), None);
        arrivals.began(A, 5);
        assert_eq!(all(&mut arrivals, 6), [1]);
    }

    #[test]
    fn when_no_record_comes_for_a_minute_nothing_is_waited_for() {
        let minute = WAIT_NS as u64;
        let mut arrivals = Arrivals::default();
        arrivals.listen(7, true, 0);
        arrivals.began(A, 0);
        arrivals.hold(ExchangeId(1), None);
        arrivals.listen(8, true, 3 * minute);
        arrivals.listen(8, false, 5 * minute);
        arrivals.listen(8, true, 6 * minute);
        assert!(all(&mut arrivals, 0).is_empty(), "a minute is not too long");
        arrivals.listen(8, true, 6 * minute + 1);
        assert_eq!(all(&mut arrivals, 0), [1]);
    }

    #[test]
    fn a_bulk_that_never_ends_is_waited_for_a_minute() {
        let mut arrivals = Arrivals::default();
        arrivals.began(A, 0);
        arrivals.began(B, WAIT_NS);
        arrivals.hold(ExchangeId(1), None);
        assert!(all(&mut arrivals, WAIT_NS).is_empty());
        assert!(all(&mut arrivals, WAIT_NS + 1).is_empty(), "for the other one");
        arrivals.give_up();
        assert_eq!(all(&mut arrivals, 0), [1]);
        assert!(arrivals.is_idle());
    }
}
