//! Flags that capture and replay share: where settings come from, and what is logged.

use std::path::PathBuf;

use clap::Args;

use crate::observe::logging::{self, Format, Level};

/// Variables of the environment are given to these by [`super::command`], after the subcommand's name.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "these texts are the help that users see")]
pub(super) struct Operation {
    /// Read settings from this TOML file too: the names of the flags, with - or _. Flags and variables win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Check settings and host, say what a start would find, and end: 0 when it would start, 78 when not
    #[arg(long)]
    pub(super) check: bool,

    /// What is logged: error, warn, info, debug, trace, or a filter of tracing [default: TAPLINE_LOG's, else info]
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<Level>,

    /// How: human, json, or journal (a line with a priority) [default: by what standard error is]
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "auto")]
    log_format: Format,
}

impl Operation {
    pub(super) fn start_logging(&self) {
        logging::start(self.log_level.as_ref(), self.log_format);
    }
}

/// The subcommands that take these flags, and the variables that set them.
pub(super) const VARIABLES: [(&str, [(&str, &str); 3]); 2] = [
    (
        "capture",
        [
            ("config", "TAPLINE_CAPTURE_CONFIG"),
            ("log_level", "TAPLINE_CAPTURE_LOG_LEVEL"),
            ("log_format", "TAPLINE_CAPTURE_LOG_FORMAT"),
        ],
    ),
    (
        "replay",
        [
            ("config", "TAPLINE_REPLAY_CONFIG"),
            ("log_level", "TAPLINE_REPLAY_LOG_LEVEL"),
            ("log_format", "TAPLINE_REPLAY_LOG_FORMAT"),
        ],
    ),
];
