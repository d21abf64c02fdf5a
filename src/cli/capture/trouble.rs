//! Flags for the time when records cannot be stored.

use std::time::Duration;

use clap::Args;

use crate::config::{Policy, TroubleConfig, units};

/// What happens while Kafka, or the disk, does not take records.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "these texts are the help that users see")]
pub(super) struct TroubleArguments {
    /// While Kafka does not take records: `spool` them in --log and send them in order later; `block`: writes wait and
    /// are then answered 503; `pass`: writes wait and then go to the source all the same, so that the records ARE NO
    /// LONGER COMPLETE (a marker in them says what is missing, unless the process is killed meanwhile). While the disk
    /// of the log is full: as `block`, or `pass`
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_ON_CAPTURE_UNAVAILABLE",
        value_name = "POLICY",
        value_enum,
        default_value = "spool"
    )]
    on_capture_unavailable: Policy,

    /// How long a held request waits for its record to be stored before it is answered 503 (under `pass`: let through)
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_HOLD_TIMEOUT",
        value_name = "TIME",
        default_value = "10s",
        value_parser = units::duration
    )]
    hold_timeout: Duration,
}

impl TroubleArguments {
    pub(super) fn config(&self) -> TroubleConfig {
        TroubleConfig { policy: self.on_capture_unavailable, hold_timeout: self.hold_timeout }
    }
}
