//! A topic that is deleted under the proxy: a clear error, and nothing acknowledged is lost.

use std::sync::Arc;
use std::time::Duration;

use crate::rig::client::{Client, bare, request};
use crate::rig::kafka::Kafka;
use crate::rig::load::{self, Load};
use crate::rig::marker;
use crate::rig::origin::{Origin, ok};
use crate::rig::tapline::Capture;
use crate::rig::witness::Witness;
use crate::rig::{services, wait};

#[test]
fn a_deleted_topic_holds_writes_and_is_named() {
    if !services::wanted("a_deleted_topic_holds_writes_and_is_named") {
        return;
    }
    let kafka = Kafka::start(&[]);
    kafka.create_topic("gone", 1, &[]);
    let origin = Origin::answering(|_| ok(b"done"));
    let tapline = &mut Capture::of(origin.port()).kafka(&kafka, "gone").blocking().start();
    let mut client = Client::connect(tapline.port());
    for number in 0..50 {
        let body = marker::text(number);
        assert_eq!(client.ask(&request("PUT", "/i/_doc/1", body.as_bytes())).status(), 200);
    }
    let mut witness = Witness::of_topic(&kafka, "gone");
    assert_eq!(witness.all().iter().copied().collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    kafka.delete_topic("gone");
    let late = marker::text(50);
    client.send(&request("PUT", "/i/_doc/1", late.as_bytes()));
    let said = wait::until(Duration::from_mins(1), || {
        let output = tapline.output();
        output.lines().any(|line| line.contains("gone") && line.to_lowercase().contains("topic"))
    });
    assert!(said, "it names the topic: {}", tapline.output());
    let answer = Client::connect(tapline.port()).ask(&bare("GET", "/still"));
    assert_eq!(answer.status(), 200, "reads go on");
    let reached = |mark: &str| {
        let seen = origin.conversations();
        seen.iter()
            .any(|one| memchr::memmem::find(&one.received.bytes(), mark.as_bytes()).is_some())
    };
    assert!(!reached(&late), "a write without a record reached the source");
    // With the topic made anew, what was held goes on or was refused; it is never let through
    // without a record.
    kafka.create_topic("gone", 1, &[]);
    let answer = client.try_response("PUT");
    let mut witness = Witness::of_topic(&kafka, "gone");
    if answer.is_ok_and(|answer| answer.status() == 200) || reached(&late) {
        assert!(witness.has(50), "the write was let through, but is not in the new topic");
    }
    assert!(tapline.runs(), "{}", tapline.output());
}

#[test]
fn a_broker_that_dies_and_comes_back_loses_nothing() {
    if !services::wanted("a_broker_that_dies_and_comes_back_loses_nothing") {
        return;
    }
    let mut kafka = Kafka::start(&[]);
    kafka.create_topic("broken", 2, &[]);
    let (send, arrived) = std::sync::mpsc::channel();
    let send = std::sync::Mutex::new(send);
    let origin = load::origin(move |mark| {
        let _ = send.lock().unwrap().send(mark);
    });
    let tapline = &mut Capture::of(origin.port()).kafka(&kafka, "broken").start();
    let load = Arc::new(Load::default());
    let running = Arc::clone(&load);
    let port = tapline.port();
    let clients = std::thread::spawn(move || running.run(port, 8, u64::MAX, true));
    for _ in 0..services::scale(1, 5) {
        let before = load.answered();
        let busy = || load.answered() > before + 200;
        assert!(wait::until(Duration::from_mins(1), busy), "{}", tapline.output());
        kafka.kill();
        std::thread::sleep(Duration::from_secs(2));
        kafka.revive();
    }
    let before = load.answered();
    let healed = wait::until(Duration::from_mins(1), || load.answered() > before + 200);
    load.stop();
    clients.join().unwrap();
    assert!(healed, "it does not go on when Kafka is back: {}", tapline.output());
    // All of the spool, not the first sign of life: on a busy machine records also go aside before the broker dies.
    let mut seen: Vec<u64> = arrived.try_iter().collect();
    let mut witness = Witness::of_topic(&kafka, "broken");
    let whole = wait::until(Duration::from_mins(3), || {
        let recorded = witness.all();
        seen.iter().all(|mark| recorded.contains(mark))
    });
    tapline.stop();
    seen.extend(arrived.try_iter());
    let recorded = witness.all();
    let lost: Vec<_> = seen.iter().filter(|mark| !recorded.contains(mark)).collect();
    let output = tapline.output();
    assert!(whole && lost.is_empty(), "{} marks are not in Kafka: {output}", lost.len());
}
