//! Records out of a Kafka topic.
//!
//! Every partition is read from its beginning to the high watermark it had at the start, by
//! assignment: the group named to librdkafka, which wants one, is never joined and no offset is
//! ever committed. Retention that overtakes the reader ends it with a failure rather than a jump.

use std::{
    collections::BTreeMap,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::source::{Place, Raw, Span, Stop, Visit, is_raised};
use crate::{
    config::KafkaConfig,
    kafka::{self, Access, Rules, Trouble, Witness},
    observe::{ExitCode, Failure},
};

/// Gives every record of the topic to the visitor.
pub(super) fn read(
    config: &KafkaConfig,
    span: Span,
    stopped: &AtomicBool,
    visitor: &mut dyn Visit,
) -> Result<(), Stop> {
    let topic = Topic::open(config)?;
    let mut ends = topic.assign(span)?;
    let mut heard = Instant::now();
    while !is_raised(stopped) && (span.follow || !ends.is_empty()) {
        match topic.consumer.poll(POLL) {
            None if span.follow => visitor.idle()?,
            None if heard.elapsed() > SILENCE_MAX => {
                return Err(topic.unreachable("no records came").into());
            }
            None => {}
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                let end = ends.get(&partition).copied();
                if span.follow || end.is_some_and(|end| offset < end) {
                    let place = Place::Kafka { partition, offset };
                    visitor.record(&Raw { place, node: "", payload: message.payload() })?;
                }
                if end.is_some_and(|end| offset + 1 >= end) {
                    ends.remove(&partition);
                }
                // After the visitor: a slow reader of our output is no silence of the brokers.
                heard = Instant::now();
            }
            // The last offsets before a watermark may be marks of a transaction, which are no messages.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ends.remove(&partition);
            }
            Some(Err(error)) => topic.judge(&error)?,
        }
    }
    Ok(())
}

struct Topic<'a> {
    config: &'a KafkaConfig,
    consumer: BaseConsumer<Witness>,
}

impl<'a> Topic<'a> {
    fn open(config: &'a KafkaConfig) -> Result<Self, Failure> {
        let access = Access::insist(config)?;
        let client = access.properties(RULES)?;
        let consumer: BaseConsumer<Witness> = client
            .create_with_context(access.witness())
            .map_err(|error| Access::unusable(&error))?;
        access.login().adopt(consumer.client());
        Ok(Self { config, consumer })
    }

    /// Assigns every partition that has something in the span; gives the offsets to stop before.
    fn assign(&self, span: Span) -> Result<BTreeMap<i32, i64>, Failure> {
        let mut list = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for partition in self.partitions()? {
            let (low, high) = self
                .consumer
                .fetch_watermarks(&self.config.topic, partition, ANSWER_MAX)
                .map_err(|error| self.unreachable(&error.to_string()))?;
            let from = span.from.map_or(low, |from| low.max(saturated(from)));
            let to = span.to.map_or(high, |to| high.min(saturated(to).saturating_add(1)));
            if from < to {
                ends.insert(partition, to);
            } else if !span.follow {
                continue;
            }
            // Beyond the end there is nothing to start from; the visitor passes over what comes before.
            list.add_partition_offset(
                &self.config.topic,
                partition,
                Offset::Offset(from.min(high)),
            )
            .map_err(|error| Failure::new(ExitCode::Bug, error))?;
        }
        self.consumer
            .assign(&list)
            .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot read: {error}")))?;
        Ok(ends)
    }

    fn partitions(&self) -> Result<Vec<i32>, Failure> {
        let name = &self.config.topic;
        let hear = || drop(self.consumer.poll(Duration::ZERO));
        let metadata = kafka::metadata(self.consumer.client(), Some(name), ANSWER_MAX, hear)
            .map_err(|trouble| failure(self.config, &trouble))?;
        let topic = metadata.topics().first();
        let known = topic.filter(|topic| topic.error().is_none() && !topic.partitions().is_empty());
        let Some(known) = known else {
            return Err(Failure::configuration(format!(
                "the brokers {} know no topic {name}. Name another with --kafka-topic, or create it first",
                self.config.brokers
            )));
        };
        Ok(known.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
    }

    /// Errors that pass by themselves are librdkafka's business; the silence they cause is ours.
    fn judge(&self, error: &KafkaError) -> Result<(), Failure> {
        let code = error.rdkafka_error_code();
        match code {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                Err(Failure::new(
                    ExitCode::Failed,
                    format!(
                        "records of the topic {} were deleted while it was read. Raise its retention, or run again",
                        self.config.topic
                    ),
                ))
            }
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => Err(Failure::configuration(format!(
                "the topic {} cannot be read: {error}. Check the topic and the rights of this user",
                self.config.topic
            ))),
            _ => {
                tracing::debug!(event = "kafka.read", %error, "will be tried again");
                Ok(())
            }
        }
    }

    fn unreachable(&self, error: &str) -> Failure {
        // Complaints wait in the queue of messages; what else is in it is of no use any more.
        for _ in 0..COMPLAINTS_MAX {
            let _ = self.consumer.poll(Duration::ZERO);
        }
        let said = self.consumer.context().last();
        failure(self.config, &said.unwrap_or_else(|| Trouble::of(None, error)))
    }
}

/// The brokers do not let us in, or do not answer.
pub(super) fn failure(config: &KafkaConfig, trouble: &Trouble) -> Failure {
    let code = if trouble.is_specific() { ExitCode::Configuration } else { ExitCode::Unavailable };
    let what = if trouble.is_specific() { "used" } else { "reached" };
    let text = format!(
        "the Kafka brokers {} cannot be {what}: {}. {}",
        config.brokers,
        trouble.what(),
        trouble.mend()
    );
    Failure::new(code, text)
}

fn saturated(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// No commits, no topics made by asking, and a word at each end.
const RULES: Rules = Rules {
    ours: &[
        ("client.id", "tapline-log"),
        ("group.id", "tapline-log"),
        ("auto.offset.reset", "error"),
        ("fetch.wait.max.ms", "100"),
    ],
    fixed: &[
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("allow.auto.create.topics", "false"),
    ],
    refused: &[],
    why: "tapline log leaves no trace in a group",
};
/// Events that are looked through for the reason of a failure.
const COMPLAINTS_MAX: usize = 16;
/// How long one call waits for a message.
const POLL: Duration = Duration::from_millis(100);
/// How long an answer of the brokers is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// After so long without a message, with messages outstanding, the brokers count as gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn opened(text: &str) -> Result<(), String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{text}").unwrap();
        let mut config = KafkaConfig::new("127.0.0.1:9", "t");
        config.file = Some(file.path().to_path_buf());
        Topic::open(&config).map(drop).map_err(|failure| {
            assert_eq!(failure.code(), ExitCode::Configuration);
            failure.to_string()
        })
    }

    #[test]
    fn a_file_may_change_how_brokers_are_reached_but_not_leave_a_trace() {
        assert_eq!(opened("# comment\nsocket.keepalive.enable = true\ngroup.id=mine\n"), Ok(()));
        let error = opened("group.id=a\nenable.auto.commit=true").unwrap_err();
        assert!(error.contains(":2: enable.auto.commit"), "{error}");
        assert!(opened("nonsense").is_err_and(|error| error.contains(":1: write name=value")));
        assert!(opened("no.such.property=1").is_err_and(|e| e.contains("no.such.property")));
    }
}
