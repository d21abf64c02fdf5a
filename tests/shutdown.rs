//! SIGTERM: nothing new is accepted, what is under way is finished and recorded, the exit code is 0.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::rig::client::{Client, bare, request};
use crate::rig::load::{self, Load};
use crate::rig::origin::{Origin, ok};
use crate::rig::records::Records;
use crate::rig::tapline::Capture;
use crate::rig::wait;

#[test]
fn what_is_in_flight_is_finished_and_recorded() {
    let origin = Origin::start(|visit| {
        while let Some(request) = visit.request()? {
            thread::sleep(Duration::from_millis(700));
            visit.send(&ok(&request.body))?;
        }
        Ok(())
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let sent = request("PUT", "/i/_doc/1", b"late");
    let mut client = Client::connect(tapline.port());
    client.send(&sent);
    assert!(origin.conversation(0).received.holds(b"late", PATIENCE));
    tapline.ask_to_stop();
    let port = tapline.port();
    assert!(wait::until(PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_err()));
    assert_eq!(client.response("PUT").text(), "late");
    assert_eq!(tapline.wait(), Some(0), "{}", tapline.output());
    let records = Records::of_log(&tapline.log());
    assert_eq!(records.only().requests(), [sent.as_slice()]);
    assert_eq!(records.only().written, ok(b"late"));
    assert!(records.only().closed, "the last record of the connection was written");
}

#[test]
fn idle_connections_do_not_keep_it() {
    let origin = Origin::answering(|_| ok(b""));
    let tapline = &mut Capture::of(origin.port()).start();
    let mut clients: Vec<Client> = (0..50).map(|_| Client::connect(tapline.port())).collect();
    for client in &mut clients[..25] {
        assert_eq!(client.ask(&bare("GET", "/")).status(), 200);
    }
    tapline.stop();
    for mut client in clients {
        assert_eq!(client.remainder(), b"", "idle connections are closed");
    }
    let records = Records::of_log(&tapline.log());
    assert_eq!(records.connections().len(), 25);
    assert!(records.connections().iter().all(|captured| captured.closed));
}

#[test]
fn under_load_every_answered_request_is_recorded() {
    let origin = load::origin(|_| ());
    let tapline = &mut Capture::of(origin.port()).flag("--workers", "2").start();
    let load = Arc::new(Load::default());
    let running = Arc::clone(&load);
    let port = tapline.port();
    let clients = thread::spawn(move || running.run(port, 8, u64::MAX, false));
    assert!(wait::until(PATIENCE, || load.answered() > 300), "{}", tapline.output());
    tapline.stop();
    clients.join().unwrap();
    let records = Records::of_log(&tapline.log());
    let ended: usize = records.connections().iter().map(|one| one.request_ends.len()).sum();
    assert!(ended as u64 >= load.answered(), "{ended} recorded, {} answered", load.answered());
    assert!(records.connections().iter().all(|captured| captured.closed));
}

#[test]
fn what_does_not_end_is_cut_at_the_deadline() {
    let origin = Origin::start(|visit| {
        let request = visit.head()?;
        if request.field("Upgrade").is_some() {
            visit.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n",
            )?;
        }
        visit.until_end().map(drop)
    });
    let tapline = &mut Capture::of(origin.port()).flag("--drain-timeout", "1s").start();
    let mut upload = Client::connect(tapline.port());
    upload.send(b"PUT /i/_doc/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf");
    assert!(origin.conversation(0).received.holds(b"half", PATIENCE));
    let mut tunnel = Client::connect(tapline.port());
    tunnel.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(tunnel.head().status(), 101);
    tunnel.send(b"through the tunnel");
    assert!(origin.conversation(1).received.holds(b"through the tunnel", PATIENCE));
    tapline.stop();
    assert_eq!(upload.remainder(), b"");
    assert_eq!(tunnel.remainder(), b"");
    let records = Records::of_log(&tapline.log());
    assert_eq!(records.connections().len(), 2);
    assert!(records.connections().iter().all(|captured| captured.closed), "{records:?}");
    assert!(records.connections().iter().any(|captured| captured.read.ends_with(b"half")));
}

#[test]
fn a_second_signal_gives_up_what_is_in_flight() {
    let origin = Origin::start(|visit| visit.until_end().map(drop));
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    client.send(&bare("GET", "/never-answered"));
    assert!(origin.conversation(0).received.holds(b"never", PATIENCE));
    tapline.ask_to_stop();
    assert!(wait::until(PATIENCE, || tapline.output().contains("capture.stopping")));
    tapline.ask_to_stop();
    assert_eq!(tapline.wait(), Some(1), "{}", tapline.output());
    assert!(tapline.output().contains("second signal"), "{}", tapline.output());
}

#[test]
fn with_a_delay_it_serves_on_before_it_drains() {
    let origin = Origin::answering(|_| ok(b"served"));
    let tapline = &mut Capture::of(origin.port()).flag("--drain-delay", "1h").start();
    tapline.ask_to_stop();
    assert!(wait::until(PATIENCE, || tapline.output().contains("capture.stopping")));
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).text(), "served");
    // The next one ends the delay; with nothing in flight that is the end.
    tapline.stop();
    let tapline = &mut Capture::of(origin.port()).flag("--drain-delay", "50ms").start();
    tapline.stop();
}

/// A connection is accepted, and its request is still on its way when the stop comes.
#[test]
fn a_request_that_is_on_its_way_is_served() {
    let origin = Origin::answering(|_| ok(b"served"));
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    tapline.ask_to_stop();
    let port = tapline.port();
    assert!(wait::until(PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_err()));
    assert_eq!(client.ask(&bare("GET", "/")).text(), "served");
    assert_eq!(tapline.wait(), Some(0), "{}", tapline.output());
}

#[test]
fn reads_are_on_disk_within_the_flush_age() {
    let origin = Origin::answering(|_| ok(b"read me"));
    let tapline = &mut Capture::of(origin.port()).flag("--flush-age", "200ms").start();
    let mut client = Client::connect(tapline.port());
    assert_eq!(client.ask(&bare("GET", "/a-read")).text(), "read me");
    let log = tapline.log();
    let recorded = wait::until(PATIENCE, || {
        let records = Records::of_log(&log);
        let answered = |one: &&crate::rig::records::Captured| one.written == ok(b"read me");
        records.holds_request(b"/a-read") && records.connections().iter().any(answered)
    });
    assert!(recorded, "a connection that stays open is recorded all the same");
    tapline.kill();
    assert!(Records::of_log(&log).holds_request(b"/a-read"), "and survives the end of the process");
}

const PATIENCE: Duration = Duration::from_secs(10);
