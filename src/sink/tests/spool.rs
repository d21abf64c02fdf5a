//! The spool on a real disk: runs one after another, each of which finds what the ones before it left.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    log::Settings,
    sink::{LogSpool, lease::Ticket, sides::Shelf},
    sys::bell::Bell,
};

fn open(dir: &Path, incarnation: u64) -> LogSpool {
    let settings = Settings { segment_bytes: 8192, reserve_bytes: 0, ..Settings::new(dir) };
    let bell = Arc::new(Bell::new().expect("bell"));
    let mut spool =
        LogSpool::open(settings, "node", incarnation, &bell, Arc::default()).expect("spool");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !spool.take_found().expect("found") && !spool.is_read() {
        assert!(Instant::now() < deadline, "the search does not end");
        thread::sleep(Duration::from_millis(1));
    }
    spool
}

/// Everything, with its tickets.
fn rest(spool: &mut LogSpool) -> Vec<(Ticket, Vec<u8>)> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut found = Vec::new();
    while !spool.is_read() {
        assert!(Instant::now() < deadline, "the search does not end");
        spool.take_found().expect("found");
        found.extend(spool.read().expect("read"));
    }
    found
}

fn append(spool: &mut LogSpool, numbers: std::ops::Range<u8>) {
    for number in numbers {
        spool.append(&[&[number; 900]]).expect("appended");
    }
    spool.sync().expect("synced");
}

#[test]
fn each_run_sends_what_earlier_ones_left_before_its_own() {
    let scratch = tempfile::tempdir().expect("scratch");
    let dir = scratch.path().join("log");
    let mut spool = open(&dir, 1);
    assert!(spool.is_read() && spool.backlog().records == 0);
    append(&mut spool, 0..20);
    let found = rest(&mut spool);
    assert_eq!(found.len(), 20);
    // Ten have arrived; one of the others too, which does not count yet.
    for (ticket, _) in found[..10].iter().chain(&found[15..16]) {
        spool.arrived(*ticket);
    }
    spool.checkpoint(u64::MAX / 2).expect("stored");
    assert_eq!(spool.backlog().records, 10);
    // Killed.
    drop(spool);

    let mut spool = open(&dir, 2);
    append(&mut spool, 100..103);
    let found = rest(&mut spool);
    let numbers: Vec<_> = found.iter().map(|(_, payload)| payload[0]).collect();
    assert_eq!(numbers, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 100, 101, 102]);
    assert!(spool.backlog().earlier_runs == 1 && spool.backlog().bytes > 13 * 900);
    assert!(spool.backlog().oldest_unix_ns > 0);
    for (ticket, _) in &found[..11] {
        spool.arrived(*ticket);
    }
    spool.checkpoint(u64::MAX / 2).expect("stored");
    assert_eq!((spool.backlog().earlier_runs, spool.backlog().records), (0, 2));
    spool.close().expect("closed");

    let mut spool = open(&dir, 3);
    let found = rest(&mut spool);
    let numbers: Vec<_> = found.iter().map(|(_, payload)| payload[0]).collect();
    assert_eq!(numbers, [101, 102]);
    for (ticket, _) in &found {
        spool.arrived(*ticket);
    }
    spool.checkpoint(u64::MAX / 2).expect("stored");
    spool.close().expect("closed");
    let left = std::fs::read_dir(&dir).expect("listed").map(|entry| entry.expect("entry").path());
    assert_eq!(left.filter(|path| path.is_dir()).count(), 0, "nothing is left");
}

#[test]
fn two_runs_at_once_send_what_is_theirs_until_one_ends() {
    let scratch = tempfile::tempdir().expect("scratch");
    let dir = scratch.path().join("log");
    let mut old = open(&dir, 1);
    append(&mut old, 0..3);
    let mut new = open(&dir, 2);
    append(&mut new, 10..12);
    assert_eq!(rest(&mut new).len(), 2, "the other one lives");
    assert_eq!(rest(&mut old).len(), 3);
    old.close().expect("closed");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !new.take_found().expect("found") {
        assert!(Instant::now() < deadline, "what the old one left is not found");
        thread::sleep(Duration::from_millis(10));
    }
    let found = rest(&mut new);
    assert_eq!(found.iter().map(|(_, payload)| payload[0]).collect::<Vec<_>>(), [0, 1, 2]);
}
