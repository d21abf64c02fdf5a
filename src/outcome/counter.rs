//! The conductor's end of the outcome thread: two bounded lock-free queues of batches, and wake-ups only for
//! sleepers.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use crossbeam_queue::ArrayQueue;

use super::desk::Outcome;
use super::error::OutcomeError;
use crate::sys::bell::Bell;

/// Batches in each direction.
const BATCHES_MAX: usize = 1024;

/// What both threads share.
pub(super) struct Shared {
    pub(super) outcomes: ArrayQueue<Vec<Outcome>>,
    pub(super) written: ArrayQueue<Vec<u64>>,
    pub(super) conductor: Arc<Bell>,
    pub(super) desk: Bell,
    /// No more outcomes come.
    pub(super) closed: AtomicBool,
    /// The desk has ended; everything it will ever say is in the queue.
    pub(super) finished: AtomicBool,
    pub(super) failure: OnceLock<OutcomeError>,
    pub(super) queued_bytes: AtomicU64,
    pub(super) counts: SharedCounts,
}

impl Shared {
    pub(super) fn new(conductor: Arc<Bell>) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            outcomes: ArrayQueue::new(BATCHES_MAX),
            written: ArrayQueue::new(BATCHES_MAX),
            conductor,
            desk: Bell::new()?,
            closed: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            failure: OnceLock::new(),
            queued_bytes: AtomicU64::new(0),
            counts: SharedCounts::default(),
        }))
    }
}

#[derive(Default)]
pub(super) struct SharedCounts {
    pub(super) tuples: AtomicU64,
    pub(super) tuple_bytes: AtomicU64,
    pub(super) file_bytes: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) syncs: AtomicU64,
}

/// What the outcome thread has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tuples written.
    pub tuples: u64,
    /// Bytes of their lines.
    pub tuple_bytes: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Tuple files begun.
    pub files: u64,
    /// Quarantine entries written.
    pub quarantined: u64,
    /// Sync points.
    pub syncs: u64,
}

/// Where the conductor hands outcomes over.
pub struct Counter {
    shared: Arc<Shared>,
    queued_bytes_max: u64,
}

impl Counter {
    pub(super) fn new(shared: Arc<Shared>, queued_bytes_max: u64) -> Self {
        Self { shared, queued_bytes_max }
    }

    /// Hands a batch over. Gives it back when the outcome thread is behind (batches or bytes); try again after the
    /// bell, and dispatch nothing new meanwhile. Order is kept.
    pub fn submit(&self, batch: Vec<Outcome>) -> Result<(), Vec<Outcome>> {
        let shared = &self.shared;
        let bytes: u64 = batch.iter().map(Outcome::bytes).sum();
        let queued = shared.queued_bytes.load(Ordering::Acquire);
        // A batch larger than the bound passes when nothing else waits.
        if queued > 0 && queued + bytes > self.queued_bytes_max {
            shared.desk.ring();
            return Err(batch);
        }
        shared.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        let pushed = shared.outcomes.push(batch);
        if pushed.is_err() {
            shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        shared.desk.ring();
        pushed
    }

    /// Ids of outcomes whose files are safe, in the order of [`Self::submit`].
    pub fn written(&self) -> Option<Vec<u64>> {
        self.shared.written.pop()
    }

    /// True when [`Self::written`] has nothing to say; look once more between announcing sleep and sleeping.
    pub fn is_quiet(&self) -> bool {
        self.shared.written.is_empty() && !self.is_finished()
    }

    /// Bytes handed over and not taken yet.
    pub fn queued_bytes(&self) -> u64 {
        self.shared.queued_bytes.load(Ordering::Acquire)
    }

    /// Why the outcome thread stopped; nothing is written after this, and the replay must stop.
    pub fn failure(&self) -> Option<OutcomeError> {
        if let Some(error) = self.shared.failure.get() {
            return Some(error.clone());
        }
        let gone = self.is_finished() && !self.shared.closed.load(Ordering::Acquire);
        gone.then_some(OutcomeError::Gone)
    }

    /// No more outcomes come: the outcome thread writes what it has, closes its files and ends. Go on reading
    /// [`Self::written`] until [`Self::is_finished`], and then once more.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.desk.ring_always();
    }

    /// The outcome thread has ended.
    pub fn is_finished(&self) -> bool {
        self.shared.finished.load(Ordering::Acquire)
    }

    /// For metrics and status.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.shared.counts;
        Counts {
            tuples: read(&counts.tuples),
            tuple_bytes: read(&counts.tuple_bytes),
            file_bytes: read(&counts.file_bytes),
            files: read(&counts.files),
            quarantined: read(&counts.quarantined),
            syncs: read(&counts.syncs),
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.close();
    }
}
