//! The member's part in a rebalance, and its commits.
//!
//! librdkafka waits for the member to take what it was assigned and to let go what was revoked; so
//! both are done here, step by step, between two calls of the feed.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use super::{
    ASSIGN_ANSWER_MAX, KafkaFeed, Notice, client,
    lane::Lane,
    member::{Event, Member},
    wall_ms,
};
use crate::observe::{ExitCode, Failure};

/// Partitions that come to us.
#[derive(Debug)]
pub(super) struct Assigning {
    partitions: Vec<i32>,
    /// When the brokers are asked where to begin.
    at: Instant,
}

/// Partitions that go to others.
#[derive(Debug)]
pub(super) struct Revoking {
    partitions: Vec<i32>,
    pub(super) waiting_for: BTreeSet<u32>,
    deadline: Instant,
    /// Since nothing is in flight: how often it was committed, and until when that may take.
    commits: u32,
    commits_until: Option<Instant>,
}

/// Where a partition begins and ends: the offset to begin with, the end now.
type Start = (i32, i64, i64);

impl KafkaFeed {
    /// Acts on what the group has said.
    pub(super) fn hear(&mut self, now: Instant) {
        let Some(consumer) = &self.consumer else { return };
        let events = std::mem::take(&mut consumer.context().heard().events);
        for event in events {
            match event {
                Event::Assigned(partitions) => {
                    self.assigning = Some(Assigning { partitions, at: now });
                }
                Event::Revoked(partitions) => self.close_lanes(partitions, now),
                Event::Lost(partitions) => self.lose_lanes(&partitions),
                Event::Committed(result) => self.hear_commit(result),
            }
        }
    }

    fn close_lanes(&mut self, partitions: Vec<i32>, now: Instant) {
        let mut waiting_for = BTreeSet::new();
        for (number, lane) in &mut self.lanes {
            if partitions.contains(&lane.partition) {
                lane.stop_reading();
                self.merge.remove(*number);
                self.notices.push_back(Notice::Closing(*number));
                waiting_for.insert(*number);
            }
        }
        self.revoking = Some(Revoking {
            partitions,
            waiting_for,
            deadline: now + RELEASE_MAX,
            commits: 0,
            commits_until: None,
        });
    }

    fn lose_lanes(&mut self, partitions: &[i32]) {
        let lost = |lane: &Lane| partitions.contains(&lane.partition);
        for (number, _) in self.lanes.extract_if(.., |_, lane| lost(lane)) {
            self.merge.remove(number);
            // Whoever is told now need not be told before that it closes.
            self.notices.retain(|told| !matches!(told, Notice::Closing(one) if *one == number));
            self.notices.push_back(Notice::Lost(number));
        }
        if self
            .assigning
            .as_ref()
            .is_some_and(|own| own.partitions.iter().all(|p| partitions.contains(p)))
        {
            self.assigning = None;
        }
        // They were let go when it was heard.
        if self
            .revoking
            .as_ref()
            .is_some_and(|own| own.partitions.iter().all(|p| partitions.contains(p)))
        {
            self.revoking = None;
        }
    }

    /// Takes what was assigned, at the offsets the group has stored.
    pub(super) fn assign(
        &mut self,
        consumer: &Arc<BaseConsumer<Member>>,
        now: Instant,
    ) -> Result<(), Failure> {
        let Some(assigning) = &mut self.assigning else { return Ok(()) };
        if now < assigning.at {
            return Ok(());
        }
        assigning.at = now + ASSIGN_PAUSE;
        let partitions = assigning.partitions.clone();
        let starts = match self.starts(consumer, &partitions)? {
            Ok(starts) => starts,
            Err(why) => {
                tracing::debug!(event = "feed.assign", why, "will be tried again");
                consumer.context().witness.note(&why);
                return Ok(());
            }
        };
        let topic = &self.config.topic;
        let mut list = TopicPartitionList::new();
        let mut lanes = Vec::new();
        for (partition, start, end) in starts {
            let span = (start, self.options.until_end.then_some(end));
            let lane = Lane::new(consumer, topic, partition, span);
            lanes
                .push(lane.ok_or_else(|| Failure::new(ExitCode::Bug, "no queue for a partition"))?);
            list.add_partition_offset(topic, partition, Offset::Offset(start))
                .map_err(|error| Failure::new(ExitCode::Bug, error))?;
            consumer.context().heard().ends.insert(partition, end);
        }
        self.assigning = None;
        if let Err(error) = consumer.incremental_assign(&list) {
            // The group has decided otherwise meanwhile; it will say so.
            tracing::warn!(event = "feed.assign", %error, "an assignment came to nothing");
            return Ok(());
        }
        for lane in lanes {
            let number = self.next_lane;
            self.next_lane += 1;
            tracing::info!(
                event = "feed.lane",
                lane = number,
                partition = lane.partition,
                offset = lane.next()
            );
            self.merge.set(number, lane.first_row(), wall_ms());
            self.lanes.insert(number, lane);
        }
        Ok(())
    }

    /// Where the partitions begin for the group. `Err` of `Ok`: the brokers did not answer.
    fn starts(
        &mut self,
        consumer: &BaseConsumer<Member>,
        partitions: &[i32],
    ) -> Result<Result<Vec<Start>, String>, Failure> {
        let topic = &self.config.topic;
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(topic, *partition);
        }
        if partitions.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let stored = match consumer.committed_offsets(list, ASSIGN_ANSWER_MAX) {
            Ok(stored) => stored,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut starts = Vec::new();
        let mut losses = Vec::new();
        for one in stored.elements() {
            if let Err(error) = one.error() {
                return Ok(Err(error.to_string()));
            }
            let partition = one.partition();
            let kept = match consumer.fetch_watermarks(topic, partition, ASSIGN_ANSWER_MAX) {
                Ok(kept) => kept,
                Err(error) => return Ok(Err(error.to_string())),
            };
            let (low, high) = kept;
            let start = match one.offset() {
                Offset::Offset(at) if (low..=high).contains(&at) => at,
                Offset::Offset(at) => {
                    let text =
                        client::outrun(&self.config, &self.options.group, partition, at, kept);
                    if !self.options.from_oldest {
                        return Err(client::choice(&text));
                    }
                    losses.push(Notice::Loss { text, records: u64::try_from(low - at).ok() });
                    low
                }
                // The group has stored nothing yet.
                _ => low,
            };
            starts.push((partition, start, high));
        }
        self.notices.extend(losses);
        Ok(Ok(starts))
    }

    /// Lets revoked partitions go once nothing of them is in flight and what is done is stored.
    pub(super) fn revoke(&mut self, consumer: &BaseConsumer<Member>, now: Instant) {
        let Some(revoking) = &mut self.revoking else { return };
        if !revoking.waiting_for.is_empty() {
            if now < revoking.deadline {
                return;
            }
            let lanes = &revoking.waiting_for;
            tracing::warn!(event = "feed.abandoned", ?lanes, "let go with records in flight");
            revoking.waiting_for.clear();
        }
        let until = *revoking.commits_until.get_or_insert(now + COMMIT_MAX);
        if now < until && !consumer.assignment_lost() {
            if self.committing {
                return;
            }
            let partitions = revoking.partitions.clone();
            if revoking.commits < COMMIT_TRIES {
                revoking.commits += 1;
                if self.commit(Some(&partitions)) {
                    return;
                }
            }
        }
        self.let_go(consumer);
    }

    fn let_go(&mut self, consumer: &BaseConsumer<Member>) {
        let Some(revoking) = self.revoking.take() else { return };
        let mut list = TopicPartitionList::new();
        for partition in &revoking.partitions {
            list.add_partition(&self.config.topic, *partition);
        }
        if let Err(error) = consumer.incremental_unassign(&list) {
            tracing::warn!(event = "feed.unassign", %error, "the group goes on without an answer");
        }
        self.lanes.retain(|_, lane| !revoking.partitions.contains(&lane.partition));
    }

    /// Commits what is done and not stored, of these partitions only when some are named. Whether
    /// there is an answer to wait for.
    pub(super) fn commit(&mut self, only: Option<&[i32]>) -> bool {
        if self.committing {
            return true;
        }
        let mut list = TopicPartitionList::new();
        for lane in self.lanes.values() {
            let wanted = only.is_none_or(|only| only.contains(&lane.partition));
            let offset = lane.track.offset();
            if wanted && offset > lane.stored {
                let (topic, at) = (&self.config.topic, Offset::Offset(offset));
                let added = list.add_partition_offset(topic, lane.partition, at);
                added.expect("invariant: an offset of a record can be committed");
            }
        }
        let any = list.count() > 0;
        self.committing = any && self.committer.as_ref().is_some_and(|one| one.send(list));
        self.committing
    }

    /// Waits until every commit is answered, and all that is done is stored.
    pub(super) fn wait_for_commits(
        &mut self,
        consumer: &BaseConsumer<Member>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + COMMIT_MAX;
        // One that was under way may not have had all of it.
        for _ in 0..COMMIT_TRIES {
            if !self.commit(None) {
                break;
            }
            while self.committing && Instant::now() < deadline {
                if let Some(Err(error)) = consumer.poll(COMMIT_POLL) {
                    self.judge(&error)?;
                }
                self.hear_commits(consumer);
            }
        }
        if self.lanes.values().all(|lane| lane.stored >= lane.track.offset()) {
            return Ok(());
        }
        Err(Failure::new(
            ExitCode::Unavailable,
            format!(
                "the group {} could not store how far it has come; what was replayed since it last \
                 stored is replayed again after the next start. Check the brokers {}",
                self.options.group, self.config.brokers
            ),
        ))
    }

    /// Looks at answers to commits only: a rebalance is for the next call of the feed.
    pub(super) fn hear_commits(&mut self, consumer: &BaseConsumer<Member>) {
        let heard = std::mem::take(&mut consumer.context().heard().events);
        let mut later = Vec::new();
        for event in heard {
            match event {
                Event::Committed(result) => self.hear_commit(result),
                other => later.push(other),
            }
        }
        let mut heard = consumer.context().heard();
        for event in later.into_iter().rev() {
            heard.events.push_front(event);
        }
    }

    fn hear_commit(&mut self, result: Result<Vec<(i32, i64)>, String>) {
        self.committing = false;
        match result {
            Ok(stored) => {
                for (partition, offset) in stored {
                    let lanes = self.lanes.values_mut();
                    for lane in lanes.filter(|lane| lane.partition == partition) {
                        lane.stored = lane.stored.max(offset);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(
                    event = "feed.commit",
                    error,
                    "a commit failed; it goes with the next one"
                );
            }
        }
    }

    /// Leaves the group. Nothing is committed that was not sent before.
    pub(super) fn leave(&mut self) {
        self.probe = None;
        // librdkafka waits for answers that are due, whatever they are.
        self.hear(Instant::now());
        let Some(consumer) = self.consumer.take() else { return };
        consumer.context().heard().closing = true;
        if let Some(assigning) = self.assigning.take() {
            let mut list = TopicPartitionList::new();
            for partition in assigning.partitions {
                list.add_partition(&self.config.topic, partition);
            }
            let _ = consumer.incremental_assign(&list);
        }
        self.let_go(&consumer);
        // These keep the consumer alive. With a commit under way that nobody answers, the consumer
        // leaves the group when librdkafka gives it up.
        self.lanes.clear();
        if let Some(committer) = self.committer.take()
            && !self.committing
        {
            committer.stop();
        }
    }
}

/// How long the caller has to release lanes that close.
const RELEASE_MAX: Duration = Duration::from_secs(10);
/// How long a store of positions is waited for.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// How often it is tried when a partition is given up, or on closing.
const COMMIT_TRIES: u32 = 3;
const COMMIT_POLL: Duration = Duration::from_millis(20);
/// How often the brokers are asked where to begin.
const ASSIGN_PAUSE: Duration = Duration::from_millis(200);
