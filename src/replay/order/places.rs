//! The places of requests at the indices they touch: taken, moved when a name turns out to stand for another index, and
//! given back.
//!
//! Owns what a place means for the request; the queues themselves are in `locks`.

use super::footprint::{Change, Document};
use super::locks::{Lock, Slot};
use super::requests::{Place, State};
use super::schedule::Schedule;

impl Schedule {
    /// A request touches one document of an index, perhaps one that the source named.
    pub(super) fn touch(&mut self, slot: Slot, item: u32, name: u64, id: Option<u64>, read: bool) {
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
        let op = self.documents.push(slot, item, Document { index, id }, read, self.clock);
        let entry = self.requests.get_mut(slot);
        entry.ops.push(op);
        entry.waits += 1;
    }

    /// A request touches whole indices, or everything when a name is not positively an index's own.
    pub(super) fn barrier(&mut self, slot: Slot, names: &[u64], change: Change) {
        self.counters.barriers += 1;
        let plain = !names.is_empty() && names.iter().all(|&name| self.names.is_index(name));
        self.enter(slot, None, !plain);
        for &name in names {
            if plain && !self.requests.get(slot).places.iter().any(|at| at.index == Some(name)) {
                self.enter(slot, Some(name), true);
            }
        }
        if change == Change::Indices {
            // What is deleted goes by its own name.
            self.requests.get_mut(slot).ends_life = true;
            self.lives.may_end(self.requests.get(slot), names, &self.requests);
        }
        if change != Change::Nothing {
            self.names.forget();
        }
    }

    /// A request that may delete indices is answered, or gone: on which side of it others were is known now.
    pub(super) fn life_is_decided(&mut self, slot: Slot, deleted: bool) {
        let entry = self.requests.get_mut(slot);
        if !std::mem::take(&mut entry.ends_life) {
            return;
        }
        let since = entry.span.admitted;
        let entry = self.requests.get(slot);
        if deleted {
            self.lives.ended(entry);
        } else {
            self.lives.goes_on(entry.id);
        }
        let mut documents = Vec::new();
        for (_, entry) in self.requests.iter() {
            for &op in &entry.ops {
                let op = self.documents.op(op);
                if !op.granted && op.answered > since {
                    documents.push(op.document);
                }
            }
        }
        self.settle(documents);
    }

    pub(super) fn enter(&mut self, slot: Slot, index: Option<u64>, alone: bool) {
        let admitted = self.clock;
        let granted = self.lock_mut(index).enter(slot, alone, admitted);
        let entry = self.requests.get_mut(slot);
        entry.places.push(Place { index, alone, granted });
        entry.waits += u32::from(!granted);
    }

    /// A name stands for an index: those who used it before stand where they would have stood under its own name.
    pub(super) fn learn(&mut self, name: u64, index: u64, touched: &mut Vec<Document>) {
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
                    entry.ops.retain(|&op| op != at);
                    entry.left_out.push(item);
                    entry.left_out.sort_unstable();
                    self.counters.left_out += 1;
                    self.documents.remove(at);
                    if !granted {
                        self.unblock(slot);
                    }
                }
            }
        }
    }

    /// Moves a request's place from the queue of a name to that of the index.
    pub(super) fn move_place(&mut self, slot: Slot, name: u64, index: u64) {
        let mut places = std::mem::take(&mut self.requests.get_mut(slot).places);
        let has_both = places.iter().any(|place| place.index == Some(index));
        if let Some(at) = places.iter().position(|place| place.index == Some(name)) {
            let granted = places[at].granted;
            self.give_back(slot, places[at]);
            let entry = self.requests.get_mut(slot);
            entry.waits -= u32::from(!granted);
            let admitted = entry.span.admitted;
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

    pub(super) fn give_back(&mut self, slot: Slot, place: Place) {
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
    pub(super) fn let_in(&mut self) {
        while let Some(slot) = self.granted.pop() {
            self.unblock(slot);
        }
    }

    /// A sharer of an index lets the next one go alone before it, if that was not sent after the sharer's answer.
    pub(super) fn step_back(&mut self, slot: Slot, index: Option<u64>) -> bool {
        let mut granted = std::mem::take(&mut self.granted);
        let Self { requests, locks, cluster, .. } = self;
        let span = requests.get(slot).span;
        let may_follow = |next| !requests.get(next).span.is_after(&span);
        let lock = match index {
            Some(index) => locks.entry(index).or_default(),
            None => cluster,
        };
        let done = lock.step_back(slot, may_follow, &mut granted);
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

    pub(super) fn lock(&self, index: Option<u64>) -> Option<&Lock> {
        index.map_or(Some(&self.cluster), |index| self.locks.get(&index))
    }

    pub(super) fn lock_mut(&mut self, index: Option<u64>) -> &mut Lock {
        match index {
            Some(index) => self.locks.entry(index).or_default(),
            None => &mut self.cluster,
        }
    }
}
