//! Records out of a Kafka topic.
//!
//! Every partition is read from its beginning to the high watermark it had at the start, by
//! assignment: the group named to librdkafka, which wants one, is never joined and no offset is
//! ever committed. Retention that overtakes the reader ends it with a failure rather than a jump.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::source::{Place, Raw, Span, Stop, Visit, is_raised};
use crate::{
    config::KafkaConfig,
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
    consumer: BaseConsumer<Complaints>,
}

impl<'a> Topic<'a> {
    fn open(config: &'a KafkaConfig) -> Result<Self, Failure> {
        let mut client = ClientConfig::new();
        for (name, value) in [
            ("client.id", "tapline-log"),
            ("group.id", "tapline-log"),
            ("auto.offset.reset", "error"),
            ("fetch.wait.max.ms", "100"),
        ] {
            client.set(name, value);
        }
        if let Some(file) = &config.file {
            overrides(&mut client, file, &FIXED, "tapline log leaves no trace in a group")?;
        }
        for (name, value) in FIXED {
            client.set(name, value);
        }
        client.set("bootstrap.servers", &config.brokers);
        let consumer = client.create_with_context(Complaints::default()).map_err(|error| {
            Failure::configuration(format!(
                "librdkafka refuses the configuration: {error}. Correct --kafka-brokers or --kafka-config"
            ))
        })?;
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
        let metadata = self
            .consumer
            .fetch_metadata(Some(name), ANSWER_MAX)
            .map_err(|error| self.unreachable(&error.to_string()))?;
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
                RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::TopicAuthorizationFailed
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
        let why = said.as_deref().unwrap_or(error);
        Failure::new(
            ExitCode::Unavailable,
            format!(
                "the Kafka brokers {} cannot be reached ({why}). Check --kafka-brokers, the network, \
                 and security.protocol in --kafka-config",
                self.config.brokers
            ),
        )
    }
}

/// Keeps what librdkafka last complained about, which says more than a time-out.
#[derive(Default)]
struct Complaints(Mutex<Option<String>>);

impl Complaints {
    fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(event = "kafka.log", ?level, facility, "{text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let said = format!("{error}: {reason}");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
    }
}

impl ConsumerContext for Complaints {}

/// Takes `name=value` lines over, but for what is fixed and why.
pub(super) fn overrides(
    client: &mut ClientConfig,
    path: &Path,
    fixed: &[(&str, &str)],
    why: &str,
) -> Result<(), Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::configuration(format!("cannot read --kafka-config {name}: {error}"))
    })?;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(Failure::configuration(format!("{name}:{}: write name=value", number + 1)));
        };
        let key = key.trim();
        if fixed.iter().any(|(fixed, _)| *fixed == key) {
            return Err(Failure::configuration(format!(
                "{name}:{}: {key} cannot be changed: {why}. Remove the line",
                number + 1
            )));
        }
        client.set(key, value.trim());
    }
    Ok(())
}

fn saturated(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What no file may change: no commits, no topics made by asking, and a word at each end.
const FIXED: [(&str, &str); 4] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("allow.auto.create.topics", "false"),
];
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
        let file = Some(file.path().to_path_buf());
        let config = KafkaConfig { brokers: "127.0.0.1:9".into(), topic: "t".into(), file };
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
