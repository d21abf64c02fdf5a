//! The outcome thread: nothing is acknowledged before it can be read, in order, and nothing after an error.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::*;
use crate::outcome::{Counter, DeskSettings, Misfit, Outcome, OutcomeError, open};
use crate::sys::bell::Bell;

struct Rig {
    counter: Counter,
    bell: Arc<Bell>,
    thread: JoinHandle<Result<(), OutcomeError>>,
}

impl Rig {
    fn start(settings: &DeskSettings) -> Self {
        let bell = Arc::new(Bell::new().expect("bell"));
        let (counter, desk, _) = open(settings, Arc::clone(&bell)).expect("opened");
        let thread = std::thread::spawn(move || desk.run());
        Self { counter, bell, thread }
    }

    /// Waits for the next word of the desk.
    fn wait(&self) {
        self.bell.park();
        if self.counter.is_quiet() {
            let mut fds = [PollFd::new(self.bell.event(), PollFlags::IN)];
            rustix::event::poll(&mut fds, None).expect("poll");
        }
        self.bell.unpark();
        self.bell.hush();
    }

    fn submit(&self, mut batch: Vec<Outcome>) {
        while let Err(back) = self.counter.submit(batch) {
            batch = back;
            std::thread::yield_now();
        }
    }
}

fn settings(dir: &Path) -> DeskSettings {
    DeskSettings::new(Some(dir.join("tuples")), dir.join("quarantine"))
}

fn outcome(id: u64) -> Outcome {
    let tuple = Tuple { index: id, ..sample() };
    Outcome { id, tuple: Some(Box::new(tuple)), quarantine: None }
}

/// Lines of all files, growing ones included. One that is closed between listing and reading has another name then: all
/// are read anew.
fn lines(dir: &Path) -> usize {
    loop {
        match lines_now(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            counted => return counted.expect("read"),
        }
    }
}

fn lines_now(dir: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(dir.join("tuples")).expect("listed") {
        let bytes = fs::read(entry?.path())?;
        let mut text = Vec::new();
        let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text);
        count += memchr::memchr_iter(b'\n', &text).count();
    }
    Ok(count)
}

#[test]
fn ids_come_back_in_order_and_after_their_tuples_can_be_read() {
    const OUTCOMES: u64 = 3_000;
    let dir = tempfile::tempdir().expect("temp dir");
    let mut settings = settings(dir.path());
    settings.sync_age = Duration::from_millis(2);
    settings.limits.file_bytes = 500_000;
    settings.queued_bytes_max = 100_000;
    let rig = Rig::start(&settings);
    let mut back = 0;
    let mut checked = 0;
    for batch in 0..OUTCOMES / 10 {
        rig.submit((batch * 10..batch * 10 + 10).map(outcome).collect());
        while let Some(ids) = rig.counter.written() {
            for id in ids {
                assert_eq!(id, back);
                back += 1;
            }
            if checked < 5 {
                checked += 1;
                assert!(lines(dir.path()) as u64 >= back);
            }
        }
    }
    while back < OUTCOMES {
        rig.wait();
        assert!(rig.counter.failure().is_none());
        back += rig.counter.written().map_or(0, |ids| ids.len() as u64);
    }
    assert_eq!(lines(dir.path()) as u64, OUTCOMES);
    rig.counter.close();
    rig.thread.join().expect("thread").expect("no error");
    assert!(rig.counter.is_finished());
    assert_eq!(rig.counter.queued_bytes(), 0);
    let counts = rig.counter.counts();
    assert_eq!((counts.tuples, counts.quarantined), (OUTCOMES, 0));
    assert!(counts.files >= 2 && counts.file_bytes < counts.tuple_bytes / 4, "{counts:?}");
    let names = fs::read_dir(dir.path().join("tuples")).expect("listed");
    let growing = names
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "tmp"));
    assert_eq!(growing.count(), 0);
}

#[test]
fn closing_writes_everything_without_waiting_for_the_sync_age() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut settings = settings(dir.path());
    settings.sync_age = Duration::from_hours(1);
    let rig = Rig::start(&settings);
    rig.submit((0..5).map(outcome).collect());
    rig.counter.close();
    rig.thread.join().expect("thread").expect("no error");
    assert_eq!(rig.counter.written(), Some(vec![0, 1, 2, 3, 4]));
    assert!(rig.counter.failure().is_none());
    assert_eq!(lines(dir.path()), 5);
}

#[test]
fn a_quarantined_outcome_needs_no_tuples() {
    let dir = tempfile::tempdir().expect("temp dir");
    let rig = Rig::start(&DeskSettings::new(None, dir.path().join("quarantine")));
    let quarantine = Some(Box::new(Misfit { reason: "undecodable", ..Misfit::default() }));
    rig.submit(vec![Outcome { id: 4, tuple: None, quarantine }]);
    let mut ids = None;
    while ids.is_none() {
        rig.wait();
        ids = rig.counter.written();
    }
    assert_eq!(ids, Some(vec![4]));
    assert_eq!(rig.counter.counts().quarantined, 1);
    drop(rig.counter);
    rig.thread.join().expect("thread").expect("no error");
}

#[test]
fn a_tuple_that_cannot_be_written_is_no_outcome() {
    let dir = tempfile::tempdir().expect("temp dir");
    let rig = Rig::start(&settings(dir.path()));
    fs::remove_dir_all(dir.path().join("tuples")).expect("removed");
    rig.submit(vec![outcome(1)]);
    while !rig.counter.is_finished() {
        rig.wait();
    }
    assert!(rig.thread.join().expect("thread").is_err());
    assert_eq!(rig.counter.written(), None);
    let failure = rig.counter.failure().expect("a failure").to_string();
    assert!(failure.contains("tuples"), "{failure}");
}
