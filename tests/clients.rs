//! Whose clients there are, how long they may take and how many they may be; and what comes from a replay.

use std::time::{Duration, Instant};

use crate::rig::client::{Client, bare, request, try_connect};
use crate::rig::haproxy::Haproxy;
use crate::rig::origin::{Origin, ok};
use crate::rig::records::Records;
use crate::rig::replayer::Replay;
use crate::rig::services;
use crate::rig::tapline::{Capture, run};
use crate::rig::wait;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_balancer_says_whose_connection_it_is() {
    if !services::wanted("a_balancer_says_whose_connection_it_is") {
        return;
    }
    for words in
        ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c check inter 100ms"]
    {
        let origin = Origin::answering(|request| {
            ok(request.field("x-forwarded-for").unwrap_or_default().as_bytes())
        });
        let capture = Capture::of(origin.port()).flag("--proxy-protocol", "require");
        let tapline = &mut capture.switch("--forwarded-for").start();
        let haproxy = Haproxy::to(tapline.port(), words);
        let mut client = Client::connect(haproxy.port());
        assert_eq!(client.ask(&bare("GET", "/a")).text(), "127.0.0.1", "{words}");
        assert_eq!(client.ask(&request("PUT", "/i/_doc/1", b"{}")).text(), "127.0.0.1", "{words}");
        drop(client);
        haproxy.stop();
        tapline.stop();
        let records = Records::of_log(&tapline.log());
        assert_eq!(
            records.only().requests(),
            [bare("GET", "/a"), request("PUT", "/i/_doc/1", b"{}")]
        );
        let log = tapline.log();
        let dump = ["log", "dump", "--format", "json", "--log", log.to_str().unwrap()];
        let dumped = run(&dump).stdout;
        assert!(dumped.contains("\"client\":\"127.0.0.1:"), "{words}: {dumped}");
        assert_eq!(tapline.counter("proxy_protocol_errors"), 0);
    }
}

#[test]
fn broken_proxy_headers_end_the_connection() {
    let origin = Origin::answering(|_| ok(b"fine"));
    let tapline = &mut Capture::of(origin.port()).flag("--proxy-protocol", "require").start();
    let get = String::from_utf8(bare("GET", "/")).unwrap();
    for bad in [
        get.clone(),
        format!("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n{get}"),
        format!("PROXY TCP4 1.2.3.999 5.6.7.8 1 2\r\n{get}"),
        format!("PROXY {}\r\n{get}", "x".repeat(200)),
        format!("\r\n\r\n\0\r\nQUIT\n\u{31}\u{11}\0\u{c}{get}"),
    ] {
        let mut client = Client::connect(tapline.port());
        let _ = client.try_send(bad.as_bytes());
        assert_eq!(client.remainder(), b"", "{bad:?}");
    }
    let mut whole = Client::connect(tapline.port());
    whole.send_in_pieces(
        b"PROXY TCP6 2001:db8::1 ::1 1234 9200\r\nGET /",
        5,
        Duration::from_millis(2),
    );
    assert_eq!(whole.ask(b" HTTP/1.1\r\nHost: s\r\n\r\n").text(), "fine");
    tapline.stop();
    assert_eq!(tapline.counter("proxy_protocol_errors"), 5);
    assert_eq!(origin.conversations().len(), 1);
    assert_eq!(Records::of_log(&tapline.log()).connections().len(), 1, "the others left no record");

    // Where headers are only accepted, whoever sends none is served as well.
    let tapline = &mut Capture::of(origin.port()).flag("--proxy-protocol", "accept").start();
    let mut plain = Client::connect(tapline.port());
    plain.send_in_pieces(&request("POST", "/i/_bulk", b"{}\n"), 1, Duration::from_micros(300));
    assert_eq!(plain.response("POST").text(), "fine");
    let mut named = Client::connect(tapline.port());
    named.send(format!("PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n{get}").as_bytes());
    assert_eq!(named.response("GET").text(), "fine");
    tapline.stop();
    let records = Records::of_log(&tapline.log());
    assert!(records.holds_request(&request("POST", "/i/_bulk", b"{}\n")));
    assert!(!records.holds_request(b"PROXY"));
}

#[test]
fn slow_clients_are_told_and_fast_ones_are_served() {
    let origin = Origin::answering(|_| ok(b"fine"));
    let tapline = &mut Capture::of(origin.port())
        .flag("--header-timeout", "1s")
        .flag("--idle-timeout", "3s")
        .start();
    let mut slow: Vec<Client> = (0..50).map(|_| Client::connect(tapline.port())).collect();
    for client in &mut slow {
        client.send(b"GET / HTTP/1.1\r\nHost: s\r\nX-");
    }
    let mut normal = Client::connect(tapline.port());
    let started = Instant::now();
    let mut told = 0;
    for client in &mut slow {
        // A byte now and then does not help.
        let _ = client.try_send(b"a");
        assert_eq!(normal.ask(&bare("GET", "/")).text(), "fine");
        let answer = client.response("GET");
        told += usize::from(answer.status() == 408 && answer.text().contains("head_timeout"));
    }
    assert_eq!(told, 50);
    assert!(started.elapsed() < PATIENCE);
    assert_eq!(normal.remainder(), b"", "idle, it is closed");
    assert_eq!(origin.conversations().len(), 51);
    tapline.stop();
    assert_eq!(tapline.counter("head_timeout"), 50);
    assert_eq!(tapline.counter("connections_idle_closed"), 1);
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    let answer = vec![b'x'; 64 << 20];
    let origin = Origin::answering(move |_| ok(&answer));
    let tapline = &mut Capture::of(origin.port())
        .flag("--write-timeout", "2s")
        .switch("--no-capture")
        .start();
    let mut client = Client::connect(tapline.port());
    client.send(&bare("GET", "/"));
    assert!(wait::until(PATIENCE, || client.read_some(&mut [0; 100]).is_ok()));
    std::thread::sleep(Duration::from_secs(4));
    assert!(wait::until(PATIENCE, || client.remainder().len() < 64 << 20));
    tapline.stop();
    assert_eq!(tapline.counter("clients_stalled"), 1);
}

#[test]
fn too_many_connections_are_turned_away() {
    let origin = Origin::answering(|_| ok(b"fine"));
    let tapline = &mut Capture::of(origin.port())
        .flag("--workers", "2")
        .flag("--max-connections", "5")
        .start();
    // The rig's own look at the port is over before the first of these.
    let mut open: Vec<Client> = Vec::new();
    assert!(wait::until(PATIENCE, || {
        let Ok(mut client) = try_connect(tapline.port()) else { return false };
        let _ = client.try_send(&bare("GET", "/"));
        let served = client.response("GET").status() == 200;
        open.extend(served.then_some(client));
        open.len() == 5
    }));
    let mut denied = Client::connect(tapline.port());
    let answer = denied.response("GET");
    assert_eq!((answer.status(), answer.field("retry-after").as_deref()), (503, Some("1")));
    assert_eq!(open[0].ask(&bare("GET", "/")).status(), 200, "those that are there are served");
    open.truncate(2);
    drop(denied);
    assert!(wait::until(PATIENCE, || {
        let Ok(mut client) = try_connect(tapline.port()) else { return false };
        let _ = client.try_send(&bare("GET", "/"));
        client.response("GET").status() == 200
    }));
    tapline.stop();
    let tapline = &mut Capture::of(origin.port()).flag("--max-connections-per-ip", "2").start();
    let mut open: Vec<Client> = Vec::new();
    assert!(wait::until(PATIENCE, || {
        let mut client = Client::connect(tapline.port());
        let _ = client.try_send(&bare("GET", "/"));
        let served = client.response("GET").status() == 200;
        open.extend(served.then_some(client));
        open.len() == 2
    }));
    let answer = Client::connect(tapline.port()).response("GET");
    assert!(answer.text().contains("this address has too many connections"), "{}", answer.text());
    tapline.stop();
}

/// Replayed into the capture that it comes from, traffic is forwarded and not recorded a second time.
#[test]
fn what_a_replay_sends_is_not_captured_again() {
    let origin = Origin::answering(|_| ok(b"{}"));
    let tapline = &mut Capture::of(origin.port()).start();
    let sent = request("PUT", "/i/_doc/1", b"{\"a\":1}");
    assert_eq!(Client::connect(tapline.port()).ask(&sent).status(), 200);
    tapline.stop();
    let log = tapline.log();
    let first = Records::of_log(&log).connections().len();
    assert_eq!(first, 1);

    let again = &mut Capture::of(origin.port()).start();
    let state = tempfile::tempdir().unwrap();
    let replay = Replay::to(again.port(), state.path()).marked();
    let replayed = replay.log(&log).run();
    assert_eq!(replayed.code, Some(0), "{}", replayed.output);
    let mut client = Client::connect(again.port());
    assert_eq!(client.ask(&bare("GET", "/kept")).status(), 200);
    again.stop();
    let marked = origin.conversations().into_iter().any(|one| {
        one.received.holds(b"X-Tapline-Replay: tapline-replay\r\n", PATIENCE)
            && one.received.holds(b"{\"a\":1}", PATIENCE)
    });
    assert!(marked, "it was forwarded with its mark");
    let records = Records::of_log(&again.log());
    assert!(records.holds_request(b"/kept") && !records.holds_request(b"/i/_doc/1"));
    assert!(again.counter("requests_replayed") >= 1);
}
