//! In which order the operations on one document go.
//!
//! Each document that something unfinished touches has a queue in the order of admission; whose turn it is, is decided
//! at its head ([`turns`]). Owns the queues only: what else a request waits for is the schedule's.

mod turns;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::facts::Fact;
use super::footprint::Document;
use super::lives::{Ages, Life};
use super::locks::Slot;
pub(super) use turns::Turns;

/// An operation, by its place in memory.
pub(super) type OpSlot = u32;

const NONE: u32 = u32::MAX;
/// Not answered yet.
pub(super) const NEVER: u64 = u64::MAX;

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Documents {
    ops: Vec<Op>,
    free: Vec<OpSlot>,
    queues: HashMap<Document, Queue, Mixed>,
}

/// One request's operation on one document.
// Independent facts.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone)]
pub(super) struct Op {
    /// Whose it is.
    pub(super) request: Slot,
    /// Number of the item in the request.
    pub(super) item: u32,
    /// The document.
    pub(super) document: Document,
    /// It is its turn.
    pub(super) granted: bool,
    /// It is on its way to the target.
    pub(super) sent: bool,
    /// Another request's operation on the document was under way at the source at the same time.
    pub(super) overlapped: bool,
    pub(super) read: bool,
    /// The source turned it down.
    pub(super) refused: bool,
    /// The request has another operation on the document.
    twin: bool,
    /// What told its place was counted.
    pub(super) counted: bool,
    admitted: u64,
    pub(super) answered: u64,
    /// Where the source's numbers put it; doubled, so that what saw a number comes after what made it.
    seq_no: Option<u64>,
    version: Option<u64>,
    previous: OpSlot,
    next: OpSlot,
}

#[derive(Debug)]
struct Queue {
    first: OpSlot,
    last: OpSlot,
    unanswered: u32,
    granted: u32,
    /// The request that writes; none when reads have their turn.
    writer: Slot,
    /// It has several operations on the document.
    twin: bool,
}

/// What told an operation's place among those that overlapped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    SeqNo,
    Version,
    Nothing,
}

impl Documents {
    /// Queues an operation of a request that is not answered yet.
    pub(super) fn push(
        &mut self,
        request: Slot,
        item: u32,
        document: Document,
        read: bool,
        admitted: u64,
    ) -> OpSlot {
        let op = Op {
            request,
            item,
            document,
            granted: false,
            sent: false,
            overlapped: false,
            read,
            refused: false,
            twin: false,
            counted: false,
            admitted,
            answered: NEVER,
            seq_no: None,
            version: None,
            previous: NONE,
            next: NONE,
        };
        let slot = if let Some(slot) = self.free.pop() {
            self.ops[slot as usize] = op;
            slot
        } else {
            self.ops.push(op);
            self.ops.len() as u32 - 1
        };
        let queue = self.queues.entry(document).or_insert(Queue::EMPTY);
        if queue.last == NONE {
            queue.first = slot;
        } else {
            let before = &mut self.ops[queue.last as usize];
            before.next = slot;
            let twin = before.request == request;
            before.twin |= twin;
            let overlapped = if twin { before.overlapped } else { queue.unanswered > 0 };
            let op = &mut self.ops[slot as usize];
            (op.previous, op.twin, op.overlapped) = (queue.last, twin, overlapped);
        }
        queue.last = slot;
        queue.unanswered += 1;
        slot
    }

    pub(super) fn op(&self, slot: OpSlot) -> &Op {
        &self.ops[slot as usize]
    }

    pub(super) fn sent(&mut self, slot: OpSlot) {
        self.ops[slot as usize].sent = true;
    }

    /// Did another request's operation overlap it? To be asked when its answer is read: all that did have come.
    pub(super) fn overlaps(&mut self, slot: OpSlot) -> bool {
        let op = &self.ops[slot as usize];
        if op.overlapped {
            return true;
        }
        let last = self.queues.get(&op.document).map_or(NONE, |queue| queue.last);
        let overlapped = last != NONE && self.ops[last as usize].request != op.request;
        self.ops[slot as usize].overlapped = overlapped;
        overlapped
    }

    /// The answer is read, and tells this.
    pub(super) fn answered(&mut self, slot: OpSlot, now: u64, fact: Option<&Fact>) {
        let op = &mut self.ops[slot as usize];
        op.answered = now;
        if let Some(fact) = fact {
            op.refused = !op.read && fact.refused();
            let saw = u64::from(op.read || fact.unchanged);
            let place = |number: u64| number.saturating_mul(2).saturating_add(saw);
            op.seq_no = fact.seq_no.map(place);
            op.version = fact.version.map(place);
        }
        if let Some(queue) = self.queues.get_mut(&op.document) {
            queue.unanswered -= 1;
        }
    }

    /// What tells its place.
    pub(super) fn told(&self, slot: OpSlot, ages: Ages<'_>) -> Told {
        let op = &self.ops[slot as usize];
        let told = op.told();
        if told != Told::Nothing && ages.of(op) == Life::Unknown { Told::Nothing } else { told }
    }

    /// What told it is to be counted: true once.
    pub(super) fn is_to_be_counted(&mut self, slot: OpSlot) -> bool {
        let op = &mut self.ops[slot as usize];
        op.overlapped && !op.read && !std::mem::replace(&mut op.counted, true)
    }

    /// Takes an operation out. The queue is to be settled then.
    pub(super) fn remove(&mut self, slot: OpSlot) {
        self.unlink(slot);
        self.free.push(slot);
    }

    fn unlink(&mut self, slot: OpSlot) {
        let Op { document, previous, next, granted, answered, .. } = self.ops[slot as usize];
        let Some(queue) = self.queues.get_mut(&document) else { return };
        if queue.first == slot && queue.last == slot {
            self.queues.remove(&document);
            return;
        }
        if previous == NONE {
            queue.first = next;
        } else {
            self.ops[previous as usize].next = next;
        }
        if next == NONE {
            queue.last = previous;
        } else {
            self.ops[next as usize].previous = previous;
        }
        queue.unanswered -= u32::from(answered == NEVER);
        queue.granted -= u32::from(granted);
        if queue.granted == 0 {
            queue.writer = NONE;
        }
    }

    /// Moves an operation to another document's queue, to the place it would have had there. Those that had their turn
    /// there and are not under way (`under_way` knows) are given back: they must wait for it anew. True when it had
    /// its own turn and lost it.
    pub(super) fn rename(
        &mut self,
        slot: OpSlot,
        index: u64,
        under_way: impl Fn(Slot) -> bool,
        revoked: &mut Vec<OpSlot>,
    ) -> bool {
        self.unlink(slot);
        let op = &mut self.ops[slot as usize];
        let had_turn = std::mem::take(&mut op.granted);
        op.document.index = index;
        let Op { document, admitted, answered, request, .. } = *op;
        let unanswered = answered == NEVER;
        let mut overlapped = false;
        let queue = self.queues.entry(document).or_insert(Queue::EMPTY);
        queue.unanswered += u32::from(unanswered);
        let mut at = queue.first;
        while at != NONE {
            let op = &mut self.ops[at as usize];
            if op.granted && !under_way(op.request) {
                op.granted = false;
                queue.granted -= 1;
                revoked.push(at);
            }
            let overlaps = op.answered > admitted && answered > op.admitted;
            overlapped |= overlaps && op.request != request;
            op.overlapped |= overlaps && op.request != request;
            at = op.next;
        }
        if queue.granted == 0 {
            queue.writer = NONE;
        }
        let mut before = queue.last;
        while before != NONE && self.ops[before as usize].admitted > admitted {
            before = self.ops[before as usize].previous;
        }
        let next = if before == NONE { queue.first } else { self.ops[before as usize].next };
        if before == NONE {
            queue.first = slot;
        } else {
            let op = &mut self.ops[before as usize];
            op.next = slot;
            let twin = op.request == request;
            op.twin |= twin;
            self.ops[slot as usize].twin |= twin;
        }
        if next == NONE {
            queue.last = slot;
        } else {
            self.ops[next as usize].previous = slot;
        }
        let op = &mut self.ops[slot as usize];
        (op.previous, op.next) = (before, next);
        op.overlapped |= overlapped;
        had_turn
    }

    /// The operations on a document that the source turned down.
    pub(super) fn refused(&self, document: Document) -> Vec<OpSlot> {
        let mut refused = Vec::new();
        let mut at = self.queues.get(&document).map_or(NONE, |queue| queue.first);
        while at != NONE {
            if self.ops[at as usize].refused {
                refused.push(at);
            }
            at = self.ops[at as usize].next;
        }
        refused
    }

    /// The requests whose turn it is at a document.
    pub(super) fn holders(&self, document: Document, each: &mut impl FnMut(Slot)) {
        let Some(queue) = self.queues.get(&document) else { return };
        let (mut at, mut left) = (queue.first, queue.granted);
        while at != NONE && left > 0 {
            let op = &self.ops[at as usize];
            if op.granted {
                each(op.request);
                left -= 1;
            }
            at = op.next;
        }
    }

    /// It is somebody's turn at a document.
    pub(super) fn is_held(&self, document: Document) -> bool {
        self.queues.get(&document).is_some_and(|queue| queue.granted > 0)
    }

    /// The first request of another that stands in a document's queue.
    pub(super) fn first_other(&self, slot: OpSlot) -> Option<Slot> {
        let mine = &self.ops[slot as usize];
        let mut at = self.queues.get(&mine.document)?.first;
        while at != NONE {
            let op = &self.ops[at as usize];
            if op.request != mine.request {
                return Some(op.request);
            }
            at = op.next;
        }
        None
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.free.len() == self.ops.len()
    }
}

impl Op {
    /// What there is to tell its place.
    fn told(&self) -> Told {
        match (self.seq_no, self.version) {
            (Some(_), _) => Told::SeqNo,
            (None, Some(_)) => Told::Version,
            (None, None) => Told::Nothing,
        }
    }
}

impl Queue {
    const EMPTY: Self =
        Self { first: NONE, last: NONE, unanswered: 0, granted: 0, writer: NONE, twin: false };
}

/// For maps whose keys are hashes already.
pub(super) type Mixed = BuildHasherDefault<Mixer>;

/// Folds 64-bit words that are hashes already, or numbers, into one.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_u64(&mut self, word: u64) {
        // The golden ratio in 64 bits: an odd number without a pattern. Both halves of the product are used.
        let product = u128::from(self.0.rotate_left(23) ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}
