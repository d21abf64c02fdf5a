//! What the group and librdkafka say to this member, kept until the feed looks at it.
//!
//! The callbacks run inside `poll`, on the feed's own thread; only answers to commits come from
//! another one. They decide nothing but what cannot
//! wait: a partition that is lost, or given up while closing, is let go at once.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaRespErr,
};

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
#[derive(Debug, Default)]
pub(super) struct Member(Mutex<Heard>);

/// Everything heard and not looked at.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) events: VecDeque<Event>,
    /// What librdkafka last complained about.
    pub(super) complaint: Option<String>,
    /// The ends of partitions, as last seen in answers of the brokers.
    pub(super) ends: BTreeMap<i32, i64>,
    /// The consumer is being closed: nobody looks at events any more.
    pub(super) closing: bool,
}

impl Member {
    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(event = "kafka.log", ?level, facility, "{text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Comes by here as well, and is no error.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            self.heard().complaint = Some(format!("{error}: {reason}"));
        }
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
