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
