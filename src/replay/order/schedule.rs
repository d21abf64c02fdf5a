//! The schedule: requests come in the order of the records, and go when nothing they must wait for is left.
//!
//! Owns who waits for what. A request goes once it is answered at the source, is the oldest of its connection, has its
//! place at every index it touches and its turn at every document. Never lets one wait for itself: see `tangle`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use super::documents::{Documents, Mixed, Told, Turns};
use super::facts::{Fact, Facts};
use super::footprint::{Change, Document, Footprint};
use super::lives::{Ages, Lives, Span};
use super::locks::{Lock, Slot};
use super::names::Names;
use super::requests::{Requests, State};
use super::status::Counters;
use crate::replay::exchange::{ConnectionId, ExchangeId, Seen};

/// What is kept in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Requests of one connection, and across connections operations on one document.
    Document,
    /// Requests of one connection.
    Connection,
}

/// A request that may go now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Which.
    pub id: ExchangeId,
    /// Only these items of it, rising; the others go when this part is finished. `None`: all of it.
    pub items: Option<Vec<u32>>,
    /// Nothing of it is left behind this.
    pub last: bool,
    /// Items not to be sent, rising: the source refused them while others wrote the same document, so that nothing
    /// tells before which of them they would have been refused. A request for one document is item 0.
    pub left_out: Vec<u32>,
}

/// See the module.
#[derive(Debug)]
pub struct Schedule {
    order: Order,
    /// Counts admissions and answers: tells which was first.
    pub(super) clock: u64,
    pub(super) requests: Requests,
    pub(super) documents: Documents,
    pub(super) locks: HashMap<u64, Lock, Mixed>,
    pub(super) cluster: Lock,
    pub(super) names: Names,
    pub(super) lives: Lives,
    pub(super) ready: BinaryHeap<Reverse<u64>>,
    /// Overtaken requests that may be part of a cycle.
    pub(super) suspects: VecDeque<ExchangeId>,
    pub(super) counters: Counters,
    unanswered: usize,
    pub(super) sent: usize,
    pub(super) may_go: usize,
    /// Something happened since cycles were looked for.
    pub(super) changed: bool,
    pub(super) asked: u32,
    turns: Turns,
    pub(super) granted: Vec<Slot>,
}

impl Schedule {
    /// An empty one.
    pub fn new(order: Order) -> Self {
        Self {
            order,
            clock: 0,
            requests: Requests::default(),
            documents: Documents::default(),
            locks: HashMap::default(),
            cluster: Lock::default(),
            names: Names::default(),
            lives: Lives::default(),
            ready: BinaryHeap::new(),
            suspects: VecDeque::new(),
            counters: Counters::default(),
            unanswered: 0,
            sent: 0,
            may_go: 0,
            changed: false,
            asked: 0,
            turns: Turns::default(),
            granted: Vec::new(),
        }
    }

    /// Takes a request in, whose first byte was seen then. In the order of the records, each once, ids rising.
    pub fn admit(
        &mut self,
        id: ExchangeId,
        connection: ConnectionId,
        seen: Seen,
        footprint: Footprint,
    ) {
        self.clock += 1;
        self.changed = true;
        self.unanswered += 1;
        let (slot, _) = self.requests.insert(id, connection, Span::new(self.clock, seen));
        if self.order == Order::Connection {
            return;
        }
        match &footprint {
            Footprint::Free => {}
            Footprint::Read(document) => {
                self.touch(slot, 0, document.index, Some(document.id), true);
            }
            Footprint::Write(document) => {
                self.touch(slot, 0, document.index, Some(document.id), false);
            }
            Footprint::Generated(index) => self.touch(slot, 0, *index, None, false),
            Footprint::Bulk(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.touch(slot, number as u32, item.index, item.id, false);
                }
            }
            Footprint::Indices { names, change } => self.barrier(slot, names, *change),
            Footprint::Everything { change } => self.barrier(slot, &[], *change),
            Footprint::Unreadable => {
                self.counters.unreadable += 1;
                self.barrier(slot, &[], Change::Nothing);
            }
        }
        self.requests.get_mut(slot).items = match &footprint {
            Footprint::Bulk(items) => items.len() as u32,
            _ => 1,
        };
        let mut names = touched_names(&footprint);
        names.dedup();
        names.retain(|name| !self.names.is_known(*name));
        if !names.is_empty() {
            self.names.uses(slot, self.clock, names.into_iter());
            self.requests.get_mut(slot).unknown = Some(footprint);
        }
    }

    /// The source's answer is known, its last byte seen then by the clock of the request, or it is known to be
    /// missing. `facts` is asked for only when it matters: when others touched one of its documents meanwhile, a
    /// name in it is not known, or it may have deleted an index.
    pub fn answered(
        &mut self,
        id: ExchangeId,
        until_ns: Option<i64>,
        facts: impl FnOnce() -> Facts,
    ) {
        let Some(slot) = self.requests.slot(id) else { return };
        // It was given up before.
        if self.requests.get(slot).is_answered() {
            return;
        }
        self.clock += 1;
        self.changed = true;
        self.unanswered -= 1;
        self.requests.answered(slot, self.clock, until_ns);
        let free = self.requests.get(slot).places.is_empty();
        if self.requests.get(slot).ends_life {
            let facts = facts();
            let deleted = !facts.all.is_some_and(|fact| fact.refused());
            self.place(slot, || facts);
            self.life_is_decided(slot, deleted);
        } else if !free {
            self.place(slot, facts);
        }
        let now = self.clock;
        let entry = self.requests.get_mut(slot);
        if !free && self.names.is_open() {
            (entry.gated, entry.waits) = (true, entry.waits + 1);
            self.names.wait(now, id.0);
        }
        self.unblock(slot);
        self.open_gate();
    }

    /// The next that may go, the oldest of them first; each once, or once per part.
    pub fn ready(&mut self) -> Option<Ready> {
        self.untangle();
        while let Some(Reverse(id)) = self.ready.pop() {
            let id = ExchangeId(id);
            let Some(slot) = self.requests.slot(id) else { continue };
            let entry = self.requests.get_mut(slot);
            if entry.state != State::Ready {
                continue;
            }
            entry.state = State::Sent;
            self.may_go -= 1;
            self.sent += 1;
            let items = entry.split.then(|| self.part(slot));
            let entry = self.requests.get(slot);
            let last = items.is_none() || entry.ops.iter().all(|&op| self.documents.op(op).sent);
            return Some(Ready { id, items, last, left_out: entry.left_out.clone() });
        }
        None
    }

    /// It has an outcome, or was never sent: it stands in nobody's way any more. Of one that goes in parts, the part
    /// that was given out last.
    pub fn finished(&mut self, id: ExchangeId) {
        let Some(slot) = self.requests.slot(id) else { return };
        let entry = self.requests.get_mut(slot);
        if entry.state != State::Sent || !entry.split {
            self.remove(slot);
            return;
        }
        let mut ops = std::mem::take(&mut entry.ops);
        let mut documents = Vec::new();
        ops.retain(|&op| {
            let done = self.documents.op(op).sent;
            if done {
                documents.push(self.documents.op(op).document);
                self.documents.remove(op);
            }
            !done
        });
        let left = !ops.is_empty();
        self.requests.get_mut(slot).ops = ops;
        if left {
            self.changed = true;
            self.sent -= 1;
            let entry = self.requests.get_mut(slot);
            entry.state = State::Waiting;
            if entry.waits == 0 {
                self.let_go(slot);
            }
            self.settle(documents);
        } else {
            self.remove(slot);
            self.settle(documents);
        }
    }

    /// As if it had never been admitted, also when it is under way.
    pub fn cancel(&mut self, id: ExchangeId) {
        if let Some(slot) = self.requests.slot(id) {
            self.remove(slot);
        }
    }

    /// Memory is used up: the oldest unanswered request that others wait for, or else the oldest unanswered one, counts
    /// as answered with nothing known. Which one; `None` when all are answered.
    pub fn stop_waiting(&mut self) -> Option<ExchangeId> {
        let awaited = self.requests.unanswered().find(|&slot| self.is_awaited(slot));
        let slot = awaited.or_else(|| self.requests.unanswered().next())?;
        let id = self.requests.get(slot).id;
        self.counters.given_up += 1;
        self.answered(id, None, Facts::none);
        Some(id)
    }

    /// Requests whose answer is not known yet.
    pub fn waiting_for_answers(&self) -> usize {
        self.unanswered
    }

    /// Answered requests that wait for others.
    pub fn blocked(&self) -> usize {
        (self.requests.len() - self.unanswered).saturating_sub(self.sent + self.may_go)
    }

    /// Requests that are not finished.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// None is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Places the operations of a request whose answer is there.
    pub(super) fn place(&mut self, slot: Slot, facts: impl FnOnce() -> Facts) {
        let mut ops = std::mem::take(&mut self.requests.get_mut(slot).ops);
        let mut wanted = self.names.is_open();
        for &op in &ops {
            wanted |= self.documents.overlaps(op);
        }
        let facts = if wanted { facts() } else { Facts::none() };
        let entry = self.requests.get_mut(slot);
        let told = facts.items.len() == entry.items as usize;
        let (unknown, admitted) = (entry.unknown.take(), entry.span.admitted);
        let mut documents = Vec::new();
        let mut left_out = Vec::new();
        ops.retain(|&at| {
            let op = self.documents.op(at);
            let (item, document, overlapped, read) = (op.item, op.document, op.overlapped, op.read);
            let fact = facts.items.get(item as usize).filter(|_| told).or(facts.all.as_ref());
            let refused = !read && fact.is_some_and(Fact::refused);
            self.documents.answered(at, self.clock, fact);
            if overlapped || unknown.is_some() {
                documents.push(document);
            } else {
                let ages = Ages { lives: &self.lives, requests: &self.requests };
                self.documents.settle(document, ages, &mut self.turns);
            }
            // Under a name that nobody knows it may have overlapped any.
            if read || !(overlapped || refused && unknown.is_some()) {
                return true;
            }
            if refused {
                self.counters.left_out += 1;
                left_out.push(item);
                self.documents.remove(at);
                return false;
            }
            true
        });
        let entry = self.requests.get_mut(slot);
        entry.ops = ops;
        entry.waits -= left_out.len() as u32;
        entry.left_out = left_out;
        if let Some(footprint) = unknown {
            // Before turns are taken back.
            self.take_turns();
            self.names.close(admitted);
            let names = touched_names(&footprint);
            if told {
                for (&name, fact) in names.iter().zip(&facts.items) {
                    if let Some(index) = fact.index.filter(|_| !fact.refused()) {
                        self.learn(name, index, &mut documents);
                    }
                }
            }
            self.names.forget_user(slot, names.into_iter());
        }
        self.settle(documents);
    }

    /// What of a request that goes in parts goes now: the items whose turn it is, and before the first of them those
    /// that wait for nothing.
    pub(super) fn part(&mut self, slot: Slot) -> Vec<u32> {
        self.counters.parts += 1;
        let entry = self.requests.get_mut(slot);
        let mut mine = vec![!std::mem::replace(&mut entry.begun, true); entry.items as usize];
        let entry = self.requests.get(slot);
        for &item in &entry.left_out {
            mine[item as usize] = false;
        }
        for &at in &entry.ops {
            let op = self.documents.op(at);
            let (item, goes) = (op.item, op.granted || entry.forced);
            mine[item as usize] = goes;
            if goes {
                self.documents.sent(at);
            }
        }
        (0..).zip(mine).filter_map(|(item, mine)| mine.then_some(item)).collect()
    }

    /// Takes a request out, whatever it waits for.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.changed = true;
        self.life_is_decided(slot, false);
        let entry = self.requests.get_mut(slot);
        let ops = std::mem::take(&mut entry.ops);
        let places = std::mem::take(&mut entry.places);
        let unknown = entry.unknown.take();
        match entry.state {
            State::Waiting => {}
            State::Ready => self.may_go -= 1,
            State::Sent => self.sent -= 1,
        }
        if !entry.is_answered() {
            self.unanswered -= 1;
        }
        if let Some(footprint) = &unknown {
            let admitted = entry.span.admitted;
            self.names.close(admitted);
            self.names.forget_user(slot, touched_names(footprint).into_iter());
        }
        for &op in &ops {
            self.documents.remove(op);
        }
        // What they were is still there to be read until others take their memory.
        let ages = Ages { lives: &self.lives, requests: &self.requests };
        for &op in &ops {
            let document = self.documents.op(op).document;
            self.documents.settle(document, ages, &mut self.turns);
        }
        for &place in &places {
            self.give_back(slot, place);
        }
        let entry = self.requests.get_mut(slot);
        (entry.ops, entry.places) = (ops, places);
        if let Some(next) = self.requests.remove(slot) {
            self.unblock(next);
        }
        self.let_in();
        self.take_turns();
        if unknown.is_some() {
            self.open_gate();
        }
    }

    pub(super) fn settle(&mut self, documents: Vec<Document>) {
        let ages = Ages { lives: &self.lives, requests: &self.requests };
        for document in documents {
            self.documents.settle(document, ages, &mut self.turns);
        }
        self.take_turns();
    }

    pub(super) fn take_turns(&mut self) {
        let mut turns = std::mem::take(&mut self.turns);
        for op in turns.granted.drain(..) {
            if self.documents.is_to_be_counted(op) {
                let ages = Ages { lives: &self.lives, requests: &self.requests };
                *match self.documents.told(op, ages) {
                    Told::SeqNo => &mut self.counters.by_seq_no,
                    Told::Version => &mut self.counters.by_version,
                    Told::Nothing => &mut self.counters.by_capture,
                } += 1;
            }
            self.unblock(self.documents.op(op).request);
        }
        for slot in turns.overtaken.drain(..) {
            self.suspect(slot);
        }
        self.turns = turns;
    }

    pub(super) fn suspect(&mut self, slot: Slot) {
        let entry = self.requests.get_mut(slot);
        if !std::mem::replace(&mut entry.overtaken, true) {
            self.suspects.push_back(entry.id);
        }
    }

    pub(super) fn open_gate(&mut self) {
        while let Some(id) = self.names.pass() {
            if let Some(slot) = self.requests.slot(ExchangeId(id)) {
                self.requests.get_mut(slot).gated = false;
                self.unblock(slot);
            }
        }
    }

    /// One reason less for which it cannot go.
    pub(super) fn unblock(&mut self, slot: Slot) {
        let entry = self.requests.get_mut(slot);
        entry.waits = entry.waits.checked_sub(1).expect("invariant: it waited for this");
        if entry.waits == 0 && entry.state == State::Waiting {
            self.let_go(slot);
        }
    }

    pub(super) fn let_go(&mut self, slot: Slot) {
        let entry = self.requests.get_mut(slot);
        entry.state = State::Ready;
        self.may_go += 1;
        self.ready.push(Reverse(entry.id.0));
    }

    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.is_empty()
            && self.documents.is_empty()
            && self.locks.is_empty()
            && self.cluster.is_idle()
            && self.names.is_idle()
            && (self.unanswered, self.sent, self.may_go) == (0, 0, 0)
    }
}

/// The names under which a footprint touches documents, one per item.
fn touched_names(footprint: &Footprint) -> Vec<u64> {
    match footprint {
        Footprint::Read(document) | Footprint::Write(document) => vec![document.index],
        Footprint::Generated(index) => vec![*index],
        Footprint::Bulk(items) => items.iter().map(|item| item.index).collect(),
        _ => Vec::new(),
    }
}
