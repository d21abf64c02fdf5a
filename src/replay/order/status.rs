//! What the schedule tells of itself: what was counted, and why something cannot go.
//!
//! Reads only.

use super::locks::{Lock, Slot};
use super::requests::{Entry, State};
use super::schedule::Schedule;
use crate::replay::exchange::ExchangeId;

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
    /// Times that requests waited for each other, and a read among them went.
    pub reads_let_go: u64,
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

impl Schedule {
    /// Why the oldest that cannot go cannot. Looks at all requests: for a status page, not for every turn.
    pub fn why_blocked(&self) -> Option<Blocked> {
        let waiting = |(_, entry): &(Slot, &Entry)| entry.state == State::Waiting;
        let (slot, entry) =
            self.requests.iter().filter(waiting).min_by_key(|(_, entry)| entry.id)?;
        let wait = self.wait_of(slot);
        let (mut root, mut root_wait) = (slot, wait);
        for _ in 0..CHAIN_MAX {
            let (Wait::Connection(next) | Wait::Document(next) | Wait::Index(Some(next))) =
                root_wait
            else {
                break;
            };
            let Some(slot) = self.requests.slot(next) else { break };
            (root, root_wait) = (slot, self.wait_of(slot));
        }
        Some(Blocked { id: entry.id, wait, root: self.requests.get(root).id, root_wait })
    }

    pub(super) fn wait_of(&self, slot: Slot) -> Wait {
        let entry = self.requests.get(slot);
        if entry.state != State::Waiting {
            return Wait::Target;
        }
        if !entry.is_answered() {
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
    pub(super) fn is_awaited(&self, slot: Slot) -> bool {
        let entry = self.requests.get(slot);
        self.requests.has_follower(slot)
            || self.names.is_awaited(entry.span.admitted)
            || entry.places.iter().any(|place| self.lock(place.index).is_some_and(Lock::is_wanted))
            || entry.ops.iter().any(|&op| self.documents.first_other(op).is_some())
    }
}

/// How far a chain of requests that wait for each other is followed for a message.
const CHAIN_MAX: usize = 64;
