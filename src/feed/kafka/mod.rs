//! Records out of a Kafka topic, as one member of a consumer group.
//!
//! Owns the member's place in the group, the merge of its partitions and what it commits. Commits
//! only what was said to be done, and nothing of a partition that was lost. Never jumps: a group
//! that stands where the topic has no records any more is refused until the operator chooses.
//!
//! Every partition has a queue of its own in librdkafka, with a bound of its own, so that one that
//! runs ahead cannot fill the memory of the others. While no records are wanted the queues fill up
//! and fetching stops; the group is served all the same, so `max.poll.interval.ms` never passes.
//!
//! Order holds within a member. Two members of a group replay their partitions side by side.
//!
//! ```text
//! member   what the group says, from librdkafka's callbacks
//! client   properties, and the sentences for what can be wrong
//! lane     one partition while it is ours        merge   which lane goes on
//! group    assignments, revocations, commits     committer   commits and their answers
//! silence  what is wrong with the brokers, and until when
//! ```

mod client;
mod committer;
mod group;
mod lane;
mod member;
mod merge;
mod silence;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig, Offset,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::Message,
};

use super::{Backlog, Feed, Next, Place, Record};
use crate::{
    config::KafkaConfig,
    kafka::{Access, Trouble},
    observe::{ExitCode, Failure},
};
use committer::Committer;
use group::{Assigning, Revoking};
use lane::{Lane, Look};
use member::Member;
use merge::{Merge, Pick, Row};

/// What a [`KafkaFeed`] is told.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// The consumer group.
    pub group: String,
    /// End where each partition ended when it was assigned, rather than wait for more.
    pub until_end: bool,
    /// Go on with the oldest records there are when those the group needs were deleted.
    pub from_oldest: bool,
    /// What librdkafka may read ahead, over all partitions: at least 1 MiB for each of them, and
    /// an answer of a broker more.
    pub read_ahead_bytes: u64,
}

impl KafkaOptions {
    /// The defaults for a group.
    pub fn new(group: &str) -> Self {
        let group = group.into();
        Self { group, until_end: false, from_oldest: false, read_ahead_bytes: 64 << 20 }
    }
}

/// The records of the partitions that the group gives us; each assignment of one is a lane.
pub struct KafkaFeed {
    config: KafkaConfig,
    options: KafkaOptions,
    access: Access,
    client: ClientConfig,
    /// Asks for the topic until a broker answers; then the group is joined.
    probe: Option<BaseConsumer<Member>>,
    probe_at: Instant,
    consumer: Option<Arc<BaseConsumer<Member>>>,
    committer: Option<Committer>,
    lanes: BTreeMap<u32, Lane>,
    next_lane: u32,
    merge: Merge,
    /// The lane whose record was handed out last.
    taken: Option<u32>,
    assigning: Option<Assigning>,
    revoking: Option<Revoking>,
    notices: VecDeque<Notice>,
    committing: bool,
    served: Option<Instant>,
    looked: Option<Instant>,
    quiet: Option<Instant>,
    /// When it was last said that the brokers refuse us.
    refused: Option<Instant>,
    /// What is wrong, until the brokers answer.
    trouble: Option<String>,
}

/// What the caller has to know before the next record.
#[derive(Debug)]
enum Notice {
    Closing(u32),
    Lost(u32),
    Loss { text: String, records: Option<u64> },
}

impl From<Notice> for Next<'_> {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Closing(lane) => Self::LaneClosing { lane },
            Notice::Lost(lane) => Self::LaneLost { lane },
            Notice::Loss { text, records } => Self::Loss { text, records },
        }
    }
}

impl KafkaFeed {
    /// Joins the group. Brokers that do not answer are asked again by [`Feed::next`] for as long as
    /// it takes; a topic that is not there is refused.
    pub fn open(config: &KafkaConfig, options: KafkaOptions) -> Result<Self, Failure> {
        let access = Access::open(config, FIRST_ANSWER_MAX)?;
        let client = client::properties(&access, &options)?;
        let probe = client::consumer(&access, &client, 1, options.read_ahead_bytes)?;
        let now = Instant::now();
        let mut feed = Self {
            config: config.clone(),
            options,
            access,
            client,
            probe: Some(probe),
            probe_at: now,
            consumer: None,
            committer: None,
            lanes: BTreeMap::new(),
            next_lane: 0,
            merge: Merge::default(),
            taken: None,
            assigning: None,
            revoking: None,
            notices: VecDeque::new(),
            committing: false,
            served: None,
            looked: None,
            quiet: None,
            refused: None,
            trouble: None,
        };
        feed.connect(now, FIRST_ANSWER_MAX)?;
        Ok(feed)
    }

    /// Joins the group as soon as a broker says what the topic is like.
    fn connect(&mut self, now: Instant, timeout: Duration) -> Result<(), Failure> {
        let Some(probe) = &self.probe else { return Ok(()) };
        if now < self.probe_at {
            return Ok(());
        }
        self.probe_at = now + PROBE_PAUSE;
        let count = match client::partitions(probe, &self.config, timeout)? {
            Ok(count) => count,
            Err(trouble) => {
                if probe.context().witness.was_refused() {
                    self.access.login().renew(probe.client());
                }
                self.note_unreachable(&trouble, now);
                return Ok(());
            }
        };
        let consumer =
            client::consumer(&self.access, &self.client, count, self.options.read_ahead_bytes)?;
        consumer
            .subscribe(&[&self.config.topic])
            .map_err(|error| client::refused(&self.config, error))?;
        let consumer = Arc::new(consumer);
        self.committer = Some(Committer::start(Arc::clone(&consumer))?);
        self.consumer = Some(consumer);
        self.probe = None;
        (self.quiet, self.trouble) = (None, None);
        Ok(())
    }

    /// Lets librdkafka say what it has to say, and acts on it.
    fn serve(&mut self, now: Instant) -> Result<(), Failure> {
        self.connect(now, ANSWER_MAX)?;
        let Some(consumer) = self.consumer.clone() else { return Ok(()) };
        self.served = Some(now);
        self.note_refusal(&consumer, now);
        self.note_absence(&consumer, now);
        for _ in 0..EVENTS_PER_SERVE {
            match consumer.poll(Duration::ZERO) {
                None => {}
                Some(Err(error)) => self.judge(&error)?,
                Some(Ok(message)) => self.stray(&consumer, message.partition()),
            }
        }
        self.hear(now);
        self.assign(&consumer, now)?;
        self.revoke(&consumer, now);
        Ok(())
    }

    /// A record beside the queue of its partition: it is read again in its place.
    fn stray(&mut self, consumer: &BaseConsumer<Member>, partition: i32) {
        let lane = self.lanes.values().find(|lane| lane.partition == partition);
        let Some(lane) = lane else { return };
        let (topic, at) = (&self.config.topic, Offset::Offset(lane.next()));
        tracing::debug!(event = "feed.stray", partition, ?at);
        if let Err(error) = consumer.seek(topic, partition, at, Duration::ZERO) {
            tracing::warn!(event = "feed.seek", partition, %error, "the partition may stand still");
        }
    }

    /// Errors that pass by themselves are librdkafka's business; the silence they cause is told.
    fn judge(&self, error: &KafkaError) -> Result<(), Failure> {
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Err(client::fatal(error));
        }
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => Err(client::no_topic(&self.config)),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::InconsistentGroupProtocol
                | RDKafkaErrorCode::InvalidGroupId,
            ) => Err(client::refused(&self.config, error)),
            _ => {
                tracing::debug!(event = "feed.kafka", %error, "will be tried again");
                Ok(())
            }
        }
    }

    /// Reads the next records of lanes of which none is known.
    fn look(&mut self, now: Instant) -> Result<(), Failure> {
        let all = self.looked.is_none_or(|last| now.duration_since(last) >= LOOK_PAUSE);
        if all {
            self.looked = Some(now);
        }
        let now_ms = wall_ms();
        let mut outrun = Vec::new();
        let mut errors = Vec::new();
        let mut answered = false;
        let merged = self.lanes.len() > 1;
        for (number, lane) in &mut self.lanes {
            match self.merge.row(*number) {
                Some(Row::Unknown) => {}
                Some(Row::AtEnd) if all => {}
                _ => continue,
            }
            match lane.look(merged) {
                Look::Nothing => {}
                Look::Row(row) => {
                    answered = true;
                    self.merge.set(*number, row, now_ms);
                }
                Look::OutOfRange => outrun.push(*number),
                Look::Error(error) => errors.push(error),
            }
        }
        if answered {
            self.end_of_trouble();
        }
        for error in errors {
            self.judge(&error)?;
        }
        outrun.into_iter().try_for_each(|lane| self.outrun(lane))
    }

    /// Retention has overtaken a lane, or its topic was made anew.
    fn outrun(&mut self, number: u32) -> Result<(), Failure> {
        let (Some(consumer), Some(lane)) = (&self.consumer, self.lanes.get_mut(&number)) else {
            return Ok(());
        };
        let (topic, partition, at) = (&self.config.topic, lane.partition, lane.next());
        let ends = consumer.fetch_watermarks(topic, partition, ASSIGN_ANSWER_MAX);
        let (low, high) = match ends {
            Ok(ends) => ends,
            Err(error) => {
                let trouble = Trouble::of(error.rdkafka_error_code(), &error.to_string());
                let why = client::unreachable(&self.config, &trouble);
                return Err(Failure::new(ExitCode::Unavailable, why));
            }
        };
        let to = if (low..=high).contains(&at) {
            at
        } else {
            let text =
                client::outrun(&self.config, &self.options.group, partition, at, (low, high));
            if !self.options.from_oldest {
                return Err(client::choice(&text));
            }
            let records = u64::try_from(low - at).ok();
            self.notices.push_back(Notice::Loss { text, records });
            lane.turn_to(low);
            low
        };
        consumer.seek(topic, partition, Offset::Offset(to), ASSIGN_ANSWER_MAX).map_err(|error| {
            Failure::new(
                ExitCode::Failed,
                format!("cannot go on in partition {partition}: {error}. Start again"),
            )
        })
    }

    fn take_notice(&mut self) -> Option<Next<'static>> {
        self.notices.pop_front().map(Next::from)
    }
}

impl Feed for KafkaFeed {
    fn next(&mut self, want_records: bool, now: Instant) -> Result<Next<'_>, Failure> {
        if let Some(lane) = self.taken.take()
            && self.merge.row(lane).is_some()
        {
            self.merge.set(lane, Row::Unknown, wall_ms());
        }
        let due = self.served.is_none_or(|last| now.duration_since(last) >= SERVE_PAUSE);
        if due || !want_records {
            self.serve(now)?;
        }
        if let Some(notice) = self.take_notice() {
            return Ok(notice);
        }
        if !want_records {
            return Ok(Next::Idle);
        }
        self.look(now)?;
        if let Some(notice) = self.take_notice() {
            return Ok(notice);
        }
        let pick = self.merge.pick(wall_ms());
        let at_end = self.merge.all_at_end();
        self.note_quiet(!matches!(pick, Pick::Take(_) | Pick::TooYoung) && !at_end, now);
        match pick {
            Pick::Take(number) => {
                let lane = self.lanes.get_mut(&number).expect("invariant: a row has its lane");
                self.taken = Some(number);
                Ok(Next::Record(Record {
                    lane: number,
                    number: lane.track.add(lane.offset),
                    payload: &lane.payload,
                    place: Place::Kafka { partition: lane.partition, offset: lane.offset },
                    poison: lane.poison.clone(),
                }))
            }
            Pick::Ended if self.assigning.is_none() && self.revoking.is_none() => Ok(Next::End),
            _ => Ok(Next::Idle),
        }
    }

    fn done(&mut self, lane: u32, number: u64) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.track.done(number);
            let offset = lane.track.offset();
            if lane.unstored.back().is_none_or(|(_, last)| *last < offset) {
                lane.unstored.push_back((number, offset));
            }
        }
    }

    fn stored(&mut self) -> Vec<(u32, u64)> {
        let mut moved = Vec::new();
        for (number, lane) in &mut self.lanes {
            let stored = lane.stored;
            let mut last = None;
            while let Some((number, _)) =
                lane.unstored.pop_front_if(|(_, offset)| *offset <= stored)
            {
                last = Some(number);
            }
            moved.extend(last.map(|first| (*number, first)));
        }
        moved
    }

    fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn save(&mut self, wait: bool) -> Result<(), Failure> {
        let Some(consumer) = self.consumer.clone() else { return Ok(()) };
        self.hear_commits(&consumer);
        self.commit(None);
        if wait { self.wait_for_commits(&consumer) } else { Ok(()) }
    }

    fn release(&mut self, lane: u32) {
        if let Some(revoking) = &mut self.revoking {
            revoking.waiting_for.remove(&lane);
        }
    }

    fn backlog(&mut self) -> Backlog {
        let at_live_end = !self.options.until_end && self.merge.all_at_end();
        let Some(consumer) = &self.consumer else { return Backlog::default() };
        let heard = consumer.context().heard();
        let left = self.lanes.iter().map(|(number, lane)| {
            let offered = matches!(self.merge.row(*number), Some(Row::Head(_)));
            let offered = offered && self.taken != Some(*number);
            let next = if offered { lane.offset } else { lane.next() };
            heard.ends.get(&lane.partition).map(|end| u64::try_from(end - next).unwrap_or(0))
        });
        let records = if self.lanes.is_empty() { None } else { left.sum() };
        Backlog { records, bytes: None, at_live_end }
    }

    fn close(mut self: Box<Self>) -> Result<(), Failure> {
        let until = Instant::now() + CLOSE_MAX;
        // A rebalance under way refuses commits until it was served, and the lanes it takes are committed with it.
        while Instant::now() < until {
            if let Next::LaneClosing { lane } = self.next(false, Instant::now())? {
                self.release(lane);
            }
            self.save(false)?;
            if self.lanes.values().all(|lane| lane.stored >= lane.track.offset()) {
                break;
            }
            std::thread::sleep(CLOSE_PAUSE);
        }
        // Whoever has the partitions next sends some of it again: at least once, and no reason to fail a stop.
        if let Err(failure) = self.save(true) {
            tracing::warn!(event = "feed.unsaved", %failure, "leaving the group without a last commit");
        }
        self.leave();
        Ok(())
    }
}

impl Drop for KafkaFeed {
    fn drop(&mut self) {
        self.leave();
    }
}

impl std::fmt::Debug for KafkaFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaFeed")
            .field("topic", &self.config.topic)
            .field("group", &self.options.group)
            .field("merge", &self.merge)
            .finish_non_exhaustive()
    }
}

/// Milliseconds since 1970, which is what records are stamped with.
fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// How long leaving may take: a rebalance, and the commit that it put off.
const CLOSE_MAX: Duration = Duration::from_secs(15);
const CLOSE_PAUSE: Duration = Duration::from_millis(5);
/// How long the first answer is waited for, before the group is joined.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long a later one is, and how often it is asked for.
const ANSWER_MAX: Duration = Duration::from_secs(1);
const PROBE_PAUSE: Duration = Duration::from_secs(1);
/// How long an answer about positions is waited for.
const ASSIGN_ANSWER_MAX: Duration = Duration::from_secs(1);
/// How often the group is served while records are handed out, and by how many events at a time.
const SERVE_PAUSE: Duration = Duration::from_millis(1);
const EVENTS_PER_SERVE: usize = 4;
/// How often partitions that are at their end are looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
