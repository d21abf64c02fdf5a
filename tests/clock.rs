//! A wall clock that jumps by an hour while it runs: deadlines, durations and the order of things do not hang on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rig::client::{Client, bare, request};
use crate::rig::origin::{Origin, ok};
use crate::rig::records::{TrafficStream, of_log};
use crate::rig::replayer::Replay;
use crate::rig::tapline::{Capture, Outcome, run};
use crate::rig::{services, wait};

#[test]
fn a_clock_that_jumps_by_an_hour_disturbs_nobody() {
    if !services::wanted("a_clock_that_jumps_by_an_hour_disturbs_nobody") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let shift = scratch.path().join("shift");
    let set = |text: &str| {
        std::fs::write(scratch.path().join("next"), text).unwrap();
        std::fs::rename(scratch.path().join("next"), &shift).unwrap();
    };
    set("+0");
    let state = scratch.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let origin = Origin::answering(|_| ok(b"done"));
    let capture = Capture::of(origin.port()).state(&state).admin().flag("--workers", "2");
    let capture = capture.flag("--heartbeat-interval", "200ms");
    // So every connection is looked at every three seconds.
    let capture = capture.flag("--header-timeout", "12s").flag("--idle-timeout", "12s");
    // The monotonic clock goes on as it is, as it does when a host's clock is set; files keep their times.
    let mut tapline = capture
        .variable("LD_PRELOAD", faketime())
        .variable("FAKETIME_TIMESTAMP_FILE", &shift)
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .variable("DONT_FAKE_MONOTONIC", "1")
        .variable("NO_FAKE_STAT", "1")
        .start();
    let metrics = || Client::connect(tapline.admin()).ask(&bare("GET", "/metrics")).text();
    // Before that its workers begin one after the other, and what nobody can prove is a no.
    std::thread::sleep(Duration::from_millis(500));
    let since = jiff::Timestamp::now().to_string();
    for (step, offset) in ["-3600", "+3600"].into_iter().enumerate() {
        // One that has sent half a head, one that idles, one that works: all are looked at before the jump and after
        // it, in half of the time that they have.
        let mut slow = Client::connect(tapline.port());
        slow.send(b"PUT /i/_doc/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n");
        let mut idle = Client::connect(tapline.port());
        assert_eq!(idle.ask(&bare("GET", "/before")).status(), 200);
        let mut busy = Client::connect(tapline.port());
        let mut work = |count: u32| {
            for number in 0..count {
                let put = request("PUT", &format!("/i/_doc/{step}-{number}"), b"{}");
                let mut fresh = Client::connect(tapline.port());
                for client in [&mut busy, &mut fresh] {
                    assert_eq!(client.ask(&put).status(), 200, "{offset}: {}", tapline.output());
                }
                assert_eq!(busy.ask(&bare("GET", "/")).status(), 200, "{offset}");
            }
        };
        work(10);
        std::thread::sleep(LOOK);
        set(offset);
        work(20);
        std::thread::sleep(LOOK);
        judge_metrics(&metrics());
        let ready = Client::connect(tapline.admin()).ask(&bare("GET", "/readyz"));
        assert_eq!(ready.status(), 200, "{offset}: {}", ready.text());
        slow.send(b"\r\n{}");
        assert_eq!(slow.response("PUT").status(), 200, "{offset}: {}", tapline.output());
        let after = idle.ask(&bare("GET", "/after"));
        assert_eq!(after.status(), 200, "{offset}: {}", tapline.output());
    }
    let log = state.join("log");
    // The log ends an hour ahead of whoever asks, and then an hour before that.
    let proved = || {
        let asked = verify(&log, &["--since", &since]);
        asked.code == Some(0) && asked.stdout.contains("yes, without a gap")
    };
    assert!(wait::until(PATIENCE, proved), "{}", verify(&log, &["--since", &since]).stdout);
    set("+0");
    std::thread::sleep(Duration::from_millis(600));
    tapline.stop();
    let whole = verify(&log, &[]);
    assert_eq!(whole.code, Some(0), "{}{}", whole.stdout, whole.stderr);
    assert!(proved(), "{}", verify(&log, &["--since", &since]).stdout);
    let records = of_log(&log);
    let (back, ahead) = jumps(&records);
    assert!(back < -3000 && ahead > 3000, "the clock did not jump: {back} {ahead}");

    // What is an hour earlier is due at once; what is an hour later is an hour of silence, here a second.
    let target = Origin::answering(|_| ok(b"done"));
    let replayed = tempfile::tempdir().unwrap();
    let replay = Replay::to(target.port(), replayed.path()).speed("3600").log(&log);
    let summary = replay.succeed();
    assert_eq!(summary.done, summary.requests, "{summary:?}");
    assert!(summary.requests >= 2 * 90, "{summary:?}");
}

/// No value is negative, and no duration is that of a jump.
fn judge_metrics(text: &str) {
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
        let value: f64 = value.parse().expect("a value is a number");
        assert!(value >= 0.0, "{line}");
        if name.contains("_seconds") && !name.contains("timestamp") && !name.contains("_bucket") {
            assert!(value < 1000.0 || !name.contains("_sum"), "{line}");
        }
    }
}

/// The furthest steps from one observation of a connection to the next, in seconds.
fn jumps(records: &[TrafficStream]) -> (i64, i64) {
    let mut last = std::collections::BTreeMap::new();
    let (mut back, mut ahead) = (0, 0);
    for record in records {
        for observation in &record.observations {
            let now = observation.time.as_ref().expect("every observation has a time").seconds;
            if let Some(before) = last.insert(&record.connection_id, now) {
                (back, ahead) = (back.min(now - before), ahead.max(now - before));
            }
        }
    }
    (back, ahead)
}

fn verify(log: &Path, more: &[&str]) -> Outcome {
    run(&[&["log", "verify", "--log", log.to_str().unwrap()], more].concat())
}

/// The library that shifts a program's clock.
fn faketime() -> PathBuf {
    let dirs = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|dir| dir.path());
    let dirs = dirs.chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64")]);
    let found = dirs.map(|dir| dir.join("faketime/libfaketime.so.1")).find(|file| file.is_file());
    found.expect(
        "libfaketime is missing: apt-get install faketime, or set TAPLINE_TEST_SERVICES=off",
    )
}

/// Longer than from one look at a connection to the next.
const LOOK: Duration = Duration::from_millis(3300);
const PATIENCE: Duration = Duration::from_secs(20);
