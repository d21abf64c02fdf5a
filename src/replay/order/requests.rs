//! The requests that were admitted and are not finished: one slot each, in the line of their connection.
//!
//! Owns the slots and the lines. Decides nothing.

use std::collections::HashMap;

use super::documents::{Mixed, NEVER, OpSlot};
use super::footprint::Footprint;
use super::lives::Span;
use super::locks::Slot;
use crate::replay::exchange::{ConnectionId, ExchangeId};

/// No slot.
pub(super) const NONE: Slot = Slot::MAX;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Requests {
    slots: Vec<Entry>,
    free: Vec<Slot>,
    by_id: HashMap<u64, Slot, Mixed>,
    lines: HashMap<u64, Line, Mixed>,
    /// Those without an answer, in the order of admission.
    unanswered: Line,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    first: Slot,
    last: Slot,
}

impl Default for Line {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

/// One request.
// Independent facts.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: ExchangeId,
    pub(super) connection: ConnectionId,
    pub(super) state: State,
    /// Reasons for which it cannot go.
    pub(super) waits: u32,
    pub(super) span: Span,
    /// It waits for the answer of another that uses a name nobody knows yet.
    pub(super) gated: bool,
    /// A later one goes before it on some document.
    pub(super) overtaken: bool,
    /// It goes in parts.
    pub(super) split: bool,
    /// A part of it has gone.
    pub(super) begun: bool,
    /// It goes whatever it waits for.
    pub(super) forced: bool,
    /// Items it has.
    pub(super) items: u32,
    /// Its operations that are not finished, in the order of the items.
    pub(super) ops: Vec<OpSlot>,
    pub(super) places: Vec<Place>,
    /// Items that the source refused and whose place nothing tells.
    pub(super) left_out: Vec<u32>,
    /// It may delete indices, and is not answered.
    pub(super) ends_life: bool,
    /// What it touches, kept while a name in it is not known.
    pub(super) unknown: Option<Footprint>,
    in_line: Link,
    in_unanswered: Link,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    previous: Slot,
    next: Slot,
}

const UNLINKED: Link = Link { previous: NONE, next: NONE };

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Ready,
    Sent,
}

/// A place in the queue of an index, or of the cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The index; `None` is the cluster.
    pub(super) index: Option<u64>,
    pub(super) alone: bool,
    pub(super) granted: bool,
}

impl Entry {
    /// Its answer was read.
    pub(super) fn is_answered(&self) -> bool {
        self.span.answered != NEVER
    }
}

impl Requests {
    /// Takes a request in; true when it is the first of its connection.
    pub(super) fn insert(
        &mut self,
        id: ExchangeId,
        connection: ConnectionId,
        span: Span,
    ) -> (Slot, bool) {
        let slot = self.free.pop().unwrap_or(self.slots.len() as Slot);
        let line = self.lines.entry(connection.0).or_default();
        let before = std::mem::replace(&mut line.last, slot);
        if before == NONE {
            line.first = slot;
        }
        let earlier = std::mem::replace(&mut self.unanswered.last, slot);
        if earlier == NONE {
            self.unanswered.first = slot;
        }
        let (ops, places) = self
            .slots
            .get_mut(slot as usize)
            .map(|old| (std::mem::take(&mut old.ops), std::mem::take(&mut old.places)))
            .unwrap_or_default();
        let entry = Entry {
            id,
            connection,
            state: State::Waiting,
            waits: 1 + u32::from(before != NONE),
            span,
            gated: false,
            overtaken: false,
            split: false,
            begun: false,
            forced: false,
            items: 0,
            ops,
            places,
            left_out: Vec::new(),
            ends_life: false,
            unknown: None,
            in_line: Link { previous: before, next: NONE },
            in_unanswered: Link { previous: earlier, next: NONE },
        };
        if slot as usize == self.slots.len() {
            self.slots.push(entry);
        } else {
            self.slots[slot as usize] = entry;
        }
        if before != NONE {
            self.slots[before as usize].in_line.next = slot;
        }
        if earlier != NONE {
            self.slots[earlier as usize].in_unanswered.next = slot;
        }
        self.by_id.insert(id.0, slot);
        (slot, before == NONE)
    }

    pub(super) fn slot(&self, id: ExchangeId) -> Option<Slot> {
        self.by_id.get(&id.0).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> &Entry {
        &self.slots[slot as usize]
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.slots[slot as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        self.by_id.values().map(|&slot| (slot, self.get(slot)))
    }

    /// The one of its connection whose turn it is.
    pub(super) fn first_of_line(&self, slot: Slot) -> Slot {
        self.lines.get(&self.get(slot).connection.0).map_or(NONE, |line| line.first)
    }

    /// Another stands behind it in its connection.
    pub(super) fn has_follower(&self, slot: Slot) -> bool {
        self.get(slot).in_line.next != NONE
    }

    /// It has its answer, of which the last byte was seen then.
    pub(super) fn answered(&mut self, slot: Slot, at: u64, until_ns: Option<i64>) {
        let entry = &mut self.slots[slot as usize];
        (entry.span.answered, entry.span.until_ns) = (at, until_ns);
        let link = std::mem::replace(&mut entry.in_unanswered, UNLINKED);
        if link.previous == NONE {
            self.unanswered.first = link.next;
        } else {
            self.slots[link.previous as usize].in_unanswered.next = link.next;
        }
        if link.next == NONE {
            self.unanswered.last = link.previous;
        } else {
            self.slots[link.next as usize].in_unanswered.previous = link.previous;
        }
    }

    /// Those without an answer, oldest first.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Slot> {
        let mut at = self.unanswered.first;
        std::iter::from_fn(move || {
            let slot = at;
            (slot != NONE).then(|| {
                at = self.get(slot).in_unanswered.next;
                slot
            })
        })
    }

    /// Gives the slot back. The next of its connection, when that one's turn has come.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Slot> {
        if !self.get(slot).is_answered() {
            self.answered(slot, 0, None);
        }
        let entry = &mut self.slots[slot as usize];
        for spare in [entry.ops.capacity() * 4, entry.places.capacity() * 24] {
            if spare > SPARE_BYTES_MAX {
                (entry.ops, entry.places) = (Vec::new(), Vec::new());
            }
        }
        entry.ops.clear();
        entry.places.clear();
        (entry.left_out, entry.unknown) = (Vec::new(), None);
        let link = std::mem::replace(&mut entry.in_line, UNLINKED);
        let (id, connection) = (entry.id, entry.connection);
        self.by_id.remove(&id.0);
        self.free.push(slot);
        if link.previous == NONE && link.next == NONE {
            self.lines.remove(&connection.0);
            return None;
        }
        let line = self.lines.get_mut(&connection.0)?;
        if link.next == NONE {
            line.last = link.previous;
        } else {
            self.slots[link.next as usize].in_line.previous = link.previous;
        }
        if link.previous == NONE {
            line.first = link.next;
            return Some(link.next);
        }
        self.slots[link.previous as usize].in_line.next = link.next;
        None
    }
}

/// A free slot keeps its lists for the next request up to this size.
const SPARE_BYTES_MAX: usize = 256;
