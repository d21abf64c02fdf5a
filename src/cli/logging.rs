//! Log lines go to stderr: for people on a terminal, as JSON elsewhere. `TAPLINE_LOG` sets the level (default `info`).

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

pub(super) fn start() {
    let filter = EnvFilter::try_from_env("TAPLINE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // A second start (in tests) keeps the first.
    let _ = if stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_target(false).try_init()
    };
}
