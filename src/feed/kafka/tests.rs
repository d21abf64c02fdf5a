//! Members of a group on a mock cluster: order, positions, and what is refused.

use rdkafka::{
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
};

use prost::Message as _;

use super::*;
use crate::proto::{self, RecordView};

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    properties: tempfile::NamedTempFile,
}

impl Cluster {
    fn new(partitions: i32) -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("traffic", partitions, 1).unwrap();
        // The mock lets nobody join before a session has passed since the last member left.
        let mut properties = tempfile::NamedTempFile::new().unwrap();
        let text =
            b"session.timeout.ms=4000\nmax.poll.interval.ms=4000\nheartbeat.interval.ms=500\n";
        std::io::Write::write_all(&mut properties, text).unwrap();
        Self { mock, properties }
    }

    fn config(&self, topic: &str) -> KafkaConfig {
        let brokers = self.mock.bootstrap_servers();
        let file = Some(self.properties.path().to_path_buf());
        KafkaConfig { file, ..KafkaConfig::new(brokers, topic) }
    }

    /// Records with their times as values, one after another.
    fn produce(&self, records: impl IntoIterator<Item = (i32, i64)>) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.mock.bootstrap_servers())
            .create()
            .unwrap();
        for (partition, time) in records {
            let value = time.to_string();
            let record = BaseRecord::<(), _>::to("traffic").partition(partition);
            producer.send(record.timestamp(time).payload(&value)).map_err(|e| e.0).unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
    }

    fn feed(&self, until_end: bool) -> KafkaFeed {
        let options = KafkaOptions { until_end, ..KafkaOptions::new("g") };
        KafkaFeed::open(&self.config("traffic"), options).unwrap()
    }
}

/// Lane, number and time of each record, to the end or to so many.
fn read(feed: &mut KafkaFeed, limit: usize) -> Vec<(u32, u64, i64)> {
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_mins(1);
    while seen.len() < limit {
        match feed.next(true, Instant::now()).unwrap() {
            Next::Record(record) => {
                let time = std::str::from_utf8(record.payload).unwrap().parse().unwrap();
                seen.push((record.lane, record.number, time));
            }
            Next::Idle => std::thread::sleep(Duration::from_millis(2)),
            Next::End => break,
            other => panic!("{other:?}"),
        }
        assert!(Instant::now() < deadline, "only {seen:?} came");
    }
    seen
}

fn times(seen: &[(u32, u64, i64)]) -> Vec<i64> {
    seen.iter().map(|record| record.2).collect()
}

#[test]
fn partitions_are_merged_by_time_and_read_to_their_ends() {
    let cluster = Cluster::new(3);
    // Partition 1 is empty; the others do not alternate evenly.
    let partition = |time: i64| if (time / 7) % 2 == 0 { 0 } else { 2 };
    cluster.produce((1..=300).map(|time| (partition(time), time)));
    let mut feed = cluster.feed(true);
    let seen = read(&mut feed, 1000);
    assert_eq!(times(&seen), (1..=300).collect::<Vec<_>>());
    for lane in 0..3 {
        let numbers: Vec<u64> = seen.iter().filter(|r| r.0 == lane).map(|r| r.1).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    }
    let left = Backlog { records: Some(0), bytes: None, at_live_end: false };
    assert_eq!(feed.backlog(), left);
    Box::new(feed).close().unwrap();
}

/// As when a spool drains, into each partition at its own pace.
#[test]
fn records_come_in_the_order_in_which_they_were_seen_whenever_they_were_produced() {
    let cluster = Cluster::new(4);
    let record = |number: i64| {
        let ts = proto::Timestamp { seconds: 1_700_000_000, nanos: number as i32 };
        let seen = proto::TrafficObservation { ts: Some(ts), capture: None };
        let record = proto::TrafficStream {
            connection_id: format!("c{number}"),
            sub_stream: vec![seen],
            ..proto::TrafficStream::default()
        };
        record.encode_to_vec()
    };
    let partition = |number: i64| (number * 7 % 11 % 4) as i32;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.mock.bootstrap_servers())
        .create()
        .unwrap();
    for number in 0..200 {
        let value = record(number);
        let to = BaseRecord::<(), _>::to("traffic").partition(partition(number));
        let produced = 5 + number / 4 * i64::from(partition(number));
        producer.send(to.timestamp(produced).payload(&value)).map_err(|error| error.0).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    let mut feed = cluster.feed(true);
    let (mut names, deadline) = (Vec::new(), Instant::now() + Duration::from_mins(1));
    loop {
        match feed.next(true, Instant::now()).unwrap() {
            Next::Record(record) => {
                names.push(RecordView::parse(record.payload).unwrap().connection_id.to_owned());
            }
            Next::Idle => std::thread::sleep(Duration::from_millis(2)),
            Next::End => break,
            other => panic!("{other:?}"),
        }
        assert!(Instant::now() < deadline, "only {names:?} came");
    }
    assert_eq!(names, (0..200).map(|number| format!("c{number}")).collect::<Vec<_>>());
    Box::new(feed).close().unwrap();
}

#[test]
fn a_restart_begins_with_the_first_record_that_is_not_done() {
    let cluster = Cluster::new(2);
    cluster.produce((1..=40).map(|time| ((time % 2) as i32, time)));
    let mut feed = cluster.feed(true);
    let seen = read(&mut feed, 20);
    assert_eq!(feed.backlog().records, Some(20));
    // Of the lane of odd numbers seven are done, of the other one none.
    let odd = seen[0].0;
    feed.done(odd, 7);
    feed.save(true).unwrap();
    feed.done(odd, 9);
    // Not stored: what is done is lost with the process.
    drop(feed);
    let mut feed = cluster.feed(true);
    let expected: Vec<i64> = (1..=40).filter(|time| time % 2 == 0 || *time > 14).collect();
    let again = read(&mut feed, 100);
    assert_eq!(times(&again), expected);
    let last = |lane| again.iter().filter(|r| r.0 == lane).map(|r| r.1 + 1).max().unwrap_or(0);
    for lane in [0, 1] {
        feed.done(lane, last(lane));
    }
    Box::new(feed).close().unwrap();
    let mut feed = cluster.feed(true);
    assert_eq!(read(&mut feed, 100), []);
    Box::new(feed).close().unwrap();
}

#[test]
fn who_wants_no_records_keeps_the_group_and_gets_them_later() {
    let cluster = Cluster::new(2);
    cluster.produce((1..=20).map(|time| ((time % 2) as i32, time)));
    let mut feed = cluster.feed(false);
    let first = read(&mut feed, 3);
    let begin = Instant::now();
    // Longer than `max.poll.interval.ms` lets a member be silent.
    while begin.elapsed() < Duration::from_secs(5) {
        assert!(matches!(feed.next(false, Instant::now()), Ok(Next::Idle)));
        std::thread::sleep(Duration::from_millis(20));
    }
    let rest = read(&mut feed, 17);
    let all: Vec<i64> = times(&first).into_iter().chain(times(&rest)).collect();
    assert_eq!(all, (1..=20).collect::<Vec<_>>());
    feed.done(first[0].0, 1);
    Box::new(feed).close().unwrap();
}

#[test]
fn a_topic_that_is_not_there_is_refused_with_the_command_that_makes_it() {
    let cluster = Cluster::new(1);
    let config = KafkaConfig::new(cluster.config("x").brokers, "a/b");
    let failure = KafkaFeed::open(&config, KafkaOptions::new("g")).unwrap_err();
    assert_eq!(failure.code(), ExitCode::Configuration);
    assert!(failure.to_string().contains("kafka-topics.sh"), "{failure}");
}

#[test]
fn brokers_that_are_not_there_are_waited_for() {
    let config = KafkaConfig::new("127.0.0.1:9", "t");
    let mut feed = KafkaFeed::open(&config, KafkaOptions::new("g")).unwrap();
    assert!(matches!(feed.next(true, Instant::now()), Ok(Next::Idle)));
    assert_eq!(feed.backlog(), Backlog::default());
    feed.save(true).unwrap();
    Box::new(feed).close().unwrap();
}
