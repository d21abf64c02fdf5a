//! Members of a group on a real broker: partitions come and go, retention deletes, and nothing is
//! passed over in silence.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tapline::config::KafkaConfig;
use tapline::feed::{Feed, KafkaFeed, KafkaOptions, Next, Place};
use tapline::observe::ExitCode;

use crate::rig::kafka::Kafka;
use crate::rig::services;

const PARTITIONS: i32 = 6;

fn config(kafka: &Kafka, topic: &str) -> KafkaConfig {
    KafkaConfig::new(kafka.brokers(), topic)
}

fn producer(kafka: &Kafka) -> BaseProducer {
    ClientConfig::new().set("bootstrap.servers", kafka.brokers()).create().unwrap()
}

fn produce(producer: &BaseProducer, topic: &str, partition: i32, value: u64) {
    let value = value.to_string();
    let record = BaseRecord::<(), _>::to(topic).partition(partition).payload(&value);
    producer.send(record).map_err(|error| error.0).unwrap();
    producer.poll(Duration::ZERO);
}

/// A member that finishes every record some records later, and keeps what the rules promise.
struct Member {
    feed: Option<Box<KafkaFeed>>,
    /// Partition, records given and records done of each lane that is open.
    lanes: BTreeMap<u32, (i32, u64, u64)>,
    /// How often each offset of each partition was given.
    given: BTreeMap<(i32, i64), u32>,
    /// The end of what is done, by partition.
    done: BTreeMap<i32, i64>,
    closed: u32,
    saved: Instant,
}

impl Member {
    fn join(kafka: &Kafka, topic: &str) -> Self {
        let feed = KafkaFeed::open(&config(kafka, topic), KafkaOptions::new("group")).unwrap();
        Self {
            feed: Some(Box::new(feed)),
            lanes: BTreeMap::new(),
            given: BTreeMap::new(),
            done: BTreeMap::new(),
            closed: 0,
            saved: Instant::now(),
        }
    }

    fn step(&mut self) {
        let feed = self.feed.as_mut().unwrap();
        for _ in 0..200 {
            match feed.next(true, Instant::now()).unwrap() {
                Next::Record(record) => {
                    let Place::Kafka { partition, offset } = record.place else { panic!() };
                    let (of, given, done) =
                        self.lanes.entry(record.lane).or_insert((partition, 0, 0));
                    assert_eq!((*of, *given), (partition, record.number));
                    *given += 1;
                    *self.given.entry((partition, offset)).or_default() += 1;
                    if *given - *done > 20 {
                        *done = *given - 5;
                        self.done.insert(partition, offset - 4);
                        let (lane, done) = (record.lane, *done);
                        feed.done(lane, done);
                    }
                }
                Next::LaneClosing { lane } => {
                    // What is in flight is finished, all of it.
                    self.closed += 1;
                    if let Some((_, given, _)) = self.lanes.remove(&lane) {
                        feed.done(lane, given);
                    }
                    feed.release(lane);
                }
                Next::LaneLost { lane } => panic!("lane {lane} was lost"),
                Next::Loss { text, .. } => panic!("{text}"),
                Next::Idle => break,
                Next::End => panic!("a follower has no end"),
            }
        }
        if self.saved.elapsed() > Duration::from_millis(200) {
            self.saved = Instant::now();
            self.feed.as_mut().unwrap().save(false).unwrap();
        }
    }

    fn leave(&mut self) {
        let mut feed = self.feed.take().unwrap();
        for (lane, (_, given, _)) in std::mem::take(&mut self.lanes) {
            feed.done(lane, given);
        }
        feed.close().unwrap();
    }
}

#[test]
fn members_come_and_go_and_every_record_is_given_once() {
    if !services::wanted("members_come_and_go_and_every_record_is_given_once") {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("rounds", PARTITIONS, &[]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let produced = scope.spawn(|| {
            let producer = producer(kafka);
            let mut value = 0;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..10 {
                    produce(&producer, "rounds", (value % PARTITIONS as u64) as i32, value);
                    value += 1;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            producer.flush(Duration::from_secs(10)).unwrap();
            value
        });
        let mut first = Member::join(kafka, "rounds");
        let run = |members: &mut [&mut Member], until: &dyn Fn(&[&mut Member]) -> bool| {
            let deadline = Instant::now() + Duration::from_mins(1);
            while !until(members) {
                for member in members.iter_mut() {
                    member.step();
                }
                std::thread::sleep(Duration::from_millis(1));
                assert!(Instant::now() < deadline, "it does not go on");
            }
        };
        run(&mut [&mut first], &|members| members[0].given.len() > 500);
        // A second member takes half of the partitions, works on them, and leaves again.
        let mut second = Member::join(kafka, "rounds");
        run(&mut [&mut first, &mut second], &|members| members[1].given.len() > 500);
        assert!(first.closed > 0, "the first member was asked to give partitions up");
        second.leave();
        let before = first.given.len();
        run(&mut [&mut first], &|members| {
            let seen: std::collections::BTreeSet<i32> =
                members[0].lanes.values().map(|lane| lane.0).collect();
            members[0].given.len() > before + 500 && seen.len() == PARTITIONS as usize
        });
        stop.store(true, Ordering::Relaxed);
        let produced = produced.join().unwrap();
        run(&mut [&mut first], &|members| {
            members[0].given.len() + second.given.len() >= produced as usize
        });
        first.leave();
        let mut given = first.given;
        second
            .given
            .into_iter()
            .for_each(|(place, times)| *given.entry(place).or_default() += times);
        assert_eq!(given.len(), produced as usize);
        let twice: Vec<_> = given.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "orderly joins and leaves repeat nothing: {twice:?}");
        // All of it was committed: nobody who comes later gets any of it.
        let options = KafkaOptions { until_end: true, ..KafkaOptions::new("group") };
        let mut late = KafkaFeed::open(&config(kafka, "rounds"), options).unwrap();
        loop {
            match late.next(true, Instant::now()).unwrap() {
                Next::End => break,
                Next::Idle => std::thread::sleep(Duration::from_millis(2)),
                other => panic!("{other:?}"),
            }
        }
        Box::new(late).close().unwrap();
    });
}

#[test]
fn a_group_that_retention_has_overtaken_is_refused_until_the_operator_chooses() {
    if !services::wanted("a_group_that_retention_has_overtaken_is_refused") {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("short", 1, &[]);
    let producer = producer(kafka);
    (0..100).for_each(|value| produce(&producer, "short", 0, value));
    producer.flush(Duration::from_secs(10)).unwrap();
    let open = |from_oldest| {
        let options = KafkaOptions { from_oldest, until_end: true, ..KafkaOptions::new("short") };
        KafkaFeed::open(&config(kafka, "short"), options).unwrap()
    };
    let next = |feed: &mut KafkaFeed| loop {
        match feed.next(true, Instant::now()) {
            Ok(Next::Idle) => std::thread::sleep(Duration::from_millis(2)),
            Ok(Next::Record(record)) => {
                return Ok(std::str::from_utf8(record.payload).unwrap().parse::<i64>().unwrap());
            }
            Ok(Next::Loss { records, .. }) => return Ok(-(records.unwrap() as i64)),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => return Err(failure),
        }
    };
    let mut feed = open(false);
    for value in 0..30 {
        assert_eq!(next(&mut feed).unwrap(), value);
    }
    feed.done(0, 30);
    Box::new(feed).close().unwrap();
    kafka.delete_records("short", 0, 70);
    let failure = next(&mut open(false)).unwrap_err();
    assert_eq!(failure.code(), ExitCode::Configuration);
    let text = failure.to_string();
    assert!(text.contains("40 records were deleted") && text.contains("--from-oldest"), "{text}");
    let mut feed = open(true);
    assert_eq!(next(&mut feed).unwrap(), -40);
    for value in 70..100 {
        assert_eq!(next(&mut feed).unwrap(), value);
    }
    assert!(matches!(feed.next(true, Instant::now()), Ok(Next::Idle | Next::End)));
    Box::new(feed).close().unwrap();
}
