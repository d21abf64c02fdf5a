//! Topics of a mock cluster: read to the end there was, without a trace, and what is wrong named.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
};

use super::{
    Author, Check, Description, Dumper, Format, Loss, Origin, Raw, Span, Visit, described, options,
    quietly, read, reported,
};
use crate::{
    config::KafkaConfig,
    inspect::{kafka, source::Stop},
    observe::ExitCode,
};

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
}

impl Cluster {
    fn new() -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("traffic", 3, 1).unwrap();
        mock.create_topic("empty", 2, 1).unwrap();
        Self { mock }
    }

    /// The records of each list go to the partition of its index.
    fn produce(&self, partitions: &[Vec<Vec<u8>>]) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.mock.bootstrap_servers())
            .create()
            .unwrap();
        for (partition, records) in partitions.iter().enumerate() {
            for record in records {
                let message = BaseRecord::to("traffic").partition(partition as i32);
                producer
                    .send(message.key(&record[2..62]).payload(record))
                    .map_err(|e| e.0)
                    .unwrap();
            }
        }
        producer.flush(Duration::from_secs(10)).unwrap();
    }

    fn origin(&self, topic: &str) -> Origin {
        let brokers = self.mock.bootstrap_servers();
        Origin::Kafka(KafkaConfig::new(brokers, topic))
    }
}

#[test]
fn every_partition_is_read_to_its_end() {
    let cluster = Cluster::new();
    let mut author = Author::new(2);
    let (first, second) = (author.connection(1, 4), author.connection(2, 2));
    cluster.produce(&[first.clone(), Vec::new(), second.clone()]);
    let origin = cluster.origin("traffic");

    let mut description = Description::default();
    read(&origin, Span::default(), &mut description).unwrap();
    let said = described(&description, &origin);
    let bytes = |records: &[Vec<u8>]| records.iter().map(Vec::len).sum::<usize>();
    assert_eq!(
        said["rows"],
        serde_json::json!([
            { "partition": 0, "records": 5, "bytes": bytes(&first), "first": 0, "last": 4 },
            { "partition": 2, "records": 3, "bytes": bytes(&second), "first": 0, "last": 2 },
        ])
    );

    let mut check = Check::new(true);
    read(&origin, Span::default(), &mut check).unwrap();
    let report = check.report(None);
    assert!(report.whole(), "{}", report.verdict());
    assert_eq!(reported(&report)["workers"][0]["last_sequence"], 8);

    let mut options = options(Format::Raw);
    options.filter.from = Some("1".parse().unwrap());
    options.filter.to = Some("2".parse().unwrap());
    let mut out = Vec::new();
    let mut dumper = Dumper::new(&options, &mut out);
    let span = Span { from: Some(1), to: Some(2), follow: false };
    read(&origin, span, &mut dumper).unwrap();
    quietly(dumper.finish()).unwrap();
    let out = String::from_utf8(out).unwrap();
    let mut places: Vec<_> = out.lines().filter_map(|line| line.get(41..55)).collect();
    places.sort_unstable();
    assert_eq!(places, ["p:0 o:     1 n", "p:0 o:     2 n", "p:2 o:     1 n", "p:2 o:     2 n"]);
}

/// Produces one more record when everything was read, and interrupts when that came.
struct Live<'a> {
    cluster: &'a Cluster,
    record: Option<Vec<u8>>,
    stopped: &'a AtomicBool,
    seen: u64,
}

impl Visit for Live<'_> {
    fn record(&mut self, _: &Raw<'_>) -> Result<(), Stop> {
        self.seen += 1;
        self.stopped.store(self.seen == 2, Ordering::Relaxed);
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<(), Stop> {
        panic!("{}", loss.text);
    }

    fn idle(&mut self) -> Result<(), Stop> {
        if self.seen == 1
            && let Some(record) = self.record.take()
        {
            self.cluster.produce(&[Vec::new(), vec![record]]);
        }
        Ok(())
    }
}

#[test]
fn a_topic_is_followed_until_interrupted() {
    let cluster = Cluster::new();
    let mut records = Author::new(2).connection(1, 1);
    let record = records.pop();
    cluster.produce(&[records]);
    let stopped = AtomicBool::new(false);
    let mut live = Live { cluster: &cluster, record, stopped: &stopped, seen: 0 };
    let Origin::Kafka(config) = cluster.origin("traffic") else { unreachable!() };
    let span = Span { follow: true, ..Span::default() };
    kafka::read(&config, span, &stopped, &mut live).unwrap();
    assert_eq!(live.seen, 2);
}

#[test]
fn an_empty_topic_is_empty_and_an_unknown_one_is_named() {
    let cluster = Cluster::new();
    let mut description = Description::default();
    let origin = cluster.origin("empty");
    read(&origin, Span::default(), &mut description).unwrap();
    assert_eq!(described(&description, &origin)["records"], 0);

    let origin = cluster.origin("absent");
    let failure = read(&origin, Span::default(), &mut description).unwrap_err();
    assert_eq!(failure.code(), ExitCode::Configuration);
    assert!(failure.to_string().contains("no topic absent"), "{failure}");
}

#[test]
fn brokers_that_are_not_there_are_unavailable() {
    let brokers = "127.0.0.1:1";
    let origin = Origin::Kafka(KafkaConfig::new(brokers, "t"));
    let failure = read(&origin, Span::default(), &mut Description::default()).unwrap_err();
    assert_eq!(failure.code(), ExitCode::Unavailable);
    let text = failure.to_string();
    assert!(text.contains("127.0.0.1:1 cannot be reached"), "{text}");
    assert!(text.contains("Connection refused") || text.contains("brokers are down"), "{text}");
}
