//! A full disk: what must be held is not let through, reads go on, and nothing acknowledged is lost.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::rig::client::{Client, bare, request};
use crate::rig::origin::{Origin, ok};
use crate::rig::records::Records;
use crate::rig::services::say;
use crate::rig::tapline::Capture;
use crate::rig::{ground, marker, wait};

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(scratch.path(), DISK_BYTES) else {
        say(
            "left out: a_full_disk_stops_writes_and_nothing_else (mounting a tmpfs is not permitted)",
        );
        return;
    };
    let state = scratch.path().join("state");
    let origin = Origin::answering(|_| ok(b"done"));
    let capture = Capture::of(origin.port()).state(&state).flag("--readiness-patience", "1s");
    let tapline = &mut capture.admin().start();
    let mut acknowledged = Vec::new();
    let mut refused = None;
    // More than the disk holds, on one connection after the other.
    for number in 0..PARTS_MAX {
        let mut client = Client::connect(tapline.port());
        let body = format!("{}{}", "x".repeat(PART_BYTES), marker::text(number));
        let sent = client.try_send(&request("PUT", "/i/_doc/1", body.as_bytes()));
        let answer = sent.and_then(|()| client.try_response("PUT"));
        if answer.as_ref().is_ok_and(|answer| answer.status() == 200) {
            acknowledged.push(number);
        } else {
            refused = Some((number, answer));
            break;
        }
    }
    let Some((first_refused, answer)) = refused else {
        panic!("{PARTS_MAX} writes of {PART_BYTES} bytes fitted on a disk of {DISK_BYTES} bytes");
    };
    assert!(!acknowledged.is_empty(), "the disk had room for the first");
    if let Ok(answer) = answer {
        assert_eq!(answer.status(), 503, "{}", answer.text());
    }
    let mark = marker::text(first_refused);
    let forwarded = origin
        .conversations()
        .iter()
        .any(|one| memchr::memmem::find(&one.received.bytes(), mark.as_bytes()).is_some());
    assert!(!forwarded, "a write without a record reached the source");
    let said = wait::until(PATIENCE, || {
        let output = tapline.output().to_lowercase();
        output.contains("no space") || output.contains("full")
    });
    assert!(said, "it says what is wrong: {}", tapline.output());
    assert!(tapline.runs(), "a full disk does not end the process: {}", tapline.output());
    for _ in 0..3 {
        let answer = Client::connect(tapline.port()).ask(&bare("GET", "/still"));
        assert_eq!(answer.status(), 200, "reads go on");
    }
    let ready = || Client::connect(tapline.admin()).ask(&bare("GET", "/readyz"));
    assert!(wait::until(PATIENCE, || ready().status() == 503), "{}", ready().text());
    let text = ready().text();
    assert!(text.contains("sink_waiting") && text.contains("space"), "{text}");
    tapline.kill();
    let records = Records::of_log(&state.join("log"));
    for number in acknowledged {
        let mark = marker::text(number);
        assert!(records.holds_request(mark.as_bytes()), "acknowledged write {number} is lost");
    }
    drop(disk);
}

#[test]
fn a_full_spool_is_announced_answers_503_and_goes_on_when_there_is_room() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(scratch.path(), 64 << 20) else {
        say("left out: a_full_spool_is_announced_answers_503_and_goes_on_when_there_is_room \
             (mounting a tmpfs is not permitted)");
        return;
    };
    let state = scratch.path().join("state");
    let ballast = state.join("ballast");
    std::fs::write(&ballast, vec![0; 46 << 20]).unwrap();
    let origin = Origin::answering(|_| ok(b"done"));
    let nobody = format!("127.0.0.1:{}", crate::rig::port::free());
    let capture = Capture::of(origin.port()).state(&state).admin().flag("--kafka-brokers", &nobody);
    let capture = capture.flag("--segment-bytes", "4MiB").flag("--log-reserve", "4MiB");
    let capture = capture.flag("--hold-timeout", "1s").flag("--readiness-patience", "1s");
    let tapline = &mut capture.start();
    let body = "x".repeat(128 << 10);
    let write = |target: &str| {
        let mut client = Client::connect(tapline.port());
        let sent = client.try_send(&request("PUT", target, body.as_bytes()));
        // 0: the connection broke.
        sent.and_then(|()| client.try_response("PUT")).map_or(0, |answer| answer.status())
    };
    let ready = || Client::connect(tapline.admin()).ask(&bare("GET", "/readyz"));
    // Into the second segment: four fifths of the disk are in use.
    (0..40).for_each(|_| assert_eq!(write("/i/_doc/1"), 200, "{}", tapline.output()));
    let announced = || ready().text().contains("disk_filling");
    assert!(wait::until(PATIENCE, announced), "{}", ready().text());
    assert_eq!(ready().status(), 200, "{}", ready().text());
    let stored = (0..200).take_while(|_| write("/i/_doc/2") == 200).count();
    assert!(stored < 100, "the disk does not get full: {}", tapline.output());
    let before = origin.received_bytes();
    let answers: Vec<u16> = (0..3).map(|_| write("/i/_doc/3")).collect();
    assert!(answers.contains(&503) && !answers.contains(&200), "{answers:?}");
    assert_eq!(origin.received_bytes(), before, "what is nowhere was not let through");
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).status(), 200);
    assert!(wait::until(PATIENCE, || ready().status() == 503), "{}", ready().text());
    assert!(ready().text().contains("sink_waiting"), "{}", ready().text());
    std::fs::remove_file(&ballast).unwrap();
    assert!(wait::until(PATIENCE, || write("/i/_doc/4") == 200), "{}", tapline.output());
    assert!(wait::until(PATIENCE, || ready().status() == 200), "{}", ready().text());
    tapline.kill();
    drop(disk);
}

/// A small disk mounted over `state` in a directory of the test, unmounted when dropped.
pub(crate) struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    pub(crate) fn mount(dir: &Path, bytes: u64) -> Option<Self> {
        let state = dir.join("state");
        std::fs::create_dir(&state).expect("the directory is ours");
        let mounted = ground::am_root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "tapline-rig"])
                .arg(&state)
                .output()
                .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(state))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// Segments are preallocated with 256 MiB and 64 MiB are left to others: there is room for the
/// first segment and none for the second.
const DISK_BYTES: u64 = 384 << 20;
const PART_BYTES: usize = 1 << 20;
const PARTS_MAX: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(10);
