//! `--on-capture-unavailable pass`: writes go on while nothing can be stored, and the records say what they lack.
//!
//! The judge stands outside: the source notes every mark that it sees. A mark that is not in the records must be in
//! their gaps, and the question whether all was captured must be answered with no.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::disk_full::SmallDisk;
use crate::rig::client::{Client, bare, request};
use crate::rig::kafka::Kafka;
use crate::rig::load;
use crate::rig::marker::{self, Scanner};
use crate::rig::origin::Origin;
use crate::rig::records::Records;
use crate::rig::tapline::{Capture, Tapline, run};
use crate::rig::{services, wait};

/// A source that notes marks, and what it saw.
struct Source {
    origin: Origin,
    seen: Arc<Mutex<BTreeSet<u64>>>,
}

impl Source {
    fn open() -> Self {
        let seen = Arc::<Mutex<BTreeSet<u64>>>::default();
        let noting = Arc::clone(&seen);
        let origin = load::origin(move |mark| {
            noting.lock().unwrap().insert(mark);
        });
        Self { origin, seen }
    }

    fn seen(&self) -> BTreeSet<u64> {
        self.seen.lock().unwrap().clone()
    }

    fn capture(&self, state: &Path) -> Capture {
        let capture = Capture::of(self.origin.port()).state(state).admin();
        let capture = capture.flag("--on-capture-unavailable", "pass").flag("--workers", "1");
        capture.flag("--hold-timeout", "1s").flag("--heartbeat-interval", "200ms")
    }
}

/// Writes these marks with so many bytes before each, one after the other; the longest that one took.
fn write(client: &mut Client, marks: std::ops::Range<u64>, bytes: usize) -> Duration {
    let one = |mark| {
        let body = format!("{}{}", "x".repeat(bytes), marker::text(mark));
        let began = Instant::now();
        let answer = client.ask(&request("PUT", "/i/_doc/1", body.as_bytes()));
        assert_eq!(answer.status(), 200, "write {mark}: {}", answer.text());
        began.elapsed()
    };
    marks.map(one).max().unwrap_or_default()
}

fn said(tapline: &Tapline, page: &str) -> (u16, String) {
    let answer = Client::connect(tapline.admin()).ask(&bare("GET", page));
    (answer.status(), answer.text())
}

fn status(tapline: &Tapline) -> serde_json::Value {
    serde_json::from_str(&said(tapline, "/status").1).expect("/status is JSON")
}

/// Waits until writes pass, or do not any more, and until that is said.
fn await_passing(tapline: &Tapline, passing: bool) {
    let is_so = || status(tapline)["passing"]["now"] == passing;
    assert!(wait::until(PATIENCE, is_so), "passing {passing}: {}", tapline.output());
    let named = || said(tapline, "/readyz").1.contains("\"passing\"") == passing;
    assert!(wait::until(PATIENCE, named), "{}", said(tapline, "/readyz").1);
}

fn verify(kafka: &Kafka, topic: &str, since: &str) -> (Option<i32>, String) {
    let brokers = kafka.brokers();
    let fixed = ["log", "verify", "--kafka-brokers", &brokers, "--kafka-topic", topic];
    let outcome = run(&[&fixed[..], &["--since", since]].concat());
    (outcome.code, outcome.stdout)
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn marks_of(records: &Records) -> BTreeSet<u64> {
    let mut scanner = Scanner::new();
    for (number, one) in records.connections().iter().enumerate() {
        scanner.scan(number, &one.read);
    }
    scanner.found().clone()
}

#[test]
fn what_passes_while_kafka_is_away_is_captured_after_all_or_named_as_missing() {
    let name = "what_passes_while_kafka_is_away_is_captured_after_all_or_named_as_missing";
    if !services::wanted(name) {
        return;
    }
    let mut kafka = Kafka::start(&[]);
    kafka.create_topic("passed", 2, &[]);
    let (source, state) = (Source::open(), tempfile::tempdir().unwrap());
    let capture = source.capture(state.path()).kafka(&kafka, "passed");
    let mut tapline = capture.flag("--capture-memory", "4MiB").start();
    assert!(tapline.output().contains("capture.may_miss"), "{}", tapline.output());
    let client = &mut Client::connect(tapline.port());
    write(client, 0..50, 100);
    let healthy = now();
    let whole = |since: &str| verify(&kafka, "passed", since).0 == Some(0);
    assert!(wait::until(PATIENCE, || whole(&healthy)), "{}", verify(&kafka, "passed", &healthy).1);
    kafka.kill();
    // The first waits until the oldest record has been away for the hold timeout, nobody after it.
    let first = write(client, 50..51, 100);
    await_passing(&tapline, true);
    let (ready, text) = said(&tapline, "/readyz");
    assert_eq!(ready, 200, "a node that takes writes is not taken out: {text}");
    write(client, 51..150, 100);
    // More than the memory holds, also on connections of which nothing at all is recorded.
    write(client, 150..180, 256 << 10);
    for mark in 180..200 {
        write(&mut Client::connect(tapline.port()), mark..mark + 1, 100);
    }
    let before = status(&tapline);
    let (_, metrics) = said(&tapline, "/metrics");
    for line in ["tapline_passing 1", "tapline_capture_gap_requests_total{cause=\"unstored\"}"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    kafka.revive();
    await_passing(&tapline, false);
    let healed = now();
    let most = write(client, 200..250, 100);
    let uncaptured = status(&tapline)["passing"]["writes_uncaptured"].as_u64().unwrap();
    assert!(wait::until(PATIENCE, || verify(&kafka, "passed", &healed).0 == Some(0)));
    let (code, text) = verify(&kafka, "passed", &healthy);
    assert!(code == Some(1) && text.contains(": NO"), "{text}");
    assert!(
        text.contains("records could not be stored and --on-capture-unavailable is pass"),
        "{text}"
    );
    tapline.stop();
    assert_eq!(source.seen(), (0..250).collect(), "every write went on");
    let captured = marks_of(&Records::of_topic(&kafka, "passed"));
    let missing: BTreeSet<u64> = source.seen().difference(&captured).copied().collect();
    assert!(missing.iter().all(|mark| (150..200).contains(mark)), "{missing:?}");
    assert_eq!(missing.len() as u64, uncaptured, "no more and no less is missing than was counted");
    assert!(uncaptured > 20, "{before}");
    let (_, text) = verify(&kafka, "passed", &healthy);
    assert!(text.contains("20 connections") || text.contains("21 connections"), "{text}");
    let early = before["passing"]["writes_early"].as_u64().unwrap();
    assert!(early >= 100, "{before}");
    services::say(&format!(
        "passed: {early} early, {uncaptured} uncaptured; the first waited {first:?}, {most:?} when healed"
    ));
}

#[test]
fn a_kill_while_writes_pass_is_never_taken_for_whole() {
    if !services::wanted("a_kill_while_writes_pass_is_never_taken_for_whole") {
        return;
    }
    let mut kafka = Kafka::start(&[]);
    kafka.create_topic("unmarked", 1, &[]);
    let (source, state) = (Source::open(), tempfile::tempdir().unwrap());
    let start = |kafka: &Kafka| source.capture(state.path()).kafka(kafka, "unmarked").start();
    let mut tapline = start(&kafka);
    write(&mut Client::connect(tapline.port()), 0..20, 100);
    let since = now();
    let whole = || verify(&kafka, "unmarked", &since).0 == Some(0);
    assert!(wait::until(PATIENCE, whole), "{}", verify(&kafka, "unmarked", &since).1);
    kafka.kill();
    write(&mut Client::connect(tapline.port()), 20..40, 100);
    tapline.kill();
    kafka.revive();
    let mut tapline = start(&kafka);
    write(&mut Client::connect(tapline.port()), 40..60, 100);
    let broken = || verify(&kafka, "unmarked", &since).1.contains("broken off after");
    assert!(wait::until(PATIENCE, broken), "{}", verify(&kafka, "unmarked", &since).1);
    let (code, text) = verify(&kafka, "unmarked", &since);
    assert!(code == Some(1) && text.contains("--on-capture-unavailable pass"), "{text}");
    assert!(!text.contains("no write"), "{text}");
    tapline.stop();
    let captured = marks_of(&Records::of_topic(&kafka, "unmarked"));
    let missing: BTreeSet<u64> = source.seen().difference(&captured).copied().collect();
    assert_eq!(missing, (20..40).collect(), "what passed unstored died with the process");
}

#[test]
fn writes_pass_a_full_disk_and_are_stored_when_there_is_room_again() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(scratch.path(), DISK_BYTES) else {
        let name = "writes_pass_a_full_disk_and_are_stored_when_there_is_room_again";
        services::say(&format!("left out: {name} (mounting a tmpfs is not permitted)"));
        return;
    };
    let state: PathBuf = scratch.path().join("state");
    let ballast = state.join("ballast");
    std::fs::write(&ballast, vec![0; BALLAST_BYTES]).unwrap();
    let source = Source::open();
    let capture = source.capture(&state).flag("--segment-bytes", "4MiB");
    let mut tapline = capture.flag("--log-reserve", "4MiB").start();
    let client = &mut Client::connect(tapline.port());
    let mut next = 0;
    // Until one has had to wait.
    while write(client, next..next + 1, 128 << 10) < Duration::from_millis(900) {
        next += 1;
        assert!(next < 1000, "the disk does not get full: {}", tapline.output());
    }
    await_passing(&tapline, true);
    write(client, next + 1..next + 40, 100);
    let early = status(&tapline)["passing"]["writes_early"].as_u64().unwrap();
    assert!(early >= 40, "{}", status(&tapline));
    std::fs::remove_file(&ballast).unwrap();
    await_passing(&tapline, false);
    write(client, next + 40..next + 50, 100);
    tapline.stop();
    let log = tapline.log();
    assert_eq!(marks_of(&Records::of_log(&log)), source.seen(), "all of it was stored after all");
    let whole = run(&["log", "verify", "--log", log.to_str().unwrap()]);
    assert_eq!(whole.code, Some(0), "{}", whole.stdout);
    drop(disk);
}

const DISK_BYTES: u64 = 64 << 20;
const BALLAST_BYTES: usize = 36 << 20;
const PATIENCE: Duration = Duration::from_mins(1);
