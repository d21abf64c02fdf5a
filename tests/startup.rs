//! What cannot work is said at the start, with the way to mend it and the right exit code.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rig::client::{Client, bare, request};
use crate::rig::kafka::Kafka;
use crate::rig::origin::{Origin, ok};
use crate::rig::tapline::{Capture, Outcome, run};
use crate::rig::{ground, port, services};

const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;
const CONFIG: i32 = 78;

/// Bound, but not listening: nobody can take it for the proxy.
fn bound(port: u16) -> socket2::Socket {
    let taken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    taken.bind(&address.into()).unwrap();
    taken
}

#[test]
fn an_address_in_use_is_named() {
    let capture = Capture::of(port::free());
    let port = capture.port();
    let taken = bound(port);
    assert_says(&capture.refusal(), CONFIG, &[&port.to_string(), "in use"]);
    drop(taken);

    let listening = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let listener = TcpListener::bind(("127.0.0.1", listening)).unwrap();
    let state = tempfile::tempdir().unwrap();
    let outcome = run(&[
        "capture",
        "--tls",
        "off",
        "--source",
        "http://127.0.0.1:1",
        "--listen",
        &format!("127.0.0.1:{listening}"),
        "--state-dir",
        &state.path().to_string_lossy(),
    ]);
    assert_says(&outcome, CONFIG, &[&listening.to_string(), "in use"]);
    drop(listener);
}

/// A process that was killed may be gone while its rings, and with them its listening sockets, are still being taken
/// down: whoever restarts it at once must not be refused for good.
#[test]
fn an_address_that_is_about_to_be_free_is_waited_for() {
    let origin = Origin::answering(|_| ok(b"here"));
    for workers in ["1", "2"] {
        let capture = Capture::of(origin.port()).flag("--workers", workers);
        let port = capture.port();
        let taken = bound(port);
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(taken);
        });
        let tapline = capture.start();
        holder.join().unwrap();
        assert_eq!(Client::connect(port).ask(&bare("GET", "/")).text(), "here");
        assert!(tapline.output().contains("listen.waiting"), "{}", tapline.output());
    }
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("a-file");
    fs::write(&file, "").unwrap();
    let outcome = Capture::of(port::free()).state(&file).refusal();
    assert_says(&outcome, CONFIG, &["a-file"]);
    let outcome = Capture::of(port::free()).state(&file.join("below")).refusal();
    assert_says(&outcome, CONFIG, &["a-file"]);
    if ground::am_root() {
        // Root reads everything; a directory that others may write is refused instead.
        let open = scratch.path().join("open-to-all");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let outcome = Capture::of(port::free()).state_as_it_is(&open).refusal();
        assert_says(&outcome, CONFIG, &["open-to-all"]);
    } else {
        let closed = scratch.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let outcome = Capture::of(port::free()).state_as_it_is(&closed).refusal();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        assert_says(&outcome, CONFIG, &["closed", "ermission"]);
    }
}

#[test]
fn an_unknown_topic_comes_with_the_command_that_creates_it() {
    if !services::wanted("an_unknown_topic_comes_with_the_command_that_creates_it") {
        return;
    }
    let kafka = Kafka::shared();
    let outcome = Capture::of(port::free()).kafka(kafka, "no-such-topic").refusal();
    let brokers = kafka.brokers();
    assert_says(
        &outcome,
        CONFIG,
        &["no-such-topic", "kafka-topics.sh --create", "--bootstrap-server", &brokers],
    );
}

#[test]
fn a_kafka_that_is_not_there_is_named_and_reads_are_served() {
    let nobody = format!("127.0.0.1:{}", port::free());
    let origin = Origin::answering(|_| ok(b"served"));
    let mut tapline = Capture::of(origin.port())
        .flag("--kafka-brokers", &nobody)
        .flag("--kafka-topic", "any")
        .start();
    let get = request("GET", "/", b"");
    assert_eq!(Client::connect(tapline.port()).ask(&get).status(), 200);
    assert!(tapline.output().contains(&nobody), "{}", tapline.output());
    tapline.kill();
}

#[test]
fn a_source_whose_name_has_no_address_is_named() {
    let state = tempfile::tempdir().unwrap();
    let outcome = run(&[
        "capture",
        "--tls",
        "off",
        "--source",
        "http://no-such-host.invalid:9200",
        "--listen",
        &format!("127.0.0.1:{}", port::free()),
        "--state-dir",
        &state.path().to_string_lossy(),
    ]);
    assert_says(&outcome, UNAVAILABLE, &["no-such-host.invalid", "resolved"]);
}

#[test]
fn wrong_usage_is_64() {
    for (arguments, word) in [
        (vec!["capture", "--tls", "off"], "--source"),
        (vec!["capture", "--no-such-flag"], "--no-such-flag"),
        (vec!["no-such-command"], "no-such-command"),
        (vec!["capture", "--tls", "off", "--source", "http://127.0.0.1:1", "--workers", "x"], "x"),
        (vec!["capture", "--tls", "off", "--source", "ftp://127.0.0.1:1"], "ftp"),
        (vec!["log", "dump", "--format", "sideways", "--log", "/"], "sideways"),
    ] {
        assert_says(&run(&arguments), USAGE, &[word]);
    }
    let help = run(&["capture", "--help"]);
    assert_eq!(help.code, Some(0), "{}", help.stderr);
    assert!(help.stdout.contains("--source"), "{}", help.stdout);
}

#[test]
fn manual_pages_and_completions_have_every_subcommand() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    let outcome = run(&["man", &pages.to_string_lossy()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap_or_default();
    for command in ["capture", "replay", "doctor", "tune", "log-dump"] {
        let text = page(&format!("tapline-{command}.1"));
        assert!(text.contains(".SH SYNOPSIS"), "{command}: {text}");
    }
    assert_eq!(page("tapline-help.1"), "");
    assert!(page("tapline-capture.1").contains("flush\\-age"), "{}", page("tapline-capture.1"));
    for shell in ["bash", "zsh", "fish"] {
        let outcome = run(&["completions", shell]);
        assert_eq!(outcome.code, Some(0), "{shell}: {}", outcome.stderr);
        assert!(outcome.stdout.contains("flush-age"), "{shell}: {}", outcome.stdout);
    }
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let outcome = run(&["man", &file.to_string_lossy()]);
    assert_says(&outcome, 1, &["manual pages", "file"]);
}

#[test]
fn a_log_of_a_newer_version_is_refused_and_left_alone() {
    let state = tempfile::tempdir().unwrap();
    let origin = Origin::answering(|_| ok(b""));
    let mut tapline = Capture::of(origin.port()).state(state.path()).start();
    let put = request("PUT", "/i/_doc/1", b"{}");
    assert_eq!(Client::connect(tapline.port()).ask(&put).status(), 200);
    tapline.stop();
    let segments = segments(&tapline.log());
    let segment = segments.last().expect("the log has a segment");
    let mut bytes = fs::read(segment).unwrap();
    // A good header of a later version: magic of eight bytes, version and length of the header in
    // four bytes each, its checksum in its last four.
    let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    bytes[8..12].copy_from_slice(&1000_u32.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..length - 4]);
    bytes[length - 4..length].copy_from_slice(&checksum.to_le_bytes());
    fs::write(segment, &bytes).unwrap();
    let outcome = Capture::of(origin.port()).state(state.path()).refusal();
    assert_says(&outcome, CONFIG, &["version"]);
    assert!(fs::read(segment).unwrap() == bytes, "what is newer was touched");
    let log = tapline.log();
    let described = run(&["log", "describe", "--log", &log.to_string_lossy()]);
    assert_ne!(described.code, Some(0), "{}", described.stdout);
    assert!(described.stderr.contains("version"), "{}", described.stderr);
}

#[test]
fn a_log_that_is_not_there_is_named() {
    for command in ["describe", "dump", "verify"] {
        let outcome = run(&["log", command, "--log", "/no/such/log"]);
        assert_says(&outcome, CONFIG, &["/no/such/log"]);
    }
}

fn segments(log: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(log).expect("the log is a directory") {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(segments(&path));
        } else if path.extension().is_some_and(|extension| extension == "seg") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn assert_says(outcome: &Outcome, code: i32, words: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is not in: {}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}
