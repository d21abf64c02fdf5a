//! The loop: completions and jobs in, operations and replies out.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use super::{
    Broken, Counter, Counters, Job, Settings, WorkerEnd, core::Core, link::Orders, pool::Pool,
};
use crate::{
    ring::{Completion, Errno, Fd, Ring},
    sys::bell::Bell,
};

/// One worker: a ring and a pool of connections.
pub struct Worker<R: Ring> {
    core: Core<R>,
    pool: Pool,
    /// Jobs that wait for a connection, oldest first.
    waiting: VecDeque<Job>,
    completions: Vec<Completion>,
    bell: Arc<Bell>,
    link: WorkerEnd,
    /// The conductor's queue was full.
    blocked: bool,
    /// Changes of the target's addresses.
    addresses_seen: u64,
}

/// What a worker is made of.
pub struct Parts<R: Ring> {
    /// Its ring, enabled on this thread.
    pub ring: R,
    /// What to connect to.
    pub settings: Settings,
    /// Where it counts.
    pub counters: Arc<Counters>,
    /// What wakes it: the one its link was made with.
    pub bell: Arc<Bell>,
    /// Where jobs come from.
    pub link: WorkerEnd,
}

impl<R: Ring> Worker<R> {
    /// A worker without connections. `now_ns` is of the clock that it will be turned with.
    pub fn new(parts: Parts<R>, now_ns: u64) -> Self {
        let Parts { mut ring, settings, counters, bell, link } = parts;
        assert!(!settings.addresses.current().is_empty(), "invariant: a target has an address");
        assert!(settings.connections_max > 0, "invariant: a job needs a connection");
        ring.wake_on(Fd(std::os::fd::AsRawFd::as_raw_fd(bell.event())));
        Self {
            core: Core::new(ring, settings, counters, now_ns),
            pool: Pool::new(),
            waiting: VecDeque::new(),
            completions: Vec::new(),
            bell,
            link,
            blocked: false,
            addresses_seen: 0,
        }
    }

    /// Turns until the conductor has closed its end and every job has its reply. `clock` gives monotonic nanoseconds.
    /// Fails only when the ring does; jobs without a reply are lost then.
    pub fn run(&mut self, clock: impl Fn() -> u64) -> io::Result<()> {
        while !self.turn(&clock)? {}
        Ok(())
    }

    /// One loop turn; true when the worker is done.
    pub fn turn(&mut self, clock: impl Fn() -> u64) -> io::Result<bool> {
        let timeout = self.timeout();
        // While many are in flight a few of them make a turn worth its wake-ups, and the others keep the target busy.
        let busy = self.pool.len().saturating_sub(self.core.idle.len());
        let many = (busy / TURN_SHARE).clamp(1, TURN_REPLIES_MAX) as u32;
        self.core.ring.wait_for_many(many, TURN_PATIENCE, timeout, &mut self.completions)?;
        self.bell.unpark();
        self.core.now_ns = clock();
        if let Some(addresses) = self.core.settings.addresses.since(&mut self.addresses_seen) {
            self.core.addresses = addresses;
        }
        let mut completions = std::mem::take(&mut self.completions);
        completions.drain(..).for_each(|completion| self.handle(completion));
        self.completions = completions;
        self.check_deadlines();
        while let Some(orders) = self.link.take() {
            self.obey(orders);
        }
        // What closes in this turn makes room, and what answered in it is idle, before jobs are given out.
        self.settle();
        self.dispatch();
        if self.link.is_closed() && self.waiting.is_empty() {
            self.close_idle();
            self.settle();
        }
        self.blocked = !self.link.publish(&mut self.core.replies);
        Ok(self.link.is_closed()
            && self.waiting.is_empty()
            && self.pool.len() == 0
            && !self.blocked)
    }

    /// How long to wait; announces sleep to the conductor.
    fn timeout(&mut self) -> Option<Duration> {
        self.bell.park();
        if !self.link.is_quiet() || self.blocked {
            self.bell.unpark();
            // A full queue waits for the conductor: look again soon, but do not spin.
            let full = self.blocked && self.link.is_quiet();
            return Some(if full { BLOCKED_PAUSE } else { Duration::ZERO });
        }
        let due = self.core.check_ns;
        let wait = Duration::from_nanos(due.saturating_sub(self.core.now_ns));
        (due != u64::MAX).then_some(wait)
    }

    fn handle(&mut self, completion: Completion) {
        let Self { core, pool, .. } = self;
        match completion {
            Completion::Received(token, chunk) => match pool.find(token) {
                Some(connection) => connection.received(core, chunk),
                None => core.ring.release(chunk.buffer),
            },
            Completion::Sent(token, bytes) => {
                if let Some(connection) = pool.find(token) {
                    connection.sent(core, bytes);
                }
            }
            Completion::SendFailed(token, errno) => {
                if let Some(connection) = pool.find(token) {
                    connection.send_failed(core, errno);
                }
            }
            Completion::ReceiveEnded(token, end) => {
                if let Some(connection) = pool.find(token) {
                    connection.receive_ended(core, end);
                }
            }
            Completion::Connected(token, result) => {
                if let Some(connection) = pool.find(token) {
                    connection.connected(core, result);
                }
            }
            Completion::Woken => self.bell.hush(),
            // Neither asked for here.
            Completion::Accepted(fd) => core.ring.close(fd, false),
            Completion::AcceptEnded(..) | Completion::HungUp(_) | Completion::WatchEnded(_) => {}
        }
    }

    fn obey(&mut self, orders: Orders) {
        if orders.cancel {
            for job in self.waiting.drain(..) {
                self.core.refuse(job, Broken::Cancelled);
            }
            for connection in self.pool.all() {
                connection.cancel(&mut self.core);
            }
        }
        self.core.counters.add(Counter::Jobs, orders.jobs.len() as u64);
        self.waiting.extend(orders.jobs);
    }

    fn check_deadlines(&mut self) {
        let Self { core, pool, .. } = self;
        if core.now_ns < core.check_ns {
            return;
        }
        core.check_ns = u64::MAX;
        for connection in pool.all() {
            let due_ns = connection.check_deadline(core);
            core.expect_at(due_ns);
        }
    }

    /// Gives waiting jobs to connections, the one used last first: its state is warm, and the others age.
    fn dispatch(&mut self) {
        let Self { core, pool, waiting, .. } = self;
        while let Some(job) = waiting.pop_front() {
            if let Some(index) = core.idle.pop_back() {
                let connection = pool.at(index).expect("invariant: idle connections are there");
                connection.reuse(core, job);
                continue;
            }
            if pool.len() >= core.settings.connections_max {
                return waiting.push_front(job);
            }
            let address = pool.next_address(core.addresses.len());
            match core.ring.open(&core.addresses[address]) {
                Ok(fd) => pool.add().connect(core, job, fd, address),
                Err(errno) => {
                    core.counters.add(Counter::NoDescriptors, 1);
                    // With others there the job has something to wait for.
                    if pool.len() > 0 && is_shortage(errno) {
                        return waiting.push_front(job);
                    }
                    core.refuse(job, Broken::NoDescriptors(errno));
                }
            }
        }
    }

    fn close_idle(&mut self) {
        while let Some(&index) = self.core.idle.back() {
            let connection = self.pool.at(index).expect("invariant: idle connections are there");
            connection.close(&mut self.core, false);
        }
    }

    fn settle(&mut self) {
        let mut dirty = std::mem::take(&mut self.core.dirty);
        for index in dirty.drain(..) {
            let gone = self.pool.at(index).is_some_and(|it| it.settle(&mut self.core));
            if gone {
                self.pool.remove(index);
            }
        }
        dirty.append(&mut self.core.dirty);
        self.core.dirty = dirty;
    }
}

fn is_shortage(errno: Errno) -> bool {
    matches!(errno.0, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
}

/// Of the requests in flight, one in so many is waited for to be answered before a turn begins.
const TURN_SHARE: usize = 4;
/// More than this gains nothing.
const TURN_REPLIES_MAX: usize = 32;
/// How long that may put a turn off.
const TURN_PATIENCE: Duration = Duration::from_micros(100);
/// How long a worker waits for the conductor to empty its queue.
const BLOCKED_PAUSE: Duration = Duration::from_millis(1);
