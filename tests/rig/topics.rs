//! What the tests ask of brokers as clients: topics, settings, records.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::wait;

/// A client's view of one broker or several.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    brokers: String,
    /// Copies of each record of a topic that is made here.
    replicas: i32,
}

/// What one record of a topic holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Topics {
    /// Brokers at addresses `host:port`, with commas between them.
    pub(crate) fn of(brokers: String, replicas: i32) -> Self {
        Self { brokers, replicas }
    }

    /// `host:port` of each broker, with commas between them.
    pub(crate) fn brokers(&self) -> String {
        self.brokers.clone()
    }

    /// Changes one setting of a topic.
    pub(crate) fn set_topic(&self, topic: &str, name: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        let outcome = block_on(self.admin().alter_configs([&change], &AdminOptions::new()));
        outcome.expect("the broker answers").remove(0).expect("the topic exists");
    }

    /// Creates a topic; `configs` are its settings.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(self.replicas));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        let outcome = block_on(self.admin().create_topics([&topic], &AdminOptions::new()));
        outcome.expect("the broker answers").remove(0).expect("the topic is new");
        assert!(
            wait::until(REQUEST, || self.partitions(name) == partitions),
            "topic {name} does not show up"
        );
    }

    /// Deletes a topic and waits until it is gone.
    pub(crate) fn delete_topic(&self, name: &str) {
        let outcome = block_on(self.admin().delete_topics(&[name], &AdminOptions::new()));
        outcome.expect("the broker answers").remove(0).expect("the topic exists");
        assert!(wait::until(REQUEST, || self.partitions(name) == 0), "topic {name} does not go");
    }

    /// Everything in a topic up to its end now, by partition and offset.
    pub(crate) fn consume_all(&self, topic: &str) -> Vec<Stored> {
        let mut tail = self.tail(topic);
        let ends = tail.ends();
        let mut stored = Vec::new();
        let complete = wait::until(CONSUME, || {
            tail.read(&mut stored);
            tail.reached(&ends)
        });
        assert!(complete, "topic {topic} could not be read to its end within {CONSUME:?}");
        stored.sort_by_key(|record| (record.partition, record.offset));
        stored
    }

    /// A reader from the start of a topic that follows it.
    pub(crate) fn tail(&self, topic: &str) -> Tail {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "rig")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "5")
            .set("fetch.message.max.bytes", "8388608")
            .create()
            .expect("the settings of the consumer are valid");
        let mut assignment = TopicPartitionList::new();
        let partitions = self.partitions(topic);
        for partition in 0..partitions {
            assignment
                .add_partition_offset(topic, partition, Offset::Beginning)
                .expect("the beginning is an offset");
        }
        consumer.assign(&assignment).expect("the partitions exist");
        let positions = vec![0; partitions as usize];
        Tail { consumer, topic: topic.to_owned(), positions }
    }

    /// Records of a topic behind what a group has stored; those of a partition of which it has stored nothing count too.
    pub(crate) fn lag(&self, topic: &str, group: &str) -> i64 {
        let consumer: BaseConsumer =
            self.client().set("group.id", group).create().expect("the settings are valid");
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            list.add_partition(topic, partition);
        }
        let stored = consumer.committed_offsets(list, REQUEST).expect("the group is known");
        let behind = stored.elements().into_iter().map(|one| {
            let marks = consumer.fetch_watermarks(topic, one.partition(), REQUEST);
            let (low, high) = marks.expect("the partition has watermarks");
            match one.offset() {
                Offset::Offset(at) => high - at,
                _ => high - low,
            }
        });
        behind.sum()
    }

    /// Whether one of the brokers answers.
    pub(super) fn metadata_is_served(&self) -> bool {
        self.admin()
            .inner()
            .fetch_metadata(None, Duration::from_secs(1))
            .is_ok_and(|metadata| !metadata.brokers().is_empty())
    }

    /// How many partitions a topic has; 0: there is none.
    pub(crate) fn partitions(&self, topic: &str) -> i32 {
        let admin = self.admin();
        let metadata = admin.inner().fetch_metadata(Some(topic), REQUEST);
        metadata.ok().map_or(0, |metadata| {
            metadata
                .topics()
                .iter()
                .find(|found| found.name() == topic && found.error().is_none())
                .map_or(0, |found| found.partitions().len() as i32)
        })
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("the settings of the client are valid")
    }

    /// The properties of a client of these brokers.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers())
            .set("allow.auto.create.topics", "false")
            // A broker that is killed on purpose is not worth a line in the output.
            .set("log_level", "0");
        config
    }
}

/// A consumer of a whole topic that follows it; it knows how far it has come.
pub(crate) struct Tail {
    consumer: BaseConsumer,
    topic: String,
    positions: Vec<i64>,
}

impl Tail {
    /// Adds what has arrived, waiting a moment for the first record.
    pub(crate) fn read(&mut self, into: &mut Vec<Stored>) {
        let mut patience = Duration::from_millis(20);
        while let Some(message) = self.consumer.poll(patience) {
            let Ok(message) = message else { return };
            patience = Duration::ZERO;
            self.positions[message.partition() as usize] = message.offset() + 1;
            into.push(Stored {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().unwrap_or_default().to_vec(),
                value: message.payload().unwrap_or_default().to_vec(),
            });
            if into.len().is_multiple_of(READ_RECORDS) {
                return;
            }
        }
    }

    /// The offset after the last acknowledged record of each partition, asked for now.
    pub(crate) fn ends(&self) -> Vec<i64> {
        (0..self.positions.len())
            .map(|partition| {
                let marks = self.consumer.fetch_watermarks(&self.topic, partition as i32, REQUEST);
                marks.expect("the partition has watermarks").1
            })
            .collect()
    }

    /// Whether everything before `ends` has been read.
    pub(crate) fn reached(&self, ends: &[i64]) -> bool {
        self.positions.iter().zip(ends).all(|(position, end)| position >= end)
    }
}

/// The admin client completes its futures from its own thread, so that parking is enough.
fn block_on<F: Future>(future: F) -> F::Output {
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(Duration::from_millis(100)),
        }
    }
}

const REQUEST: Duration = Duration::from_secs(15);
const CONSUME: Duration = Duration::from_mins(2);
const READ_RECORDS: usize = 4096;
