//! Whose turn it is at a document.
//!
//! The oldest operation goes first, unless the source's numbers say that one which overlapped it came before. That
//! makes one line of all operations on a document whatever the numbers are, so no two of them wait for each other.
//!
//! Which operations overlapped is read off the records, and they are right about writes: a write is let through only
//! when it is recorded, so one that is recorded after another's answer was sent after it. A read is not held for its
//! record: it may have been answered before writes that the records have before it. Then its number contradicts the
//! records, and it goes behind those writes; it must not move them.

use super::{Documents, NEVER, NONE, Op, OpSlot, Told};
use crate::replay::order::footprint::Document;
use crate::replay::order::lives::{Ages, Life};
use crate::replay::order::locks::Slot;

/// How often the search for the next one begins anew.
const ROUNDS: usize = 8;

/// What a look at a queue's head has changed.
#[derive(Debug, Default)]
pub(in crate::replay::order) struct Turns {
    /// Operations whose turn it is now.
    pub(in crate::replay::order) granted: Vec<OpSlot>,
    /// Requests that a later one goes before.
    pub(in crate::replay::order) overtaken: Vec<Slot>,
}

impl Documents {
    /// Gives all those their turn whose turn it is.
    pub(in crate::replay::order) fn settle(
        &mut self,
        document: Document,
        ages: Ages<'_>,
        turns: &mut Turns,
    ) {
        while let Some(queue) = self.queues.get(&document) {
            let mut first = queue.first;
            while first != NONE && self.ops[first as usize].granted {
                first = self.ops[first as usize].next;
            }
            if first == NONE {
                return;
            }
            let only = queue.first == queue.last;
            if queue.granted > 0 && queue.writer != NONE && !queue.twin {
                return;
            }
            let Some(next) = self.earliest(first, ages) else { return };
            let Op { request, read, twin, .. } = self.ops[next as usize];
            let (granted, writer) = (queue.granted, queue.writer);
            let free = granted == 0
                || if read { writer == NONE } else { writer != NONE && writer == request };
            if !free {
                // Between two operations of the one that writes now: it cannot go as a whole.
                if writer != NONE {
                    turns.overtaken.push(writer);
                }
                return;
            }
            let mut passed = first;
            while passed != next {
                let op = &self.ops[passed as usize];
                if !op.granted && op.request != request {
                    turns.overtaken.push(op.request);
                }
                passed = op.next;
            }
            self.ops[next as usize].granted = true;
            if let Some(queue) = self.queues.get_mut(&document) {
                queue.granted += 1;
                queue.writer = if read { NONE } else { request };
                queue.twin = twin;
            }
            turns.granted.push(next);
            if only || !(read || twin) {
                return;
            }
        }
    }

    /// Which goes next if `first` is the oldest. None while an answer could still put another before it.
    fn earliest(&self, mut first: OpSlot, ages: Ages<'_>) -> Option<OpSlot> {
        // Numbers that contradict the records would go round for ever.
        for _ in 0..ROUNDS {
            let lowest = self.lowest(first, ages)?;
            if self.ops[lowest as usize].read {
                return Some(lowest);
            }
            // One between them that was answered before that was sent goes before it, whatever its number.
            let sent = self.ops[lowest as usize].admitted;
            let mut at = first;
            while at != lowest {
                let op = &self.ops[at as usize];
                if !op.granted && op.answered < sent {
                    break;
                }
                at = op.next;
            }
            if at == lowest {
                return Some(lowest);
            }
            first = at;
        }
        Some(first)
    }

    /// Of `first` and those that overlapped it, the one with the lowest number.
    fn lowest(&self, first: OpSlot, ages: Ages<'_>) -> Option<OpSlot> {
        let oldest = &self.ops[first as usize];
        if oldest.answered == NEVER {
            return None;
        }
        let told = oldest.told();
        if told == Told::Nothing || oldest.next == NONE {
            return Some(first);
        }
        let life = match ages.of(oldest) {
            Life::Unknown => return Some(first),
            Life::Undecided => return None,
            life @ Life::Known(_) => life,
        };
        let number = |op: &Op| if told == Told::SeqNo { op.seq_no } else { op.version };
        let (mut earliest, mut lowest) = (first, number(oldest)?);
        // When the first was answered of the writes that were looked at.
        let mut answered = oldest.answered;
        let mut at = oldest.next;
        while at != NONE {
            let op = &self.ops[at as usize];
            // Sent to the source after the oldest was answered.
            if op.admitted > oldest.answered {
                break;
            }
            if op.answered == NEVER {
                return None;
            }
            if let Some(number) = number(op)
                && number < lowest
                && !op.granted
                && !(op.read && op.admitted > answered)
            {
                match ages.of(op) {
                    Life::Undecided => return None,
                    its if its == life => (earliest, lowest) = (at, number),
                    // Its number says nothing here.
                    _ => {}
                }
            }
            if !op.read {
                answered = answered.min(op.answered);
            }
            at = op.next;
        }
        Some(earliest)
    }
}
