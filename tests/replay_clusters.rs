//! Capture in front of a real Elasticsearch, replay to a real `OpenSearch`: afterwards the same
//! documents stand in both, whatever happened in between.

use std::collections::HashMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::rig::elasticsearch::Elasticsearch;
use crate::rig::kafka::Kafka;
use crate::rig::message::Reader;
use crate::rig::mixed::{Documents, MARK, Mix, Totals};
use crate::rig::opensearch::OpenSearch;
use crate::rig::relay::Relay;
use crate::rig::replayer::Replay;
use crate::rig::tapline::Capture;
use crate::rig::tuples::Writes;
use crate::rig::{python, services, wait};

#[test]
fn replay_of_real_clients_from_the_log_gives_the_same_documents() {
    if !services::wanted("replay_of_real_clients_from_the_log_gives_the_same_documents") {
        return;
    }
    let log = |state: &Path| state.join("log");
    real_clients("real", |capture| capture, |replay, state| replay.log(&log(state)));
}

#[test]
fn replay_of_real_clients_from_kafka_gives_the_same_documents() {
    if !services::wanted("replay_of_real_clients_from_kafka_gives_the_same_documents") {
        return;
    }
    let (kafka, topic) = (Kafka::shared(), "replayed-clients");
    kafka.create_topic(topic, 3, &[]);
    real_clients(
        topic,
        |capture| capture.kafka(kafka, topic),
        |replay, _| replay.kafka(kafka, topic, topic).switch("--until-end"),
    );
}

/// Python clients through the proxy to a source, and all of it to the target.
fn real_clients(
    prefix: &str,
    capture: impl FnOnce(Capture) -> Capture,
    replay: impl FnOnce(Replay, &Path) -> Replay,
) {
    let operations = services::scale(2_000, 50_000);
    let state = tempfile::tempdir().unwrap();
    let source = Elasticsearch::shared().port();
    let mut tapline = capture(Capture::of(source).state(state.path())).start();
    let url = format!("http://127.0.0.1:{}", tapline.port());
    let arguments = [&url, prefix, "7", &operations.to_string(), "6", "--shared", "200"];
    let printed = python::run("mixed.py", &arguments).unwrap_or_else(|error| panic!("{error}"));
    tapline.stop();
    println!("{printed}");
    let totals: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(totals["calls"], operations);
    assert!(totals["409"].as_u64() > Some(10), "there are conflicts: {totals}");
    let to = Replay::to(OpenSearch::shared().port(), &state.path().join("replay"));
    let summary = replay(to, state.path()).succeed();
    println!("{summary:?}");
    assert!(summary.requests >= operations, "{summary:?}");
    assert_eq!((summary.overlaps_by_capture, summary.order_cycles), (0, 0), "{summary:?}");
    assert_in_order(state.path());
    assert_equal(prefix);
}

#[test]
fn replay_from_kafka_gives_the_same_documents() {
    if !services::wanted("replay_from_kafka_gives_the_same_documents") {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("replayed", 3, &[]);
    let mix = Mix { prefix: "topic", clients: 8, ..mix() };
    let (state, totals) = record(&mix, |capture| capture.kafka(kafka, "replayed"));
    let replay = Replay::to(OpenSearch::shared().port(), &state.path().join("replay"));
    let summary = replay.kafka(kafka, "replayed", "replayed").switch("--until-end").succeed();
    assert!(summary.requests >= totals.requests, "{summary:?}");
    assert_in_order(state.path());
    assert_equal("topic");
}

#[test]
fn replay_of_concurrent_writes_to_the_same_documents_never_differs() {
    if !services::wanted("replay_of_concurrent_writes_to_the_same_documents_never_differs") {
        return;
    }
    for run in 0..services::scale(1, 20) {
        let prefix = format!("same{run}-");
        let mix = Mix {
            prefix: &prefix,
            clients: 32,
            documents: Documents::Shared(50),
            // Beginnings matter, when nothing is known of the indices, so rather more runs than longer ones.
            requests: services::scale(1_500, 3_000),
            seed: 100 + run,
            ..mix()
        };
        let (state, totals) = record(&mix, |capture| capture);
        assert!(totals.statuses[&409] > 10, "run {run} has conflicts: {totals:?}");
        let replay = Replay::to(OpenSearch::shared().port(), &state.path().join("replay"));
        let summary = replay.log(&state.path().join("log")).succeed();
        println!("{prefix}: {summary:?}");
        let counts = (summary.overlaps_by_capture, summary.order_cycles, summary.late_writes);
        assert_eq!(counts, (0, 0, 0), "every overlap has an answer that tells: {summary:?}");
        assert_in_order(state.path());
        assert_equal(&prefix);
    }
}

/// A spool that drains produces many records in one millisecond, into all partitions.
#[test]
fn replay_of_what_was_spooled_gives_the_same_documents() {
    if !services::wanted("replay_of_what_was_spooled_gives_the_same_documents") {
        return;
    }
    let mut kafka = Kafka::start(&[]);
    kafka.create_topic("spooled", 4, &[]);
    kafka.kill();
    let mix = Mix { prefix: "spooled", clients: 32, documents: Documents::Shared(50), ..mix() };
    let state = tempfile::tempdir().unwrap();
    let capture = Capture::of(Elasticsearch::shared().port()).state(state.path());
    let mut tapline = capture.kafka(&kafka, "spooled").start();
    let totals = mix.run(tapline.port());
    kafka.revive();
    let drained = wait::until(PATIENCE, || tapline.output().contains("kafka.working"));
    assert!(drained, "{}", tapline.output());
    tapline.stop();
    let replay = Replay::to(OpenSearch::shared().port(), &state.path().join("replay"));
    let summary = replay.kafka(&kafka, "spooled", "spooled").switch("--until-end").succeed();
    assert!(summary.requests >= totals.requests, "{summary:?}");
    assert_eq!(summary.late_writes, 0, "{summary:?}");
    assert_in_order(state.path());
    assert_equal("spooled");
}

#[test]
fn replay_killed_again_and_again_gives_the_same_documents() {
    if !services::wanted("replay_killed_again_and_again_gives_the_same_documents") {
        return;
    }
    let kills: usize = services::scale(5, 50);
    // What was sent and has no outcome on disk is sent again: nothing that is not the same twice.
    let mix =
        Mix { prefix: "killed", requests: services::scale(4_000, 50_000), scripts: false, ..mix() };
    let (state, _) = record(&mix, |capture| capture);
    let relay = Relay::to(OpenSearch::shared().port());
    let replay = Replay::to(relay.port(), &state.path().join("replay"))
        .flag("--max-in-flight", &WINDOW.to_string())
        .log(&state.path().join("log"));
    let passed = || -> usize { relay.passages().iter().map(|passage| passage.upward.len()).sum() };
    let mut random = u64::from(std::process::id()) | 1;
    for round in 0..kills {
        let before = passed();
        let mut replayer = replay.start();
        let busy = wait::until(PATIENCE, || passed() > before + 2_000 || !replayer.runs());
        assert!(busy, "round {round}: nothing passes: {}", replayer.output());
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_micros(random % 100_000));
        let output = replayer.output();
        assert!(replayer.kill(), "round {round}: it has ended before it was killed: {output}");
    }
    replay.succeed();
    assert_equal("killed");
    let sent = sent(&relay);
    let again: usize = sent.values().map(|count| count - 1).sum();
    println!("{} requests, {again} of them sent again after {kills} kills", sent.len());
    assert!(sent.len() > 1_000, "the load was too small to prove anything: {}", sent.len());
    assert!(again <= kills * WINDOW, "{again} requests were sent again, {kills} kills");
}

/// Runs a load through the proxy; the state directory with the capture log.
fn record(mix: &Mix, with: impl FnOnce(Capture) -> Capture) -> (TempDir, Totals) {
    let state = tempfile::tempdir().unwrap();
    let capture = Capture::of(Elasticsearch::shared().port()).state(state.path());
    let mut tapline = with(capture).start();
    let totals = mix.run(tapline.port());
    tapline.stop();
    println!("{}: {totals:?}", mix.prefix);
    (state, totals)
}

fn mix() -> Mix<'static> {
    Mix {
        prefix: "unnamed",
        requests: services::scale(1_500, 10_000),
        clients: 16,
        documents: Documents::Shared(200),
        scripts: true,
        whole: true,
        plain: false,
        seed: 5,
    }
}

/// Both servers wrote every document in the same order, whatever came of it in the end.
fn assert_in_order(state: &Path) {
    let writes = Writes::read(&state.join("replay/tuples"));
    assert!(writes.count() > 1_000, "{} writes", writes.count());
    let misplaced = writes.misplaced();
    let shown = &misplaced[..misplaced.len().min(10)];
    assert!(misplaced.is_empty(), "{} of {}: {shown:#?}", misplaced.len(), writes.count());
}

fn assert_equal(prefix: &str) {
    let source = Elasticsearch::shared().state(prefix);
    let target = OpenSearch::shared().state(prefix);
    assert!(source.documents.len() > 50, "{prefix}: {} documents", source.documents.len());
    if let Some(difference) = source.difference(&target) {
        panic!("{prefix}: source (first) and target (second): {difference}");
    }
    OpenSearch::shared().wipe(prefix);
    Elasticsearch::shared().wipe(prefix);
}

/// How often each request of the load went over the relay whole.
fn sent(relay: &Relay) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for passage in relay.passages() {
        let bytes = passage.upward.bytes();
        let mut reader = Reader::new(&bytes[..]);
        // The last one of a connection may have been cut off by a kill.
        while let Ok(Some(request)) = reader.request() {
            if let Some(mark) = request.field(MARK) {
                *counts.entry(mark).or_default() += 1;
            }
        }
    }
    counts
}

/// Requests in flight at most, and so those that a kill makes uncertain.
const WINDOW: usize = 64;
const PATIENCE: Duration = Duration::from_mins(1);
