//! What all connections of a worker share: the ring, the recorder, settings, time.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use super::{Haste, Settings, outstanding::Epochs, timers::Timers};
use crate::{
    capture::{BlockPool, Context, Gap, Identity, Record, Stamp, Stream, Told},
    filter::Filter,
    observe::{Counter, Counters},
    ring::{Ring, Segment, SendQueue, Token},
    sink::Batch,
    tls::Opened,
};

/// The time of one loop turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, for deadlines.
    pub monotonic_ns: u64,
    /// Wall clock, for records.
    pub unix_ns: u64,
}

/// A drain under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    pub(super) haste: Haste,
    pub(super) began_ns: u64,
    /// For how long a drain without haste waits for clients to pause.
    pub(super) patience_ns: u64,
}

pub(super) struct Core<R: Ring> {
    pub(super) ring: R,
    pub(super) settings: Settings,
    /// Of the source, as its name leads there now.
    pub(super) source_addresses: Arc<[SocketAddr]>,
    /// What new requests are changed by: a copy of the worker's own, so that no two workers meet at its counts.
    pub(super) filter: Option<Rc<Filter>>,
    pub(super) recorder: Recorder,
    pub(super) counters: Arc<Counters>,
    pub(super) timers: Timers,
    pub(super) now: Now,
    /// The end that was ordered.
    pub(super) drain: Option<Drain>,
    /// Connections with an open record, each once.
    pub(super) ageing: Vec<Token>,
    /// Connections on which something is held, each once.
    pub(super) holding: Vec<Token>,
    /// Sides whose receive found no buffer.
    pub(super) starved: Vec<Token>,
    /// Connections that wait for the memory budget.
    pub(super) over_budget: Vec<Token>,
    /// The memory budget is used up: what has to be held is not read, and the rest in small steps, so that no turn
    /// takes much of every client.
    pub(super) pressed: bool,
    /// Records are not stored for so long that nothing waits for them; see [`super::passing`].
    pub(super) passing: bool,
    /// What passed uncaptured meanwhile on connections that do not say so themselves.
    pub(super) passed: Option<Gap>,
    /// Where the plaintext of the chunk at hand lies; reused.
    pub(super) opened: Opened,
    /// Records on their way to a send; empty between sends.
    pub(super) sealed: SendQueue,
    /// Chunks of this turn that have not been handled: their buffers are about to be free.
    pub(super) unhandled: usize,
}

impl<R: Ring> Core<R> {
    /// True when so many provided buffers are kept by slow receivers that no more should be: copy and release.
    pub(super) fn is_scarce(&self) -> bool {
        let (free, all) = self.ring.free_buffers();
        free + self.unhandled < all / 2
    }
}

/// Finished records on their way out, and what they are made with.
pub(super) struct Recorder {
    pub(super) identity: Identity,
    pub(super) pool: BlockPool,
    pub(super) stamp: Stamp,
    pub(super) batch: Batch,
    /// Something waits for a record of the batch.
    pub(super) urgent: bool,
    pub(super) sequence: u64,
    pub(super) epochs: Epochs,
    /// What all records say together.
    pub(super) told: Told,
    /// Memory of records handed over and not yet back.
    pub(super) unacknowledged_bytes: u64,
    /// Memory of what clients sent that is before or behind that, as of the last turn of each connection.
    pub(super) open_bytes: u64,
    pub(super) unacknowledged_bytes_max: u64,
}

impl Recorder {
    pub(super) fn is_over_budget(&self) -> bool {
        self.unacknowledged_bytes > self.unacknowledged_bytes_max
    }

    /// Whether clients are to be read with care, given whether they have been: with what is before and behind
    /// the log the budget is used up, or nearly is still.
    pub(super) fn is_pressed(&self, has_been: bool) -> bool {
        let max = self.unacknowledged_bytes_max;
        let mark = if has_been { max / 4 * 3 } else { max };
        self.unacknowledged_bytes + self.open_bytes > mark
    }

    /// Takes note of what a connection holds now.
    pub(super) fn recount(&mut self, counted: &mut u64, now: u64) {
        self.open_bytes = self.open_bytes.saturating_sub(*counted) + now;
        *counted = now;
    }

    /// The budget is used up so far that what could pass uncaptured has to, at once.
    pub(super) fn is_far_over_budget(&self) -> bool {
        let max = self.unacknowledged_bytes_max;
        self.unacknowledged_bytes > max.saturating_add(max / 4)
    }

    /// Runs an encoder call of `stream`.
    pub(super) fn on<T>(&mut self, call: impl FnOnce(&mut Context<'_>, &Stamp) -> T) -> T {
        call(&mut Context { identity: &self.identity, pool: &mut self.pool }, &self.stamp)
    }

    pub(super) fn finish(
        &mut self,
        stream: &mut Stream,
        owner: Token,
        last: bool,
        held: bool,
        counters: &Counters,
    ) {
        self.sequence += 1;
        let Told { captured, left_out, uncaptured } = stream.told();
        let record = stream.finish(&self.identity, self.sequence, last, owner.to_bits(), held);
        self.told.captured += captured;
        self.told.left_out += left_out;
        self.told.uncaptured += uncaptured;
        self.urgent |= held;
        self.push(record, counters);
    }

    /// Puts a record on its way.
    pub(super) fn push(&mut self, mut record: Record, counters: &Counters) {
        self.pool.fit(&mut record.bytes);
        record.epoch = self.epochs.sent();
        record.memory = record.bytes.capacity() as u32;
        self.unacknowledged_bytes += u64::from(record.memory);
        counters.add(Counter::Records, 1);
        counters.add(Counter::RecordBytes, record.bytes.len() as u64);
        self.batch.push(record);
    }

    /// A copy of `bytes` in a block of the pool.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Segment {
        let mut block = self.pool.take(bytes.len());
        block.extend_from_slice(bytes);
        Segment::owned(block)
    }
}

/// Gives back what a segment holds.
pub(super) fn discard<R: Ring>(ring: &mut R, pool: &mut BlockPool, segment: Segment) {
    match segment {
        Segment::Provided { buffer, .. } => ring.release(buffer),
        Segment::Owned { bytes, .. } => pool.give(bytes),
        Segment::Shared { bytes, .. } => {
            if let Ok(bytes) = std::rc::Rc::try_unwrap(bytes) {
                pool.give(bytes);
            }
        }
    }
}
