//! After `kill -9` at any instant, everything the source saw is found in what was recovered.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::rig::kafka::Kafka;
use crate::rig::load::{self, Load};
use crate::rig::services;
use crate::rig::tapline::{self, Capture};
use crate::rig::witness::Witness;

#[test]
fn what_the_source_saw_is_in_the_recovered_log() {
    let state = tempfile::tempdir().unwrap();
    let log = state.path().join("log");
    let recovered = || Witness::of_log(&log).all().clone();
    let seen = die_often(|source| Capture::of(source).state(state.path()), recovered);
    let recovered = recovered();
    assert_found(&seen, &recovered);
    let log = log.to_string_lossy();
    let verified = tapline::run(&["log", "verify", "--log", &log]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
}

#[test]
fn what_the_source_saw_is_in_kafka() {
    if !services::wanted("what_the_source_saw_is_in_kafka") {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("kill9", 2, &[]);
    let state = tempfile::tempdir().unwrap();
    let recovered = || Witness::of_topic(kafka, "kill9").all().clone();
    let capture = |source| Capture::of(source).state(state.path()).kafka(kafka, "kill9");
    let seen = die_often(capture, recovered);
    let recovered = recovered();
    assert_found(&seen, &recovered);
}

/// Kills and restarts the proxy under load; the marks that the source saw.
fn die_often(
    capture: impl Fn(u16) -> Capture,
    recovered: impl Fn() -> BTreeSet<u64>,
) -> BTreeSet<u64> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let noting = Arc::clone(&seen);
    let origin = load::origin(move |mark| {
        noting.lock().unwrap().insert(mark);
    });
    let load = Arc::new(Load::default());
    let mut random = u64::from(std::process::id()) | 1;
    for round in 0..services::scale(5, 50) {
        let mut tapline = capture(origin.port()).start();
        let port = tapline.port();
        let before = seen.lock().unwrap().len();
        let running = Arc::clone(&load);
        let clients = thread::spawn(move || running.run(port, 8, u64::MAX, false));
        // Not before the load is on; then at an instant of no one's choosing (xorshift).
        let limit = Duration::from_secs(20);
        let busy = crate::rig::wait::until(limit, || seen.lock().unwrap().len() > before + 20);
        assert!(busy, "round {round}: nothing passes: {}", tapline.output());
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_micros(random % 150_000));
        tapline.kill();
        clients.join().unwrap();
    }
    // What was on its way to the source when the proxy died has arrived by now.
    thread::sleep(Duration::from_millis(300));
    let mut last = capture(origin.port()).start();
    let running = Arc::clone(&load);
    let port = last.port();
    let goal = load.marks() + 100;
    running.run(port, 4, goal, false);
    assert!(load.answered() > 0);
    let seen = seen.lock().unwrap().clone();
    // What the killed ones left in a spool is sent by the last one.
    crate::rig::wait::until(Duration::from_mins(2), || recovered().is_superset(&seen));
    last.stop();
    seen
}

fn assert_found(seen: &BTreeSet<u64>, recovered: &BTreeSet<u64>) {
    let lost: Vec<&u64> = seen.difference(recovered).collect();
    assert!(
        lost.is_empty(),
        "{} of the {} marks that the source saw are lost: {:?}",
        lost.len(),
        seen.len(),
        &lost[..lost.len().min(10)]
    );
    assert!(seen.len() > 100, "the load was too small to prove anything: {}", seen.len());
}
