//! Memory: bounded by `--capture-memory`, however many clients send however much while Kafka takes nothing.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::rig::cgroup::MemoryGroup;
use crate::rig::client::{request, try_connect};
use crate::rig::kafka::Kafka;
use crate::rig::load::{self, Load};
use crate::rig::message::Reader;
use crate::rig::origin::ok;
use crate::rig::tapline::{Capture, Tapline};
use crate::rig::witness::Witness;
use crate::rig::{marker, services, wait};

const MIB: usize = 1 << 20;
const BUDGET_MIB: u64 = 64;
/// What it may take beside the budget for records: for itself, and a little for each connection.
const BESIDE_MIB: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(30);
/// Hundreds of clients of 1 MiB are enough for one machine at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_kafka_that_stands_still_costs_no_more_memory_than_the_budget() {
    if !services::wanted("a_kafka_that_stands_still_costs_no_more_memory_than_the_budget") {
        return;
    }
    let _alone = alone();
    let kafka = Kafka::start(&[]);
    let clients = services::scale(400, 2000);
    // Under `spool` the disk says how long 2 GiB take.
    let runs = [("full-spool", "spool", "60s"), ("full-block", "block", "5s")];
    // Before the broker has hundreds of MiB to take at once.
    for (topic, ..) in runs {
        kafka.create_topic(topic, 4, &[]);
    }
    for (topic, policy, hold_timeout) in runs {
        let capture = Capture::of(forgetful_origin()).kafka(&kafka, topic).flag("--workers", "2");
        let capture = capture.flag("--capture-memory", &format!("{BUDGET_MIB}MiB"));
        let capture = capture.flag("--hold-timeout", hold_timeout);
        let tapline = capture.flag("--on-capture-unavailable", policy).start();
        let (port, before) = (tapline.port(), peak_mib(&tapline));
        kafka.pause();
        let statuses = flood(port, 0..clients);
        kafka.resume();
        let peak = peak_mib(&tapline);
        let served = statuses.iter().filter(|status| **status == 200).count();
        println!("{policy}: {served} of {clients} served, peak {peak} MiB, {before} at the start");
        // What the broker has when the trouble begins is copied for the spool, on a slow machine all of the budget.
        let records = if policy == "spool" { 2 * BUDGET_MIB } else { BUDGET_MIB };
        assert!(peak <= records + BESIDE_MIB, "{policy}: {peak} MiB: {}", tapline.output());
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        if policy == "spool" {
            assert_eq!(served as u64, clients, "{}", tapline.output());
        }
    }
}

#[test]
fn huge_pages_are_switched_off_for_the_process() {
    let tapline = Capture::of(forgetful_origin()).start();
    let status = std::fs::read_to_string(format!("/proc/{}/status", tapline.pid())).unwrap();
    assert!(status.lines().any(|line| line == "THP_enabled:\t0"), "{status}");
}

#[test]
fn a_control_group_of_256_mib_is_enough_for_what_is_taken_of_it() {
    let test = "a_control_group_of_256_mib_is_enough_for_what_is_taken_of_it";
    if !services::wanted(test) {
        return;
    }
    let _alone = alone();
    let kafka = Kafka::start(&[]);
    let runs = [("group-spool", "spool"), ("group-block", "block")];
    for (topic, _) in runs {
        kafka.create_topic(topic, 4, &[]);
    }
    for (topic, policy) in runs {
        let Some(group) = MemoryGroup::make(256 << 20, test) else { return };
        // Nothing is said of memory: a quarter of the group's is taken for records.
        let capture = Capture::of(forgetful_origin()).kafka(&kafka, topic).flag("--workers", "2");
        let capture = capture.flag("--hold-timeout", "5s").under(&group.launcher());
        let mut tapline = capture.flag("--on-capture-unavailable", policy).start();
        let taken = format!("\"capture_memory_bytes\":{},", 64 * MIB);
        let said = || tapline.output().contains(&taken);
        assert!(wait::until(PATIENCE, said), "{}", tapline.output());
        kafka.pause();
        let statuses = flood(tapline.port(), 0..services::scale(400, 2000));
        kafka.resume();
        println!("{policy}: peak {} MiB of 256 with the page cache", group.peak_mib());
        assert!(tapline.runs() && group.kills() == 0, "{policy}: {}", tapline.output());
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        tapline.kill();
    }
}

#[test]
fn what_the_source_saw_survives_when_the_kernel_kills_for_memory() {
    let test = "what_the_source_saw_survives_when_the_kernel_kills_for_memory";
    let _alone = alone();
    let state = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let noting = Arc::clone(&seen);
    let origin = load::origin(move |mark| {
        noting.lock().unwrap().insert(mark);
    });
    let load = Arc::new(Load::default());
    for round in 0..services::scale(2, 20) {
        let Some(group) = MemoryGroup::make(256 << 20, test) else { return };
        let capture = Capture::of(origin.port()).state(state.path());
        let capture = capture.flag("--capture-memory", "1GiB").under(&group.launcher());
        let mut tapline = capture.start();
        let (running, port) = (Arc::clone(&load), tapline.port());
        let before = seen.lock().unwrap().len();
        let clients = thread::spawn(move || running.run(port, 8, u64::MAX, false));
        let busy = || seen.lock().unwrap().len() > before + 200;
        assert!(wait::until(PATIENCE, busy), "round {round}: {}", tapline.output());
        group.squeeze();
        // Whatever they are answered, if anything: they want memory, and the source sees their marks too.
        flood(port, 1000 * (round + 1)..1000 * (round + 1) + 300);
        assert!(wait::until(PATIENCE, || !tapline.runs()), "round {round}: it goes on");
        assert_eq!(group.kills(), 1, "round {round}: {}", tapline.output());
        tapline.kill();
        clients.join().unwrap();
    }
    let mut last = Capture::of(origin.port()).state(state.path()).start();
    load.run(last.port(), 4, load.marks() + 100, false);
    last.stop();
    let (seen, log) = (seen.lock().unwrap().clone(), state.path().join("log"));
    let found = Witness::of_log(&log).all().clone();
    let lost: Vec<_> = seen.difference(&found).collect();
    assert!(lost.is_empty(), "{} of {} marks are lost: {lost:?}", lost.len(), seen.len());
    println!("{} marks, none lost", seen.len());
}

/// The statuses that as many clients get at once, each for a write of 1 MiB.
fn flood(port: u16, numbers: std::ops::Range<u64>) -> Vec<u16> {
    thread::scope(|scope| {
        let clients: Vec<_> = numbers.map(|n| scope.spawn(move || post(port, n))).collect();
        clients.into_iter().filter_map(|client| client.join().unwrap()).collect()
    })
}

/// Keeps nothing of what it is sent, other than the rig's.
fn forgetful_origin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut reader = Reader::new(stream.try_clone()?);
                while reader.request()?.is_some() {
                    stream.write_all(&ok(b""))?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    port
}

/// The status that a write of 1 MiB gets, with a mark in each 4 KiB; `None` when its connection ends before.
fn post(port: u16, number: u64) -> Option<u16> {
    let mut client = try_connect(port).ok()?;
    let line = |at: u64| format!("{}{:x<4081}", marker::text(1_000_000 + 256 * number + at), "");
    let body: String = (0..256).map(line).collect();
    client.try_send(&request("PUT", &format!("/i/_doc/{number}"), body.as_bytes())).ok()?;
    client.try_response("PUT").ok().map(|answer| answer.status())
}

/// The most memory that it ever had.
fn peak_mib(tapline: &Tapline) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", tapline.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a line of VmHWM");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("KiB");
    kib / 1024
}
