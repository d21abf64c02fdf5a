//! Time: monotonic for deadlines, wall clock for records.
#![allow(unsafe_code)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Both clocks, read together.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock {
    /// Nanoseconds since the clock was made.
    pub fn monotonic_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Nanoseconds since 1970; 0 if the host's clock is before that.
    pub fn unix_ns(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    }
}

/// Whether something keeps the host's wall clock right; `None` when the kernel does not say.
pub fn is_synchronised() -> Option<bool> {
    // SAFETY: all fields of the struct are integers, for which zero is a value; `modes` zero asks and changes nothing.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live struct of the size that the kernel fills.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    (answer >= 0).then_some(state.status & libc::STA_UNSYNC == 0)
}
