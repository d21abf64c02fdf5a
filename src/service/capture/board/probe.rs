//! Whether the source can be connected to: a bare TCP connect now and then, never from a worker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

use super::{Board, lock};

/// How often a source that answers is tried.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How often one is that does not.
const PROBE_EVERY_DOWN: Duration = Duration::from_secs(1);
/// How long a connect may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the last tries gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Probe {
    /// Since when it fails, and why.
    pub(super) down: Option<(Instant, String)>,
}

/// Tries until the runtime ends.
pub(super) async fn run(board: Arc<Board>) {
    loop {
        let result = connect(&board).await;
        let pause = if result.is_ok() { PROBE_EVERY } else { PROBE_EVERY_DOWN };
        {
            let mut probe = lock(&board.probe);
            let since = probe.down.as_ref().map_or_else(Instant::now, |(since, _)| *since);
            probe.down = result.err().map(|why| (since, why));
        }
        tokio::time::sleep(pause).await;
    }
}

async fn connect(board: &Board) -> Result<(), String> {
    let source = &board.facts.config.source;
    let connect = TcpStream::connect((source.host.as_str(), source.port));
    match tokio::time::timeout(PROBE_TIMEOUT, connect).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {} s", PROBE_TIMEOUT.as_secs())),
    }
}
