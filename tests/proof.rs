//! What is proved of a capture: that it is whole, since when, and what is missing where it is not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::rig::kafka::Kafka;
use crate::rig::load::{self, Load};
use crate::rig::tapline::{Capture, Outcome, Tapline, run};
use crate::rig::{services, wait};

/// A capture into `topic` with a heartbeat every 200 ms.
fn capture(kafka: &Kafka, topic: &str, source: u16, state: &Path) -> Tapline {
    let capture = Capture::of(source).state(state).kafka(kafka, topic);
    // Small segments, so that a debug build has read a dead run's last one in no time.
    let capture = capture.flag("--segment-bytes", "4MiB");
    capture.flag("--heartbeat-interval", "200ms").flag("--workers", "2").start()
}

fn verify(kafka: &Kafka, topic: &str, more: &[&str]) -> Outcome {
    let brokers = kafka.brokers();
    let fixed = ["log", "verify", "--kafka-brokers", &brokers, "--kafka-topic", topic];
    run(&[&fixed, more].concat())
}

fn verify_log(log: &Path, more: &[&str]) -> Outcome {
    run(&[&["log", "verify", "--log", log.to_str().unwrap()], more].concat())
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn traffic(tapline: &Tapline, load: &Arc<Load>) {
    load.run(tapline.port(), 6, load.marks() + 200, false);
}

/// The records of a topic as lines.
fn lines(kafka: &Kafka, topic: &str) -> Vec<String> {
    let brokers = kafka.brokers();
    let fixed = ["log", "dump", "--format", "base64", "--kafka-topic", topic];
    let dumped = run(&[&fixed[..], &["--kafka-brokers", &brokers]].concat());
    assert_eq!(dumped.code, Some(0), "{}", dumped.stderr);
    dumped.stdout.lines().map(str::to_owned).collect()
}

/// A capture log of these lines, in a directory of its own.
fn log_of(scratch: &Path, name: &str, lines: &[String]) -> std::path::PathBuf {
    let (file, log) = (scratch.join(format!("{name}.lines")), scratch.join(name));
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    let [file, dir] = [&file, &log].map(|path| path.to_str().unwrap());
    let imported = run(&["log", "import", "--input", file, "--log", dir]);
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    log
}

#[test]
fn a_healthy_run_is_proved_whole_and_a_record_taken_out_or_doubled_is_named() {
    if !services::wanted("a_healthy_run_is_proved_whole_and_a_record_taken_out_or_doubled_is_named")
    {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("proof", 3, &[]);
    let scratch = tempfile::tempdir().unwrap();
    let origin = load::origin(|_| ());
    let before = now();
    let mut tapline = capture(kafka, "proof", origin.port(), &scratch.path().join("state"));
    let load = Arc::new(Load::default());
    traffic(&tapline, &load);
    // Both workers have said that they live.
    let lives = || {
        let asked = verify(kafka, "proof", &["--since", &now()]);
        asked.stdout.contains("2 heartbeats") || asked.stdout.contains("3 heartbeats")
    };
    assert!(wait::until(PATIENCE, lives), "{}", verify(kafka, "proof", &[]).stdout);
    let connection = |line: &String| line.split_once('|').map(|(key, _)| key.to_owned());
    let earlier: Vec<_> = lines(kafka, "proof").iter().map(connection).collect();
    let since = now();
    traffic(&tapline, &load);
    let proved = || verify(kafka, "proof", &["--since", &since]).code == Some(0);
    assert!(
        wait::until(PATIENCE, proved),
        "{}",
        verify(kafka, "proof", &["--since", &since]).stdout
    );
    let early = verify(kafka, "proof", &["--since", &before]);
    assert_eq!(early.code, Some(1), "{}", early.stdout);
    assert!(early.stdout.contains("it took connections from"), "{}", early.stdout);
    tapline.stop();
    for more in [&["--since", &since][..], &["--strict"]] {
        let asked = verify(kafka, "proof", more);
        assert_eq!(asked.code, Some(0), "{}{}", asked.stdout, asked.stderr);
        assert!(asked.stdout.contains("ended in order"), "{}", asked.stdout);
    }
    let all = lines(kafka, "proof");
    // One with traffic behind that time: heartbeats are the short ones.
    let later = |line: &String| line.len() > 900 && !earlier.contains(&connection(line));
    let at = all.iter().position(later).expect("a record with traffic");
    let mut without = all.clone();
    without.remove(at);
    let asked = verify_log(&log_of(scratch.path(), "without", &without), &["--json"]);
    assert_eq!(asked.code, Some(1), "{}", asked.stdout);
    let said: serde_json::Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!(said["sequences_missing"], 1, "{said}");
    let workers = said["workers"].as_array().unwrap();
    let named = workers.iter().filter(|worker| worker["missing"].as_array().unwrap().len() == 1);
    assert_eq!(named.count(), 1, "the hole is named once");
    let since_start = verify_log(&scratch.path().join("without"), &["--since", &since]);
    assert_eq!(since_start.code, Some(1), "{}", since_start.stdout);
    assert!(since_start.stdout.contains("1 records missing: sequences"), "{}", since_start.stdout);
    let mut twice = all.clone();
    twice.insert(at, all[at].clone());
    let log = log_of(scratch.path(), "twice", &twice);
    let asked = verify_log(&log, &["--strict"]);
    assert_eq!(asked.code, Some(1), "{}", asked.stdout);
    assert!(asked.stdout.contains("duplicates: 1"), "{}", asked.stdout);
    assert_eq!(verify_log(&log, &[]).code, Some(0), "named and forgiven");
}

#[test]
fn a_killed_run_is_explained_and_not_taken_for_a_hole() {
    if !services::wanted("a_killed_run_is_explained_and_not_taken_for_a_hole") {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("proof-killed", 3, &[]);
    let scratch = tempfile::tempdir().unwrap();
    let state = scratch.path().join("state");
    let origin = load::origin(|_| ());
    let load = Arc::new(Load::default());
    let mut tapline = capture(kafka, "proof-killed", origin.port(), &state);
    traffic(&tapline, &load);
    std::thread::sleep(Duration::from_millis(600));
    let since = now();
    let proved = || verify(kafka, "proof-killed", &["--since", &since]).code == Some(0);
    assert!(wait::until(PATIENCE, proved), "{}", tapline.output());
    for _ in 0..3 {
        let (running, port) = (Arc::clone(&load), tapline.port());
        let clients = std::thread::spawn(move || running.run(port, 6, u64::MAX, false));
        std::thread::sleep(Duration::from_millis(700));
        tapline.kill();
        clients.join().unwrap();
        tapline = capture(kafka, "proof-killed", origin.port(), &state);
    }
    traffic(&tapline, &load);
    // What the killed ones left in the spool goes first.
    let all_there = || {
        let asked = verify(kafka, "proof-killed", &["--since", &since]).stdout;
        asked.matches("not running between").count() == 3
    };
    let asked = || verify(kafka, "proof-killed", &["--since", &since]).stdout;
    assert!(wait::until(PATIENCE, all_there), "{}\n{}", asked(), tapline.output());
    tapline.stop();
    let whole = verify(kafka, "proof-killed", &[]);
    assert_eq!(whole.code, Some(0), "{}{}", whole.stdout, whole.stderr);
    assert!(whole.stdout.contains("not in order, or not yet"), "{}", whole.stdout);
    // The killed runs count as over when nothing is heard of them for three intervals.
    std::thread::sleep(Duration::from_millis(700));
    let asked = verify(kafka, "proof-killed", &["--since", &since]);
    assert_eq!(asked.code, Some(0), "{}", asked.stdout);
    assert_eq!(asked.stdout.matches("not running between").count(), 3, "{}", asked.stdout);
    assert!(asked.stdout.contains("broken off"), "{}", asked.stdout);
    let mut all = lines(kafka, "proof-killed");
    // The first record of a connection, early in the first run: stored for certain, and gone.
    let at = all.iter().position(|line| line.len() > 900).expect("a record with traffic");
    all.remove(at);
    let asked = verify_log(&log_of(scratch.path(), "without", &all), &[]);
    assert_eq!(asked.code, Some(1), "{}", asked.stdout);
    assert!(asked.stdout.contains("sequences missing: 1"), "{}", asked.stdout);
}

const PATIENCE: Duration = Duration::from_mins(1);
