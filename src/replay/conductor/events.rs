//! What comes out of the records: requests that the order is told of, and answers, as soon as they say something.
//!
//! Owns when the order hears of an answer. Lets nothing go by itself.

use super::{Conductor, Now};
use crate::{
    es::{endpoint::Endpoint, request_target},
    feed::Place,
    replay::{
        amend::Needs,
        assembly::Event,
        exchange::ExchangeId,
        order::{Facts, Footprint, Order, facts, footprint},
        retry,
        table::Exchange,
    },
};

impl Conductor {
    /// Takes in what the assembly says; `place` is that of the record it came of.
    pub(super) fn take_events(&mut self, events: &mut Vec<Event>, place: Option<&Place>) {
        if let Some(place) = place {
            self.last_place = Some(place.clone());
        }
        for event in events.drain(..) {
            match event {
                Event::Request(request) => {
                    self.totals.requests += 1;
                    let behind_ns = self.assembly.newest_ns().saturating_sub(request.last_ns);
                    self.totals.late_writes += u64::from(!request.head.safe && behind_ns > LATE_NS);
                    let known = !self.known.is_empty() && self.known.remove(&request.fingerprint);
                    let target = request_target(&request.bytes);
                    let endpoint = Endpoint::of(request.head.method, target.unwrap_or_default());
                    let asked = retry::Asked::of(&endpoint, !request.head.safe);
                    let mut needs = Needs::default();
                    let touched = match (self.settings.order, target) {
                        (Order::Document, Some(target)) => {
                            footprint::of(&request, target, &endpoint, |item| needs.add(item))
                        }
                        (Order::Document, None) => Footprint::Unreadable,
                        (Order::Connection, _) => Footprint::Free,
                    };
                    if !matches!(touched, Footprint::Bulk(_)) {
                        needs = Needs::UNKNOWN;
                    }
                    self.schedule.admit(request.id, request.connection, request.seen(), touched);
                    let place = self
                        .last_place
                        .clone()
                        .expect("invariant: a request comes out of a record");
                    self.table.insert(Box::new(Exchange::new(request, place, known, needs, asked)));
                }
                Event::Answer { id, answer } => {
                    let Some(exchange) = self.table.get_mut(id) else { continue };
                    let answer = exchange.answer.insert(answer);
                    let request = &exchange.request;
                    if let Some(uuid) = &self.target_uuid
                        && request.bytes.starts_with(b"GET / ")
                        && memchr::memmem::find(&answer.bytes, uuid.as_bytes()).is_some()
                    {
                        self.is_source = true;
                    }
                    let until_ns = Some(answer.last_ns);
                    self.table.recount(id);
                    self.answered(id, until_ns);
                }
                Event::Unanswered { id, why } => {
                    self.totals.unanswered += 1;
                    if let Some(exchange) = self.table.get_mut(id) {
                        exchange.unanswered = Some(why);
                    }
                    self.answered(id, None);
                }
                Event::Undelivered { id } => {
                    if let Some(exchange) = self.table.get_mut(id) {
                        exchange.undelivered = true;
                    }
                    self.answered(id, None);
                }
                Event::Arriving { connection, first_ns } => {
                    if self.settings.order == Order::Document {
                        self.arrivals.began(connection, first_ns);
                    }
                }
                Event::Arrived { connection } => self.arrivals.ended(connection),
                // Comes of a dropped lane alone, and is dealt with there.
                Event::Forgotten { .. } | Event::ConnectionEnded { .. } => {}
                Event::Trouble(trouble) => self.trouble(trouble),
            }
        }
        self.tell_answers();
    }

    /// A request is answered, or never will be.
    fn answered(&mut self, id: ExchangeId, until_ns: Option<i64>) {
        if self.arrivals.is_idle() {
            self.tell(id, until_ns);
        } else {
            self.arrivals.hold(id, until_ns);
        }
    }

    /// The order hears of the answers that wait for no bulk any more.
    pub(super) fn tell_answers(&mut self) {
        while let Some((id, until_ns)) = self.arrivals.next(self.assembly.newest_ns()) {
            self.tell(id, until_ns);
        }
    }

    /// A bulk is not waited for where no record comes.
    pub(super) fn listen(&mut self, now: Now) {
        if self.arrivals.holds() {
            let wanted = self.wants_records(now);
            self.arrivals.listen(self.totals.read_records, wanted, now.monotonic_ns);
            self.tell_answers();
        }
    }

    fn tell(&mut self, id: ExchangeId, until_ns: Option<i64>) {
        let exchange = self.table.get(id);
        match exchange.and_then(|exchange| Some((&exchange.request, exchange.answer.as_ref()?))) {
            Some((request, answer)) if until_ns.is_some() => {
                self.schedule.answered(id, until_ns, || facts(request, answer));
            }
            _ => self.schedule.answered(id, None, Facts::none),
        }
    }
}

/// The record of a write is made at once, so no feed that is in order gives it later than this.
const LATE_NS: i64 = 1_000_000_000;
