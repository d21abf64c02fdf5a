//! The whole of the core: records in, jobs out, replies in, outcomes out.
//!
//! Owns every request from the record it begins in to the moment its outcome is written. Never blocks and never waits:
//! whoever turns it says what time it is, and asks when something is due next.

mod events;
mod outbox;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet, VecDeque},
};

use super::{
    amend,
    arrivals::Arrivals,
    assembly::{self, Assembly, Event},
    denial::{Denial, Trial},
    exchange::{ExchangeId, Mark},
    job::Job,
    limiter::{Admission, Bounds, Limiter},
    order::{Order, Schedule},
    outcome::{Entry, Oddity, Outcome},
    pace::{Pace, Speed},
    pins::Pins,
    retry,
    table::{Stage, Table},
    totals::Totals,
};
use crate::{
    feed::Place,
    proto::RecordView,
    rewrite::{Credentials, Rewriter},
};
use outbox::Unwritten;

/// What the core is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds of reassembly.
    pub assembly: assembly::Limits,
    /// What is kept in order beside each connection.
    pub order: Order,
    /// Captured time to real time.
    pub speed: Speed,
    /// Only requests of this kind are sent.
    pub only: Only,
    /// What is changed from the source's answers.
    pub amend: amend::Settings,
    /// When a request is sent again.
    pub retry: retry::Policy,
    /// How many may be in flight.
    pub bounds: Bounds,
    /// Memory of everything that was read and is not finished, bytes.
    pub read_ahead_bytes: u64,
    /// How far ahead of what is due records are read, captured nanoseconds.
    pub lookahead_ns: i64,
    /// Requests, answers and replies are kept whole for the tuples.
    pub tuples: bool,
    /// Bytes of a reply that tuples keep.
    pub reply_bytes_max: usize,
}

/// Which requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// All.
    All,
    /// Those that may change something.
    Writes,
    /// Those that change nothing.
    Reads,
}

/// Both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// For deadlines, nanoseconds.
    pub monotonic_ns: u64,
    /// For signatures and lag, nanoseconds since 1970.
    pub unix_ns: i64,
}

/// Requests that may go beyond which no more records are read.
const QUEUE_ENOUGH: usize = 2048;
/// The same for requests that have no outcome, for each that may be in flight, while a quarter of these are in flight
/// or may go. So little stays in the caches.
const OPEN_PER_PLACE: usize = 16;
const OPEN_ENOUGH_MIN: usize = 1024;
const MAY_GO_MIN: usize = 16;
/// The same while any is or may be.
const OPEN_MAX: usize = 65_536;

/// The core.
pub struct Conductor {
    pub(super) settings: Settings,
    pub(super) rewriter: Rewriter,
    pub(super) credentials: Option<Credentials>,
    assembly: Assembly,
    events: Vec<Event>,
    pub(super) arrivals: Arrivals,
    pub(super) pins: Pins,
    pub(super) schedule: Schedule,
    pub(super) pace: Pace,
    pub(super) limiter: Limiter,
    pub(super) denial: Denial,
    pub(super) table: Table,
    /// Fingerprints of what earlier runs have sent.
    known: HashSet<u64>,
    last_place: Option<Place>,
    /// What the target says it is, and whether the source said the same.
    target_uuid: Option<String>,
    is_source: bool,
    /// May go now, oldest first.
    pub(super) queue: VecDeque<ExchangeId>,
    /// May go at a time.
    pub(super) later: BinaryHeap<Reverse<(u64, ExchangeId)>>,
    pub(super) in_flight: usize,
    /// Outcomes that nobody took yet.
    outbox: Vec<Outcome>,
    unwritten: Unwritten,
    pub(super) journal: Vec<Entry>,
    pub(super) totals: Totals,
    /// The limiter says that nothing may go before this.
    limited_until_ns: Option<u64>,
    /// The last failure of the target without an answer, and when it began.
    pub(super) unreachable: Option<(String, u64)>,
    random: u64,
    pub(super) draining: bool,
    ended: bool,
}

impl Conductor {
    /// A core that has read nothing.
    pub fn new(settings: Settings, rewriter: Rewriter) -> Self {
        Self {
            rewriter,
            credentials: None,
            assembly: Assembly::new(settings.assembly),
            events: Vec::new(),
            arrivals: Arrivals::default(),
            pins: Pins::default(),
            schedule: Schedule::new(settings.order),
            pace: Pace::new(settings.speed),
            limiter: Limiter::new(settings.bounds),
            denial: Denial::default(),
            table: Table::default(),
            known: HashSet::new(),
            last_place: None,
            target_uuid: None,
            is_source: false,
            queue: VecDeque::new(),
            later: BinaryHeap::new(),
            in_flight: 0,
            outbox: Vec::new(),
            unwritten: Unwritten::default(),
            journal: Vec::new(),
            totals: Totals::default(),
            limited_until_ns: None,
            unreachable: None,
            random: 0x9e37_79b9_7f4a_7c15,
            draining: false,
            ended: false,
            settings,
        }
    }

    /// Whether another record is wanted: memory and captured time allow it.
    pub fn wants_records(&self, now: Now) -> bool {
        if self.draining || self.ended {
            return false;
        }
        let until_ns = self
            .pace
            .captured_ns(now.monotonic_ns)
            .map(|due_ns| due_ns.saturating_add(self.settings.lookahead_ns));
        let is_ahead = until_ns.is_some_and(|until_ns| self.assembly.newest_ns() > until_ns);
        // More would not make the target faster, and would leave the caches. With little or nothing that is in flight
        // or may be, what is missing may lie ahead.
        let open = self.table.len();
        let may_go = self.in_flight + self.queue.len();
        let limit = self.limiter.limit() as usize;
        let open_enough = (limit * OPEN_PER_PLACE).clamp(OPEN_ENOUGH_MIN, OPEN_MAX);
        let is_plenty = self.queue.len() >= QUEUE_ENOUGH
            || open >= open_enough && may_go >= (limit / 4).max(MAY_GO_MIN)
            || open >= OPEN_MAX && may_go > 0;
        !is_ahead && !is_plenty && self.held_bytes() < self.settings.read_ahead_bytes
    }

    /// Memory of everything that was read and is not finished.
    pub fn held_bytes(&self) -> u64 {
        self.assembly.bytes() + self.table.bytes() + self.unwritten.bytes
    }

    /// Takes a record in.
    pub fn record(&mut self, mark: Mark, place: &Place, payload: &[u8]) {
        self.totals.read_records += 1;
        self.totals.read_bytes += payload.len() as u64;
        self.pins.read(mark);
        match RecordView::parse(payload) {
            Ok(view) => {
                let mut events = std::mem::take(&mut self.events);
                self.assembly.record(mark, &view, &mut self.pins, &mut events);
                self.take_events(&mut events, Some(place));
                self.events = events;
            }
            Err(error) => {
                self.last_place = Some(place.clone());
                self.poisoned(mark, place, payload, &error.to_string());
            }
        }
    }

    /// Takes in what cannot be a record.
    pub fn poison(&mut self, mark: Mark, place: &Place, payload: &[u8], why: &str) {
        self.totals.read_records += 1;
        self.totals.read_bytes += payload.len() as u64;
        self.pins.read(mark);
        self.poisoned(mark, place, payload, why);
    }

    fn poisoned(&mut self, mark: Mark, place: &Place, payload: &[u8], why: &str) {
        self.totals.undecodable_records += 1;
        self.pins.hold(mark);
        let oddity = Oddity {
            place: place.clone(),
            name: None,
            reason: "record_undecodable",
            detail: format!("{why}. Whatever was in it is not replayed"),
            bytes: payload.to_vec(),
            is_record: true,
        };
        self.oddity(mark, oddity);
    }

    /// The source of records has lost something.
    pub fn loss(&mut self) {
        self.totals.losses += 1;
    }

    /// The records are over: what waits for more of them waits no longer.
    pub fn end(&mut self) {
        self.ended = true;
        let mut events = std::mem::take(&mut self.events);
        self.assembly.end(&mut self.pins, &mut events);
        self.take_events(&mut events, None);
        self.events = events;
    }

    /// Stops: what is not in flight is left to the next run.
    pub fn drain(&mut self) {
        self.draining = true;
        let left: Vec<ExchangeId> = self
            .table
            .iter()
            .filter(|exchange| exchange.stage != Stage::InFlight)
            .map(|exchange| exchange.request.id)
            .collect();
        for id in left {
            self.schedule.cancel(id);
        }
        self.queue.clear();
        self.later.clear();
    }

    /// The lane goes to somebody else: what is not in flight is handed back.
    pub fn close_lane(&mut self, lane: u32) {
        // What is handed back was not done: its records stay held, so that the position does not move past them. What
        // the assembly forgets is among it.
        let mut events = Vec::new();
        self.assembly.drop_lane(lane, &mut Pins::default(), &mut events);
        for event in &events {
            if let Event::Arrived { connection } = event {
                self.arrivals.ended(*connection);
            }
        }
        let left: Vec<ExchangeId> = self
            .table
            .iter()
            .filter(|exchange| {
                exchange.request.mark.lane == lane && exchange.stage != Stage::InFlight
            })
            .map(|exchange| exchange.request.id)
            .collect();
        for id in left {
            self.schedule.cancel(id);
            self.table.remove(id);
            self.totals.handed_back += 1;
        }
        self.tell_answers();
        self.queue.retain(|id| self.table.get(*id).is_some());
        self.later.retain(|Reverse((_, id))| self.table.get(*id).is_some());
    }

    /// Whether nothing of the lane is on its way any more, nor waits to be written.
    pub fn lane_is_quiet(&self, lane: u32) -> bool {
        !self.table.iter().any(|exchange| exchange.request.mark.lane == lane)
            && !self.unwritten.kept.iter().flatten().any(|kept| kept.mark.lane == lane)
    }

    /// The lane is gone: replies that still come for it are nobody's.
    pub fn drop_lane(&mut self, lane: u32) {
        self.close_lane(lane);
        self.pins.drop_lane(lane);
        let in_flight: Vec<ExchangeId> = self
            .table
            .iter()
            .filter(|exchange| exchange.request.mark.lane == lane)
            .map(|exchange| exchange.request.id)
            .collect();
        for id in in_flight {
            if let Some(exchange) = self.table.get_mut(id) {
                exchange.stage = Stage::Abandoned;
            }
        }
    }

    /// What lane and number everything is done before.
    pub fn done(&mut self, each: impl FnMut(u32, u64)) {
        self.pins.done(each);
    }

    /// Credentials for signatures, fresh.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        self.credentials = Some(credentials);
    }

    /// Whether requests have to be signed.
    pub fn signs(&self) -> bool {
        self.rewriter.signs()
    }

    /// What the target says it is.
    pub fn set_target_uuid(&mut self, uuid: Option<String>) {
        self.target_uuid = uuid;
    }

    /// A captured answer of the source says what the target says: they are the same cluster.
    pub fn target_is_source(&self) -> bool {
        self.is_source
    }

    /// The next request to send, if one may go now.
    pub fn next_job(&mut self, now: Now) -> Option<Job> {
        if self.draining {
            return None;
        }
        self.listen(now);
        self.let_go(now);
        self.limited_until_ns = None;
        while let Some(&id) = self.queue.front() {
            let Some(size) = self.prepare(id, now) else {
                self.queue.pop_front();
                continue;
            };
            match self.denial.may_go(now.monotonic_ns) {
                Trial::Now => {}
                Trial::At(until_ns) => {
                    self.limited_until_ns = Some(until_ns);
                    return None;
                }
                Trial::AfterNext => return None,
            }
            match self.limiter.admit(now.monotonic_ns, size as u64) {
                Admission::Now => {}
                Admission::At(until_ns) => {
                    self.limited_until_ns = Some(until_ns);
                    return None;
                }
                Admission::AfterNext => return None,
            }
            self.queue.pop_front();
            return Some(self.start(id));
        }
        None
    }

    /// When something is due though nothing happens.
    pub fn next_due_ns(&self) -> Option<u64> {
        let later = self.later.peek().map(|Reverse((due, _))| *due);
        [later, self.limited_until_ns].into_iter().flatten().min()
    }

    /// Requests that may go become queued or get their time.
    fn let_go(&mut self, now: Now) {
        while let Some(ready) = self.schedule.ready() {
            let id = ready.id;
            let Some(exchange) = self.table.get_mut(id) else { continue };
            exchange.stage = Stage::Queued;
            exchange.let_go(ready);
            let due_ns = self.pace.due_ns(exchange.request.first_ns, now.monotonic_ns);
            if due_ns <= now.monotonic_ns {
                self.queue.push_back(id);
            } else {
                self.later.push(Reverse((due_ns, id)));
            }
        }
        while let Some(Reverse((due_ns, id))) = self.later.peek().copied() {
            if due_ns > now.monotonic_ns {
                break;
            }
            self.later.pop();
            if let Some(exchange) = self.table.get_mut(id) {
                exchange.stage = Stage::Queued;
                self.queue.push_back(id);
            }
        }
    }

    /// When nothing can go since memory is used up by what waits: the oldest waits no longer. To be called when
    /// there is no job.
    pub fn unblock(&mut self) {
        let stuck = self.held_bytes() >= self.settings.read_ahead_bytes
            && self.in_flight == 0
            && self.queue.is_empty()
            && self.later.is_empty()
            && self.unwritten.count == 0;
        if !stuck || self.draining {
            return;
        }
        if self.arrivals.holds() {
            self.arrivals.give_up();
            self.tell_answers();
            return;
        }
        if self.schedule.stop_waiting().is_some() {
            return;
        }
        let mut events = std::mem::take(&mut self.events);
        if self.table.len() == 0 {
            self.assembly.refuse_largest(&mut self.pins, &mut events);
        }
        self.take_events(&mut events, None);
        self.events = events;
    }

    /// Nothing is under way: all that was read has ended, or, when stopping, is left to the next run.
    pub fn is_settled(&self) -> bool {
        let written = self.outbox.is_empty() && self.unwritten.count == 0;
        let ended =
            if self.draining { self.in_flight == 0 } else { self.ended && self.table.len() == 0 };
        written && ended
    }

    /// Counters so far.
    pub fn totals(&self) -> Totals {
        let assembly = self.assembly.counters();
        let order = self.schedule.counters();
        Totals {
            overlaps_by_answer: order.by_seq_no + order.by_version,
            overlaps_by_capture: order.by_capture,
            order_cycles: order.cycles,
            bulk_parts: order.parts,
            duplicate_records: assembly.duplicates,
            heartbeats: assembly.heartbeats,
            missing_records: assembly.missing_records,
            truncated_requests: assembly.truncated + assembly.too_large,
            uncaptured_requests: assembly.uncaptured_requests,
            ..self.totals
        }
    }

    /// A number that is not the last one (splitmix64).
    pub(super) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
