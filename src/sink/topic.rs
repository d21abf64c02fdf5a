//! Where and how records are produced: the properties of the producer, and whether the topic is there.

use std::{fmt, path::Path, time::Duration};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, Producer},
};

use super::lend::{Lender, Reports};
use crate::sys::bell::Bell;

/// How long the answer to a metadata question is waited for, on a thread that has nothing else to do.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// The same at the start, which is to be over within two seconds whether Kafka is there or not.
const START_TIMEOUT: Duration = Duration::from_secs(1);

/// Where and how to produce.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    pub(super) topic: String,
    brokers: String,
    config: ClientConfig,
    pub(super) batch_bytes_max: usize,
}

/// Why the Kafka sink cannot work at all.
#[derive(Debug)]
pub struct KafkaError(pub(super) String);

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KafkaError {}

/// What the brokers said about the topic at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicCheck {
    /// It is there, with so many partitions.
    Ready(usize),
    /// The brokers know no such topic.
    Unknown,
    /// No broker answered; the producer goes on trying.
    Unreachable(String),
}

impl KafkaSettings {
    /// The sink's own properties. `record_bytes_max` is what records are cut to.
    pub fn new(brokers: &str, topic: &str, record_bytes_max: usize) -> Self {
        let mut config = ClientConfig::new();
        // Key, headers and the batch's own header come on top of a record; so much the brokers must take as well.
        let batch_bytes = (record_bytes_max + 500).max(1000).to_string();
        for (name, value) in [
            ("bootstrap.servers", brokers),
            ("client.id", "tapline-capture"),
            ("acks", "all"),
            ("enable.idempotence", "true"),
            // Delivery is tried for as long as the process lives: giving up would leave a hole.
            ("message.timeout.ms", "0"),
            // Batches form while one is under way; waiting longer would only hold writes back.
            ("linger.ms", "0"),
            ("batch.size", &batch_bytes),
            ("compression.type", "none"),
            ("queue.buffering.max.messages", "0"),
            // The bound is the memory budget of the workers; librdkafka's must not strike before it.
            ("queue.buffering.max.kbytes", "2147483647"),
            // Records are cut by us, and a spool may hold longer ones of an earlier run: the topic is the judge.
            ("message.max.bytes", "100000000"),
            // A broker that takes and never answers is left for a new connection after this.
            ("socket.timeout.ms", "10000"),
            ("request.timeout.ms", "10000"),
            ("reconnect.backoff.ms", "100"),
            ("reconnect.backoff.max.ms", "5000"),
            ("topic.metadata.refresh.interval.ms", "60000"),
            ("socket.keepalive.enable", "true"),
        ] {
            config.set(name, value);
        }
        let batch_bytes_max = record_bytes_max;
        Self { topic: topic.into(), brokers: brokers.into(), config, batch_bytes_max }
    }

    /// Overrides from a file of `name=value` lines with librdkafka's property names. What the order and durability of
    /// records rest on cannot be overridden.
    pub fn with_file(mut self, path: &Path) -> Result<Self, KafkaError> {
        let name = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| KafkaError(format!("cannot read --kafka-config {name}: {error}")))?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(KafkaError(format!("{name}:{}: write name=value", number + 1)));
            };
            let (key, value) = (key.trim(), value.trim());
            if FIXED.contains(&key) {
                return Err(KafkaError(format!(
                    "{name}:{}: {key} cannot be changed: order and durability of records rest on it",
                    number + 1
                )));
            }
            self.config.set(key, value);
        }
        Ok(self)
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The brokers as the operator wrote them.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The producer's properties.
    pub fn client(&self) -> &ClientConfig {
        &self.config
    }

    /// Asks the brokers for the topic; waits for a second at most.
    pub fn check_topic(&self) -> Result<TopicCheck, KafkaError> {
        Ok(self.ask_within(&self.producer()?, START_TIMEOUT))
    }

    /// What to do about a missing topic.
    pub fn missing(&self) -> String {
        format!(
            "the brokers {} have no topic '{topic}'. Create it: kafka-topics.sh --create --bootstrap-server {} \
             --topic {topic} --partitions 8 --replication-factor 3 --config min.insync.replicas=2",
            self.brokers,
            self.brokers.split(',').next().unwrap_or_default(),
            topic = self.topic,
        )
    }

    pub(super) fn ask(&self, producer: &BaseProducer<Reports>) -> TopicCheck {
        self.ask_within(producer, METADATA_TIMEOUT)
    }

    fn ask_within(&self, producer: &BaseProducer<Reports>, timeout: Duration) -> TopicCheck {
        match producer.client().fetch_metadata(Some(&self.topic), timeout) {
            Ok(metadata) => {
                let topic = metadata.topics().first();
                let partitions = topic.map_or(0, |topic| topic.partitions().len());
                let error = topic.and_then(rdkafka::metadata::MetadataTopic::error);
                if partitions == 0 || error.is_some() {
                    TopicCheck::Unknown
                } else {
                    TopicCheck::Ready(partitions)
                }
            }
            Err(error) => {
                let reasons = producer.context().take_errors();
                TopicCheck::Unreachable(reasons.last().cloned().unwrap_or(error.to_string()))
            }
        }
    }

    fn producer(&self) -> Result<BaseProducer<Reports>, KafkaError> {
        self.config
            .create_with_context(Reports::default())
            .map_err(|error| KafkaError(format!("librdkafka refuses the configuration: {error}")))
    }

    pub(super) fn lender(&self, bell: &Bell) -> Result<Lender, KafkaError> {
        Lender::new(self.producer()?, &self.topic, bell)
            .ok_or_else(|| KafkaError(format!("'{}' cannot be a topic", self.topic)))
    }
}

/// Properties that `--kafka-config` must leave alone.
const FIXED: [&str; 11] = [
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "bootstrap.servers",
    "metadata.broker.list",
    "transactional.id",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
];

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_durability_rests_on_cannot_be_overridden() {
        let settings = KafkaSettings::new("127.0.0.1:9", "t", 1000);
        let mut file = tempfile::NamedTempFile::new().expect("temp file");
        writeln!(file, "# comment\nlinger.ms = 5").expect("written");
        let accepted = settings.clone().with_file(file.path()).expect("read");
        assert_eq!(accepted.config.get("linger.ms"), Some("5"));
        writeln!(file, "acks=1").expect("written");
        let error = settings.with_file(file.path()).expect_err("refused");
        assert!(error.to_string().contains(":3: acks"), "{error}");
    }

    #[test]
    fn an_unknown_property_is_named() {
        let mut file = tempfile::NamedTempFile::new().expect("temp file");
        writeln!(file, "linger.mss=5").expect("written");
        let settings =
            KafkaSettings::new("127.0.0.1:9", "t", 1000).with_file(file.path()).expect("read");
        let error = settings.check_topic().expect_err("refused");
        assert!(error.to_string().contains("linger.mss"), "{error}");
    }
}
