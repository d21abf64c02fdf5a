//! Whether a thread sleeps, without a lost wake-up: of one who fills a queue and one who looks at it before it sleeps,
//! at least one sees the other (Dekker's protocol by two sequentially consistent fences).
//!
//! `tests/loom` runs this file under loom, which tries every interleaving and every value that a relaxed load may give.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_utils::CachePadded;

/// The flag of one thread.
pub(super) struct Parked(CachePadded<AtomicBool>);

impl Parked {
    /// Of a thread that is awake.
    pub(super) fn new() -> Self {
        Self(CachePadded::new(AtomicBool::new(false)))
    }

    /// Announces sleep. The caller must look at its queues once more before it sleeps.
    pub(super) fn announce(&self) {
        // A store would do by the fences below; loom orders what is written to one flag only by what was read there.
        self.0.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Takes the announcement back.
    pub(super) fn take_back(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// True when the thread sleeps or is about to, and the caller is the one to wake it. For after a queue was filled.
    pub(super) fn claim(&self) -> bool {
        fence(Ordering::SeqCst);
        // Most find nobody asleep; the swap lets one of several wake.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
