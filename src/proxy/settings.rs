//! What a worker is told at its start.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::Admission;
use crate::{
    capture,
    config::{Deadlines, ProxyProtocol, limits},
    filter::Filter,
    http,
    net::Addresses,
    tls::{Acceptor, Trust},
};

/// The settings of the workers of one process.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Addresses of the source, tried in turn.
    pub source_addresses: Arc<Addresses>,
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
    /// Record what a replay sends as well.
    pub record_replayed: bool,
    /// What is changed and left out to begin with.
    pub filter: Arc<Filter>,
    /// The longest record.
    pub record_bytes_max: usize,
    /// The longest time that an unheld record stays open.
    pub flush_age: Duration,
    /// Workers of the process.
    pub workers: u64,
    /// How often a worker says in a record where it stands; zero: never.
    pub heartbeat_interval: Duration,
    /// How long a held request waits for its record before it is answered 503; `None`: for as long as it takes.
    pub hold_timeout: Option<Duration>,
    /// It is let through then instead of being answered, and so is what comes until records are stored again.
    pub pass: bool,
    /// Memory for records that have not come back from the sink, for this worker.
    pub unacknowledged_bytes_max: u64,
    /// How long clients may take.
    pub deadlines: Deadlines,
    /// How many there may be; shared by the workers.
    pub admission: Arc<Admission>,
    /// Whether connections begin with a header of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// How long a drain may take before connections are cut.
    pub drain_timeout: Duration,
}

impl Settings {
    /// Defaults for a source.
    pub fn new(source_name: impl Into<String>, source_addresses: Vec<SocketAddr>) -> Self {
        Self {
            source_addresses: Addresses::new(source_addresses),
            tls: None,
            source_tls: None,
            source_name: source_name.into(),
            limits: http::Limits::default(),
            capture: true,
            hold_all_posts: false,
            record_replayed: false,
            filter: Arc::default(),
            record_bytes_max: capture::RECORD_BYTES_MAX_DEFAULT,
            flush_age: Duration::from_millis(500),
            workers: 1,
            heartbeat_interval: Duration::from_secs(10),
            hold_timeout: None,
            pass: false,
            unacknowledged_bytes_max: 256 << 20,
            deadlines: Deadlines::default(),
            admission: Arc::default(),
            proxy_protocol: ProxyProtocol::Off,
            drain_timeout: Duration::from_secs(30),
        }
    }

    /// The size at which a record is finished.
    pub fn record_bytes_target(&self) -> usize {
        limits::RECORD_TARGET_BYTES.min(self.record_bytes_max)
    }
}
