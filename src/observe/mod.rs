//! What tapline says of itself: counters and durations of the workers and how they are written down, whether the
//! workers still turn, the lines of its log, and with which code and sentence it ends.
//!
//! Counting never waits and never fails. This room knows nobody's state but its own.

mod counters;
mod exit;
mod histogram;
pub mod logging;
mod pulse;

pub use counters::{Counter, Counters, Gauge, Snapshot, Timing};
pub use exit::{ExitCode, Failure};
pub use histogram::{Distribution, Histogram};
pub use pulse::Pulse;
