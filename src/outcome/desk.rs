//! The outcome thread: takes outcomes, writes tuples and quarantine entries, and says when they are safe.
//!
//! An outcome is acknowledged after the sync point that covers it: gzip member ended, written, fdatasync. Sync points
//! come at most every [`DeskSettings::sync_age`], or when much is unsynced; so an acknowledgement takes that long,
//! and the cost of fdatasync does not grow with the rate. After an error nothing more is written or acknowledged.

use std::path::PathBuf;
use std::sync::{Arc, atomic::Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::counter::{Counter, Shared};
use super::error::OutcomeError;
use super::quarantine::{Misfit, Quarantine};
use super::recovery::Recovered;
use super::tuple::Tuple;
use super::tuple_file::{TupleFiles, TupleLimits};
use crate::sys::{bell::Bell, clock::Clock};

/// What is left of one request.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Comes back when it is safe.
    pub id: u64,
    /// What is written to the tuples; ignored when there are none.
    pub tuple: Option<Box<Tuple>>,
    /// What is put into quarantine.
    pub quarantine: Option<Box<Misfit>>,
}

impl Outcome {
    /// Bytes it holds, for budgets.
    pub fn bytes(&self) -> u64 {
        let raw = |misfit: &Misfit| {
            let (super::Raw::Request(bytes) | super::Raw::Record(bytes)) = &misfit.raw;
            bytes.len() + misfit.answers.iter().map(Vec::len).sum::<usize>()
        };
        let tuple = self.tuple.as_ref().map_or(0, |tuple| tuple.bytes());
        (tuple + self.quarantine.as_ref().map_or(0, |misfit| raw(misfit))) as u64
    }
}

/// Where and how outcomes are written.
#[derive(Debug, Clone)]
pub struct DeskSettings {
    /// `--tuples`; `None` when it is `off`.
    pub tuples: Option<PathBuf>,
    /// `--quarantine`.
    pub quarantine: PathBuf,
    /// The bounds of tuple files.
    pub limits: TupleLimits,
    /// The longest an outcome waits for its sync point.
    pub sync_age: Duration,
    /// Outcomes that may wait to be written, in bytes.
    pub queued_bytes_max: u64,
}

impl DeskSettings {
    /// The defaults, below these directories.
    pub fn new(tuples: Option<PathBuf>, quarantine: PathBuf) -> Self {
        Self {
            tuples,
            quarantine,
            limits: TupleLimits::default(),
            sync_age: Duration::from_millis(200),
            queued_bytes_max: 64 << 20,
        }
    }
}

/// Prepares the directories and takes over what dead runs left. `conductor` is rung when outcomes are safe or the
/// desk has failed. Run [`Desk::run`] on a thread of its own.
pub fn open(
    settings: &DeskSettings,
    conductor: Arc<Bell>,
) -> Result<(Counter, Desk, Recovered), OutcomeError> {
    let mut recovered = Recovered::default();
    let mut tuples = None;
    if let Some(dir) = &settings.tuples {
        let (files, found) = TupleFiles::open(dir, settings.limits.clone())?;
        (tuples, recovered) = (Some(files), found);
    }
    let quarantine = Quarantine::open(&settings.quarantine)?;
    let shared = Shared::new(conductor).map_err(|error| {
        OutcomeError::io(&settings.quarantine, "making an event descriptor", error)
    })?;
    let counter = Counter::new(Arc::clone(&shared), settings.queued_bytes_max);
    let desk = Desk {
        shared,
        tuples,
        quarantine,
        clock: Clock::default(),
        sync_ns: settings.sync_age.as_nanos() as u64,
        unsynced_since: None,
        unsynced_bytes: 0,
        ids: Vec::new(),
        acknowledged: Vec::new(),
    };
    Ok((counter, desk, recovered))
}

/// The outcome thread's side.
pub struct Desk {
    shared: Arc<Shared>,
    tuples: Option<TupleFiles>,
    quarantine: Quarantine,
    clock: Clock,
    sync_ns: u64,
    unsynced_since: Option<u64>,
    unsynced_bytes: u64,
    /// Outcomes written, not synced.
    ids: Vec<u64>,
    /// Synced, and the queue was full.
    acknowledged: Vec<u64>,
}

impl Desk {
    /// Works until the counter is closed and everything is written, or until the first error.
    pub fn run(mut self) -> Result<(), OutcomeError> {
        let result = self.work();
        if let Err(error) = &result {
            let _ = self.shared.failure.set(error.clone());
        }
        result
    }

    fn work(&mut self) -> Result<(), OutcomeError> {
        loop {
            let closed = self.shared.closed.load(Ordering::Acquire);
            let mut took = 0;
            while took < BATCHES_PER_TURN
                && let Some(batch) = self.shared.outcomes.pop()
            {
                self.write(batch)?;
                took += 1;
            }
            let now = self.clock.monotonic_ns();
            if self.tuples.as_ref().is_some_and(|tuples| tuples.is_due(now)) {
                self.sync()?;
                if let Some(tuples) = &mut self.tuples {
                    tuples.close()?;
                }
            }
            let overdue = self.unsynced_since.is_some_and(|since| now >= since + self.sync_ns);
            if overdue || self.unsynced_bytes >= UNSYNCED_BYTES_MAX {
                self.sync()?;
            }
            self.acknowledge();
            if took > 0 {
                continue;
            }
            if closed {
                return self.end();
            }
            self.sleep();
        }
    }

    fn write(&mut self, batch: Vec<Outcome>) -> Result<(), OutcomeError> {
        let now = self.clock.monotonic_ns();
        let bytes = batch.iter().map(Outcome::bytes).sum();
        let counts = &self.shared.counts;
        for outcome in batch {
            let unix_s = || (self.clock.unix_ns() / 1_000_000_000) as i64;
            if let Some(misfit) = &outcome.quarantine {
                self.quarantine.append(misfit, unix_s())?;
                counts.quarantined.fetch_add(1, Ordering::Relaxed);
            }
            if let (Some(tuples), Some(tuple)) = (&mut self.tuples, &outcome.tuple) {
                tuples.append(tuple, now, unix_s)?;
                counts.tuples.fetch_add(1, Ordering::Relaxed);
            }
            self.ids.push(outcome.id);
        }
        self.unsynced_since.get_or_insert(now);
        self.unsynced_bytes += bytes;
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), OutcomeError> {
        self.quarantine.sync()?;
        let counts = &self.shared.counts;
        if let Some(tuples) = &mut self.tuples {
            tuples.sync()?;
            let written = tuples.written();
            counts.tuple_bytes.store(written.line_bytes, Ordering::Relaxed);
            counts.file_bytes.store(written.file_bytes, Ordering::Relaxed);
            counts.files.store(written.files, Ordering::Relaxed);
        }
        counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.acknowledged.append(&mut self.ids);
        self.unsynced_since = None;
        self.unsynced_bytes = 0;
        Ok(())
    }

    fn acknowledge(&mut self) {
        if self.acknowledged.is_empty() {
            return;
        }
        // What does not fit goes with the next one: the conductor reads its queue every turn.
        if let Err(ids) = self.shared.written.push(std::mem::take(&mut self.acknowledged)) {
            self.acknowledged = ids;
        }
        self.shared.conductor.ring();
    }

    fn end(&mut self) -> Result<(), OutcomeError> {
        self.sync()?;
        if let Some(tuples) = &mut self.tuples {
            tuples.close()?;
        }
        self.acknowledge();
        while !self.acknowledged.is_empty() && Arc::strong_count(&self.shared) > 1 {
            std::thread::yield_now();
            self.acknowledge();
        }
        Ok(())
    }

    fn sleep(&mut self) {
        let now = self.clock.monotonic_ns();
        let sync = self.unsynced_since.map(|since| since + self.sync_ns);
        let rotate = self.tuples.as_ref().and_then(TupleFiles::due_ns);
        let retry = (!self.acknowledged.is_empty()).then_some(now + RETRY_NS);
        let wake = [sync, rotate, retry].into_iter().flatten().min();
        let timeout = wake.map(|at| {
            let left = Duration::from_nanos(at.saturating_sub(now));
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        let bell = &self.shared.desk;
        bell.park();
        if self.shared.outcomes.is_empty() && !self.shared.closed.load(Ordering::Acquire) {
            // An interruption is a wake-up like any other: the loop looks at everything again.
            let mut fds = [PollFd::new(bell.event(), PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        }
        bell.unpark();
        bell.hush();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.shared.finished.store(true, Ordering::Release);
        self.shared.conductor.ring_always();
    }
}

/// Between two looks at the clock.
const BATCHES_PER_TURN: usize = 64;
/// So many bytes of outcomes are synced at the latest.
const UNSYNCED_BYTES_MAX: u64 = 256 << 20;
const RETRY_NS: u64 = 1_000_000;
