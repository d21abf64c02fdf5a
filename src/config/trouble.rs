//! What happens while records cannot be made durable where they belong.

use std::time::Duration;

/// The policy and its times.
#[derive(Clone, Copy, Debug)]
pub struct TroubleConfig {
    /// What happens to held requests.
    pub policy: Policy,
    /// How long a held request waits before it is answered 503, or let through.
    pub hold_timeout: Duration,
}

/// What happens to held requests while Kafka, or the disk of the capture log, does not take records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Policy {
    /// Records go to the local log and from there to Kafka in order; where that is full, as `block`.
    #[default]
    Spool,
    /// They wait, and are then answered 503.
    Block,
    /// They wait, and are then let through: the source goes on, and the records are no longer complete.
    Pass,
}
