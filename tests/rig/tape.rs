//! What went over one direction of one connection: every byte, and when it arrived.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{digest, wait};

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The sender finished: FIN.
    Finished,
    /// The connection was reset.
    Reset,
}

/// A recording that one thread writes and others read; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<Mutex<Recording>>);

#[derive(Debug, Default)]
struct Recording {
    bytes: Vec<u8>,
    /// When the bytes up to a length were there.
    arrivals: Vec<(Instant, usize)>,
    ending: Option<Ending>,
}

impl Tape {
    /// Adds bytes that arrived just now.
    pub(crate) fn record(&self, bytes: &[u8]) {
        let mut recording = self.lock();
        recording.bytes.extend_from_slice(bytes);
        let length = recording.bytes.len();
        recording.arrivals.push((Instant::now(), length));
    }

    /// Notes how the direction ended; the first ending counts.
    pub(crate) fn end(&self, ending: Ending) {
        self.lock().ending.get_or_insert(ending);
    }

    /// All bytes so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Number of bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.lock().bytes.len()
    }

    /// SHA-256 of all bytes so far.
    pub(crate) fn sha256(&self) -> String {
        digest::sha256(&self.lock().bytes)
    }

    /// How it ended, if it has.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.lock().ending
    }

    /// When the byte at `offset` arrived, if it has.
    pub(crate) fn arrival(&self, offset: usize) -> Option<Instant> {
        let recording = self.lock();
        let at = recording.arrivals.partition_point(|&(_, length)| length <= offset);
        recording.arrivals.get(at).map(|&(instant, _)| instant)
    }

    /// Waits until the bytes contain `needle`; whether they did within the limit.
    pub(crate) fn holds(&self, needle: &[u8], limit: Duration) -> bool {
        wait::until(limit, || memchr::memmem::find(&self.lock().bytes, needle).is_some())
    }

    /// Waits for the end.
    pub(crate) fn ending_within(&self, limit: Duration) -> Option<Ending> {
        wait::for_some(limit, || self.ending())
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[test]
fn a_tape_knows_when_each_byte_came() {
    let tape = Tape::default();
    let start = Instant::now();
    tape.record(b"ab");
    std::thread::sleep(Duration::from_millis(5));
    tape.record(b"c");
    tape.end(Ending::Reset);
    tape.end(Ending::Finished);
    assert_eq!(tape.bytes(), b"abc");
    assert_eq!(tape.arrival(0), tape.arrival(1));
    assert!(tape.arrival(2) >= tape.arrival(1).map(|at| at + Duration::from_millis(5)));
    assert!(tape.arrival(0) >= Some(start));
    assert_eq!(tape.arrival(3), None);
    assert_eq!(tape.ending(), Some(Ending::Reset));
}
