//! The sink that writes to Kafka.
//!
//! One producer, idempotent, `acks=all`, keyed by connection id with the Java client's partitioner, so that a
//! connection stays on one partition and in order. The number of partitions is asked for once per producer: partitions
//! added meanwhile would tear connections apart. A record goes back to its worker when its delivery report says that
//! it is in all in-sync replicas.
//!
//! Each partition is a [`Lane`]: it is given one batch, and the next when all of that is acknowledged, while what comes
//! in between gathers. librdkafka would not send more anyway (an idempotent producer stops a partition at five
//! *messages* in flight), but with more in its queue its broker thread spins: measured at GET 1 KiB, 47 % of all CPU.
//!
//! Whatever fails is sent again: a failed report or a fatal error of the idempotent producer (its sequence with the
//! broker is then unknown) ends the producer; everything without an acknowledgement is collected, put in its original
//! order, and handed to a new one. Duplicates are bounded by what was unacknowledged, and show as such by their
//! (incarnation, worker, sequence).

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    error::RDKafkaErrorCode,
    producer::{Producer, PurgeConfig},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Batch, SinkEnd,
    lend::{Lease, Lender, Report},
    partition,
    report::{Quiet, SinkCounters, SinkState},
    topic::{KafkaError, KafkaSettings, TopicCheck},
};
use crate::sys::bell::Bell;

/// How often batches that did not wake the sink are looked for.
const IDLE_POLL: Duration = Duration::from_millis(50);
/// The wait before a new producer, doubled after each failure up to the second figure.
const REBUILD_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// What a record takes in a batch beside its value, at most: key, lengths, offsets, time.
const RECORD_OVERHEAD_BYTES: usize = 128;
/// How long the end waits for the last acknowledgements.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the brokers are left alone after they could not name the partitions.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// One partition.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Box<Lease>>,
    /// Records with the producer.
    outstanding: usize,
}

/// The sink thread's state.
pub struct KafkaSink {
    settings: KafkaSettings,
    lender: Option<Lender>,
    links: Vec<SinkEnd>,
    bell: Arc<Bell>,
    counters: Arc<SinkCounters>,
    /// Not in a lane yet: the number of partitions is not known. In order.
    unrouted: VecDeque<Box<Lease>>,
    /// By partition; empty while their number is not known.
    lanes: Vec<Lane>,
    with_producer: usize,
    /// When the brokers were last asked in vain.
    asked: Option<Instant>,
    order: u64,
    done: Vec<Batch>,
    complaint: Quiet,
    pause: Duration,
}

impl KafkaSink {
    /// A sink over `links`, which all wake `bell`. Makes the first producer on the calling thread: librdkafka's own
    /// threads inherit its processors, so call this before pinning anything.
    pub fn new(
        settings: KafkaSettings,
        links: Vec<SinkEnd>,
        bell: Arc<Bell>,
        counters: Arc<SinkCounters>,
    ) -> Result<Self, KafkaError> {
        let lender = Some(settings.lender(&bell)?);
        let done = links.iter().map(|_| Batch::new()).collect();
        Ok(Self {
            settings,
            lender,
            links,
            bell,
            counters,
            unrouted: VecDeque::new(),
            lanes: Vec::new(),
            with_producer: 0,
            asked: None,
            order: 0,
            done,
            complaint: Quiet::new(Duration::from_secs(10)),
            pause: REBUILD_PAUSE.0,
        })
    }

    /// Works until every worker has gone and everything is acknowledged (or 30 s have passed without that).
    pub fn run(mut self) -> Result<(), KafkaError> {
        let mut ending: Option<Instant> = None;
        loop {
            self.gather();
            self.route();
            let broken = self.hand_over() | self.collect();
            if broken {
                self.rebuild()?;
            }
            self.give_back();
            let idle = self.unacknowledged() == 0;
            if idle {
                self.look_again();
            }
            if self.links.iter().all(SinkEnd::is_finished) {
                let since = *ending.get_or_insert_with(Instant::now);
                if idle {
                    return Ok(());
                }
                if since.elapsed() > END_TIMEOUT {
                    let lost = self.unacknowledged();
                    return Err(KafkaError(format!(
                        "{lost} records were not acknowledged by Kafka within {} s of the end",
                        END_TIMEOUT.as_secs()
                    )));
                }
            }
            self.sleep();
        }
    }

    fn gather(&mut self) {
        for (number, link) in self.links.iter().enumerate() {
            while let Some(batch) = link.take() {
                for record in batch {
                    self.order += 1;
                    let (link, order) = (number as u16, self.order);
                    let lease = Lease { record, link, partition: 0, order };
                    self.unrouted.push_back(Box::new(lease));
                }
            }
        }
    }

    /// Puts what is new into its lane, once the number of partitions is known.
    fn route(&mut self) {
        if self.lanes.is_empty() && !self.unrouted.is_empty() {
            self.learn_partitions();
        }
        if self.lanes.is_empty() {
            return;
        }
        for mut lease in self.unrouted.drain(..) {
            let partition = partition::of_key(lease.record.key(), self.lanes.len());
            lease.partition = partition as u32;
            self.lanes[partition].waiting.push_back(lease);
        }
    }

    fn learn_partitions(&mut self) {
        let Some(lender) = &self.lender else { return };
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK_PAUSE) {
            return;
        }
        let answer = self.settings.ask(lender.producer());
        self.asked = Some(Instant::now());
        match answer {
            TopicCheck::Ready(partitions) => {
                // Once known they stay, so that connections stay where they are.
                if self.lanes.is_empty() {
                    self.lanes = (0..partitions).map(|_| Lane::default()).collect();
                }
                self.counters.set_state(SinkState::Working);
            }
            TopicCheck::Unknown => {
                let topic = self.settings.topic.clone();
                self.complain(&format!("the brokers have no topic '{topic}'"));
            }
            TopicCheck::Unreachable(reason) => self.complain(&reason),
        }
    }

    /// With nothing to send, nothing would tell that Kafka takes records again: asks, now and then. Whoever looks at
    /// the state may be the one who keeps writes away.
    fn look_again(&mut self) {
        let waiting = matches!(self.counters.state(), SinkState::Waiting(_));
        if waiting && self.asked.is_none_or(|asked| asked.elapsed() >= ASK_PAUSE) {
            self.learn_partitions();
        }
    }

    fn unacknowledged(&self) -> usize {
        let waiting: usize = self.lanes.iter().map(|lane| lane.waiting.len()).sum();
        self.unrouted.len() + waiting + self.with_producer
    }

    /// Gives the producer a batch for every partition that has none; true when the producer must be replaced.
    fn hand_over(&mut self) -> bool {
        let Some(lender) = &self.lender else { return true };
        let batch_bytes_max = self.settings.batch_bytes_max;
        let mut refused = None;
        for lane in &mut self.lanes {
            if lane.outstanding > 0 {
                continue;
            }
            let mut bytes = 0;
            while let Some(lease) = lane.waiting.pop_front() {
                let len = lease.record.bytes.len() + RECORD_OVERHEAD_BYTES;
                if bytes > 0 && bytes + len > batch_bytes_max {
                    lane.waiting.push_front(lease);
                    break;
                }
                bytes += len;
                match lender.produce(lease) {
                    Ok(()) => {
                        lane.outstanding += 1;
                        self.with_producer += 1;
                    }
                    Err((code, lease)) => {
                        lane.waiting.push_front(lease);
                        refused = Some(code);
                        break;
                    }
                }
            }
        }
        match refused {
            None | Some(RDKafkaErrorCode::QueueFull) => false,
            Some(code) => {
                self.complain(&code.to_string());
                true
            }
        }
    }

    /// Takes delivery reports; true when one failed.
    fn collect(&mut self) -> bool {
        let Some(lender) = &self.lender else { return true };
        let mut failed = Vec::new();
        let (mut records, mut bytes) = (0, 0);
        // One poll serves one event, which may carry many reports.
        loop {
            lender.producer().poll(Duration::ZERO);
            let reports = lender.producer().context().take();
            if reports.is_empty() {
                break;
            }
            for Report { lease, failure } in reports {
                self.with_producer -= 1;
                self.lanes[lease.partition as usize].outstanding -= 1;
                match failure {
                    None => {
                        records += 1;
                        bytes += lease.record.bytes.len() as u64;
                        self.done[usize::from(lease.link)].push(lease.record);
                    }
                    Some(code) => failed.push((code, lease)),
                }
            }
        }
        if records > 0 {
            self.counters.durable(records, bytes);
            self.counters.committed();
            self.pause = REBUILD_PAUSE.0;
        }
        let errors = lender.producer().context().take_errors();
        let fatal = lender.producer().client().fatal_error();
        if let Some(reason) = errors.last() {
            self.complain(reason);
        } else if records > 0 {
            self.counters.set_state(SinkState::Working);
        }
        let broken = !failed.is_empty() || fatal.is_some();
        if let Some((code, _)) = failed.first() {
            self.complain(&code.to_string());
        }
        if let Some((code, reason)) = fatal {
            self.complain(&format!("fatal: {code}: {reason}"));
        }
        self.unrouted.extend(failed.into_iter().map(|(_, lease)| lease));
        broken
    }

    /// A new producer for everything that the old one did not get acknowledged, in the original order.
    fn rebuild(&mut self) -> Result<(), KafkaError> {
        self.counters.rebuilt();
        if let Some(lender) = self.lender.take() {
            lender.producer().purge(PurgeConfig::default().queue().inflight());
            // Every message comes back through a report, the purged ones as failures.
            while self.with_producer > 0 {
                lender.producer().poll(Duration::from_millis(10));
                for Report { lease, failure } in lender.producer().context().take() {
                    self.with_producer -= 1;
                    match failure {
                        None => self.done[usize::from(lease.link)].push(lease.record),
                        Some(_) => self.unrouted.push_back(lease),
                    }
                }
            }
        }
        for lane in self.lanes.drain(..) {
            self.unrouted.extend(lane.waiting);
        }
        self.unrouted.make_contiguous().sort_unstable_by_key(|lease| lease.order);
        self.asked = None;
        self.give_back();
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(REBUILD_PAUSE.1);
        self.lender = Some(self.settings.lender(&self.bell)?);
        Ok(())
    }

    fn give_back(&mut self) {
        for (link, done) in self.links.iter_mut().zip(&mut self.done) {
            link.give_back(done);
        }
    }

    fn complain(&mut self, reason: &str) {
        self.counters.failed();
        self.counters.set_state(SinkState::Waiting(reason.to_owned()));
        if let Some(suppressed) = self.complaint.allow() {
            let unacknowledged = self.unacknowledged();
            tracing::error!(
                event = "kafka.trouble",
                suppressed,
                unacknowledged,
                topic = self.settings.topic,
                "{reason}; nothing is lost, held requests wait until Kafka takes their records"
            );
        }
    }

    fn sleep(&self) {
        self.bell.park();
        let held_back =
            self.lanes.iter().any(|lane| lane.outstanding == 0 && !lane.waiting.is_empty());
        if self.links.iter().all(SinkEnd::is_quiet) {
            let mut fds = [PollFd::new(self.bell.event(), PollFlags::IN)];
            let pause = if held_back { Duration::from_millis(1) } else { IDLE_POLL };
            let timeout = Timespec { tv_sec: 0, tv_nsec: pause.as_nanos() as _ };
            if matches!(poll(&mut fds, Some(&timeout)), Ok(ready) if ready > 0) {
                self.bell.hush();
            }
        }
        self.bell.unpark();
    }
}
