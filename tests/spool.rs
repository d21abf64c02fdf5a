//! Kafka away, silent, broken or full of objections: nothing waits for it and nothing is lost.
//!
//! The judge stands outside: the source notes every mark the moment it sees it, and in the end the topic must hold all
//! of them, each connection's records in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::rig::client::{Client, bare, request};
use crate::rig::content::Content;
use crate::rig::hole::Hole;
use crate::rig::kafka::Kafka;
use crate::rig::marker;
use crate::rig::origin::{Origin, ok};
use crate::rig::run::{Run, spools};
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

const PATIENCE: Duration = Duration::from_mins(3);
