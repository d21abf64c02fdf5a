//! Between the conductor and one worker: two bounded lock-free queues of batches, and wake-ups only for sleepers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam_queue::ArrayQueue;

use super::{Broken, Job, Reply};
use crate::sys::bell::Bell;

/// Batches in each direction of one link; both ends publish at most one per turn.
const BATCHES_MAX: usize = 1024;

/// What the conductor tells in one turn.
#[derive(Default)]
pub(super) struct Orders {
    /// Drop everything that was told before.
    pub(super) cancel: bool,
    pub(super) jobs: Vec<Job>,
}

struct Link {
    orders: ArrayQueue<Orders>,
    replies: ArrayQueue<Vec<Reply>>,
    worker: Arc<Bell>,
    conductor: Arc<Bell>,
    /// No more orders will come.
    closed: AtomicBool,
    conductor_gone: AtomicBool,
    worker_gone: AtomicBool,
}

/// A link between a worker with the bell `worker` and the conductor with the bell `conductor`.
pub fn link(worker: Arc<Bell>, conductor: Arc<Bell>) -> (ConductorEnd, WorkerEnd) {
    let link = Arc::new(Link {
        orders: ArrayQueue::new(BATCHES_MAX),
        replies: ArrayQueue::new(BATCHES_MAX),
        worker,
        conductor,
        closed: AtomicBool::new(false),
        conductor_gone: AtomicBool::new(false),
        worker_gone: AtomicBool::new(false),
    });
    let end = ConductorEnd {
        link: Arc::clone(&link),
        pending: Orders::default(),
        taken: Vec::new().into_iter(),
        recalled: Vec::new(),
        closing: false,
    };
    (end, WorkerEnd { link, closed: false })
}

/// The conductor's end. Dropping it cancels everything and ends the worker.
pub struct ConductorEnd {
    link: Arc<Link>,
    pending: Orders,
    taken: std::vec::IntoIter<Reply>,
    /// Jobs cancelled before they were published.
    recalled: Vec<Job>,
    closing: bool,
}

impl ConductorEnd {
    /// Adds a job to the batch that the next [`ConductorEnd::flush`] publishes. How many are in flight is the caller's
    /// to bound: nothing here refuses one.
    pub fn send(&mut self, job: Job) {
        debug_assert!(!self.closing, "a job behind the end");
        debug_assert!(job.head.len() + job.bytes.len() > job.from, "a request has a head");
        self.pending.jobs.push(job);
    }

    /// Publishes what was sent since the last time, as one batch, and wakes the worker if it sleeps. False when the
    /// queue is full: the batch stays and goes with a later call.
    pub fn flush(&mut self) -> bool {
        if self.pending.cancel || !self.pending.jobs.is_empty() {
            let orders = std::mem::take(&mut self.pending);
            if let Err(orders) = self.link.orders.push(orders) {
                self.pending = orders;
                self.link.worker.ring();
                return false;
            }
            self.link.worker.ring();
        }
        if self.closing && !self.link.closed.load(Ordering::Relaxed) {
            self.link.closed.store(true, Ordering::Release);
            self.link.worker.ring_always();
        }
        true
    }

    /// The next reply, in no particular order.
    pub fn reply(&mut self) -> Option<Reply> {
        loop {
            if let Some(reply) = self.taken.next() {
                return Some(reply);
            }
            if let Some(job) = self.recalled.pop() {
                return Some(unstarted(job, Broken::Cancelled));
            }
            self.taken = self.link.replies.pop()?.into_iter();
        }
    }

    /// True when no reply waits. To be looked at between parking the conductor's bell and sleeping.
    pub fn is_quiet(&self) -> bool {
        self.taken.len() == 0 && self.recalled.is_empty() && self.link.replies.is_empty()
    }

    /// True when a batch waits for room in the queue: flush again soon.
    pub fn is_blocked(&self) -> bool {
        self.pending.cancel || !self.pending.jobs.is_empty()
    }

    /// Every job sent so far gets its reply soon: the response if it is there already, else [`Broken::Cancelled`].
    /// Jobs sent afterwards are not touched. The worker learns of it with the next flush.
    pub fn cancel_all(&mut self) {
        self.recalled.append(&mut self.pending.jobs);
        self.pending.cancel = true;
    }

    /// No more jobs will be sent: the worker finishes those it has and ends. To be followed by flushes until one says
    /// true.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// True when the worker has ended and all its replies were taken. Jobs without a reply by then are lost: that
    /// happens only when its ring failed.
    pub fn is_finished(&self) -> bool {
        self.link.worker_gone.load(Ordering::Acquire) && self.is_quiet()
    }
}

impl Drop for ConductorEnd {
    fn drop(&mut self) {
        self.link.conductor_gone.store(true, Ordering::Release);
        self.link.worker.ring_always();
    }
}

/// The worker's end.
pub struct WorkerEnd {
    link: Arc<Link>,
    /// The worker knows that no more orders come.
    closed: bool,
}

impl WorkerEnd {
    /// The next orders.
    pub(super) fn take(&mut self) -> Option<Orders> {
        // The flag is read before the queue: what was published before it was set is then found.
        let closed = self.link.closed.load(Ordering::Acquire);
        let gone = self.link.conductor_gone.load(Ordering::Acquire);
        let orders = self.link.orders.pop();
        if orders.is_some() || self.closed {
            return orders;
        }
        self.closed = closed || gone;
        gone.then(|| Orders { cancel: true, jobs: Vec::new() })
    }

    /// No more orders will come.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// True when there is nothing to take.
    pub(super) fn is_quiet(&self) -> bool {
        let told = || {
            self.link.closed.load(Ordering::Acquire)
                || self.link.conductor_gone.load(Ordering::Acquire)
        };
        self.link.orders.is_empty() && (self.closed || !told())
    }

    /// Hands all of `replies` over and wakes the conductor if it sleeps. False when the queue is full: they stay.
    pub(super) fn publish(&self, replies: &mut Vec<Reply>) -> bool {
        if replies.is_empty() {
            return true;
        }
        if self.link.conductor_gone.load(Ordering::Acquire) {
            replies.clear();
            return true;
        }
        // The next turn's batch is about as large as this one.
        let batch = std::mem::replace(replies, Vec::with_capacity(replies.len()));
        let result = self.link.replies.push(batch);
        self.link.conductor.ring();
        match result {
            Ok(()) => true,
            Err(batch) => {
                *replies = batch;
                false
            }
        }
    }
}

impl Drop for WorkerEnd {
    fn drop(&mut self) {
        self.link.worker_gone.store(true, Ordering::Release);
        self.link.conductor.ring_always();
    }
}

/// The reply to a job that no connection was given.
pub(super) fn unstarted(job: Job, why: Broken) -> Reply {
    let Job { id, head, bytes, .. } = job;
    Reply { id, head, bytes, result: Err(why), started_ns: 0, sent_ns: 0, finished_ns: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u64) -> Job {
        Job { id, bytes: vec![1; 4], ..Job::default() }
    }

    fn ends() -> (ConductorEnd, WorkerEnd, [Arc<Bell>; 2]) {
        let bells = [(); 2].map(|()| Arc::new(Bell::new().expect("bell")));
        let (conductor, worker) = link(Arc::clone(&bells[0]), Arc::clone(&bells[1]));
        (conductor, worker, bells)
    }

    fn sleep(bell: &Bell, quiet: impl Fn() -> bool) {
        bell.park();
        if quiet() {
            let mut fds = [rustix::event::PollFd::new(bell.event(), rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None).expect("poll");
        }
        bell.unpark();
        bell.hush();
    }

    #[test]
    fn every_job_comes_back_once_and_in_order_across_threads_that_sleep() {
        const JOBS: u64 = 20_000;
        let (mut conductor, mut worker, [worker_bell, bell]) = ends();
        let thread = std::thread::spawn(move || {
            let mut replies = Vec::new();
            loop {
                sleep(&worker_bell, || worker.is_quiet() && replies.is_empty());
                while let Some(orders) = worker.take() {
                    replies
                        .extend(orders.jobs.into_iter().map(|j| unstarted(j, Broken::Cancelled)));
                }
                if worker.publish(&mut replies) && worker.is_closed() {
                    return;
                }
            }
        });
        let (mut sent, mut back) = (0, 0);
        loop {
            let room = 200 - (sent - back);
            for _ in 0..room.min(1 + sent % 7).min(JOBS - sent) {
                conductor.send(job(sent));
                sent += 1;
            }
            if sent == JOBS {
                conductor.close();
            }
            conductor.flush();
            while let Some(reply) = conductor.reply() {
                assert_eq!((reply.id, reply.bytes), (back, vec![1; 4]));
                back += 1;
            }
            if conductor.is_finished() {
                break;
            }
            let full = sent - back == 200 || sent == JOBS;
            sleep(&bell, || full && conductor.is_quiet() && !conductor.is_finished());
        }
        assert_eq!(back, JOBS);
        thread.join().expect("worker thread");
    }

    #[test]
    fn a_full_queue_keeps_the_batch_and_the_end_waits_for_it() {
        let (mut conductor, mut worker, _bells) = ends();
        for id in 0..=BATCHES_MAX as u64 {
            conductor.send(job(id));
            assert_eq!(conductor.flush(), id < BATCHES_MAX as u64);
        }
        conductor.close();
        assert!(conductor.is_blocked() && !conductor.flush());
        assert_eq!(worker.take().expect("orders").jobs[0].id, 0);
        assert!(conductor.flush() && !conductor.is_blocked());
        let rest: Vec<_> = std::iter::from_fn(|| worker.take()).collect();
        assert_eq!(rest.last().expect("orders").jobs[0].id, BATCHES_MAX as u64);
        assert!(worker.is_closed());
    }

    #[test]
    fn a_cancel_recalls_what_is_unpublished_and_spares_what_follows() {
        let (mut conductor, mut worker, _bells) = ends();
        conductor.send(job(1));
        conductor.flush();
        conductor.send(job(2));
        conductor.cancel_all();
        conductor.send(job(3));
        conductor.flush();
        let first = worker.take().expect("orders");
        assert!(!first.cancel && first.jobs[0].id == 1);
        let second = worker.take().expect("orders");
        assert!(second.cancel && second.jobs.len() == 1 && second.jobs[0].id == 3);
        assert!(!conductor.is_quiet());
        let reply = conductor.reply().expect("the recalled job's");
        assert_eq!((reply.id, reply.result), (2, Err(Broken::Cancelled)));
        assert!(conductor.reply().is_none() && conductor.is_quiet());
    }

    #[test]
    fn a_conductor_that_goes_cancels_and_a_worker_that_goes_is_noticed() {
        let (conductor, mut worker, _bells) = ends();
        drop(conductor);
        assert!(!worker.is_quiet());
        assert!(worker.take().expect("orders").cancel);
        assert!(worker.take().is_none() && worker.is_closed() && worker.is_quiet());
        let (mut conductor, worker, _bells) = ends();
        assert!(worker.publish(&mut vec![unstarted(job(1), Broken::Cancelled)]));
        drop(worker);
        assert!(!conductor.is_finished());
        assert!(conductor.reply().is_some() && conductor.is_finished());
    }
}
