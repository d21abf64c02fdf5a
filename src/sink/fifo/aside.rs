//! The course beside the straight one: into the spool, out of it again, and back.

use super::{Batch, Broker, Fifo, Lease, LogError, Origin, Record, Shelf, Ticket};

/// How long records that nothing waits for may lie in the kernel's cache only.
const SYNC_AGE_NS: u64 = 200_000_000;
/// How long a full disk is left alone before the next try.
const FULL_PAUSE_NS: u64 = 500_000_000;
/// Records of one append.
const GROUP_RECORDS_MAX: usize = 4096;
/// Bytes of one append, unless one record is larger.
const GROUP_BYTES_MAX: usize = 8 << 20;

impl<B: Broker, S: Shelf> Fifo<B, S> {
    /// The workers of what the broker has will be served from copies.
    pub(super) fn copy_out(&mut self) {
        let (fresh, twins) = (&mut self.fresh, &mut self.twins);
        self.broker.for_each(&mut |record, origin| {
            let Origin::Worker { order, .. } = *origin else { return };
            let copy = Record { bytes: record.bytes.clone(), ..*record };
            fresh.push_back(Lease { record: copy, partition: 0, origin: *origin });
            *origin = Origin::Copied { order };
            twins.insert(order, None);
        });
        self.lanes.iter_mut().for_each(|lane| lane.owed = 0);
    }

    /// Takes what workers wait for out of the lanes: it goes to the spool.
    pub(super) fn withdraw(&mut self) {
        let mut taken = Vec::new();
        for lane in &mut self.lanes {
            // They stand behind what came from the spool.
            while let Some(lease) =
                lane.waiting.pop_back_if(|lease| matches!(lease.origin, Origin::Worker { .. }))
            {
                taken.push(lease);
            }
        }
        self.fresh.extend(taken);
        self.fresh.make_contiguous().sort_unstable_by_key(|lease| lease.origin);
    }

    /// Appends what waits to the spool; what is durable there goes back.
    pub(super) fn spill(&mut self, now_ns: u64, done: &mut [Batch]) -> Result<(), LogError> {
        let Some(shelf) = &mut self.shelf else { return Ok(()) };
        if self.fresh.is_empty() {
            self.full = None;
        }
        let resting = self.full.as_ref().is_some_and(|(until_ns, _)| now_ns < *until_ns);
        if !self.fresh.is_empty() && !resting {
            let (mut payloads, mut bytes, mut held) = (Vec::new(), 0, false);
            for lease in &self.fresh {
                let len = lease.record.bytes.len();
                if payloads.len() == GROUP_RECORDS_MAX
                    || (bytes > 0 && bytes + len > GROUP_BYTES_MAX)
                {
                    break;
                }
                bytes += len;
                held |= lease.record.held;
                payloads.push(&lease.record.bytes[..]);
            }
            let first = match shelf.append(&payloads) {
                Err(error) if error.is_disk_full() => {
                    self.full = Some((now_ns + FULL_PAUSE_NS, error.to_string()));
                    self.news = Some(error.to_string());
                    return Ok(());
                }
                other => other?,
            };
            let count = payloads.len();
            self.full = None;
            self.unsynced_since_ns.get_or_insert(now_ns);
            if held {
                shelf.sync()?;
                self.tally.syncs += 1;
                self.unsynced_since_ns = None;
            }
            self.tally.spooled += count as u64;
            self.tally.spooled_bytes += bytes as u64;
            for (lease, sequence) in self.fresh.drain(..count).zip(first.sequence..) {
                let Origin::Worker { order, link } = lease.origin else { continue };
                if let Some(twin) = self.twins.get_mut(&order) {
                    let ticket = Ticket { source: first.source, sequence };
                    *twin = Some(ticket);
                    self.adopted.insert(ticket);
                }
                done[usize::from(link)].push(lease.record);
            }
        }
        if self.unsynced_since_ns.is_some_and(|since| now_ns >= since + SYNC_AGE_NS) {
            shelf.sync()?;
            self.tally.syncs += 1;
            self.unsynced_since_ns = None;
        }
        Ok(())
    }

    /// Reads on in the spool, as far as there is room for it.
    pub(super) fn read(&mut self) -> Result<(), LogError> {
        if self.broker.partitions() != Some(self.lanes.len()) {
            return Ok(());
        }
        let mut bytes = 0;
        while self.in_hand_bytes < self.in_hand_bytes_max && bytes < self.read_bytes_max {
            let Some(shelf) = &mut self.shelf else { return Ok(()) };
            let Some((ticket, payload)) = shelf.read()? else { return Ok(()) };
            if self.adopted.remove(&ticket) {
                continue;
            }
            bytes += payload.len();
            self.in_hand_bytes += payload.len();
            let record =
                Record { bytes: payload, owner: 0, number: 0, held: false, epoch: 0, memory: 0 };
            self.enter(Lease { record, partition: 0, origin: Origin::Spool(ticket) });
        }
        Ok(())
    }

    /// Back to the straight course, when everything older is in a lane and the broker does its work.
    pub(super) fn straighten(&mut self, now_ns: u64) {
        let read = self.shelf.as_ref().is_some_and(Shelf::is_read);
        let served = self.twins.values().all(Option::is_some);
        let ready = self.broker.partitions() == Some(self.lanes.len());
        if read
            && served
            && ready
            && (self.flowing || self.is_drained())
            && self.cause.is_none()
            && !self.is_stalled(now_ns)
        {
            self.aside = false;
            self.full = None;
        }
    }
}
