//! The admin endpoint of replay.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::{Stage, put};
use crate::rig::client::{Client, bare};
use crate::rig::kafka::Kafka;
use crate::rig::recording::Recording;
use crate::rig::replayer::Replay;
use crate::rig::scripted::{Gate, Reply, Scripted, healthy};
use crate::rig::{port, services, wait};

#[test]
fn a_running_replay_says_how_far_it_is() {
    let mut recording = Recording::default();
    for n in 0..10 {
        put(&mut recording, "c", &format!("/i/_doc/{n}"));
    }
    let gate = Gate::default();
    let shut = gate.clone();
    let target = Scripted::start(move |arrived| match arrived.message.target().as_str() {
        "/i/_doc/4" => Reply::Behind(shut.clone(), healthy(arrived)),
        _ => Reply::Answer(healthy(arrived)),
    });
    let stage = Stage::of(&recording);
    let admin = port::free();
    let replayer = stage.replay(&target).flag("--admin", &format!("127.0.0.1:{admin}")).start();
    assert!(wait::until(PATIENCE, || target.lines().len() == 5), "{}", replayer.output());
    // The last look is half a second old at most.
    let seen = wait::until(PATIENCE, || page(admin, "/status").1["totals"]["done"] == 4);
    let (_, status) = page(admin, "/status");
    assert!(seen, "{status}");
    assert_eq!(status["phase"], "replaying");
    assert_eq!((&status["in_flight"], &status["totals"]["requests"]), (&1.into(), &10.into()));
    assert!(status["lag"]["seconds"].as_f64() > Some(1e6), "captured years ago: {status}");
    assert!(status["lag"]["why"].is_string(), "{status}");
    for probe in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(Client::connect(admin).ask(&bare("GET", probe)).status(), 200, "{probe}");
    }
    let metrics = Client::connect(admin).ask(&bare("GET", "/metrics")).text();
    for sample in [
        "tapline_replay_inflight_requests 1\n",
        "tapline_replay_requests_done_total 4\n",
        "tapline_replay_skipped_requests_total{reason=\"filter\"} 0\n",
        "tapline_replay_dead_letters_total{reason=\"failed_on_target\"} 0\n",
        "tapline_replay_retries_total{status=\"429\"} 0\n",
    ] {
        assert!(metrics.contains(sample), "{sample} is not in {metrics}");
    }
    crate::admin::lint(&metrics);
    gate.open();
    let summary = replayer.wait().success();
    assert_eq!(summary.done, 10);
}

#[test]
fn a_target_that_is_gone_is_named() {
    let mut recording = Recording::default();
    for n in 0..200 {
        put(&mut recording, "c", &format!("/i/_doc/{n}"));
    }
    let place = port::free();
    let slow = |arrived: &_| Reply::After(Duration::from_millis(50), healthy(arrived));
    let target = Scripted::start_at(place, slow);
    let stage = Stage::of(&recording);
    let admin = port::free();
    let replay = stage.replay(&target).flag("--admin", &format!("127.0.0.1:{admin}"));
    let replayer = replay.flag("--readiness-patience", "1s").start();
    assert!(wait::until(PATIENCE, || target.lines().len() > 3), "{}", replayer.output());
    drop(target);
    let named = wait::until(PATIENCE, || page(admin, "/readyz").0 == 503);
    let (_, ready) = page(admin, "/readyz");
    assert!(named, "{ready}");
    assert_eq!(ready["causes"][0]["cause"], "target_down", "{ready}");
    let target = Scripted::start_at(place, |arrived| Reply::Answer(healthy(arrived)));
    assert_eq!(replayer.wait().success().done, 200);
    assert!(!target.lines().is_empty());
}

/// At the live end, where nothing else tells of it.
#[test]
fn brokers_that_go_are_named_until_they_are_back() {
    if !services::wanted("brokers_that_go_are_named_until_they_are_back") {
        return;
    }
    let mut kafka = Kafka::start(&[]);
    kafka.create_topic("gone", 2, &[]);
    let (state, target, admin) = (tempfile::tempdir().unwrap(), Scripted::healthy(), port::free());
    let replay = Replay::to(target.port(), state.path()).kafka(&kafka, "gone", "gone");
    let replay = replay.flag("--admin", &format!("127.0.0.1:{admin}"));
    let replayer = replay.flag("--readiness-patience", "1s").start();
    let listens = || TcpStream::connect(("127.0.0.1", admin)).is_ok();
    assert!(wait::until(PATIENCE, listens), "{}", replayer.output());
    let replays = || page(admin, "/status").1["phase"] == "replaying";
    assert!(wait::until(PATIENCE, replays), "{}", replayer.output());
    let ready = || page(admin, "/readyz").0 == 200;
    assert!(wait::until(PATIENCE, ready), "{}", replayer.output());
    kafka.kill();
    let named = wait::until(PATIENCE, || {
        let (status, says) = page(admin, "/readyz");
        status == 503 && says.to_string().contains("records_unavailable")
    });
    assert!(named, "{}", page(admin, "/readyz").1);
    let (_, status) = page(admin, "/status");
    assert!(status["lag"]["why"].to_string().contains("--kafka-brokers"), "{status}");
    kafka.revive();
    assert!(wait::until(PATIENCE, ready), "{}", page(admin, "/readyz").1);
    replayer.stop();
}

fn page(port: u16, page: &str) -> (u16, Value) {
    let answer = Client::connect(port).ask(&bare("GET", page));
    (answer.status(), serde_json::from_str(&answer.text()).unwrap())
}

const PATIENCE: Duration = Duration::from_secs(30);
