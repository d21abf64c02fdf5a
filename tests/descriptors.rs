//! Descriptors: whoever only connects leaves nothing behind, and when they run out accepting pauses and goes on.

use std::time::Duration;

use crate::rig::client::{Client, bare, request, try_connect};
use crate::rig::origin::{Origin, ok};
use crate::rig::tapline::{Capture, Tapline};
use crate::rig::{services, wait};

fn open_files(tapline: &Tapline) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", tapline.pid())).expect("it runs").count()
}

/// Processor time that it has used, in hundredths of a second.
fn used_ticks(tapline: &Tapline) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", tapline.pid())).expect("it runs");
    let fields = stat.rsplit_once(')').expect("a name in brackets").1.split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

fn counted(tapline: &Tapline, name: &str) -> u64 {
    let text = Client::connect(tapline.admin()).ask(&bare("GET", "/status")).text();
    let status: serde_json::Value = serde_json::from_str(&text).expect("/status is JSON");
    status["counters"][name].as_u64().unwrap_or(0)
}

#[test]
fn thousands_of_checks_that_only_connect_leave_nothing_behind() {
    let origin = Origin::answering(|_| ok(b"done"));
    let tapline = &mut Capture::of(origin.port()).admin().start();
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).status(), 200);
    let settled =
        || counted(tapline, "connections_closed") == counted(tapline, "connections_accepted");
    assert!(wait::until(PATIENCE, settled), "{}", tapline.output());
    let (files, lines) = (open_files(tapline), tapline.output().lines().count());
    let asked = origin.received_bytes();
    let (before, records) = (counted(tapline, "connections_empty"), counted(tapline, "records"));
    let checks = services::scale(2000, 20_000);
    for number in 0..checks {
        let client = Client::connect(tapline.port());
        if number % 2 == 0 {
            client.reset();
        }
    }
    let seen = || counted(tapline, "connections_empty") >= before + checks;
    assert!(wait::until(PATIENCE, seen), "{}", counted(tapline, "connections_empty"));
    assert!(wait::until(PATIENCE, settled), "{}", tapline.output());
    assert!(open_files(tapline) <= files + 2, "{files} files before, {} now", open_files(tapline));
    assert_eq!(tapline.output().lines().count(), lines, "{}", tapline.output());
    // Heartbeats.
    assert!(counted(tapline, "records") <= records + 12, "they are in no record");
    assert_eq!(origin.received_bytes(), asked, "the source has not heard of them");
    tapline.stop();
}

#[test]
fn accepting_pauses_when_descriptors_run_out_and_goes_on() {
    let origin = Origin::answering(|_| ok(b"done"));
    let limit = format!("--nofile={FILES}:{FILES}");
    let capture = Capture::of(origin.port()).under(&["prlimit", &limit]);
    let tapline = &mut capture.start();
    let write = |client: &mut Client| {
        let sent = client.try_send(&request("PUT", "/i/_doc/1", b"{}"));
        sent.and_then(|()| client.try_response("PUT")).map_or(0, |answer| answer.status())
    };
    // They stay, each with a connection to the source, as long as there is room.
    let mut clients = Vec::new();
    while clients.len() < FILES / 3 {
        let mut client = Client::connect(tapline.port());
        assert_eq!(write(&mut client), 200, "{}", tapline.output());
        clients.push(client);
    }
    let mut waiting: Vec<Client> =
        (0..FILES).filter_map(|_| try_connect(tapline.port()).ok()).collect();
    for client in &mut waiting {
        let _ = client.try_send(&request("PUT", "/i/_doc/1", b"{}"));
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(open_files(tapline) + 8 > FILES, "{} files are open", open_files(tapline));
    let before = used_ticks(tapline);
    std::thread::sleep(Duration::from_secs(2));
    let used = used_ticks(tapline) - before;
    assert!(used < 100, "{used} of 200 hundredths of a second: it spins");
    // Who was there before is served on.
    assert!(clients.iter_mut().all(|client| write(client) == 200), "{}", tapline.output());
    assert!(tapline.runs(), "{}", tapline.output());
    drop(waiting);
    drop(clients);
    let served = || {
        let client = try_connect(tapline.port());
        client.is_ok_and(|mut client| write(&mut client) == 200)
    };
    assert!(wait::until(PATIENCE, served), "{}", tapline.output());
    tapline.stop();
    services::say(&format!("descriptors: {used} of 200 ticks used while none was free"));
}

/// As few as it starts with.
const FILES: usize = 256;
const PATIENCE: Duration = Duration::from_secs(30);
