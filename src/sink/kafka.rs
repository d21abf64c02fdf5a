//! The sink that writes to Kafka, by way of a spool while Kafka does not take records.
//!
//! One producer, idempotent, `acks=all`, keyed by connection id with the Java client's partitioner, so that a
//! connection stays on one partition and in order. A record goes back to its worker when its delivery report says that
//! it is in all in-sync replicas, or when the spool has it. What is decided where is in [`super::fifo`].
//!
//! Whatever fails is sent again: a failed report or a fatal error of the idempotent producer (its sequence with the
//! broker is then unknown) ends the producer; everything without an acknowledgement goes to a new one, in its original
//! order. Duplicates are bounded by what was unacknowledged, and show as such by their (incarnation, worker, sequence).

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Batch, SinkEnd,
    fifo::Fifo,
    producer::KafkaBroker,
    report::{Quiet, SinkCounters, SinkState},
    sides::{Course, Tally},
    spool::LogSpool,
    topic::{KafkaError, KafkaSettings},
};
use crate::{log::LogError, sys::bell::Bell};

/// How often batches that did not wake the sink are looked for.
const IDLE_POLL: Duration = Duration::from_millis(50);
/// The same while records go to the spool.
const ASIDE_POLL: Duration = Duration::from_millis(10);
/// How long the end waits for the last acknowledgements, without a spool to leave the records in.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// The same with one.
const SPOOL_END_TIMEOUT: Duration = Duration::from_secs(5);
/// The same when Kafka does not acknowledge.
const TROUBLE_END_TIMEOUT: Duration = Duration::from_secs(1);
/// How often one complaint is written.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);
/// Kinds of complaints that are told apart.
const COMPLAINTS_MAX: usize = 16;
/// How often the backlog is measured.
const MEASURE_PAUSE: Duration = Duration::from_millis(250);

/// Why the sink had to end.
#[derive(Debug)]
pub enum SinkError {
    /// Kafka did not take everything.
    Kafka(KafkaError),
    /// The spool can no longer be trusted.
    Spool(LogError),
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kafka(error) => error.fmt(f),
            Self::Spool(error) => write!(f, "the spool: {error}"),
        }
    }
}

impl std::error::Error for SinkError {}

/// The sink thread's state.
pub struct KafkaSink {
    topic: String,
    fifo: Fifo<KafkaBroker, LogSpool>,
    links: Vec<SinkEnd>,
    bell: Arc<Bell>,
    counters: Arc<SinkCounters>,
    done: Vec<Batch>,
    /// By what is complained of: the reason may follow its consequences.
    complaints: BTreeMap<String, Quiet>,
    started: Instant,
    measured: Option<Instant>,
    course: Course,
    rebuilds: u64,
}

impl KafkaSink {
    /// A sink over `links`, which all wake `bell`; without a spool records wait in memory while Kafka does not take
    /// them. Makes the first producer on the calling thread: librdkafka's own threads inherit its processors, so call
    /// this before pinning anything.
    pub fn new(
        settings: KafkaSettings,
        spool: Option<LogSpool>,
        links: Vec<SinkEnd>,
        bell: Arc<Bell>,
        counters: Arc<SinkCounters>,
    ) -> Result<Self, KafkaError> {
        let (topic, batch_bytes_max) = (settings.topic.clone(), settings.batch_bytes_max);
        let broker = KafkaBroker::new(settings, Arc::clone(&bell))?;
        let done = links.iter().map(|_| Batch::new()).collect();
        Ok(Self {
            topic,
            fifo: Fifo::new(broker, spool, batch_bytes_max),
            links,
            bell,
            counters,
            done,
            complaints: BTreeMap::new(),
            started: Instant::now(),
            measured: None,
            course: Course::Straight,
            rebuilds: 0,
        })
    }

    /// Works until every worker has gone and everything is acknowledged or in the spool (or 30 s have passed without
    /// that).
    pub fn run(mut self) -> Result<(), SinkError> {
        let mut ending: Option<Instant> = None;
        loop {
            self.gather();
            self.find()?;
            let now_ns = self.started.elapsed().as_nanos() as u64;
            self.fifo.turn(now_ns, &mut self.done).map_err(SinkError::Spool)?;
            self.give_back();
            self.report();
            if self.links.iter().all(SinkEnd::is_finished) {
                let since = *ending.get_or_insert_with(Instant::now);
                if self.is_over(since.elapsed())? {
                    return self.end();
                }
            }
            self.sleep();
        }
    }

    fn gather(&mut self) {
        for (number, link) in self.links.iter().enumerate() {
            while let Some(batch) = link.take() {
                for record in batch {
                    self.fifo.push(number as u16, record);
                }
            }
        }
    }

    /// What runs that ended meanwhile left.
    fn find(&mut self) -> Result<(), SinkError> {
        let Some(spool) = &mut self.fifo.shelf else { return Ok(()) };
        if spool.take_found().map_err(SinkError::Spool)? {
            self.fifo.step_aside();
        }
        Ok(())
    }

    /// Whether the end need not wait any longer.
    fn is_over(&self, waited: Duration) -> Result<bool, SinkError> {
        let owed = self.fifo.owed();
        let unsent = self.fifo.on_the_way();
        match &self.fifo.shelf {
            None if unsent + owed == 0 => Ok(true),
            Some(_) if owed == 0 => {
                let works = !matches!(self.fifo.course(), Course::Aside | Course::Stuck);
                let patience = if works { SPOOL_END_TIMEOUT } else { TROUBLE_END_TIMEOUT };
                Ok(waited > patience || (unsent == 0 && self.fifo.is_drained()))
            }
            _ if waited > END_TIMEOUT => Err(SinkError::Kafka(KafkaError(format!(
                "{} records were not acknowledged by Kafka within {} s of the end",
                owed.max(unsent),
                END_TIMEOUT.as_secs()
            )))),
            _ => Ok(false),
        }
    }

    fn end(mut self) -> Result<(), SinkError> {
        self.measured = None;
        self.report();
        let backlog = self.counters.backlog();
        let Some(spool) = self.fifo.shelf.take() else { return Ok(()) };
        if backlog.records > 0 || backlog.earlier_runs > 0 {
            tracing::warn!(
                event = "spool.left",
                records = backlog.records,
                bytes = backlog.bytes,
                spool = %spool.dir().display(),
                "not everything in the spool has gone to Kafka; the next run on this directory sends it first"
            );
        }
        spool.close().map_err(SinkError::Spool)
    }

    fn give_back(&mut self) {
        for (link, done) in self.links.iter_mut().zip(&mut self.done) {
            link.give_back(done);
        }
    }

    /// Counts, and says what changed.
    fn report(&mut self) {
        let tally = self.fifo.take_tally();
        if tally != Tally::default() {
            self.count(&tally);
        }
        for _ in self.rebuilds..self.fifo.broker.rebuilds {
            self.counters.rebuilt();
        }
        self.rebuilds = self.fifo.broker.rebuilds;
        for (code, count) in std::mem::take(&mut self.fifo.broker.errors) {
            self.counters.kafka_error(code, count);
        }
        let news = self.fifo.take_news();
        let course = self.fifo.course();
        if let Some(text) = &news {
            self.counters.failed();
            self.complain(text);
        }
        if news.is_some() || course != self.course {
            let cause = self.fifo.cause().unwrap_or_default().to_owned();
            self.counters.set_state(match course {
                Course::Straight => SinkState::Working,
                Course::Aside => SinkState::Spooling(cause),
                Course::CatchingUp => SinkState::CatchingUp,
                Course::Stuck => SinkState::Waiting(cause),
            });
            self.announce(course);
        }
        let due = self.measured.is_none_or(|at| at.elapsed() >= MEASURE_PAUSE);
        if due && let Some(spool) = &mut self.fifo.shelf {
            self.measured = Some(Instant::now());
            self.counters.set_backlog(spool.backlog());
        }
    }

    fn count(&self, tally: &Tally) {
        // A record is durable once: what comes from the spool was counted when it went there.
        let direct = tally.acknowledged - tally.drained;
        let direct_bytes = tally.acknowledged_bytes - tally.drained_bytes;
        self.counters.durable(direct + tally.spooled, direct_bytes + tally.spooled_bytes);
        self.counters.spooled(tally.spooled, tally.spooled_bytes);
        self.counters.drained(tally.drained);
        self.counters.resent(tally.resent);
        if tally.acknowledged > 0 || tally.syncs > 0 {
            self.counters.committed();
        }
    }

    fn announce(&mut self, course: Course) {
        if course == self.course {
            return;
        }
        let before = std::mem::replace(&mut self.course, course);
        match course {
            Course::Straight => tracing::info!(
                event = "kafka.working",
                topic = self.topic,
                "Kafka takes records again, and the spool is empty"
            ),
            Course::CatchingUp if before != Course::Straight => tracing::info!(
                event = "spool.draining",
                topic = self.topic,
                "Kafka takes records again; what is in the spool goes first"
            ),
            _ => {}
        }
    }

    fn complain(&mut self, reason: &str) {
        // What stands in brackets are times and addresses.
        let mut kind = reason.split(" (").next().unwrap_or_default();
        if self.complaints.len() >= COMPLAINTS_MAX && !self.complaints.contains_key(kind) {
            kind = "";
        }
        let quiet = self.complaints.entry(kind.to_owned());
        let Some(suppressed) = quiet.or_insert_with(|| Quiet::new(COMPLAINT_PAUSE)).allow() else {
            return;
        };
        let (unacknowledged, topic) = (self.fifo.owed(), &self.topic);
        match self.fifo.course() {
            Course::Straight => tracing::warn!(
                event = "kafka.complaint",
                suppressed,
                unacknowledged,
                topic,
                "{reason}"
            ),
            Course::Aside | Course::CatchingUp => tracing::error!(
                event = "kafka.trouble",
                suppressed,
                unacknowledged,
                topic,
                "{reason}; nothing is lost and nothing waits: records go to the spool until Kafka takes them"
            ),
            Course::Stuck => tracing::error!(
                event = "kafka.trouble",
                suppressed,
                unacknowledged,
                topic,
                "{reason}; records wait in memory, and held requests for them for as long as --hold-timeout allows"
            ),
        }
    }

    fn sleep(&self) {
        if self.fifo.is_hungry() {
            return;
        }
        self.bell.park();
        if self.links.iter().all(SinkEnd::is_quiet) {
            let mut fds = [PollFd::new(self.bell.event(), PollFlags::IN)];
            let straight = self.fifo.course() == Course::Straight;
            let pause = if straight { IDLE_POLL } else { ASIDE_POLL };
            let timeout = Timespec { tv_sec: 0, tv_nsec: pause.as_nanos() as _ };
            if matches!(poll(&mut fds, Some(&timeout)), Ok(ready) if ready > 0) {
                self.bell.hush();
            }
        }
        self.bell.unpark();
    }
}
