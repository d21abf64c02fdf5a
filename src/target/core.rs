//! What all connections of a worker share: the ring, settings, time, who is idle, and what they have to hand back.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use super::{Broken, Counter, Counters, Job, Reply, Settings, link::unstarted};
use crate::ring::{Ring, SendQueue};

pub(super) struct Core<R: Ring> {
    pub(super) ring: R,
    pub(super) settings: Settings,
    /// Of the target, as its name leads there now.
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) counters: Arc<Counters>,
    /// The time of this turn.
    pub(super) now_ns: u64,
    /// No connection's deadline is before this: they are looked through then, and not before.
    pub(super) check_ns: u64,
    /// Idle connections, the one used last at the back.
    pub(super) idle: VecDeque<u32>,
    /// Connections to settle at the end of the turn.
    pub(super) dirty: Vec<u32>,
    /// What the turn has to hand back.
    pub(super) replies: Vec<Reply>,
    /// Empty but within a call that sends.
    pub(super) out: SendQueue,
    /// What TLS has opened, within the call that received it: one allocation for all connections, of a provided buffer
    /// and a record at most.
    pub(super) plain: Vec<u8>,
}

impl<R: Ring> Core<R> {
    pub(super) fn new(ring: R, settings: Settings, counters: Arc<Counters>, now_ns: u64) -> Self {
        Self {
            ring,
            addresses: settings.addresses.current(),
            settings,
            counters,
            now_ns,
            check_ns: u64::MAX,
            idle: VecDeque::new(),
            dirty: Vec::new(),
            replies: Vec::new(),
            out: SendQueue::default(),
            plain: Vec::new(),
        }
    }

    /// A deadline was set.
    pub(super) fn expect_at(&mut self, due_ns: u64) {
        self.check_ns = self.check_ns.min(due_ns);
    }

    /// Hands a job back that no connection was given.
    pub(super) fn refuse(&mut self, job: Job, why: Broken) {
        if why == Broken::Cancelled {
            self.counters.add(Counter::Cancelled, 1);
        }
        let now_ns = self.now_ns;
        self.replies.push(Reply { finished_ns: now_ns, ..unstarted(job, why) });
    }
}
