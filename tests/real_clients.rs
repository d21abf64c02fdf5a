//! Real clients and a real Elasticsearch: through the proxy they give the same answers as without
//! it, and every byte of both ends is in the records.

use std::time::Duration;

use crate::rig::elasticsearch::Elasticsearch;
use crate::rig::kafka::Kafka;
use crate::rig::records::Records;
use crate::rig::relay::Relay;
use crate::rig::tapline::Capture;
use crate::rig::{python, services};

#[test]
fn answers_and_records_agree_with_the_capture_log() {
    if !services::wanted("answers_and_records_agree_with_the_capture_log") {
        return;
    }
    compare("log", |capture| capture, Records::of_log);
}

#[test]
fn answers_and_records_agree_with_kafka() {
    if !services::wanted("answers_and_records_agree_with_kafka") {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("real-clients", 3, &[]);
    compare(
        "kafka",
        |capture| capture.kafka(kafka, "real-clients"),
        |_| Records::of_topic(kafka, "real-clients"),
    );
}

#[test]
fn the_mix_gives_the_same_lines_twice() {
    if !services::wanted("the_mix_gives_the_same_lines_twice") {
        return;
    }
    let relay = Relay::to(Elasticsearch::shared().port());
    let first = traffic(Elasticsearch::shared().port(), "twice-a");
    let second = traffic(relay.port(), "twice-b");
    assert_eq!(difference(&first, &second), None);
    assert!(first.lines().count() > 100, "the mix is a real one");
    let large = first.lines().find(|line| line.contains("raw large bulk")).unwrap_or_default();
    assert!(large.contains(r#""status": 200"#), "{large}");
    assert!(relay.is_quiet(PATIENCE));
}

/// client → relay → proxy → relay → Elasticsearch, beside client → Elasticsearch.
fn compare(
    name: &str,
    with: impl FnOnce(Capture) -> Capture,
    records: impl FnOnce(&std::path::Path) -> Records,
) {
    let source = Elasticsearch::shared().port();
    let direct = traffic(source, &format!("{name}-a"));
    let behind = Relay::to(source);
    let mut tapline = with(Capture::of(behind.port())).start();
    let before = Relay::to(tapline.port());
    let through = traffic(before.port(), &format!("{name}-b"));
    assert_eq!(difference(&direct, &through), None, "direct and through the proxy");
    assert!(before.is_quiet(PATIENCE), "the clients have closed their connections");
    assert!(behind.is_quiet(PATIENCE), "and so has the proxy");
    tapline.stop();
    assert_eq!(before.digests(), behind.digests(), "the proxy changed bytes");
    let records = records(&tapline.log());
    assert_eq!(records.digests(), before.digests(), "the records hold other bytes");
    let unfinished = records.connections().into_iter().filter(|captured| !captured.closed).count();
    assert_eq!(unfinished, 0, "every connection has its last record");
}

fn traffic(port: u16, prefix: &str) -> String {
    // Other names of equal length, so that lengths in the answers are the same, too.
    let large = services::scale("60", "90");
    python::run("traffic.py", &[&format!("http://127.0.0.1:{port}"), prefix, "7", large])
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The first line that differs, both sides.
fn difference(one: &str, other: &str) -> Option<(String, String)> {
    let longest = one.lines().count().max(other.lines().count());
    (0..longest).find_map(|number| {
        let line = |text: &str| text.lines().nth(number).unwrap_or("(nothing)").to_owned();
        let (one, other) = (line(one), line(other));
        (one != other).then_some((one, other))
    })
}

const PATIENCE: Duration = Duration::from_secs(30);
