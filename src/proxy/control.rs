//! What other threads tell the workers of a process, and what they ask back.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

use crate::filter::Filter;

/// How an end goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Haste {
    /// Another process serves already: connections are closed when their clients have paused.
    None = 1,
    /// The service stops: connections are closed as soon as they are idle.
    Soon = 2,
}

/// Orders to all workers; whoever gives one rings their bells afterwards.
#[derive(Debug, Default)]
pub struct Control {
    /// 0, or the [`Haste`] of the drain.
    drain: AtomicU8,
    accept_anew: AtomicU64,
    accepting: AtomicUsize,
    /// What takes the place of the filter that the workers began with, and how often there was something.
    filter: Mutex<Arc<Filter>>,
    filters: AtomicU64,
}

impl Control {
    /// Stop accepting, finish what is in flight, end. A drain that goes on already can become hastier.
    pub fn drain(&self, haste: Haste) {
        self.drain.fetch_max(haste as u8, Ordering::Release);
    }

    /// Whether the end was ordered.
    pub fn is_draining(&self) -> bool {
        self.drain_wanted().is_some()
    }

    /// Arm all accepts anew. A process that took sockets over does this when the other one has let go: a wake-up for a
    /// connection may have gone to that one's accept in the moment in which it ended.
    pub fn accept_anew(&self) {
        self.accept_anew.fetch_add(1, Ordering::Release);
    }

    /// Change and leave out this from now on. Requests that have begun to arrive are not touched by it.
    pub fn change_filter(&self, filter: Arc<Filter>) {
        *self.filter.lock().unwrap_or_else(PoisonError::into_inner) = filter;
        self.filters.fetch_add(1, Ordering::Release);
    }

    /// The filter, if it was changed since it had been `seen` times; counts it there.
    pub(super) fn filter_since(&self, seen: &mut u64) -> Option<Arc<Filter>> {
        let filters = self.filters.load(Ordering::Acquire);
        if filters == *seen {
            return None;
        }
        *seen = filters;
        Some(self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Listening sockets on which workers still accept.
    pub fn accepting(&self) -> usize {
        self.accepting.load(Ordering::Acquire)
    }

    pub(super) fn drain_wanted(&self) -> Option<Haste> {
        match self.drain.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Haste::None),
            _ => Some(Haste::Soon),
        }
    }

    pub(super) fn accept_anew_wanted(&self) -> u64 {
        self.accept_anew.load(Ordering::Acquire)
    }

    pub(super) fn begin_accepting(&self, listeners: usize) {
        self.accepting.fetch_add(listeners, Ordering::AcqRel);
    }

    pub(super) fn end_accepting(&self) {
        self.accepting.fetch_sub(1, Ordering::AcqRel);
    }
}
