//! Where and how records are produced: the properties of the producer, and whether the topic is there.

use std::{fmt, time::Duration};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, Producer},
};

use super::lend::{Lender, Reports};
use crate::{
    config::KafkaConfig,
    kafka::{Access, Rules, Trouble},
    sys::bell::Bell,
};

/// How long the answer to a metadata question is waited for, on a thread that has nothing else to do.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// The same at the start, which is to be over within two seconds whether Kafka is there or not.
const START_TIMEOUT: Duration = Duration::from_secs(1);

/// Events that are looked through for the reason of a failure.
const COMPLAINTS_MAX: usize = 16;

/// Where and how to produce.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    pub(super) topic: String,
    brokers: String,
    config: ClientConfig,
    access: Access,
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
    /// The sink's own properties, and the operator's. `record_bytes_max` is what records are cut to.
    pub fn new(
        kafka: &KafkaConfig,
        access: Access,
        record_bytes_max: usize,
    ) -> Result<Self, KafkaError> {
        let mut config =
            access.properties(RULES).map_err(|failure| KafkaError(failure.to_string()))?;
        if config.get("batch.size").is_none() {
            // Key, headers and the batch's own header come on top of a record; so much the brokers must take as well.
            config.set("batch.size", (record_bytes_max + 500).max(1000).to_string());
        }
        let (topic, brokers) = (kafka.topic.clone(), kafka.brokers.clone());
        Ok(Self { topic, brokers, config, access, batch_bytes_max: record_bytes_max })
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The brokers as the operator wrote them.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Another value than ours, for a broker that is none.
    #[cfg(test)]
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.config.set(name, value);
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

    /// What the brokers say of the replicas of these partitions, if that explains that they acknowledge nothing.
    pub(super) fn examine(
        &self,
        producer: &BaseProducer<Reports>,
        partitions: &[usize],
    ) -> Option<Trouble> {
        let metadata =
            producer.client().fetch_metadata(Some(&self.topic), METADATA_TIMEOUT).ok()?;
        let known = metadata.topics().first()?.partitions();
        let asked = known.iter().filter(|one| partitions.contains(&(one.id() as usize)));
        let counts =
            asked.map(|one| (one.id(), one.leader() >= 0, one.isr().len(), one.replicas().len()));
        lacking(counts).map(Trouble::replicas)
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
                // At the start nobody else looks at what it has to say.
                for _ in 0..COMPLAINTS_MAX {
                    producer.poll(Duration::ZERO);
                }
                let said = producer.context().witness.last();
                TopicCheck::Unreachable(said.map_or(error.to_string(), |said| said.to_string()))
            }
        }
    }

    fn producer(&self) -> Result<BaseProducer<Reports>, KafkaError> {
        let reports = Reports::new(self.access.witness());
        let producer: BaseProducer<Reports> = self
            .config
            .create_with_context(reports)
            .map_err(|error| KafkaError(Access::unusable(&error).to_string()))?;
        self.access.login().adopt(producer.client());
        Ok(producer)
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn lender(&self, bell: &Bell) -> Result<Lender, KafkaError> {
        Lender::new(self.producer()?, &self.topic, bell)
            .ok_or_else(|| KafkaError(format!("'{}' cannot be a topic", self.topic)))
    }
}

/// Which partition lacks what, of some with whether they have a leader, replicas in sync, and replicas.
fn lacking(partitions: impl Iterator<Item = (i32, bool, usize, usize)>) -> Option<String> {
    let mut lacking: Vec<_> =
        partitions.filter(|(_, led, in_sync, all)| !led || in_sync < all).collect();
    // The worst one stands for all.
    lacking.sort_unstable_by_key(|(id, led, in_sync, _)| (*led, *in_sync, *id));
    let (id, led, in_sync, all) = lacking.first()?;
    let leader = if *led { "" } else { " and no leader" };
    let more = match lacking.len() - 1 {
        0 => String::new(),
        more => format!(", {more} more lack some"),
    };
    Some(format!("partition {id} has {in_sync} of {all}{leader}{more}"))
}

const RULES: Rules = Rules {
    ours: &[
        ("client.id", "tapline-capture"),
        // Batches form while one is under way; waiting longer would only hold writes back.
        ("linger.ms", "0"),
        ("compression.type", "none"),
        ("queue.buffering.max.messages", "0"),
        // The bound is the memory budget of the workers; librdkafka's must not strike before it.
        ("queue.buffering.max.kbytes", "2147483647"),
        // A broker that takes and never answers is left for a new connection after this.
        ("socket.timeout.ms", "10000"),
        ("request.timeout.ms", "10000"),
        ("reconnect.backoff.ms", "100"),
        ("reconnect.backoff.max.ms", "5000"),
        ("topic.metadata.refresh.interval.ms", "60000"),
        ("socket.keepalive.enable", "true"),
    ],
    fixed: &[
        ("acks", "all"),
        ("enable.idempotence", "true"),
        // Delivery is tried for as long as the process lives: giving up would leave a hole.
        ("message.timeout.ms", "0"),
        // Records are cut by us, and a spool may hold longer ones of an earlier run: the topic is the judge.
        ("message.max.bytes", "100000000"),
    ],
    refused: &[
        "request.required.acks",
        "delivery.timeout.ms",
        "bootstrap.servers",
        "metadata.broker.list",
        "transactional.id",
        "max.in.flight",
        "max.in.flight.requests.per.connection",
    ],
    why: "order and durability of records rest on it",
};

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn settings(text: &str) -> Result<KafkaSettings, KafkaError> {
        let mut file = tempfile::NamedTempFile::new().expect("temp file");
        writeln!(file, "{text}").expect("written");
        let mut kafka = KafkaConfig::new("127.0.0.1:9", "t");
        kafka.file = Some(file.path().into());
        let access = Access::open(&kafka, Duration::ZERO).expect("readable");
        KafkaSettings::new(&kafka, access, 1000)
    }

    #[test]
    fn what_durability_rests_on_cannot_be_overridden() {
        let accepted = settings("# comment\nlinger.ms = 5").expect("read");
        assert_eq!(accepted.config.get("linger.ms"), Some("5"));
        assert_eq!(accepted.config.get("batch.size"), Some("1500"));
        let error = settings("# comment\nlinger.ms = 5\nacks=1").expect_err("refused");
        assert!(error.to_string().contains(":3: acks"), "{error}");
    }

    #[test]
    fn the_partition_that_lacks_most_is_named() {
        let said = |partitions: &[(i32, bool, usize, usize)]| lacking(partitions.iter().copied());
        assert_eq!(said(&[(0, true, 3, 3), (1, true, 1, 1)]), None);
        assert_eq!(said(&[(4, true, 2, 3)]).as_deref(), Some("partition 4 has 2 of 3"));
        let two = [(0, true, 2, 3), (1, true, 1, 3), (2, true, 3, 3)];
        assert_eq!(said(&two).as_deref(), Some("partition 1 has 1 of 3, 1 more lack some"));
        let none = [(0, true, 1, 3), (1, false, 2, 3)];
        let expected = "partition 1 has 2 of 3 and no leader, 1 more lack some";
        assert_eq!(said(&none).as_deref(), Some(expected));
    }

    #[test]
    fn an_unknown_property_is_named() {
        let error = settings("linger.mss=5").expect("read").check_topic().expect_err("refused");
        assert!(error.to_string().contains("linger.mss"), "{error}");
    }
}
