//! The schedule: requests come in the order of the records, and go when nothing they must wait for is left.
//!
//! Owns who waits for what. A request goes once it is answered at the source, is the oldest of its connection, has its
//! place at every index it touches and its turn at every document. Never lets one wait for itself: see `tangle`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use super::documents::{Documents, Mixed, Since, Told, Turns};
use super::facts::Facts;
use super::footprint::{Document, Footprint};
use super::locks::{Lock, Slot};
use super::names::Names;
use super::requests::{Place, Requests, State};
use crate::replay::exchange::{ConnectionId, ExchangeId};

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

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Operations that overlapped others on their document, placed by `_seq_no`.
    pub by_seq_no: u64,
    /// The same, placed by `_version`.
    pub by_version: u64,
    /// The same, placed in the order of the records since no answer told.
    pub by_capture: u64,
    /// The same, refused by the source and left out.
    pub left_out: u64,
    /// Requests that go alone at an index or at the cluster.
    pub barriers: u64,
    /// Those of them of which it could not be read what they touch.
    pub unreadable: u64,
    /// Answers no longer waited for.
    pub given_up: u64,
    /// Names that were found to stand for an index of another name.
    pub aliases: u64,
    /// Parts in which bulks went that could not go as a whole.
    pub parts: u64,
    /// Times that one which overlapped a barrier went behind it, so that documents keep their order.
    pub stepped_back: u64,
    /// Times that requests waited for each other with nothing to tell, and the oldest went.
    pub cycles: u64,
}

/// The oldest request that cannot go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// Which.
    pub id: ExchangeId,
    /// What it waits for.
    pub wait: Wait,
    /// The one at the end of the chain of those it waits for.
    pub root: ExchangeId,
    /// What that one waits for.
    pub root_wait: Wait,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The source's answer to it.
    Answer,
    /// The source's answer to another, which tells what a name stands for.
    Name,
    /// An earlier request of its connection.
    Connection(ExchangeId),
    /// Another request for the same document.
    Document(ExchangeId),
    /// Others at an index or at the cluster; the one that has it alone.
    Index(Option<ExchangeId>),
    /// Nothing here: it is with the caller or may go.
    Target,
}

/// See the module.
#[derive(Debug)]
pub struct Schedule {
    order: Order,
    /// Counts admissions and answers: tells which was first.
    clock: u64,
    pub(super) requests: Requests,
    pub(super) documents: Documents,
    locks: HashMap<u64, Lock, Mixed>,
    cluster: Lock,
    pub(super) names: Names,
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
    granted: Vec<Slot>,
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

    /// Takes a request in. In the order of the records, each once, ids rising.
    pub fn admit(&mut self, id: ExchangeId, connection: ConnectionId, footprint: Footprint) {
        self.clock += 1;
        self.changed = true;
        self.unanswered += 1;
        let (slot, _) = self.requests.insert(id, connection, self.clock);
        if self.order == Order::Connection {
            return;
        }
        match &footprint {
            Footprint::Free => {}
            Footprint::Read(document) => {
                self.touch(slot, 0, document.index, Some(document.id), true)
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
            Footprint::Indices { names, renames } => self.barrier(slot, names, *renames),
            Footprint::Everything { renames } => self.barrier(slot, &[], *renames),
            Footprint::Unreadable => {
                self.counters.unreadable += 1;
                self.barrier(slot, &[], false);
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

    /// The source's answer is known, or known to be missing. `facts` is asked for only when it matters: when others
    /// touched one of the request's documents meanwhile, or a name in it is not known.
    pub fn answered(&mut self, id: ExchangeId, facts: impl FnOnce() -> Facts) {
        let Some(slot) = self.requests.slot(id) else { return };
        // It was given up before.
        if self.requests.get(slot).answered.is_some() {
            return;
        }
        self.clock += 1;
        self.changed = true;
        self.unanswered -= 1;
        self.requests.answered(slot, self.clock);
        self.has_changed(slot);
        let free = self.requests.get(slot).places.is_empty();
        if !free {
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
        self.answered(id, Facts::none);
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

    /// Why the oldest that cannot go cannot. Looks at all requests: for a status page, not for every turn.
    pub fn why_blocked(&self) -> Option<Blocked> {
        let waiting = |(_, entry): &(Slot, &super::requests::Entry)| entry.state == State::Waiting;
        let (slot, entry) =
            self.requests.iter().filter(waiting).min_by_key(|(_, entry)| entry.id)?;
        let wait = self.wait_of(slot);
        let (mut root, mut root_wait) = (slot, wait);
        for _ in 0..CHAIN_MAX {
            let next = match root_wait {
                Wait::Connection(id) | Wait::Document(id) | Wait::Index(Some(id)) => id,
                _ => break,
            };
            let Some(slot) = self.requests.slot(next) else { break };
            (root, root_wait) = (slot, self.wait_of(slot));
        }
        Some(Blocked { id: entry.id, wait, root: self.requests.get(root).id, root_wait })
    }

    fn wait_of(&self, slot: Slot) -> Wait {
        let entry = self.requests.get(slot);
        if entry.state != State::Waiting {
            return Wait::Target;
        }
        if entry.answered.is_none() {
            return Wait::Answer;
        }
        if entry.gated {
            return Wait::Name;
        }
        let first = self.requests.first_of_line(slot);
        if first != slot {
            return Wait::Connection(self.requests.get(first).id);
        }
        if let Some(place) = entry.places.iter().find(|place| !place.granted) {
            let alone = self.lock(place.index).and_then(Lock::alone);
            return Wait::Index(alone.map(|slot| self.requests.get(slot).id));
        }
        let waiting = entry.ops.iter().find(|&&op| !self.documents.op(op).granted);
        let other = waiting.and_then(|&op| self.documents.first_other(op));
        other.map_or(Wait::Target, |slot| Wait::Document(self.requests.get(slot).id))
    }

    /// Somebody waits for its answer.
    fn is_awaited(&self, slot: Slot) -> bool {
        let entry = self.requests.get(slot);
        self.requests.has_follower(slot)
            || self.names.is_awaited(entry.admitted)
            || entry.places.iter().any(|place| self.lock(place.index).is_some_and(Lock::is_wanted))
            || entry.ops.iter().any(|&op| self.documents.first_other(op).is_some())
    }

    /// A request touches one document of an index, perhaps one that the source named.
    fn touch(&mut self, slot: Slot, item: u32, name: u64, id: Option<u64>, read: bool) {
        let index = self.names.index_of(name);
        let places = &self.requests.get(slot).places;
        // Neighbours in a bulk are mostly of one index.
        let known = places.last().is_some_and(|place| place.index == Some(index))
            || places.iter().any(|place| place.index == Some(index));
        if places.is_empty() {
            self.enter(slot, None, false);
        }
        if !known {
            self.enter(slot, Some(index), false);
        }
        let Some(id) = id else { return };
        let since = self.now(index);
        let op = self.documents.push(slot, item, Document { index, id }, read, since);
        let entry = self.requests.get_mut(slot);
        entry.ops.push(op);
        entry.waits += 1;
    }

    /// A request touches whole indices, or everything when a name is not positively an index's own.
    fn barrier(&mut self, slot: Slot, names: &[u64], renames: bool) {
        self.counters.barriers += 1;
        let plain = !names.is_empty() && names.iter().all(|&name| self.names.is_index(name));
        self.enter(slot, None, !plain);
        for &name in names {
            if plain && !self.requests.get(slot).places.iter().any(|at| at.index == Some(name)) {
                self.enter(slot, Some(name), true);
            }
        }
        if renames {
            // What is deleted goes by its own name: nothing else's numbers begin anew.
            let changes: Vec<Option<u64>> = match names {
                [] => vec![None],
                names => names.iter().copied().map(Some).collect(),
            };
            for &index in &changes {
                let lock = self.lock_mut(index);
                lock.generation = lock.generation.wrapping_add(1);
                lock.changing += 1;
            }
            self.requests.get_mut(slot).changes = changes;
            self.names.forget();
        }
    }

    /// This moment, in the life of an index.
    fn now(&self, index: u64) -> Since {
        let (generation, changing) =
            self.locks.get(&index).map_or((0, 0), |lock| (lock.generation, lock.changing));
        Since {
            at: self.clock,
            generation: generation.wrapping_add(self.cluster.generation),
            unsure: changing + self.cluster.changing > 0,
        }
    }

    /// A request that replaces indices has its answer, or is gone.
    fn has_changed(&mut self, slot: Slot) {
        for index in std::mem::take(&mut self.requests.get_mut(slot).changes) {
            let lock = self.lock_mut(index);
            lock.changing -= 1;
            if let (true, Some(index)) = (lock.is_idle(), index) {
                self.locks.remove(&index);
            }
        }
    }

    fn enter(&mut self, slot: Slot, index: Option<u64>, alone: bool) {
        let admitted = self.clock;
        let granted = self.lock_mut(index).enter(slot, alone, admitted);
        let entry = self.requests.get_mut(slot);
        entry.places.push(Place { index, alone, granted });
        entry.waits += u32::from(!granted);
    }

    /// Places the operations of a request whose answer is there.
    fn place(&mut self, slot: Slot, facts: impl FnOnce() -> Facts) {
        let mut ops = std::mem::take(&mut self.requests.get_mut(slot).ops);
        let mut wanted = self.names.is_open();
        for &op in &ops {
            wanted |= self.documents.overlaps(op);
        }
        let facts = if wanted { facts() } else { Facts::none() };
        let entry = self.requests.get_mut(slot);
        let told = facts.items.len() == entry.items as usize;
        let (unknown, admitted) = (entry.unknown.take(), entry.admitted);
        let mut documents = Vec::new();
        let mut left_out = Vec::new();
        ops.retain(|&at| {
            let op = self.documents.op(at);
            let (item, document, overlapped, read) = (op.item, op.document, op.overlapped, op.read);
            let fact = facts.items.get(item as usize).filter(|_| told).or(facts.all.as_ref());
            let refused = !read && fact.is_some_and(|fact| fact.refused());
            let now = self.now(document.index);
            self.documents.answered(at, now, fact);
            if overlapped || unknown.is_some() {
                documents.push(document);
            } else {
                self.documents.settle(document, &mut self.turns);
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
            *match self.documents.told(at) {
                Told::SeqNo => &mut self.counters.by_seq_no,
                Told::Version => &mut self.counters.by_version,
                Told::Nothing => &mut self.counters.by_capture,
            } += 1;
            true
        });
        let entry = self.requests.get_mut(slot);
        entry.ops = ops;
        entry.waits -= left_out.len() as u32;
        entry.left_out = left_out;
        if let Some(footprint) = unknown {
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

    /// A name stands for an index: those who used it before stand where they would have stood under its own name.
    fn learn(&mut self, name: u64, index: u64, touched: &mut Vec<Document>) {
        if self.names.is_known(name) {
            return;
        }
        let users = self.names.learn(name, index);
        if name == index {
            return;
        }
        self.counters.aliases += 1;
        let mut revoked = Vec::new();
        for slot in users {
            if self.requests.get(slot).state != State::Waiting {
                continue;
            }
            self.suspect(slot);
            self.move_place(slot, name, index);
            for op in self.requests.get(slot).ops.clone() {
                let old = self.documents.op(op).document;
                if old.index == name {
                    touched.push(old);
                    let requests = &self.requests;
                    let away = |slot| requests.get(slot).state != State::Waiting;
                    let had_turn = self.documents.rename(op, index, away, &mut revoked);
                    touched.push(Document { index, ..old });
                    self.requests.get_mut(slot).waits += u32::from(had_turn);
                }
            }
        }
        for op in revoked {
            let slot = self.documents.op(op).request;
            self.requests.get_mut(slot).waits += 1;
        }
        // Those that were answered meanwhile are seen only now to have overlapped others.
        for &document in touched.iter() {
            for at in self.documents.refused(document) {
                let op = self.documents.op(at);
                let (slot, item, granted) = (op.request, op.item, op.granted);
                let entry = self.requests.get_mut(slot);
                if entry.state == State::Waiting {
                    entry.waits -= u32::from(!granted);
                    entry.ops.retain(|&op| op != at);
                    entry.left_out.push(item);
                    entry.left_out.sort_unstable();
                    self.counters.left_out += 1;
                    self.documents.remove(at);
                }
            }
        }
    }

    /// Moves a request's place from the queue of a name to that of the index.
    fn move_place(&mut self, slot: Slot, name: u64, index: u64) {
        let mut places = std::mem::take(&mut self.requests.get_mut(slot).places);
        let has_both = places.iter().any(|place| place.index == Some(index));
        if let Some(at) = places.iter().position(|place| place.index == Some(name)) {
            let granted = places[at].granted;
            self.give_back(slot, places[at]);
            let entry = self.requests.get_mut(slot);
            entry.waits -= u32::from(!granted);
            let admitted = entry.admitted;
            if has_both {
                places.swap_remove(at);
            } else {
                let lock = self.lock_mut(Some(index));
                let granted = lock.enter_late(slot, admitted);
                places[at] = Place { index: Some(index), alone: false, granted };
                self.requests.get_mut(slot).waits += u32::from(!granted);
            }
        }
        self.requests.get_mut(slot).places = places;
        self.let_in();
    }

    /// What of a request that goes in parts goes now: the items whose turn it is, and before the first of them those
    /// that wait for nothing.
    fn part(&mut self, slot: Slot) -> Vec<u32> {
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
    fn remove(&mut self, slot: Slot) {
        self.changed = true;
        self.has_changed(slot);
        let entry = self.requests.get_mut(slot);
        let ops = std::mem::take(&mut entry.ops);
        let places = std::mem::take(&mut entry.places);
        let unknown = entry.unknown.take();
        match entry.state {
            State::Waiting => {}
            State::Ready => self.may_go -= 1,
            State::Sent => self.sent -= 1,
        }
        if entry.answered.is_none() {
            self.unanswered -= 1;
        }
        if let Some(footprint) = &unknown {
            let admitted = entry.admitted;
            self.names.close(admitted);
            self.names.forget_user(slot, touched_names(footprint).into_iter());
        }
        for &op in &ops {
            self.documents.remove(op);
        }
        // What they were is still there to be read until others take their memory.
        for &op in &ops {
            let document = self.documents.op(op).document;
            self.documents.settle(document, &mut self.turns);
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

    fn give_back(&mut self, slot: Slot, place: Place) {
        let mut granted = std::mem::take(&mut self.granted);
        let before = granted.len();
        let lock = self.lock_mut(place.index);
        if place.granted {
            lock.leave(slot, &mut granted);
        } else {
            lock.give_up(slot, &mut granted);
        }
        let idle = lock.is_idle();
        if let (Some(index), true) = (place.index, idle) {
            self.locks.remove(&index);
        }
        for &other in &granted[before..] {
            let places = &mut self.requests.get_mut(other).places;
            if let Some(at) = places.iter_mut().find(|at| at.index == place.index) {
                at.granted = true;
            }
        }
        self.granted = granted;
    }

    /// Tells those that queues of indices have let in.
    fn let_in(&mut self) {
        while let Some(slot) = self.granted.pop() {
            self.unblock(slot);
        }
    }

    /// A sharer of an index lets the next one go alone before it.
    pub(super) fn step_back(&mut self, slot: Slot, index: Option<u64>) -> bool {
        let mut granted = std::mem::take(&mut self.granted);
        let answered = self.requests.get(slot).answered.unwrap_or(0);
        let done = self.lock_mut(index).step_back(slot, answered, &mut granted);
        for &other in granted.iter().chain(done.then_some(&slot)) {
            let places = &mut self.requests.get_mut(other).places;
            if let Some(at) = places.iter_mut().find(|at| at.index == index) {
                at.granted = other != slot;
            }
        }
        self.requests.get_mut(slot).waits += u32::from(done);
        self.granted = granted;
        self.let_in();
        done
    }

    fn settle(&mut self, documents: Vec<Document>) {
        for document in documents {
            self.documents.settle(document, &mut self.turns);
        }
        self.take_turns();
    }

    fn take_turns(&mut self) {
        let mut turns = std::mem::take(&mut self.turns);
        for op in turns.granted.drain(..) {
            self.unblock(self.documents.op(op).request);
        }
        for slot in turns.overtaken.drain(..) {
            self.suspect(slot);
        }
        self.turns = turns;
    }

    fn suspect(&mut self, slot: Slot) {
        let entry = self.requests.get_mut(slot);
        if !std::mem::replace(&mut entry.overtaken, true) {
            self.suspects.push_back(entry.id);
        }
    }

    fn open_gate(&mut self) {
        while let Some(id) = self.names.pass() {
            if let Some(slot) = self.requests.slot(ExchangeId(id)) {
                self.requests.get_mut(slot).gated = false;
                self.unblock(slot);
            }
        }
    }

    /// One reason less for which it cannot go.
    fn unblock(&mut self, slot: Slot) {
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

    pub(super) fn lock(&self, index: Option<u64>) -> Option<&Lock> {
        index.map_or(Some(&self.cluster), |index| self.locks.get(&index))
    }

    fn lock_mut(&mut self, index: Option<u64>) -> &mut Lock {
        match index {
            Some(index) => self.locks.entry(index).or_default(),
            None => &mut self.cluster,
        }
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

/// How far a chain of requests that wait for each other is followed for a message.
const CHAIN_MAX: usize = 64;
