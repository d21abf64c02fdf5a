//! No byte of a request that changes something reaches the source before it is durable.
//!
//! The judge stands outside: the source looks, the moment a mark arrives, whether a reader of the
//! log or of Kafka finds that mark there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::rig::client::{Client, bare, request};
use crate::rig::kafka::Kafka;
use crate::rig::load::{self, Load};
use crate::rig::origin::{Origin, ok};
use crate::rig::records::Records;
use crate::rig::services;
use crate::rig::tape::Ending;
use crate::rig::tapline::Capture;
use crate::rig::wait;
use crate::rig::witness::Witness;

#[test]
fn no_held_byte_comes_before_its_record_in_the_log() {
    let state = tempfile::tempdir().unwrap();
    let witness = Witness::of_log(&state.path().join("log"));
    judge(witness, |source| Capture::of(source).state(state.path()));
}

#[test]
fn no_held_byte_comes_before_its_record_in_kafka() {
    if !services::wanted("no_held_byte_comes_before_its_record_in_kafka") {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("holding", 2, &[]);
    let witness = Witness::of_topic(kafka, "holding");
    judge(witness, |source| Capture::of(source).kafka(kafka, "holding").blocking());
}

#[test]
fn while_kafka_is_silent_reads_pass_and_writes_wait() {
    if !services::wanted("while_kafka_is_silent_reads_pass_and_writes_wait") {
        return;
    }
    let kafka = Kafka::start(&[]);
    kafka.create_topic("silent", 1, &[]);
    let origin = Origin::answering(|request| ok(request.target().as_bytes()));
    let tapline = &mut Capture::of(origin.port()).kafka(&kafka, "silent").blocking().start();
    let mut reader = Client::connect(tapline.port());
    let mut searcher = Client::connect(tapline.port());
    let mut writer = Client::connect(tapline.port());
    let mut half_closed = Client::connect(tapline.port());
    let mut lost = Client::connect(tapline.port());
    // Everyone has a connection to the source before Kafka falls silent.
    for client in [&mut reader, &mut searcher, &mut writer, &mut half_closed, &mut lost] {
        assert_eq!(client.ask(&request("PUT", "/i/_doc/0", b"{}")).status(), 200);
    }
    kafka.pause();
    let before = origin.received_bytes();
    writer.send(&request("PUT", "/i/_doc/kept", b"{}"));
    half_closed.send(&request("POST", "/i/_doc/half", b"{}"));
    half_closed.finish();
    lost.send(&request("DELETE", "/i/_doc/lost", b""));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(origin.received_bytes(), before, "nothing of a held request passed");
    assert_eq!(reader.ask(&bare("GET", "/i/_doc/0")).status(), 200);
    assert_eq!(searcher.ask(&request("POST", "/i/_search", b"{}")).status(), 200);
    lost.reset();
    assert!(writer.is_silent(Duration::from_millis(200)));
    kafka.resume();
    assert_eq!(writer.response("PUT").text(), "/i/_doc/kept");
    assert_eq!(half_closed.response("POST").text(), "/i/_doc/half", "a FIN drops nothing");
    tapline.stop();
    let seen = origin.conversations();
    assert!(seen.iter().any(|one| one.received.holds(b"/i/_doc/kept", PATIENCE)));
    let forwarded = |one: &crate::rig::origin::Conversation| {
        memchr::memmem::find(&one.received.bytes(), b"/i/_doc/lost").is_some()
    };
    assert!(!seen.iter().any(forwarded), "a held request whose client reset was let through");
    let ended = |one: &crate::rig::origin::Conversation| one.received.ending().is_some();
    assert!(wait::until(PATIENCE, || seen.iter().all(ended)));
    let resets = seen.iter().filter(|one| one.received.ending() == Some(Ending::Reset)).count();
    assert_eq!(resets, 1, "only the reset was passed on as one");
    let records = Records::of_topic(&kafka, "silent");
    assert!(records.holds_request(b"/i/_doc/kept") && records.holds_request(b"/i/_doc/half"));
    let undelivered: u32 = records.connections().iter().map(|captured| captured.undelivered).sum();
    assert_eq!(undelivered, 1, "the records say which request was never sent");
}

#[test]
fn all_posts_wait_when_asked_to() {
    if !services::wanted("all_posts_wait_when_asked_to") {
        return;
    }
    let kafka = Kafka::start(&[]);
    kafka.create_topic("posts", 1, &[]);
    let origin = Origin::answering(|_| ok(b"hits"));
    let capture =
        Capture::of(origin.port()).kafka(&kafka, "posts").blocking().switch("--hold-all-posts");
    let tapline = &mut capture.start();
    let mut client = Client::connect(tapline.port());
    assert_eq!(client.ask(&bare("GET", "/")).status(), 200);
    kafka.pause();
    client.send(&request("POST", "/i/_search", b"{}"));
    assert!(client.is_silent(Duration::from_millis(300)));
    kafka.resume();
    assert_eq!(client.response("POST").text(), "hits");
}

#[test]
fn the_judge_notices_when_nothing_is_held() {
    let nowhere = tempfile::tempdir().unwrap();
    let (origin, early) = suspicious_origin(Witness::of_log(&nowhere.path().join("log")));
    let load = Arc::new(Load::default());
    load.run(origin.port(), 4, 200, false);
    assert_eq!(early.lock().unwrap().len() as u64, load.marks());
    assert!(load.marks() >= 200 && load.answered() >= 200 / 8);
}

/// Runs the load through the proxy; every mark must be in the witness's sight when it arrives.
fn judge(witness: Witness, capture: impl FnOnce(u16) -> Capture) {
    let marks = services::scale(4_000, 460_000);
    let (origin, early) = suspicious_origin(witness);
    let mut tapline = capture(origin.port()).flag("--workers", "2").start();
    let load = Arc::new(Load::default());
    load.run(tapline.port(), 16, marks, false);
    tapline.stop();
    let sent = load.marks();
    assert!(sent >= marks, "only {sent} of {marks} were sent: {}", tapline.output());
    let early = early.lock().unwrap();
    let some = &early[..early.len().min(10)];
    assert!(early.is_empty(), "{} of {sent} marks came early: {some:?}", early.len());
    // One request in eight carries thirty marks.
    assert!(load.answered() >= marks / 8, "only {} were answered", load.answered());
}

/// An origin that notes the marks which the witness does not see when they arrive.
fn suspicious_origin(witness: Witness) -> (Origin, Arc<Mutex<Vec<u64>>>) {
    let early = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&early);
    let witness = Mutex::new(witness);
    let origin = load::origin(move |mark| {
        if !witness.lock().unwrap_or_else(PoisonError::into_inner).has(mark) {
            noted.lock().unwrap().push(mark);
        }
    });
    (origin, early)
}

const PATIENCE: Duration = Duration::from_secs(10);
