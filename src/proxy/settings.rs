//! What a worker is told at its start.

use std::{net::SocketAddr, time::Duration};

use crate::{
    capture,
    config::limits,
    http,
    tls::{Acceptor, Trust},
};

/// The settings of the workers of one process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses of the source, tried in turn.
    pub source_addresses: Vec<SocketAddr>,
    /// TLS to clients; `None`: plaintext.
    pub tls: Option<Acceptor>,
    /// TLS to the source; `None`: plaintext.
    pub source_tls: Option<Trust>,
    /// The source as the operator wrote it, for messages.
    pub source_name: String,
    /// Bounds of message framing.
    pub limits: http::Limits,
    /// False with `--no-capture`: nothing is recorded and nothing held.
    pub capture: bool,
    /// Hold POSTs to read-only endpoints too.
    pub hold_all_posts: bool,
    /// The longest record.
    pub record_bytes_max: usize,
    /// The longest time that an unheld record stays open.
    pub flush_age: Duration,
    /// How long a held request waits for its record before it is answered 503; `None`: for as long as it takes.
    pub hold_timeout: Option<Duration>,
    /// Memory for records that have not come back from the sink, for this worker.
    pub unacknowledged_bytes_max: u64,
    /// How long a drain may take before connections are cut.
    pub drain_timeout: Duration,
}

impl Settings {
    /// Defaults for a source.
    pub fn new(source_name: impl Into<String>, source_addresses: Vec<SocketAddr>) -> Self {
        Self {
            source_addresses,
            tls: None,
            source_tls: None,
            source_name: source_name.into(),
            limits: http::Limits::default(),
            capture: true,
            hold_all_posts: false,
            record_bytes_max: capture::RECORD_BYTES_MAX_DEFAULT,
            flush_age: Duration::from_millis(500),
            hold_timeout: None,
            unacknowledged_bytes_max: 256 << 20,
            drain_timeout: Duration::from_secs(30),
        }
    }

    /// The size at which a record is finished.
    pub fn record_bytes_target(&self) -> usize {
        limits::RECORD_TARGET_BYTES.min(self.record_bytes_max)
    }
}
