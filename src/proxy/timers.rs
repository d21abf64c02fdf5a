//! Deadlines of a worker: a few kinds, each with one duration that never changes, so that a queue per kind is always
//! sorted.

use std::{collections::VecDeque, time::Duration};

use crate::{config::limits, ring::Token};

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Deadline {
    /// The connect to the source is taking too long.
    Connect,
    /// A connection that tapline answered itself has been read long enough.
    Linger,
    /// The source has closed and the client has not.
    SourceClosed,
    /// A TLS handshake is taking too long.
    Handshake,
    /// It is time to look whether the client takes too long.
    Look,
}

const KINDS: [Deadline; 5] = [
    Deadline::Connect,
    Deadline::Linger,
    Deadline::SourceClosed,
    Deadline::Handshake,
    Deadline::Look,
];

/// All deadlines, in nanoseconds of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queues: [VecDeque<(u64, Token)>; KINDS.len()],
    /// How often connections are looked at.
    look: Duration,
}

impl Timers {
    pub(super) fn new(look: Duration) -> Self {
        Self { look, ..Self::default() }
    }

    fn duration(&self, kind: Deadline) -> Duration {
        match kind {
            Deadline::Connect => limits::CONNECT_TIMEOUT,
            Deadline::Linger => limits::LINGER_TIMEOUT,
            Deadline::SourceClosed => limits::SOURCE_CLOSED_TIMEOUT,
            Deadline::Handshake => limits::HANDSHAKE_TIMEOUT,
            Deadline::Look => self.look,
        }
    }

    /// Sets a deadline. There is no taking it back: whoever gets it looks whether it still matters.
    pub(super) fn set(&mut self, kind: Deadline, token: Token, now_ns: u64) {
        let due = now_ns + self.duration(kind).as_nanos() as u64;
        self.queues[kind as usize].push_back((due, token));
    }

    /// The next deadline that has passed.
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<(Deadline, Token)> {
        for kind in KINDS {
            let queue = &mut self.queues[kind as usize];
            if queue.front().is_some_and(|(due, _)| *due <= now_ns) {
                return queue.pop_front().map(|(_, token)| (kind, token));
            }
        }
        None
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<u64> {
        self.queues.iter().filter_map(|queue| queue.front().map(|(due, _)| *due)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_when_due_and_only_once() {
        let mut timers = Timers::default();
        let token = Token::new(1, 2, 0);
        timers.set(Deadline::SourceClosed, token, 0);
        timers.set(Deadline::Linger, token, 0);
        let linger = limits::LINGER_TIMEOUT.as_nanos() as u64;
        assert_eq!(timers.next(), Some(linger));
        assert_eq!(timers.pop(linger - 1), None);
        assert_eq!(timers.pop(linger), Some((Deadline::Linger, token)));
        assert_eq!(timers.pop(linger), None);
        assert!(timers.next().is_some());
    }
}
