//! Kafka away, silent, broken or full of objections: nothing waits for it and nothing is lost.
//!
//! The judge stands outside: the source notes every mark the moment it sees it, and in the end the topic must hold all
//! of them, each connection's records in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use prost::Message as _;

use crate::rig::client::{Client, bare, request};
use crate::rig::hole::Hole;
use crate::rig::kafka::Kafka;
use crate::rig::load::{self, Load};
use crate::rig::marker::{self, Scanner};
use crate::rig::origin::{Origin, ok};
use crate::rig::records::TrafficStream;
use crate::rig::services;
use crate::rig::tapline::{Capture, Tapline};
use crate::rig::wait;

#[test]
fn a_kafka_that_is_down_at_the_start_is_bridged_by_the_spool() {
    if !services::wanted("a_kafka_that_is_down_at_the_start_is_bridged_by_the_spool") {
        return;
    }
    let mut kafka = Kafka::start(&[]);
    kafka.create_topic("bridged", 3, &[]);
    kafka.kill();
    let state = tempfile::tempdir().unwrap();
    let origin = Origin::answering(|_| ok(b"done"));
    let capture = || Capture::of(origin.port()).state(state.path()).kafka(&kafka, "bridged");
    let write = |tapline: &Tapline, marks: std::ops::Range<u64>| {
        let mut client = Client::connect(tapline.port());
        for mark in marks {
            let body = marker::text(mark);
            let answer = client.ask(&request("PUT", "/i/_doc/1", body.as_bytes()));
            assert_eq!(answer.status(), 200, "{}", tapline.output());
            assert_eq!(client.ask(&bare("GET", "/")).status(), 200);
        }
    };
    // Three runs, none of which ever meets Kafka: stopped, killed, stopped.
    for round in 0..3 {
        let mut tapline = capture().start();
        write(&tapline, round * 100..round * 100 + 100);
        if round == 1 {
            tapline.kill();
        } else {
            tapline.stop();
            assert!(tapline.output().contains("spool.left"), "{}", tapline.output());
        }
    }
    assert_eq!(spools(state.path()).len(), 3, "each run left its spool");
    let mut tapline = capture().start();
    write(&tapline, 300..400);
    kafka.revive();
    let all: BTreeSet<u64> = (0..400).collect();
    let arrived = wait::until(PATIENCE, || Content::of(&kafka, "bridged").marks == all);
    let content = Content::of(&kafka, "bridged");
    assert!(arrived, "{} of 400: {}", content.marks.len(), tapline.output());
    assert_eq!(content.repeats, 0, "nothing was under way when Kafka was away");
    // One after the other: what was written first arrives first.
    let mut before = BTreeMap::new();
    for (partition, mark) in content.order {
        let newest = before.entry(partition).or_insert(mark);
        assert!(mark >= *newest, "mark {mark} comes after {newest} on partition {partition}");
        *newest = mark;
    }
    // With everything there records go straight again, and nothing is left on the disk.
    write(&tapline, 400..410);
    let straight = wait::until(PATIENCE, || tapline.output().contains("kafka.working"));
    assert!(straight, "{}", tapline.output());
    tapline.stop();
    assert_eq!(spools(state.path()), Vec::<PathBuf>::new(), "{}", tapline.output());
    assert_eq!(Content::of(&kafka, "bridged").marks.len(), 410);
}

#[test]
fn kafka_killed_and_paused_under_load_loses_and_holds_up_nothing() {
    if !services::wanted("kafka_killed_and_paused_under_load_loses_and_holds_up_nothing") {
        return;
    }
    let mut kafka = Kafka::start(&[]);
    kafka.create_topic("shaken", 2, &[]);
    let run = Run::start(|source| Capture::of(source).kafka(&kafka, "shaken"));
    run.busy(200);
    for round in 0..services::scale(1, 10) {
        kafka.kill();
        run.busy(300);
        kafka.revive();
        run.straight(2 * round + 1);
        kafka.pause();
        run.busy(300);
        thread::sleep(Duration::from_secs(services::scale(2, 30)));
        kafka.resume();
        run.straight(2 * round + 2);
    }
    let (seen, output) = run.stop(&kafka, "shaken");
    let content = Content::of(&kafka, "shaken");
    content.hold(&seen, &output);
    services::say(&format!("shaken: {} marks, {} records twice", seen.len(), content.repeats));
}

#[test]
fn a_black_hole_in_place_of_kafka_is_noticed_and_left() {
    if !services::wanted("a_black_hole_in_place_of_kafka_is_noticed_and_left") {
        return;
    }
    let hole = Hole::open();
    let advertised = format!("PLAINTEXT://127.0.0.1:{}", hole.port());
    let kafka = Kafka::start_behind(&hole, &[("advertised.listeners", &advertised)]);
    kafka.create_topic("swallowed", 2, &[]);
    let run = Run::start(|source| Capture::of(source).kafka(&kafka, "swallowed"));
    run.busy(200);
    hole.turn(true);
    run.busy(500);
    assert!(run.tapline().output().contains("kafka.trouble"), "{}", run.tapline().output());
    hole.turn(false);
    run.straight(1);
    let (seen, output) = run.stop(&kafka, "swallowed");
    let content = Content::of(&kafka, "swallowed");
    content.hold(&seen, &output);
    services::say(&format!("swallowed: {} marks, {} records twice", seen.len(), content.repeats));
}

#[test]
fn what_the_source_saw_is_there_after_kills_while_kafka_comes_and_goes() {
    if !services::wanted("what_the_source_saw_is_there_after_kills_while_kafka_comes_and_goes") {
        return;
    }
    let kafka = Kafka::start(&[]);
    kafka.create_topic("flapping", 2, &[]);
    let state = tempfile::tempdir().unwrap();
    let mut all = BTreeSet::new();
    let mut random = u64::from(std::process::id()) | 1;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let capture = |source| Capture::of(source).state(state.path()).kafka(&kafka, "flapping");
    for _ in 0..services::scale(6, 200) {
        let run = Run::start(capture);
        run.busy(30);
        let pauses = draw(3) > 0;
        if pauses {
            kafka.pause();
            run.busy(30);
            thread::sleep(Duration::from_millis(draw(1200)));
        }
        // Killed while it is silent, or while what was left is being sent.
        let resumes = draw(2) == 0;
        if pauses && resumes {
            kafka.resume();
        }
        thread::sleep(Duration::from_millis(draw(300)));
        all.extend(run.kill());
        if pauses && !resumes {
            kafka.resume();
        }
    }
    let origin = Origin::answering(|_| ok(b"done"));
    let mut last = capture(origin.port()).start();
    let drained = wait::until(PATIENCE, || spools(state.path()).len() == 1);
    assert!(drained, "{:?}: {}", spools(state.path()), last.output());
    last.stop();
    let content = Content::of(&kafka, "flapping");
    content.hold(&all, &last.output());
    services::say(&format!("flapping: {} marks, {} records twice", all.len(), content.repeats));
}

#[test]
fn a_topic_that_takes_no_large_records_is_named_and_waited_for() {
    if !services::wanted("a_topic_that_takes_no_large_records_is_named_and_waited_for") {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("narrow", 1, &[("max.message.bytes", "50000")]);
    let origin = Origin::answering(|_| ok(b"done"));
    let tapline = &mut Capture::of(origin.port()).kafka(kafka, "narrow").start();
    let mut client = Client::connect(tapline.port());
    // Small ones fit one by one, if not in one batch.
    for mark in 0..200 {
        let body = format!("{}{}", "x".repeat(2000), marker::text(mark));
        assert_eq!(client.ask(&request("PUT", "/i/_doc/1", body.as_bytes())).status(), 200);
    }
    let body = format!("{}{}", "x".repeat(90_000), marker::text(200));
    let answer = client.ask(&request("PUT", "/i/_doc/2", body.as_bytes()));
    assert_eq!(answer.status(), 200, "it is in the spool: {}", tapline.output());
    let named = wait::until(PATIENCE, || tapline.output().contains("max.message.bytes"));
    assert!(named, "{}", tapline.output());
    let lines = tapline.output().lines().count();
    assert!(lines < 60, "it does not flood the log: {lines} lines");
    kafka.set_topic("narrow", "max.message.bytes", "2000000");
    let all: BTreeSet<u64> = (0..=200).collect();
    let arrived = wait::until(PATIENCE, || Content::of(kafka, "narrow").marks == all);
    assert!(arrived, "{}", tapline.output());
    tapline.stop();
}

#[test]
fn a_spool_that_is_deleted_under_it_ends_the_process_with_a_sentence() {
    let state = tempfile::tempdir().unwrap();
    let nobody = format!("127.0.0.1:{}", crate::rig::port::free());
    let origin = Origin::answering(|_| ok(b"done"));
    let capture = Capture::of(origin.port())
        .state(state.path())
        .flag("--kafka-brokers", &nobody)
        .flag("--kafka-topic", "any");
    let tapline = &mut capture.start();
    let mut client = Client::connect(tapline.port());
    assert_eq!(client.ask(&request("PUT", "/i/_doc/1", b"{}")).status(), 200);
    std::fs::remove_dir_all(state.path().join("log")).unwrap();
    let before = origin.received_bytes();
    client.send(&request("PUT", "/i/_doc/2", b"{}"));
    assert_eq!(tapline.wait(), Some(1), "{}", tapline.output());
    assert!(tapline.output().contains("was deleted"), "{}", tapline.output());
    assert_eq!(origin.received_bytes(), before, "what is nowhere was not let through");
}

/// A load through a proxy, and the marks that the source saw.
struct Run {
    seen: Arc<Mutex<BTreeSet<u64>>>,
    load: Arc<Load>,
    clients: thread::JoinHandle<()>,
    tapline: Tapline,
    _origin: Origin,
}

/// Marks are never given out twice in one process.
static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

impl Run {
    fn start(capture: impl FnOnce(u16) -> Capture) -> Self {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let noting = Arc::clone(&seen);
        let origin = load::origin(move |mark| {
            noting.lock().unwrap().insert(mark);
        });
        let tapline = capture(origin.port()).start();
        let from = NEXT.fetch_add(1_000_000, std::sync::atomic::Ordering::Relaxed);
        let load = Arc::new(Load::from(from));
        let (running, port) = (Arc::clone(&load), tapline.port());
        let clients = thread::spawn(move || running.run(port, 8, u64::MAX, false));
        Self { seen, load, clients, tapline, _origin: origin }
    }

    fn tapline(&self) -> &Tapline {
        &self.tapline
    }

    /// Waits until so many more requests were answered.
    fn busy(&self, more: u64) {
        let before = self.load.answered();
        let busy = wait::until(PATIENCE, || self.load.answered() >= before + more);
        assert!(busy, "{} answers: {}", self.load.answered() - before, self.tapline.output());
    }

    /// Waits until records go straight to Kafka again, for the so many-th time.
    fn straight(&self, times: usize) {
        let straight = || self.tapline.output().matches("kafka.working").count() >= times;
        assert!(wait::until(PATIENCE, straight), "{}", self.tapline.output());
    }

    /// Ends the load, and the proxy when everything has gone from the spool to the topic.
    fn stop(mut self, kafka: &Kafka, topic: &str) -> (BTreeSet<u64>, String) {
        self.load.stop();
        self.clients.join().unwrap();
        let seen = self.seen.lock().unwrap().clone();
        wait::until(PATIENCE, || Content::of(kafka, topic).marks.is_superset(&seen));
        self.tapline.stop();
        (seen, self.tapline.output())
    }

    /// What the source has seen when everything that was on its way has arrived.
    fn kill(mut self) -> BTreeSet<u64> {
        self.tapline.kill();
        self.load.stop();
        self.clients.join().unwrap();
        thread::sleep(Duration::from_millis(200));
        self.seen.lock().unwrap().clone()
    }
}

/// What a topic holds, repeats left out.
#[derive(Debug, Default)]
struct Content {
    marks: BTreeSet<u64>,
    /// Partition and mark, as they stand there.
    order: Vec<(i32, u64)>,
    /// Records that stand there more than once.
    repeats: u64,
}

impl Content {
    /// Checks that each connection's records are whole and in order.
    fn of(kafka: &Kafka, topic: &str) -> Self {
        let mut content = Self::default();
        let (mut numbers, mut scanner) = (BTreeMap::new(), Scanner::new());
        let mut sequences = BTreeSet::new();
        for stored in kafka.consume_all(topic) {
            let stream = TrafficStream::decode(&stored.value[..]).expect("a TrafficStream");
            let origin = stream.provenance.expect("every record says where it comes from");
            if !sequences.insert((origin.incarnation, origin.worker, origin.sequence)) {
                content.repeats += 1;
                continue;
            }
            let id = &stream.connection_id;
            let number = stream.number.or(stream.last_number).unwrap_or(0);
            let before = numbers.insert(id.clone(), number).unwrap_or(0);
            assert_eq!(number, before + 1, "connection {id}");
            for read in stream.observations.iter().filter_map(|seen| seen.read.as_ref()) {
                let found = scanner.scan(id.clone(), &read.data);
                content.order.extend(found.into_iter().map(|mark| (stored.partition, mark)));
            }
        }
        content.marks.clone_from(scanner.found());
        content
    }

    fn hold(&self, seen: &BTreeSet<u64>, output: &str) {
        let lost: Vec<_> = seen.difference(&self.marks).take(10).collect();
        assert!(lost.is_empty(), "the source saw {lost:?}, which are not in Kafka: {output}");
        assert!(seen.len() > 100, "the load was too small to prove anything: {}", seen.len());
    }
}

/// The spools in a state directory.
fn spools(state: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state.join("log")).expect("the spool's directory is there");
    let dirs = entries.map(|entry| entry.unwrap().path());
    dirs.filter(|path| path.join("drained").exists()).collect()
}

const PATIENCE: Duration = Duration::from_mins(3);
