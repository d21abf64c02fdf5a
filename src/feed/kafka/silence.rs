//! What is wrong with the brokers, and silence that has no reason: heard, said, and asked about until it is over.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{KafkaFeed, client, member::Member, merge::Row};
use crate::kafka::Trouble;

impl KafkaFeed {
    /// No broker says what the topic is like.
    pub(super) fn note_unreachable(&mut self, trouble: &Trouble, now: Instant) {
        let text = client::unreachable(&self.config, trouble);
        if self.quiet.is_none_or(|since| now.duration_since(since) >= QUIET_MAX) {
            self.quiet = Some(now);
            tracing::warn!(event = "feed.unreachable", "{text}");
        }
        self.trouble = Some(text);
    }

    /// The brokers let us in no more: says so, and tries the password that the file has by now.
    pub(super) fn note_refusal(&mut self, consumer: &BaseConsumer<Member>, now: Instant) {
        let witness = &consumer.context().witness;
        if !witness.was_refused() {
            return;
        }
        self.access.login().renew(consumer.client());
        let Some(trouble) = witness.last() else { return };
        let text = client::unreachable(&self.config, &trouble);
        if self.refused.is_none_or(|last| now.duration_since(last) >= QUIET_MAX) {
            self.refused = Some(now);
            tracing::warn!(event = "feed.refused", "{text}");
        }
        self.trouble = Some(text);
    }

    /// Brokers that were heard to be gone are asked until they answer: at the live end no silence tells of it, and none
    /// of its end.
    pub(super) fn note_absence(&mut self, consumer: &BaseConsumer<Member>, now: Instant) {
        let witness = &consumer.context().witness;
        let Some(trouble) = witness.last().filter(|trouble| !trouble.is_specific()) else { return };
        if now < self.probe_at {
            return;
        }
        match consumer.fetch_metadata(Some(&self.config.topic), ABSENCE_ANSWER_MAX) {
            Ok(_) => {
                witness.forget();
                self.trouble = None;
            }
            Err(_) => self.trouble = Some(client::unreachable(&self.config, &trouble)),
        }
        self.probe_at = Instant::now() + ABSENCE_PAUSE;
    }

    /// Records come.
    pub(super) fn end_of_trouble(&mut self) {
        let (trouble, refused) = (self.trouble.take(), self.refused.take());
        if (trouble.is_some() || refused.is_some())
            && let Some(consumer) = &self.consumer
        {
            consumer.context().witness.forget();
        }
    }

    /// Says so when nothing comes although there should be something.
    pub(super) fn note_quiet(&mut self, quiet: bool, now: Instant) {
        if !quiet {
            self.quiet = None;
            return;
        }
        let since = *self.quiet.get_or_insert(now);
        if now.duration_since(since) < QUIET_MAX {
            return;
        }
        self.quiet = Some(now);
        let silent =
            self.lanes.iter().filter(|(lane, _)| self.merge.row(**lane) == Some(Row::Unknown));
        let partitions: Vec<i32> = silent.map(|(_, lane)| lane.partition).collect();
        let said = self.consumer.as_ref().and_then(|one| one.context().witness.news());
        let why = said.map_or_else(
            || match (self.lanes.is_empty(), self.revoking.is_some()) {
                (true, _) => "the group has given this member no partition".into(),
                (_, true) => "a rebalance is under way".into(),
                _ => "their brokers send nothing".into(),
            },
            |trouble| trouble.to_string(),
        );
        tracing::warn!(
            event = "feed.quiet",
            ?partitions,
            "no records come from the topic {} ({why}); they are waited for, because what comes after them may \
             rest on them",
            self.config.topic
        );
    }
}

/// How often silence is told.
const QUIET_MAX: Duration = Duration::from_secs(10);
/// How often brokers that were heard to be gone are asked, and for how long.
const ABSENCE_PAUSE: Duration = Duration::from_secs(2);
const ABSENCE_ANSWER_MAX: Duration = Duration::from_millis(300);
