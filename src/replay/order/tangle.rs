//! Requests that wait for each other, and how they are let go.
//!
//! Items of a bulk are applied in parallel, so of two bulks each may have been first on one document: as wholes they
//! cannot be ordered. Every such cycle has a member that a later one overtook on some document, so only those are
//! looked at, and only when little else can go. What is known for certain is kept to: a bulk goes in parts; one that
//! overlapped a barrier goes behind it; a read goes at once. Where only guesses are left, the oldest of the cycle goes,
//! and is counted.

use std::collections::{BTreeSet, HashMap};

use super::documents::OpSlot;
use super::locks::{Lock, Slot};
use super::requests::{Place, State};
use super::schedule::Schedule;

/// Requests each of which waits for all others, directly or over some of them. By age.
struct Knot {
    members: Vec<Slot>,
    /// They wait for nobody else, so that nothing will help them.
    closed: bool,
}

impl Schedule {
    /// Looks for cycles and cuts those it finds.
    pub(super) fn untangle(&mut self) {
        if self.suspects.is_empty() || !self.changed {
            return;
        }
        self.asked = self.asked.wrapping_add(1);
        if self.may_go > 0 && !self.asked.is_multiple_of(CALLS) {
            return;
        }
        self.changed = false;
        loop {
            // With nothing under way nothing else can help, so that no cost is too high.
            let idle = self.may_go == 0 && self.sent == 0;
            let thorough = idle || self.asked.is_multiple_of(THOROUGH_CALLS);
            let mut cut = false;
            for _ in 0..if idle { self.suspects.len() } else { SUSPECTS.min(self.suspects.len()) } {
                let Some(id) = self.suspects.pop_front() else { break };
                let Some(slot) = self.requests.slot(id) else { continue };
                self.suspects.push_back(id);
                cut |= self.cut(slot, thorough);
            }
            if !(cut && idle && self.may_go == 0) {
                return;
            }
        }
    }

    /// Lets one go, if this one is in a cycle.
    fn cut(&mut self, slot: Slot, thorough: bool) -> bool {
        let Some(mut knot) = self.knot(slot, thorough) else { return false };
        if self.split(&knot.members) {
            return true;
        }
        if !thorough && let Some(whole) = self.knot(slot, true) {
            knot = whole;
        }
        let members = &knot.members;
        knot.closed && (self.swap(members) || self.let_read(members) || self.force(members))
    }

    /// The requests that wait, over others, for `start`, and for which it waits.
    fn knot(&self, start: Slot, thorough: bool) -> Option<Knot> {
        let mut waits_for: HashMap<Slot, Vec<Slot>> = HashMap::new();
        let (mut found, mut closed) = (vec![start], true);
        while let Some(slot) = found.pop() {
            if waits_for.contains_key(&slot) {
                continue;
            }
            let blockers = self.blockers(slot, start, thorough);
            let entry = self.requests.get(slot);
            let told = |&op: &OpSlot| {
                let op = self.documents.op(op);
                // Where nobody has the turn, an answer is to tell whose it is.
                op.granted || self.documents.is_held(op.document)
            };
            closed &= entry.state == State::Waiting
                && entry.is_answered()
                && !entry.gated
                && entry.ops.iter().all(told);
            found.extend(&blockers);
            waits_for.insert(slot, blockers);
        }
        let mut waited_by: HashMap<Slot, Vec<Slot>> = HashMap::new();
        for (&slot, blockers) in &waits_for {
            for &blocker in blockers {
                waited_by.entry(blocker).or_default().push(slot);
            }
        }
        let mut members = BTreeSet::new();
        let mut found = waited_by.get(&start)?.clone();
        while let Some(slot) = found.pop() {
            if members.insert(slot) {
                found.extend(waited_by.get(&slot).into_iter().flatten());
            }
        }
        closed &= members.len() == waits_for.len();
        let mut members: Vec<Slot> = members.into_iter().collect();
        members.sort_unstable_by_key(|&slot| self.requests.get(slot).id);
        Some(Knot { members, closed })
    }

    /// Whom a request waits for. Who shares an index is not listed anywhere: they are looked for when `thorough`, or
    /// else only `start` is.
    fn blockers(&self, slot: Slot, start: Slot, thorough: bool) -> Vec<Slot> {
        let mut blockers = Vec::new();
        let entry = self.requests.get(slot);
        // It waits for an answer or for the target, and that comes.
        if entry.state != State::Waiting || !entry.is_answered() || entry.gated {
            return blockers;
        }
        let first = self.requests.first_of_line(slot);
        if first != slot {
            blockers.push(first);
        }
        for place in entry.places.iter().filter(|place| !place.granted) {
            let shares = |other: &Place| other.granted && other.index == place.index;
            if let Some(alone) = self.lock(place.index).and_then(Lock::alone) {
                blockers.push(alone);
            } else if thorough {
                let all = self.requests.iter();
                let sharers = all.filter(|(_, other)| other.places.iter().any(shares));
                blockers.extend(sharers.map(|(slot, _)| slot));
            } else if self.requests.get(start).places.iter().any(shares) {
                blockers.push(start);
            }
        }
        for &op in &entry.ops {
            let op = self.documents.op(op);
            if !op.granted {
                // Perhaps itself, with an operation before another's before this one.
                self.documents.holders(op.document, &mut |other| blockers.push(other));
            }
        }
        blockers
    }

    /// Lets part of one go.
    fn split(&mut self, members: &[Slot]) -> bool {
        let has_turn = |slot: &&Slot| {
            let entry = self.requests.get(**slot);
            entry.state == State::Waiting
                && self.requests.first_of_line(**slot) == **slot
                && entry.places.iter().all(|place| place.granted)
                && entry.ops.iter().any(|&op| self.documents.op(op).granted)
        };
        if let Some(&slot) = members.iter().find(has_turn) {
            self.requests.get_mut(slot).split = true;
            self.let_go(slot);
            return true;
        }
        false
    }

    /// Lets a read go: it may really have come before what it waits for, see `turns`, and it changes nothing.
    fn let_read(&mut self, members: &[Slot]) -> bool {
        let reads = |slot: &&Slot| {
            let ops = &self.requests.get(**slot).ops;
            !ops.is_empty() && ops.iter().all(|&op| self.documents.op(op).read)
        };
        let first_of_line = |slot: &&Slot| self.requests.first_of_line(**slot) == **slot;
        let Some(&read) = members.iter().filter(first_of_line).find(reads) else { return false };
        self.counters.reads_let_go += 1;
        self.requests.get_mut(read).forced = true;
        self.let_go(read);
        true
    }

    /// Lets one that overlapped a barrier go behind it.
    fn swap(&mut self, members: &[Slot]) -> bool {
        for &blocker in members {
            for &slot in members {
                if let Some(place) = self.stands_before(blocker, slot)
                    && self.step_back(blocker, place.index)
                {
                    self.counters.stepped_back += 1;
                    return true;
                }
            }
        }
        false
    }

    /// Lets the oldest go, whatever it waits for.
    fn force(&mut self, members: &[Slot]) -> bool {
        let mut first_of_line =
            members.iter().filter(|slot| self.requests.first_of_line(**slot) == **slot);
        let Some(&oldest) = first_of_line.next() else { return false };
        self.counters.cycles += 1;
        self.requests.get_mut(oldest).forced = true;
        self.let_go(oldest);
        true
    }

    /// The place at which `blocker` is one of those for whom `slot` waits, if it may let it go first: it has its turn
    /// at no document.
    fn stands_before(&self, blocker: Slot, slot: Slot) -> Option<Place> {
        let holder = self.requests.get(blocker);
        if !holder.overtaken || holder.ops.iter().any(|&op| self.documents.op(op).granted) {
            return None;
        }
        let wanted = self.requests.get(slot).places.iter().filter(|place| !place.granted);
        let held = |place: &&Place| {
            let same = |own: &Place| own.index == place.index && own.granted && !own.alone;
            holder.places.iter().any(same)
        };
        wanted.clone().find(held).copied()
    }
}

/// While something may go, cycles are looked for at every so many calls only.
const CALLS: u32 = 64;
/// How often those that share an index are looked for while something is under way.
const THOROUGH_CALLS: u32 = 1024;
/// Suspects that are looked at in one go while something is under way.
const SUSPECTS: usize = 8;
