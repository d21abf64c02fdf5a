//! How a process begins and ends.

use std::time::Duration;

/// Beginning and end of one process.
#[derive(Clone, Copy, Debug)]
pub struct Lifecycle {
    /// Begin with the listening sockets of the running process, which then drains and ends.
    pub take_over: bool,
    /// How long a stop goes on serving, unready, before it begins to drain.
    pub drain_delay: Duration,
}
