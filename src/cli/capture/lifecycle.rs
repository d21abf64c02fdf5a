//! Flags of how a process begins and ends.

use std::time::Duration;

use clap::Args;

use crate::config::{Lifecycle, units};

/// How it begins and how it ends.
#[derive(Debug, Args)]
pub(super) struct LifecycleFlags {
    /// Receive the listening sockets of the process that runs with the same flags; when this one is ready, that one
    /// finishes what it has in flight and ends. No connection is refused meanwhile. SIGUSR2 to the running process
    /// starts its program again with this flag
    #[arg(long, env = "TAPLINE_CAPTURE_TAKE_OVER")]
    take_over: bool,

    /// How long a stop goes on serving as before while /readyz already says no, so that a load balancer sends nothing
    /// more; only then does it stop accepting
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_DRAIN_DELAY",
        value_name = "TIME",
        default_value = "0s",
        value_parser = units::duration
    )]
    drain_delay: Duration,
}

impl LifecycleFlags {
    pub(super) fn config(&self) -> Lifecycle {
        let Self { take_over, drain_delay } = *self;
        Lifecycle { take_over, drain_delay }
    }
}
