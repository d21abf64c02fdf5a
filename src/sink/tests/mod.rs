//! The Kafka sink against librdkafka's mock cluster: whatever the brokers answer, every record
//! comes back, and the topic holds every connection's records in order.

mod sim;
mod spool;

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use super::{KafkaSettings, KafkaSink, SinkCounters, WorkerEnd, link};
use crate::capture::{BlockPool, ConnectionId, Context, Identity, Record, Stamp, Stream};
use crate::config::KafkaConfig;
use crate::kafka::Access;
use crate::sys::bell::Bell;

const TOPIC: &str = "traffic";
const PARTITIONS: i32 = 4;
const CONNECTIONS: u32 = 8;

struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    worker: WorkerEnd,
    streams: Vec<Stream>,
    identity: Identity,
    pool: BlockPool,
    sequence: u64,
    returned: Vec<(u64, u32)>,
    counters: Arc<SinkCounters>,
    sink: thread::JoinHandle<Result<(), String>>,
}

impl Bench {
    fn start() -> Self {
        Self::start_led_by(Some(1))
    }

    fn start_led_by(leader: Option<i32>) -> Self {
        let cluster = MockCluster::new(1).expect("mock cluster");
        cluster.create_topic(TOPIC, PARTITIONS, 1).expect("topic");
        lead(&cluster, leader);
        let (worker_bell, sink_bell) =
            (Arc::new(Bell::new().expect("bell")), Arc::new(Bell::new().expect("bell")));
        let (worker, end) = link(worker_bell, Arc::clone(&sink_bell));
        let kafka = KafkaConfig::new(cluster.bootstrap_servers(), TOPIC);
        let access = Access::open(&kafka, Duration::ZERO).expect("nothing to read");
        let mut settings = KafkaSettings::new(&kafka, access, 1 << 20).expect("nothing refused");
        // The mock cluster takes what is behind a request that it refused; brokers look at sequences and do not.
        settings.set("max.in.flight", "1");
        let counters = Arc::new(SinkCounters::default());
        let sink = KafkaSink::new(settings, None, vec![end], sink_bell, Arc::clone(&counters))
            .expect("sink");
        let sink = thread::spawn(move || sink.run().map_err(|error| error.to_string()));
        let identity = Identity { node: "node".into(), incarnation: 7, worker: 0 };
        let streams =
            (0..CONNECTIONS).map(|n| Stream::new(ConnectionId::new(&identity, n, 1))).collect();
        Self {
            cluster,
            worker,
            streams,
            identity,
            pool: BlockPool::default(),
            sequence: 0,
            returned: Vec::new(),
            counters,
            sink,
        }
    }

    /// One record of every connection, small ones (copied) and large ones (lent) in turn.
    fn publish(&mut self) {
        let mut batch = Vec::new();
        for (owner, stream) in self.streams.iter_mut().enumerate() {
            self.sequence += 1;
            let mut context = Context { identity: &self.identity, pool: &mut self.pool };
            let len = if self.sequence.is_multiple_of(2) { 100 } else { 9000 };
            stream.read(&mut context, &Stamp::new(self.sequence), &vec![b'x'; len]);
            batch.push(stream.finish(&self.identity, self.sequence, false, owner as u64, true));
        }
        let mut batch = Some(batch);
        while let Some(refused) = batch.take() {
            batch = self.worker.publish(refused, true).err();
        }
    }

    fn take_returned(&mut self) {
        while let Some(batch) = self.worker.returned() {
            let keys = batch.into_iter().map(|Record { owner, number, .. }| (owner, number));
            self.returned.extend(keys);
        }
    }

    fn wait_for_all(&mut self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.returned.len() < self.sequence as usize {
            assert!(Instant::now() < deadline, "{} of {}", self.returned.len(), self.sequence);
            self.take_returned();
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the topic holds: record numbers by key, in the order of offsets.
    fn consume(&self) -> BTreeMap<Vec<u8>, Vec<i32>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "check")
            .set("enable.partition.eof", "true")
            .create()
            .expect("consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(TOPIC, partition, Offset::Beginning).expect("added");
        }
        consumer.assign(&list).expect("assigned");
        let mut found: BTreeMap<Vec<u8>, Vec<i32>> = BTreeMap::new();
        let mut ended = 0;
        let deadline = Instant::now() + Duration::from_secs(30);
        while ended < PARTITIONS {
            assert!(Instant::now() < deadline, "the topic could not be read to its end");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let record = <crate::proto::TrafficStream as prost::Message>::decode(
                        message.payload().expect("value"),
                    )
                    .expect("decodes");
                    let key = message.key().expect("key").to_vec();
                    assert_eq!(key, record.connection_id.as_bytes());
                    found.entry(key).or_default().push(record.number().0);
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        found
    }

    fn finish(self, rounds: i32) {
        // Per connection everything came back once and in order …
        let mut next = vec![1; CONNECTIONS as usize];
        for (owner, number) in &self.returned {
            assert_eq!(*number, next[*owner as usize], "connection {owner}");
            next[*owner as usize] += 1;
        }
        // … and the topic holds it in order, repeats aside.
        let found = self.consume();
        assert_eq!(found.len(), CONNECTIONS as usize);
        for (key, numbers) in found {
            let mut highest = 0;
            for number in numbers {
                assert!(number <= highest + 1, "{key:?}: {number} after {highest}");
                highest = highest.max(number);
            }
            assert_eq!(highest, rounds, "{key:?}");
        }
        drop(self.worker);
        self.sink.join().expect("joined").expect("sink ended well");
    }
}

fn lead(cluster: &MockCluster<'_, DefaultProducerContext>, leader: Option<i32>) {
    for partition in 0..PARTITIONS {
        cluster.partition_leader(TOPIC, partition, leader).expect("the topic is there");
    }
}

#[test]
fn records_come_back_when_the_brokers_have_them() {
    let mut bench = Bench::start();
    for _ in 0..50 {
        bench.publish();
        bench.take_returned();
    }
    bench.wait_for_all();
    bench.finish(50);
}

#[test]
fn passing_and_fatal_broker_errors_lose_and_reorder_nothing() {
    use RDKafkaRespErr as E;
    for (errors, fatal) in [
        (
            &[
                E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            ][..],
            false,
        ),
        (&[E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT], false),
        (&[E::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER], true),
        (&[E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED], true),
    ] {
        let mut bench = Bench::start();
        for round in 0..40 {
            if round == 15 {
                bench.cluster.request_errors(RDKafkaApiKey::Produce, errors);
            }
            bench.publish();
            bench.take_returned();
            thread::sleep(Duration::from_millis(2));
        }
        bench.wait_for_all();
        let rebuilds = bench.counters.to_json()["producer_rebuilds"].as_u64();
        assert_eq!(rebuilds.is_some_and(|n| n > 0), fatal, "{errors:?}: {rebuilds:?}");
        bench.finish(40);
    }
}

#[test]
fn a_partition_that_nobody_leads_is_named() {
    // From the start: the mock cluster breaks over what it is sent for a partition without a leader.
    let mut bench = Bench::start_led_by(None);
    bench.publish();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !bench.counters.state().cause().is_some_and(|why| why.contains("no leader")) {
        assert!(Instant::now() < deadline, "{:?}", bench.counters.state());
        thread::sleep(Duration::from_millis(10));
    }
    lead(&bench.cluster, Some(1));
    bench.wait_for_all();
    bench.finish(1);
}

#[test]
fn a_broker_that_comes_back_finds_everything_waiting() {
    let mut bench = Bench::start();
    bench.publish();
    bench.wait_for_all();
    bench.cluster.broker_down(1).expect("down");
    for _ in 0..20 {
        bench.publish();
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(300));
    bench.take_returned();
    let before = bench.returned.len();
    assert!(before < bench.sequence as usize, "nothing is acknowledged by a broker that is down");
    bench.cluster.broker_up(1).expect("up");
    bench.wait_for_all();
    bench.finish(21);
}
