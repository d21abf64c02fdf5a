//! The properties of a group's consumer, and the sentences for what can be wrong with a topic.

use std::{fmt, time::Duration};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use super::{KafkaOptions, member::Member};
use crate::{
    config::KafkaConfig,
    kafka::{Access, Rules, Trouble},
    observe::{ExitCode, Failure},
};

/// The properties of a member of the group.
pub(super) fn properties(access: &Access, options: &KafkaOptions) -> Result<ClientConfig, Failure> {
    let mut client = access.properties(RULES)?;
    client.set("group.id", &options.group);
    Ok(client)
}

/// A consumer with so much room for each of so many partitions.
pub(super) fn consumer(
    access: &Access,
    client: &ClientConfig,
    partitions: usize,
    read_ahead_bytes: u64,
) -> Result<BaseConsumer<Member>, Failure> {
    let share = read_ahead_bytes / partitions.max(1) as u64;
    let share_kib = (share >> 10).clamp(SHARE_KIB_MIN, SHARE_KIB_MAX);
    let mut client = client.clone();
    client.set("queued.max.messages.kbytes", share_kib.to_string());
    let consumer: BaseConsumer<Member> = client
        .create_with_context(Member::new(access.witness()))
        .map_err(|error| Access::unusable(&error))?;
    access.login().adopt(consumer.client());
    Ok(consumer)
}

/// Asks for the number of partitions. `Err` of `Ok`: no broker answered.
pub(super) fn partitions(
    consumer: &BaseConsumer<Member>,
    config: &KafkaConfig,
    timeout: Duration,
) -> Result<Result<usize, Trouble>, Failure> {
    let metadata = match consumer.fetch_metadata(Some(&config.topic), timeout) {
        Ok(metadata) => metadata,
        Err(error) => {
            // Complaints wait in the queue of messages, which has nothing else yet.
            for _ in 0..COMPLAINTS_MAX {
                let _ = consumer.poll(Duration::ZERO);
            }
            let said = consumer.context().witness.last();
            return Ok(Err(said.unwrap_or_else(|| Trouble::of(None, &error.to_string()))));
        }
    };
    let topic = metadata.topics().first().filter(|topic| topic.error().is_none());
    match topic.map_or(0, |topic| topic.partitions().len()) {
        0 => Err(no_topic(config)),
        count => Ok(Ok(count)),
    }
}

/// The brokers know no such topic.
pub(super) fn no_topic(config: &KafkaConfig) -> Failure {
    let KafkaConfig { brokers, topic, .. } = config;
    Failure::configuration(format!(
        "the brokers {brokers} know no topic {topic}. Name another with --kafka-topic, or create it: \
         kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic} --partitions 12 \
         --replication-factor 3"
    ))
}

/// The topic or the group may not be used.
pub(super) fn refused(config: &KafkaConfig, error: impl fmt::Display) -> Failure {
    Failure::configuration(format!(
        "the topic {} cannot be read: {error}. Check the rights of this user on the topic and the group",
        config.topic
    ))
}

/// The group stands where the topic has no record any more.
pub(super) fn outrun(
    config: &KafkaConfig,
    group: &str,
    partition: i32,
    at: i64,
    kept: (i64, i64),
) -> String {
    let (low, high) = kept;
    let what = if at < low {
        format!("{} records were deleted before they were replayed", low - at)
    } else {
        "the topic was deleted and created again since".to_owned()
    };
    format!(
        "the group {group} stands at offset {at} of partition {partition} of {}, which holds {low} to {high}: {what}",
        config.topic
    )
}

/// The choice that follows from [`outrun`].
pub(super) fn choice(outrun: &str) -> Failure {
    Failure::configuration(format!(
        "{outrun}. Begin anew from a fresh snapshot under another --kafka-group, or go on with the \
         oldest records there are with --from-oldest"
    ))
}

/// What is wrong when the brokers do not answer.
pub(super) fn unreachable(config: &KafkaConfig, trouble: &Trouble) -> String {
    format!(
        "nothing can be read from the Kafka brokers {}: {}. {}; it is tried again until they answer",
        config.brokers,
        trouble.what(),
        trouble.mend()
    )
}

/// librdkafka gave up on the consumer.
pub(super) fn fatal(error: impl fmt::Display) -> Failure {
    Failure::new(
        ExitCode::Failed,
        format!(
            "the Kafka consumer failed for good: {error}. Start again; it goes on where it stored"
        ),
    )
}

const RULES: Rules = Rules {
    ours: &[
        ("client.id", "tapline-replay"),
        // How soon a partition is known to be at its end; see `merge`.
        ("fetch.wait.max.ms", "100"),
        // A partition that was full is asked for again as soon as there is room.
        ("fetch.queue.backoff.ms", "20"),
        ("reconnect.backoff.ms", "100"),
        ("reconnect.backoff.max.ms", "5000"),
        ("socket.keepalive.enable", "true"),
    ],
    fixed: &[
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("allow.auto.create.topics", "false"),
        ("auto.offset.reset", "error"),
        ("group.protocol", "classic"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        // Below the count only memory bounds what is read ahead.
        ("queued.min.messages", "10000000"),
        ("statistics.interval.ms", "1000"),
    ],
    // These have flags of their own.
    refused: &[
        "group.id",
        "bootstrap.servers",
        "metadata.broker.list",
        "queued.max.messages.kbytes",
    ],
    why: "the order of records and the group's positions rest on it",
};
/// Every partition can hold at least one fetch.
const SHARE_KIB_MIN: u64 = 1 << 10;
/// librdkafka's own limit.
const SHARE_KIB_MAX: u64 = 2_097_151;
/// Events that are looked through for the reason of a failure.
const COMPLAINTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn opened(text: &str) -> Result<(), String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{text}").unwrap();
        let mut config = KafkaConfig::new("127.0.0.1:9", "t");
        config.file = Some(file.path().to_path_buf());
        let options = KafkaOptions::new("g");
        let access =
            Access::open(&config, Duration::ZERO).map_err(|failure| failure.to_string())?;
        properties(&access, &options)
            .and_then(|client| consumer(&access, &client, 3, 64 << 20))
            .map(drop)
            .map_err(|failure| {
                assert_eq!(failure.code(), ExitCode::Configuration);
                failure.to_string()
            })
    }

    #[test]
    fn a_file_may_change_how_brokers_are_reached_but_not_what_positions_rest_on() {
        assert_eq!(opened("# comment\nsession.timeout.ms = 7000\n"), Ok(()));
        for name in ["group.id", "enable.auto.commit", "auto.offset.reset"] {
            let error = opened(&format!("\n{name}=x")).unwrap_err();
            assert!(error.contains(&format!(":2: {name}")), "{error}");
        }
        assert!(opened("nonsense").is_err_and(|error| error.contains(":1: write name=value")));
        assert!(opened("no.such.property=1").is_err_and(|e| e.contains("no.such.property")));
    }
}
