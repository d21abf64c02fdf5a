//! Outcomes on their way to the disk, and what must not be sent again.

use std::collections::VecDeque;

use super::{
    super::{
        assembly::Trouble,
        exchange::Mark,
        outcome::{Entry, Oddity, Outcome, What},
    },
    Conductor,
};

/// Outcomes that were handed out and are not written: what they keep, by their number.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    base: u64,
    pub(super) kept: VecDeque<Option<Kept>>,
    pub(super) count: usize,
    pub(super) bytes: u64,
}

/// What an outcome keeps until it is written.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) mark: Mark,
    fingerprint: Option<u64>,
    bytes: u64,
}

impl Conductor {
    pub(super) fn trouble(&mut self, trouble: Trouble) {
        self.pins.hold(trouble.mark);
        let oddity = Oddity {
            place: self.last_place.clone().expect("invariant: trouble comes out of a record"),
            name: Some(trouble.connection),
            reason: trouble.kind.label(),
            detail: trouble.reason,
            bytes: trouble.bytes,
            is_record: false,
        };
        self.oddity(trouble.mark, oddity);
    }

    pub(super) fn oddity(&mut self, mark: Mark, oddity: Oddity) {
        self.totals.quarantined += 1;
        let bytes = oddity.bytes.len() as u64;
        self.hand_out(mark, None, bytes, What::Oddity(Box::new(oddity)));
    }

    /// Gives an outcome a number; its record is held until it is written.
    pub(in crate::replay) fn hand_out(
        &mut self,
        mark: Mark,
        fingerprint: Option<u64>,
        bytes: u64,
        what: What,
    ) {
        let number = self.unwritten.base + self.unwritten.kept.len() as u64;
        self.unwritten.kept.push_back(Some(Kept { mark, fingerprint, bytes }));
        self.unwritten.count += 1;
        self.unwritten.bytes += bytes;
        self.outbox.push(Outcome { number, what });
    }

    /// The outcome is written: what it kept is let go.
    pub fn written(&mut self, number: u64) {
        let unwritten = &mut self.unwritten;
        let slot =
            number.checked_sub(unwritten.base).and_then(|at| unwritten.kept.get_mut(at as usize));
        let Some(kept) = slot.and_then(Option::take) else { return };
        unwritten.count -= 1;
        unwritten.bytes -= kept.bytes;
        while let Some(None) = unwritten.kept.front() {
            unwritten.kept.pop_front();
            unwritten.base += 1;
        }
        if let Some(fingerprint) = kept.fingerprint {
            self.journal.push(Entry { fingerprint, written: true, mark: kept.mark });
        }
        self.pins.release(kept.mark);
    }

    /// What has ended since the last time.
    pub fn take_outcomes(&mut self) -> impl Iterator<Item = Outcome> {
        self.outbox.drain(..)
    }

    /// What must not be sent again, since the last time; to be emptied.
    pub fn take_journal(&mut self) -> &mut Vec<Entry> {
        &mut self.journal
    }

    /// These were sent by an earlier run, or by another member of the group.
    pub fn recall(&mut self, fingerprints: impl IntoIterator<Item = u64>) {
        self.known.extend(fingerprints);
    }
}
