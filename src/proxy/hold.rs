//! What must not reach the source yet, in order: the byte-prefix release.
//!
//! Bytes of a held request are named by where they lie in a record. When the record comes back durable, its memory
//! becomes what is sent; where other bytes are to be sent than were recorded, these wait in its place. Bytes that need
//! no record of their own but came later on the connection queue behind.

use std::{collections::VecDeque, rc::Rc};

use crate::{
    capture::Place,
    ring::{Segment, SendQueue},
};

/// Held bytes of one connection.
#[derive(Debug, Default)]
pub(super) struct HoldQueue {
    entries: VecDeque<Entry>,
    /// Bytes of entries that wait for a record.
    bytes: u64,
    /// Entries ever pushed, so that a mark stays valid while the front moves.
    pushed: u64,
    /// Records that are finished, not back, and have entries here.
    records_under_way: u32,
    /// The newest record with entries here.
    newest_record: u32,
}

#[derive(Debug)]
struct Entry {
    what: What,
    /// The first bytes of a request.
    starts_request: bool,
    /// The records have given its request up.
    unrecorded: bool,
    /// When they came, monotonic.
    since_ns: u64,
}

#[derive(Debug)]
enum What {
    /// Waits for its record, of whose memory it is sent.
    Held {
        place: Place,
        len: u32,
    },
    /// Waits for this record; perhaps empty, where another record of the same stretch has the bytes to send.
    Instead {
        record: u32,
        segment: Segment,
    },
    Behind(Segment),
}

impl Entry {
    /// Its record is durable: what stands in for the record's bytes may go.
    fn set_free(&mut self) {
        let empty = What::Behind(Segment::owned(Vec::new()));
        self.what = match std::mem::replace(&mut self.what, empty) {
            What::Instead { segment, .. } => What::Behind(segment),
            other => other,
        };
    }
}

/// A point in the queue; see [`HoldQueue::mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl HoldQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that wait for records.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True when some of the bytes lie in a record that is not finished yet.
    pub(super) fn waits_for(&self, open_record: u32) -> bool {
        !self.entries.is_empty() && self.newest_record == open_record
    }

    /// Records on their way to be durable.
    pub(super) fn records_under_way(&self) -> u32 {
        self.records_under_way
    }

    /// Since when the oldest bytes wait; `None` when nothing does.
    pub(super) fn waits_since_ns(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.since_ns)
    }

    /// Whether nothing of the oldest request here has been released.
    pub(super) fn begins_whole(&self) -> bool {
        // What stands in for several records begins with entries that have nothing to send.
        let sends = |entry: &&Entry| !matches!(&entry.what, What::Instead { segment, .. } if segment.is_empty());
        self.entries.iter().find(sends).is_none_or(|entry| entry.starts_request)
    }

    /// Whether nothing from `mark` on has been released.
    pub(super) fn has_all_from(&self, mark: Mark) -> bool {
        self.pushed - self.entries.len() as u64 <= mark.0
    }

    /// Bytes in a record, not to be sent before it is durable.
    pub(super) fn hold(&mut self, place: Place, len: u32, starts_request: bool, now_ns: u64) {
        self.bytes += u64::from(len);
        self.newest_record = place.record;
        self.push(What::Held { place, len }, starts_request, now_ns);
    }

    /// Bytes to be sent instead of some that lie in `record`, not before it is durable.
    pub(super) fn instead(
        &mut self,
        record: u32,
        segment: Segment,
        starts_request: bool,
        now_ns: u64,
    ) {
        self.bytes += segment.len() as u64;
        self.newest_record = record;
        self.push(What::Instead { record, segment }, starts_request, now_ns);
    }

    /// Bytes that may go as soon as everything before them has gone.
    pub(super) fn behind(&mut self, segment: Segment, starts_request: bool, now_ns: u64) {
        self.bytes += segment.len() as u64;
        self.push(What::Behind(segment), starts_request, now_ns);
    }

    /// The open record with entries here was finished and is on its way.
    pub(super) fn record_finished(&mut self) {
        self.records_under_way += 1;
    }

    /// Where the next bytes will stand.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.pushed)
    }

    /// Removes everything from `mark` on; false when some of it has already been released.
    pub(super) fn drop_from(&mut self, mark: Mark, freed: &mut impl FnMut(Segment)) -> bool {
        let first = self.pushed - self.entries.len() as u64;
        let whole = first <= mark.0;
        while self.pushed > mark.0.max(first) {
            self.pushed -= 1;
            let entry = self.entries.pop_back().expect("invariant: pushed counts the entries");
            self.forget(entry, freed);
        }
        whole
    }

    /// What stands from `mark` on is in the records no more.
    pub(super) fn unrecord(&mut self, mark: Mark) {
        let first = self.pushed - self.entries.len() as u64;
        let before = mark.0.saturating_sub(first) as usize;
        self.entries.iter_mut().skip(before).for_each(|entry| entry.unrecorded = true);
    }

    /// Removes everything; returns how many requests of the records were dropped of which no byte had been released.
    pub(super) fn clear(&mut self, freed: &mut impl FnMut(Segment)) -> u32 {
        let mut requests = 0;
        while let Some(entry) = self.entries.pop_front() {
            requests += u32::from(entry.starts_request && !entry.unrecorded);
            self.forget(entry, freed);
        }
        requests
    }

    /// Moves everything to `out`, durable or not; returns how many requests go before their records are durable. What
    /// waits must have memory of its own.
    pub(super) fn let_go(&mut self, out: &mut SendQueue) -> u32 {
        let mut requests = u32::from(!self.begins_whole());
        while let Some(entry) = self.entries.pop_front() {
            let segment = match entry.what {
                What::Instead { segment, .. } => {
                    requests += u32::from(entry.starts_request);
                    segment
                }
                What::Behind(segment) => segment,
                What::Held { .. } => unreachable!("invariant: nothing waits in a record alone"),
            };
            self.bytes -= segment.len() as u64;
            if !segment.is_empty() {
                out.push(segment);
            }
        }
        requests
    }

    /// Record `number` is durable and `memory` is its content: moves what may go now to `out`. Gives the memory back
    /// when nothing is to be sent from it.
    pub(super) fn durable(
        &mut self,
        number: u32,
        memory: Vec<u8>,
        out: &mut SendQueue,
    ) -> Option<Vec<u8>> {
        self.records_under_way = self.records_under_way.saturating_sub(1);
        for entry in &mut self.entries {
            if matches!(entry.what, What::Instead { record, .. } if record == number) {
                entry.set_free();
            }
        }
        let of_record =
            |e: &Entry| matches!(&e.what, What::Held { place, .. } if place.record == number);
        let parts = self.entries.iter().filter(|e| of_record(e)).count();
        let mut whole = Some(memory);
        if parts > 0 {
            let shared = (parts > 1).then(|| Rc::new(whole.take().expect("invariant: just set")));
            for entry in self.entries.iter_mut().filter(|e| of_record(e)) {
                let What::Held { place, len } = entry.what else { continue };
                let offset = place.offset;
                entry.what = What::Behind(match (&shared, whole.take()) {
                    (Some(bytes), _) => Segment::Shared { bytes: Rc::clone(bytes), offset, len },
                    (None, Some(bytes)) => Segment::Owned { bytes, offset, len },
                    (None, None) => unreachable!("invariant: one part takes the whole"),
                });
            }
        }
        self.release(out);
        whole
    }

    fn release(&mut self, out: &mut SendQueue) {
        while let Some(Entry { what: What::Behind(_), .. }) = self.entries.front() {
            let Some(Entry { what: What::Behind(segment), .. }) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= segment.len() as u64;
            if !segment.is_empty() {
                out.push(segment);
            }
        }
    }

    fn push(&mut self, what: What, starts_request: bool, since_ns: u64) {
        self.pushed += 1;
        self.entries.push_back(Entry { what, starts_request, unrecorded: false, since_ns });
    }

    fn forget(&mut self, entry: Entry, freed: &mut impl FnMut(Segment)) {
        match entry.what {
            What::Held { len, .. } => self.bytes -= u64::from(len),
            What::Behind(segment) | What::Instead { segment, .. } => {
                self.bytes -= segment.len() as u64;
                freed(segment);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(out: &mut SendQueue) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(segment) = out.pop() {
            match segment {
                Segment::Owned { bytes: b, offset, len } => {
                    bytes.extend_from_slice(&b[offset as usize..][..len as usize]);
                }
                Segment::Shared { bytes: b, offset, len } => {
                    bytes.extend_from_slice(&b[offset as usize..][..len as usize]);
                }
                Segment::Provided { .. } => unreachable!("not used here"),
            }
        }
        bytes
    }

    #[test]
    fn what_came_later_waits_for_what_came_before() {
        let (mut queue, mut out) = (HoldQueue::default(), SendQueue::default());
        queue.hold(Place { record: 1, offset: 2 }, 3, true, 0);
        queue.record_finished();
        queue.behind(Segment::owned(b"get".to_vec()), true, 0);
        queue.hold(Place { record: 2, offset: 0 }, 1, true, 0);
        queue.record_finished();
        // Out of order: nothing may go.
        assert!(queue.durable(2, b"z".to_vec(), &mut out).is_none());
        assert!(out.is_empty());
        assert!(queue.durable(1, b"--put".to_vec(), &mut out).is_none());
        assert_eq!(drain(&mut out), b"putgetz");
        assert!(queue.is_empty() && queue.bytes() == 0 && queue.records_under_way() == 0);
    }

    #[test]
    fn what_stands_in_for_a_record_waits_for_all_of_it() {
        let (mut queue, mut out) = (HoldQueue::default(), SendQueue::default());
        queue.instead(1, Segment::owned(Vec::new()), true, 0);
        queue.instead(2, Segment::owned(b"edited".to_vec()), false, 0);
        queue.hold(Place { record: 2, offset: 1 }, 4, false, 0);
        assert!(queue.waits_for(2));
        assert!(queue.durable(2, b"-body".to_vec(), &mut out).is_none());
        assert!(out.is_empty());
        // None of its memory is sent: it comes back.
        assert_eq!(queue.durable(1, b"head".to_vec(), &mut out), Some(b"head".to_vec()));
        assert_eq!(drain(&mut out), b"editedbody");
        assert!(queue.is_empty() && queue.bytes() == 0);
    }

    #[test]
    fn what_is_let_go_goes_in_order_and_its_records_find_nothing() {
        let (mut queue, mut out) = (HoldQueue::default(), SendQueue::default());
        queue.instead(1, Segment::owned(b"put".to_vec()), true, 0);
        queue.record_finished();
        queue.behind(Segment::owned(b"get".to_vec()), true, 0);
        queue.instead(2, Segment::owned(Vec::new()), false, 0);
        queue.instead(2, Segment::owned(b"post".to_vec()), true, 0);
        assert_eq!(queue.let_go(&mut out), 2, "the read is no write");
        assert_eq!(drain(&mut out), b"putgetpost");
        assert!(queue.is_empty() && queue.bytes() == 0 && !queue.waits_for(2));
        assert_eq!(queue.durable(1, vec![1], &mut out), Some(vec![1]));
        // The rest of a request of which a part was durable.
        queue.instead(3, Segment::owned(b"rest".to_vec()), false, 0);
        assert_eq!(queue.let_go(&mut out), 1);
    }

    #[test]
    fn a_record_without_held_bytes_gives_its_memory_back() {
        let (mut queue, mut out) = (HoldQueue::default(), SendQueue::default());
        assert_eq!(queue.durable(7, vec![1, 2], &mut out), Some(vec![1, 2]));
    }

    #[test]
    fn a_request_is_dropped_whole_or_reported_as_begun() {
        let (mut queue, mut out) = (HoldQueue::default(), SendQueue::default());
        queue.hold(Place { record: 1, offset: 0 }, 1, true, 0);
        let mark = queue.mark();
        queue.hold(Place { record: 2, offset: 0 }, 1, true, 0);
        queue.hold(Place { record: 3, offset: 0 }, 1, false, 0);
        assert!(queue.drop_from(mark, &mut |_| ()));
        assert_eq!(queue.bytes(), 1);
        let mark = queue.mark();
        queue.hold(Place { record: 4, offset: 0 }, 1, true, 0);
        queue.durable(1, vec![0], &mut out);
        queue.durable(4, vec![0], &mut out);
        queue.hold(Place { record: 5, offset: 0 }, 1, false, 0);
        assert!(!queue.drop_from(mark, &mut |_| ()));
        assert!(queue.is_empty() && queue.bytes() == 0);
    }

    #[test]
    fn what_the_records_have_given_up_is_not_counted_as_dropped() {
        let (mut queue, mut out) = (HoldQueue::default(), SendQueue::default());
        queue.hold(Place { record: 1, offset: 0 }, 1, true, 0);
        let mark = queue.mark();
        queue.behind(Segment::owned(b"search".to_vec()), true, 0);
        queue.unrecord(mark);
        queue.behind(Segment::owned(b"more".to_vec()), false, 0);
        assert_eq!(queue.clear(&mut |_| ()), 1);
        // What has been released meanwhile is not looked for.
        queue.hold(Place { record: 2, offset: 0 }, 1, true, 0);
        let mark = queue.mark();
        queue.durable(2, vec![0], &mut out);
        queue.hold(Place { record: 3, offset: 0 }, 1, true, 0);
        queue.unrecord(mark);
        assert_eq!(queue.clear(&mut |_| ()), 0);
    }

    proptest! {
        /// Whatever the order of acknowledgements, what is released is a prefix of what came, and never a byte of a
        /// record that is not back.
        #[test]
        fn only_a_durable_prefix_is_released(
            parts in prop::collection::vec((0u32..4, 1u32..6, any::<bool>()), 1..40),
            order in prop::collection::vec(any::<u16>(), 40),
        ) {
            let (mut queue, mut out) = (HoldQueue::default(), SendQueue::default());
            let (mut records, mut record) = (vec![Vec::new()], 1u32);
            // Every byte that came, and the record it waits for (0: none).
            let mut came: Vec<(u8, u32)> = Vec::new();
            for (n, (step, len, held)) in parts.iter().enumerate() {
                if *step == 0 && !records[record as usize - 1].is_empty() {
                    records.push(Vec::new());
                    record += 1;
                }
                let bytes = vec![n as u8; *len as usize];
                if *held || queue.is_empty() {
                    let memory: &mut Vec<u8> = &mut records[record as usize - 1];
                    memory.push(255);
                    let place = Place { record, offset: memory.len() as u32 };
                    memory.extend_from_slice(&bytes);
                    queue.hold(place, *len, true, 0);
                    came.extend(bytes.iter().map(|b| (*b, record)));
                } else {
                    came.extend(bytes.iter().map(|b| (*b, 0)));
                    queue.behind(Segment::owned(bytes), true, 0);
                }
            }
            let mut todo: Vec<u32> = (1..=record).collect();
            let (mut back, mut sent) = (Vec::new(), Vec::new());
            for pick in order {
                if todo.is_empty() { break; }
                let number = todo.swap_remove(usize::from(pick) % todo.len());
                back.push(number);
                queue.durable(number, records[number as usize - 1].clone(), &mut out);
                sent.extend(drain(&mut out));
                prop_assert!(sent.len() <= came.len());
                for (got, (byte, waits)) in sent.iter().zip(&came) {
                    prop_assert_eq!(got, byte);
                    prop_assert!(*waits == 0 || back.contains(waits));
                }
            }
            if todo.is_empty() {
                prop_assert_eq!(sent.len(), came.len());
                prop_assert_eq!(queue.bytes(), 0);
            }
        }
    }
}
