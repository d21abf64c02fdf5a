//! What the group and librdkafka say to this member, kept until the feed looks at it.
//!
//! The callbacks run inside `poll`, on the feed's own thread; only answers to commits come from
//! another one. They decide nothing but what cannot
//! wait: a partition that is lost, or given up while closing, is let go at once.

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaRespErr,
};

use crate::kafka::Witness;

/// What the group decided.
#[derive(Debug)]
pub(super) enum Event {
    /// These partitions come to us, once they are assigned.
    Assigned(Vec<i32>),
    /// These go to others, once they are unassigned.
    Revoked(Vec<i32>),
    /// These are gone, and others may have them.
    Lost(Vec<i32>),
    /// The answer to a commit: partitions with the offsets that are stored, or why none are.
    Committed(Result<Vec<(i32, i64)>, String>),
}

/// Our side of the group.
#[derive(Debug)]
pub(super) struct Member {
    heard: Mutex<Heard>,
    /// Hears what librdkafka complains of.
    pub(super) witness: Witness,
}

/// Everything heard and not looked at.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) events: VecDeque<Event>,
    /// The ends of partitions, as last seen in answers of the brokers.
    pub(super) ends: BTreeMap<i32, i64>,
    /// The consumer is being closed: nobody looks at events any more.
    pub(super) closing: bool,
}

impl Member {
    pub(super) fn new(witness: Witness) -> Self {
        Self { heard: Mutex::default(), witness }
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.witness.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.witness.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.witness.generate_oauth_token(config)
    }

    fn stats(&self, statistics: Statistics) {
        let mut heard = self.heard();
        for topic in statistics.topics.into_values() {
            let known = topic.partitions.into_iter().filter(|(_, seen)| seen.hi_offset >= 0);
            heard.ends.extend(known.map(|(partition, seen)| (partition, seen.hi_offset)));
        }
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: Vec<i32> =
            list.elements().iter().map(TopicPartitionListElem::partition).collect();
        let closing = self.heard().closing;
        let event = if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            if closing {
                let _ = consumer.incremental_assign(list);
            }
            Event::Assigned(partitions)
        } else {
            let lost = consumer.assignment_lost();
            if lost || closing {
                let _ = consumer.incremental_unassign(list);
            }
            if lost { Event::Lost(partitions) } else { Event::Revoked(partitions) }
        };
        tracing::info!(event = "feed.rebalance", what = ?event);
        if !closing {
            self.heard().events.push_back(event);
        }
    }
}
