//! The sink that writes the capture log: group commit.
//!
//! Everything that waits is appended at once. If any of it is held, one fdatasync makes all of it durable and all of it
//! goes back; while that runs the next group gathers. A group without held records goes back when it is written and is
//! synced within [`SYNC_AGE`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Batch, SinkEnd,
    report::{Quiet, SinkCounters, SinkState},
};
use crate::log::{LogError, Writer};
use crate::sys::bell::Bell;

/// How long records that nothing waits for may lie in the kernel's cache only.
const SYNC_AGE: Duration = Duration::from_millis(200);
/// How often batches that did not wake the sink are looked for.
const IDLE_POLL: Duration = Duration::from_millis(10);
/// How long a full disk is left alone before the next try.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);
/// Records of one append.
const GROUP_RECORDS_MAX: usize = 4096;
/// Bytes of one append, unless one record is larger.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// The sink thread's state.
pub struct LogSink {
    writer: Writer,
    links: Vec<SinkEnd>,
    bell: Arc<Bell>,
    counters: Arc<SinkCounters>,
    /// Records not written yet, per link.
    waiting: Vec<Batch>,
    unsynced_since: Option<Instant>,
    complaint: Quiet,
}

impl LogSink {
    /// A sink over `links`, which all wake `bell`.
    pub fn new(
        writer: Writer,
        links: Vec<SinkEnd>,
        bell: Arc<Bell>,
        counters: Arc<SinkCounters>,
    ) -> Self {
        let waiting = links.iter().map(|_| Batch::new()).collect();
        let complaint = Quiet::new(Duration::from_secs(10));
        Self { writer, links, bell, counters, waiting, unsynced_since: None, complaint }
    }

    /// Works until every worker has gone, then closes the log. An error means that durability can
    /// no longer be promised: nothing more was released, and the process should end.
    pub fn run(mut self) -> Result<(), LogError> {
        loop {
            self.gather();
            if self.waiting.iter().all(Vec::is_empty) {
                if self.links.iter().all(SinkEnd::is_finished) {
                    self.writer.sync()?;
                    return self.writer.close();
                }
                self.sync_if_old()?;
                self.sleep(IDLE_POLL);
                continue;
            }
            match self.commit() {
                Ok(()) => self.counters.set_state(SinkState::Working),
                Err(error) if error.is_disk_full() => self.disk_full(&error),
                Err(error) => return Err(error),
            }
        }
    }

    fn gather(&mut self) {
        for (link, waiting) in self.links.iter_mut().zip(&mut self.waiting) {
            link.give_back(&mut Batch::new());
            while waiting.len() < GROUP_RECORDS_MAX {
                let Some(mut batch) = link.take() else { break };
                if waiting.is_empty() {
                    *waiting = batch;
                } else {
                    waiting.append(&mut batch);
                }
            }
        }
    }

    /// Appends what waits, syncs if something is held on it, and gives it back.
    fn commit(&mut self) -> Result<(), LogError> {
        let (mut payloads, mut bytes) = (Vec::new(), 0);
        let mut counts = Vec::with_capacity(self.waiting.len());
        let mut held = false;
        for waiting in &self.waiting {
            let before = payloads.len();
            for record in waiting {
                if payloads.len() == GROUP_RECORDS_MAX
                    || (bytes > 0 && bytes + record.bytes.len() > GROUP_BYTES_MAX)
                {
                    break;
                }
                held |= record.held;
                bytes += record.bytes.len();
                payloads.push(&record.bytes[..]);
            }
            counts.push(payloads.len() - before);
        }
        self.writer.append(&payloads)?;
        let records = payloads.len() as u64;
        if held {
            self.sync()?;
        } else {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        self.counters.durable(records, bytes as u64);
        for ((link, waiting), count) in self.links.iter_mut().zip(&mut self.waiting).zip(counts) {
            if count == waiting.len() {
                link.give_back(waiting);
            } else if count > 0 {
                let rest = waiting.split_off(count);
                link.give_back(waiting);
                *waiting = rest;
            }
        }
        self.sync_if_old()
    }

    fn sync(&mut self) -> Result<(), LogError> {
        let began = Instant::now();
        self.writer.sync()?;
        self.counters.synced(began);
        self.unsynced_since = None;
        self.counters.committed();
        Ok(())
    }

    fn sync_if_old(&mut self) -> Result<(), LogError> {
        if self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_AGE) {
            self.sync()?;
        }
        Ok(())
    }

    /// Held requests wait, reads go on. The append was undone and is tried again.
    fn disk_full(&mut self, error: &LogError) {
        self.counters.failed();
        self.counters.set_state(SinkState::Waiting(error.to_string()));
        if let Some(suppressed) = self.complaint.allow() {
            tracing::error!(
                event = "log.disk_full",
                suppressed,
                "{error}; records wait in memory, and held requests for them for as long as --hold-timeout allows"
            );
        }
        std::thread::sleep(FULL_DISK_PAUSE);
    }

    fn sleep(&self, timeout: Duration) {
        self.bell.park();
        if self.links.iter().all(SinkEnd::is_quiet) {
            let mut fds = [PollFd::new(self.bell.event(), PollFlags::IN)];
            let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.as_nanos() as _ };
            if matches!(poll(&mut fds, Some(&timeout)), Ok(ready) if ready > 0) {
                self.bell.hush();
            }
        }
        self.bell.unpark();
    }
}
