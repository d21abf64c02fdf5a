//! SIGHUP: the configuration is read anew, and what can change while traffic flows changes as a whole or not at all.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::rig::client::{Client, bare, request};
use crate::rig::origin::{Origin, ok};
use crate::rig::records::Records;
use crate::rig::tapline::{Capture, Tapline};
use crate::rig::wait;

#[test]
fn a_reload_changes_what_can_change_or_nothing() {
    let origin = Origin::answering(|_| ok(b""));
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("t.toml");
    fs::write(&file, "log-level = \"info\"\n").unwrap();
    let tapline =
        Capture::of(origin.port()).flag("--config", file.to_str().unwrap()).admin().start();
    let mut client = Client::connect(tapline.port());
    assert_eq!(client.ask(&bare("GET", "/")).status(), 200);

    reload(&tapline, &file, "log-level = \"warn\"\n", "done", 1);
    assert_eq!(page(tapline.admin(), "/config")["log-level"]["value"], "warn");
    reload(&tapline, &file, "log-level = \"loud and clear\"\n", "failed", 1);
    let status = page(tapline.admin(), "/status");
    assert!(status["reloads"]["last_error"].to_string().contains("log-level"), "{status}");
    assert_eq!(page(tapline.admin(), "/config")["log-level"]["value"], "warn", "as it was");
    assert!(tapline.output().contains("capture.reload_failed"), "{}", tapline.output());
    // What needs a restart is named.
    reload(&tapline, &file, "log-level = \"info\"\nflush-age = \"1s\"\n", "done", 2);
    let named = wait::until(PATIENCE, || {
        tapline
            .output()
            .lines()
            .any(|line| line.contains("capture.reload_incomplete") && line.contains("flush-age"))
    });
    assert!(named, "{}", tapline.output());
    assert_eq!(
        client.ask(&bare("GET", "/")).status(),
        200,
        "the connection has seen nothing of it"
    );
}

/// Two fields that are always set together are never seen apart, on connections that live through all of it.
#[test]
fn requests_are_changed_by_the_old_filter_or_by_the_new_one() {
    let origin = Origin::answering(|request| {
        let field = |name| request.field(name).unwrap_or_default();
        ok(format!("{} {}", field("X-One"), field("X-Two")).as_bytes())
    });
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("t.toml");
    let pair = |n: u32| format!("set-header = [\"X-One: {n}\", \"X-Two: {n}\"]\n");
    fs::write(&file, pair(0)).unwrap();
    let capture = Capture::of(origin.port()).flag("--config", file.to_str().unwrap());
    let tapline = capture.flag("--workers", "2").admin().start();
    let seen = |client: &mut Client| client.ask(&bare("GET", "/")).text();

    // A request that had begun before the reload is the old filter's.
    let mut early = Client::connect(tapline.port());
    assert_eq!(seen(&mut early), "0 0");
    early.send(b"GET / HTTP/1.1\r\nHo");
    let mut body = Client::connect(tapline.port());
    let write = request("PUT", "/i/_doc/1", b"{}");
    body.send(&write[..write.len() - 1]);
    let reached = wait::until(PATIENCE, || origin.received_bytes() > 0);
    assert!(reached, "what came of the write is recorded and forwarded");

    let over = AtomicBool::new(false);
    let rounds = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(tapline.port());
                    let mut last = 0;
                    let mut changes = 0;
                    while !over.load(Ordering::Relaxed) {
                        let text = seen(&mut client);
                        let (one, two) = text.split_once(' ').unwrap();
                        assert_eq!(one, two, "of one filter");
                        let now: u32 = one.parse().unwrap();
                        assert!(now >= last, "a filter that had gone came back");
                        changes += u32::from(now != last);
                        last = now;
                    }
                    changes
                })
            })
            .collect();
        for n in 1..=ROUNDS {
            reload(&tapline, &file, &pair(n), "done", u64::from(n));
            // Whoever asks after the reload is under its filter, on a new connection and on an old one.
            assert_eq!(seen(&mut Client::connect(tapline.port())), format!("{n} {n}"));
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(rounds.iter().all(|changes| *changes > ROUNDS / 2), "{rounds:?}");

    early.send(b"st: x\r\n\r\n");
    assert_eq!(early.response("GET").text(), "0 0");
    assert_eq!(seen(&mut early), format!("{ROUNDS} {ROUNDS}"), "and its next is the new one's");
    body.send(&write[write.len() - 1..]);
    assert_eq!(body.response("PUT").text(), "0 0");
}

#[test]
fn what_is_left_out_and_hidden_changes_at_a_reload() {
    let origin = Origin::answering(|_| ok(b""));
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("t.toml");
    fs::write(&file, "suppress-path = [\"/first\"]\n").unwrap();
    let mut tapline =
        Capture::of(origin.port()).flag("--config", file.to_str().unwrap()).admin().start();
    let mut client = Client::connect(tapline.port());
    let round = |client: &mut Client, name: &str| {
        for path in ["/first", "/second"] {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {name}\r\nAuthorization: Basic {name}\r\n\r\n"
            );
            assert_eq!(client.ask(head.as_bytes()).status(), 200);
        }
    };
    round(&mut client, "before");
    // A filter that cannot be made leaves the one that is there.
    reload(&tapline, &file, "suppress-path = [\"(\"]\n", "failed", 1);
    round(&mut client, "broken");
    reload(
        &tapline,
        &file,
        "suppress-path = [\"/second\"]\nredact-credentials = true\n",
        "done",
        1,
    );
    round(&mut client, "after");
    assert!(!tapline.output().contains("capture.reload_incomplete"), "{}", tapline.output());
    reload(&tapline, &file, "", "done", 2);
    round(&mut client, "without");
    drop(client);
    tapline.stop();
    let records = Records::of_log(&tapline.log());
    let requests = records.only().requests();
    let told: Vec<(String, bool)> = requests
        .iter()
        .map(|request| {
            let text = String::from_utf8_lossy(request).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let path = lines[0].split(' ').nth(1).unwrap();
            let name = lines[1].trim_start_matches("Host: ");
            (format!("{name} {path}"), text.contains(&format!("Basic {name}")))
        })
        .collect();
    let expected = [
        ("before /second", true),
        ("broken /second", true),
        ("after /first", false),
        ("without /first", true),
        ("without /second", true),
    ];
    assert_eq!(told, expected.map(|(request, plain)| (request.to_owned(), plain)));
}

fn reload(tapline: &Tapline, file: &Path, text: &str, result: &str, count: u64) {
    fs::write(file, text).unwrap();
    tapline.hang_up();
    let counted =
        wait::until(PATIENCE, || page(tapline.admin(), "/status")["reloads"][result] == count);
    assert!(counted, "{}\n{}", page(tapline.admin(), "/status")["reloads"], tapline.output());
}

fn page(port: u16, page: &str) -> Value {
    let answer = Client::connect(port).ask(&bare("GET", page));
    serde_json::from_str(&answer.text()).unwrap()
}

const ROUNDS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(30);
