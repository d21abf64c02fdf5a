//! A group's reading of a log: where it begins again, what it is told, what it refuses.

use std::time::SystemTime;

use super::*;
use crate::log::{Limits, Settings, Unread, Writer, retain};

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("log")
    }

    /// An incarnation whose records say their own numbers.
    fn writer(&self, id: u64) -> Writer {
        let settings =
            Settings { segment_bytes: 16 << 10, reserve_bytes: 0, ..Settings::new(self.dir()) };
        Writer::create(settings, "node", id, SystemTime::UNIX_EPOCH).unwrap()
    }

    fn write(&self, id: u64, numbers: std::ops::Range<u64>) {
        let mut writer = self.writer(id);
        numbers.for_each(|number| append(&mut writer, number));
        writer.close().unwrap();
    }

    fn open(&self, until_end: bool, from_oldest: bool) -> Result<LogFeed, Failure> {
        let options = LogOptions { group: "g".into(), until_end, from_oldest };
        LogFeed::open(&self.dir(), options)
    }
}

fn append(writer: &mut Writer, number: u64) {
    let mut payload = vec![7; 1000];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    writer.append(&[&payload]).unwrap();
}

/// The numbers that come until there is nothing more, and the losses told.
fn drain(feed: &mut LogFeed, limit: usize) -> (Vec<u64>, Vec<Option<u64>>) {
    let (mut numbers, mut losses) = (Vec::new(), Vec::new());
    while numbers.len() < limit {
        match feed.next(true, Instant::now()).unwrap() {
            Next::Record(record) => {
                assert_eq!((record.lane, record.poison), (0, None));
                numbers.push(u64::from_be_bytes(record.payload[..8].try_into().unwrap()));
            }
            Next::Loss { records, .. } => losses.push(records),
            Next::Idle | Next::End => break,
            other => panic!("{other:?}"),
        }
    }
    (numbers, losses)
}

#[test]
fn a_restart_begins_behind_what_was_done_wherever_that_was() {
    let scratch = Scratch::new();
    scratch.write(1, 0..40);
    scratch.write(2, 40..60);
    for done in 0..=60 {
        let mut feed = scratch.open(true, false).unwrap();
        let (numbers, _) = drain(&mut feed, 60);
        feed.done(0, done - (60 - numbers.len() as u64));
        Box::new(feed).close().unwrap();
        let mut feed = scratch.open(true, false).unwrap();
        let (numbers, losses) = drain(&mut feed, 100);
        assert_eq!((numbers, losses), ((done..60).collect(), vec![]));
        assert!(matches!(feed.next(true, Instant::now()), Ok(Next::End)));
        // What was not said to be done comes again.
        Box::new(feed).close().unwrap();
    }
}

#[test]
fn a_live_log_is_followed_or_read_to_its_end() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer(1);
    (0..3).for_each(|number| append(&mut writer, number));
    let mut feed = scratch.open(false, false).unwrap();
    assert!(feed.backlog().bytes.is_some_and(|bytes| bytes > 3000));
    assert_eq!(drain(&mut feed, 9).0, [0, 1, 2]);
    let end = Backlog { records: None, bytes: Some(0), at_live_end: true };
    assert_eq!(feed.backlog(), end);
    append(&mut writer, 3);
    assert!(matches!(feed.next(false, Instant::now()), Ok(Next::Idle)), "none are wanted");
    assert_eq!(drain(&mut feed, 9).0, [3]);
    drop(feed);
    let mut feed = scratch.open(true, false).unwrap();
    assert_eq!(drain(&mut feed, 9).0, [0, 1, 2, 3]);
    append(&mut writer, 4);
    assert!(matches!(feed.next(true, Instant::now()), Ok(Next::End)), "the end stays the end");
}

#[test]
fn what_retention_took_is_refused_until_the_operator_chooses() {
    let scratch = Scratch::new();
    scratch.write(1, 0..40);
    let mut feed = scratch.open(false, false).unwrap();
    let (numbers, _) = drain(&mut feed, 10);
    feed.done(0, numbers.len() as u64);
    Box::new(feed).close().unwrap();
    let mut limits =
        Limits { bytes: Some(20_000), age: None, now: SystemTime::now(), unread: Unread::Keep };
    assert!(retain(&scratch.dir(), &limits).unwrap().is_empty(), "the group needs them");
    limits.unread = Unread::Delete;
    assert!(!retain(&scratch.dir(), &limits).unwrap().is_empty());
    let failure = scratch.open(false, false).unwrap_err();
    assert_eq!(failure.code(), ExitCode::Configuration);
    assert!(failure.to_string().contains("--from-oldest"), "{failure}");
    let mut feed = scratch.open(false, true).unwrap();
    let (numbers, losses) = drain(&mut feed, 100);
    assert_eq!(numbers.last(), Some(&39));
    assert_eq!(losses, [Some(numbers[0] - 10)], "{numbers:?}");
}

#[test]
fn a_damaged_frame_is_told_and_passed() {
    let scratch = Scratch::new();
    scratch.write(1, 0..5);
    let incarnation = scratch.dir().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let incarnation = incarnation.filter(|path| path.is_dir()).max().unwrap();
    let segment = incarnation.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.into_iter().find(|path| path.extension().is_some()).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    std::fs::write(&segment, bytes).unwrap();
    let mut feed = scratch.open(true, false).unwrap();
    let (numbers, losses) = drain(&mut feed, 9);
    assert_eq!((numbers.len(), losses), (4, vec![Some(1)]));
}

#[test]
fn one_process_at_a_time_reads_for_a_group() {
    let scratch = Scratch::new();
    scratch.write(1, 0..3);
    let first = scratch.open(true, false).unwrap();
    let failure = scratch.open(true, false).unwrap_err();
    assert!(failure.to_string().contains("--group"), "{failure}");
    drop(first);
    scratch.open(true, false).unwrap();
}

#[test]
fn a_directory_without_a_log_is_refused() {
    let scratch = Scratch::new();
    assert!(scratch.open(false, false).is_err_and(|e| e.to_string().contains("no capture log")));
    std::fs::create_dir(scratch.dir()).unwrap();
    assert!(scratch.open(true, false).is_err_and(|e| e.to_string().contains("holds no")));
}
