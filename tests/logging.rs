//! The log: lines of the format that was asked for, few of them, and nothing of the traffic in them.

use serde_json::Value;

use crate::rig::client::{Client, bare, request};
use crate::rig::origin::{Origin, ok};
use crate::rig::tapline::Capture;
use crate::rig::{port, services};

#[test]
fn ten_thousand_bad_requests_are_a_few_lines_with_nothing_of_them() {
    let origin = Origin::answering(|_| ok(b""));
    let mut tapline = Capture::of(origin.port()).start();
    let number = services::scale(2_000, 10_000);
    let long = "x".repeat(64 << 10);
    for n in 0..number {
        let line = match n % 4 {
            0 => "GET /canary\u{1b}[2J\u{2028} HTTP/1.1\r\n\r\n".to_owned(),
            1 => format!("GET /canary{long} HTTP/1.1\r\n\r\n"),
            2 => "GET /canary HTTP/1.1\r\nX: canary\r\n folded\r\n\r\n".to_owned(),
            _ => "canary canary canary\r\n\r\n".to_owned(),
        };
        let mut client = Client::connect(tapline.port());
        // It may be refused before all of it was taken.
        let _ = client.try_send(line.as_bytes());
        let _ = client.until_end();
    }
    let mut client = Client::connect(tapline.port());
    let put = request("PUT", "/canary/_doc/1", b"canary");
    assert_eq!(client.ask(&put).status(), 200);
    drop(client);
    tapline.stop();
    let output = tapline.output();
    assert!(output.lines().count() < 100, "{output}");
    assert!(!output.contains("canary"), "{output}");
    assert!(output.chars().all(|letter| letter == '\n' || !letter.is_control()), "{output:?}");
    for line in output.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["event"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn the_format_can_be_chosen() {
    let origin = Origin::answering(|_| ok(b""));
    for format in ["human", "json", "journal"] {
        let mut tapline = Capture::of(origin.port()).flag("--log-format", format).start();
        assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).status(), 200);
        tapline.stop();
        let output = tapline.output();
        let ready = output.lines().find(|line| line.contains("capture.ready"));
        let ready = ready.unwrap_or_else(|| panic!("{format}: {output}"));
        let fits = match format {
            "journal" => ready.starts_with("<6>ready "),
            "json" => ready.starts_with('{'),
            _ => ready.contains(" INFO ready ") && !ready.contains('\u{1b}'),
        };
        assert!(fits, "{format}: {ready}");
    }
    let outcome = Capture::of(port::free()).flag("--log-level", "louder=x=y").refusal();
    assert_eq!(outcome.code, Some(64), "{}", outcome.stderr);
}

#[test]
fn the_level_can_be_chosen() {
    let origin = Origin::answering(|_| ok(b""));
    let mut tapline = Capture::of(origin.port()).flag("--log-level", "warn").start();
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).status(), 200);
    tapline.stop();
    assert!(!tapline.output().contains("capture.ready"), "{}", tapline.output());
}
