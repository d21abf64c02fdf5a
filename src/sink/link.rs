//! Between a worker and the sink thread: two bounded lock-free queues of batches, and wake-ups only for sleepers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam_queue::ArrayQueue;

use crate::{capture::Record, sys::bell::Bell};

/// Batches in each direction of one link; a worker publishes at most one per loop turn.
const BATCHES_MAX: usize = 1024;

/// Records that travel together.
pub type Batch = Vec<Record>;

struct Link {
    records: ArrayQueue<Batch>,
    returned: ArrayQueue<Batch>,
    worker: Arc<Bell>,
    sink: Arc<Bell>,
    worker_gone: AtomicBool,
}

/// A link between a worker with the bell `worker` and the sink thread with the bell `sink`.
pub fn link(worker: Arc<Bell>, sink: Arc<Bell>) -> (WorkerEnd, SinkEnd) {
    let link = Arc::new(Link {
        records: ArrayQueue::new(BATCHES_MAX),
        returned: ArrayQueue::new(BATCHES_MAX),
        worker,
        sink,
        worker_gone: AtomicBool::new(false),
    });
    (WorkerEnd(Arc::clone(&link)), SinkEnd { link, overflow: Vec::new() })
}

/// The worker's end.
pub struct WorkerEnd(Arc<Link>);

impl WorkerEnd {
    /// Hands a batch over. `urgent`: something is held on it, wake the sink. Gives the batch back
    /// when the queue is full; try again next turn.
    pub fn publish(&self, batch: Batch, urgent: bool) -> Result<(), Batch> {
        let result = self.0.records.push(batch);
        if urgent || result.is_err() || self.0.records.len() > BATCHES_MAX / 4 {
            self.0.sink.ring();
        }
        result
    }

    /// The next batch of records that are done with: durable if they were held.
    pub fn returned(&self) -> Option<Batch> {
        self.0.returned.pop()
    }

    /// True when nothing was returned since the last look.
    pub fn is_quiet(&self) -> bool {
        self.0.returned.is_empty()
    }
}

impl Drop for WorkerEnd {
    fn drop(&mut self) {
        self.0.worker_gone.store(true, Ordering::Release);
        self.0.sink.ring_always();
    }
}

/// The sink's end.
pub struct SinkEnd {
    link: Arc<Link>,
    overflow: Batch,
}

impl SinkEnd {
    /// The next batch.
    pub fn take(&self) -> Option<Batch> {
        self.link.records.pop()
    }

    /// True when no batch waits.
    pub fn is_quiet(&self) -> bool {
        self.link.records.is_empty()
    }

    /// True when the worker has gone and everything it published was taken.
    pub fn is_finished(&self) -> bool {
        self.link.worker_gone.load(Ordering::Acquire) && self.link.records.is_empty()
    }

    /// Gives records back, in order. The worker drains its queue every turn; what does not fit waits for the next call.
    pub fn give_back(&mut self, records: &mut Batch) {
        self.overflow.append(records);
        if self.overflow.is_empty() {
            return;
        }
        if let Err(batch) = self.link.returned.push(std::mem::take(&mut self.overflow)) {
            self.overflow = batch;
        }
        self.link.worker.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32) -> Record {
        Record { bytes: vec![0; 8], owner: 0, number, held: true, epoch: 0, memory: 0 }
    }

    #[test]
    fn every_record_goes_there_and_comes_back_in_order_across_threads() {
        const RECORDS: u32 = 20_000;
        let (worker_bell, sink_bell) =
            (Arc::new(Bell::new().expect("bell")), Arc::new(Bell::new().expect("bell")));
        let (worker, mut sink) = link(Arc::clone(&worker_bell), Arc::clone(&sink_bell));
        let thread = std::thread::spawn(move || {
            let mut taken = 0;
            while taken < RECORDS {
                sink_bell.park();
                if sink.is_quiet() {
                    let mut fds = [rustix::event::PollFd::new(
                        sink_bell.event(),
                        rustix::event::PollFlags::IN,
                    )];
                    rustix::event::poll(&mut fds, None).expect("poll");
                }
                sink_bell.unpark();
                sink_bell.hush();
                while let Some(mut batch) = sink.take() {
                    taken += batch.len() as u32;
                    sink.give_back(&mut batch);
                }
            }
            while !sink.overflow.is_empty() {
                sink.give_back(&mut Vec::new());
                std::thread::yield_now();
            }
        });
        let (mut sent, mut back, mut pending) = (0, 0, Vec::new());
        while back < RECORDS {
            if pending.is_empty() && sent < RECORDS {
                let n = 1 + sent % 7;
                pending = (0..n.min(RECORDS - sent)).map(|i| record(sent + i)).collect();
                sent += pending.len() as u32;
            }
            if !pending.is_empty() {
                pending =
                    worker.publish(std::mem::take(&mut pending), true).err().unwrap_or_default();
            }
            while let Some(batch) = worker.returned() {
                for record in batch {
                    assert_eq!(record.number, back);
                    back += 1;
                }
            }
        }
        thread.join().expect("sink thread");
    }
}
