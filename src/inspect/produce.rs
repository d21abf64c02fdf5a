//! A topic that records are written to: by key, where a Java client would put them, in their order.
//!
//! Memory is bounded: when the queue is full, sending waits for the brokers.

use std::{
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};

use super::kafka::failure;
use crate::{
    config::KafkaConfig,
    kafka::{self, Access, Rules, Witness},
    observe::{ExitCode, Failure},
};

/// A topic to write to.
pub(super) struct Topic<'a> {
    config: &'a KafkaConfig,
    producer: BaseProducer<Deliveries>,
}

impl<'a> Topic<'a> {
    /// Makes sure that the topic is there.
    pub(super) fn open(config: &'a KafkaConfig) -> Result<Self, Failure> {
        let access = Access::insist(config)?;
        let client = access.properties(RULES)?;
        let context = Deliveries { first: Mutex::default(), witness: access.witness() };
        let producer: BaseProducer<Deliveries> =
            client.create_with_context(context).map_err(|error| Access::unusable(&error))?;
        access.login().adopt(producer.client());
        let topic = Self { config, producer };
        let hear = || topic.producer.poll(Duration::ZERO);
        let client = topic.producer.client();
        let metadata = kafka::metadata(client, Some(&config.topic), ANSWER_MAX, hear)
            .map_err(|trouble| failure(config, &trouble))?;
        let found = metadata.topics().first().filter(|found| found.error().is_none());
        if found.is_none_or(|found| found.partitions().is_empty()) {
            let KafkaConfig { brokers, topic, .. } = config;
            return Err(Failure::configuration(format!(
                "the brokers {brokers} know no topic {topic}. Name another with --kafka-topic, or create it: \
                 kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic} --partitions 12 \
                 --replication-factor 3"
            )));
        }
        Ok(topic)
    }

    /// Sends a record; it has arrived when [`Self::finish`] says so.
    pub(super) fn send(&mut self, key: Option<&[u8]>, payload: &[u8]) -> Result<(), Failure> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.config.topic).payload(payload);
        if let Some(key) = key {
            record = record.key(key);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(FULL_PAUSE);
                    record = back;
                }
                Err((error, _)) => return Err(self.failed(&error)),
            }
            self.check()?;
        }
        self.producer.poll(Duration::ZERO);
        self.check()
    }

    /// Waits until every record has arrived.
    pub(super) fn finish(self) -> Result<(), Failure> {
        while self.producer.in_flight_count() > 0 {
            // librdkafka gives up by itself, and then says so.
            self.producer.poll(FULL_PAUSE);
        }
        self.check()
    }

    fn check(&self) -> Result<(), Failure> {
        let failed = self.producer.context().first.lock().unwrap_or_else(PoisonError::into_inner);
        failed.as_ref().map_or(Ok(()), |error| Err(self.failed(error)))
    }

    fn failed(&self, error: &KafkaError) -> Failure {
        let KafkaConfig { brokers, topic, .. } = self.config;
        Failure::new(
            ExitCode::Unavailable,
            format!(
                "records cannot be written to the topic {topic} at {brokers}: {error}. Check the brokers, the \
                 rights of this user, and the topic's max.message.bytes; then import into an empty topic again"
            ),
        )
    }
}

/// The first record that did not arrive, and why.
struct Deliveries {
    first: Mutex<Option<KafkaError>>,
    witness: Witness,
}

impl AsRef<Witness> for Deliveries {
    fn as_ref(&self) -> &Witness {
        &self.witness
    }
}

impl ClientContext for Deliveries {
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
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| error.clone());
        }
    }
}

const RULES: Rules = Rules {
    ours: &[
        ("client.id", "tapline-import"),
        ("linger.ms", "5"),
        ("queue.buffering.max.kbytes", "65536"),
        ("message.max.bytes", "67108864"),
    ],
    fixed: &[
        ("acks", "all"),
        ("enable.idempotence", "true"),
        // Where Java clients put a key, so that each connection stays in one partition.
        ("partitioner", "murmur2_random"),
        ("allow.auto.create.topics", "false"),
        ("message.timeout.ms", "120000"),
    ],
    refused: &[],
    why: "no record may be lost or change its place",
};
/// How long the first answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long sending waits at a time for room.
const FULL_PAUSE: Duration = Duration::from_millis(50);
