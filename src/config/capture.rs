//! The settings of `tapline capture`, checked against each other.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    AdminConfig, Caps, Deadlines, KafkaConfig, Lifecycle, Policy, ProxyProtocol, SourceTlsConfig,
    TlsConfig, TroubleConfig,
};
use crate::{
    filter::{FieldName, Filter},
    http::Limits,
    net::SourceUrl,
    observe::logging::Level,
    sys::cpu::CpuList,
};

/// Everything that `tapline capture` can be told.
#[derive(Clone, Debug)]
pub struct CaptureConfig {
    /// The source cluster.
    pub source: SourceUrl,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Worker threads; by default one per usable processor less one for the sink.
    pub workers: Option<usize>,
    /// Processors for the workers.
    pub cpus: Option<CpuList>,
    /// TLS to clients.
    pub tls: TlsConfig,
    /// TLS to the source.
    pub source_tls: SourceTlsConfig,
    /// Where node name and log are kept.
    pub state_dir: PathBuf,
    /// The capture log, or the spool in front of Kafka; by default `log` in the state directory.
    pub log: Option<PathBuf>,
    /// Kafka instead of the log.
    pub kafka: Option<KafkaConfig>,
    /// What happens while records cannot be stored.
    pub trouble: TroubleConfig,
    /// Forward only.
    pub no_capture: bool,
    /// Hold POSTs to read-only endpoints too.
    pub hold_all_posts: bool,
    /// The longest time an unheld record stays open.
    pub flush_age: Duration,
    /// How often a worker says in a record where it stands; zero: never.
    pub heartbeat_interval: Duration,
    /// The longest record.
    pub record_bytes_max: usize,
    /// Memory for records not yet durable; by default a quarter of the host's.
    pub capture_memory: Option<u64>,
    /// Bounds of message framing.
    pub http_limits: Limits,
    /// How long a stop may take before connections are cut.
    pub drain_timeout: Duration,
    /// How the process begins and ends.
    pub lifecycle: Lifecycle,
    /// Length of a segment of the capture log.
    pub segment_bytes: u64,
    /// Free space that the capture log leaves to others.
    pub log_reserve: u64,
    /// What is changed and left out, but for redaction, which needs a key.
    pub filter: Filter,
    /// What is hidden in the records.
    pub redaction: RedactionConfig,
    /// Record what a replay sends as well.
    pub record_replayed: bool,
    /// How long clients may take.
    pub deadlines: Deadlines,
    /// How many there may be.
    pub caps: Caps,
    /// Who tells where they come from.
    pub proxy_protocol: ProxyProtocol,
    /// The admin endpoint.
    pub admin: AdminConfig,
    /// What is logged; by default what `TAPLINE_LOG` says.
    pub log_level: Option<Level>,
}

impl CaptureConfig {
    /// Where the capture log lies; `None` when nothing is captured.
    pub fn log_dir(&self) -> Option<PathBuf> {
        let default = || self.state_dir.join("log");
        (!self.no_capture).then(|| self.log.clone().unwrap_or_else(default))
    }

    /// What happens while the log takes no records, as `--on-capture-unavailable` calls it.
    pub fn policy(&self) -> &'static str {
        match (self.no_capture, &self.kafka, self.trouble.policy) {
            (true, ..) => "none",
            // The spool lies before Kafka.
            (_, Some(_), Policy::Spool) => "spool",
            (_, _, Policy::Pass) => "pass",
            _ => "block",
        }
    }

    /// Whether writes go on uncaptured while nothing can be stored.
    pub fn passes(&self) -> bool {
        self.policy() == "pass"
    }
}

/// What is hidden in the records.
#[derive(Clone, Debug, Default)]
pub struct RedactionConfig {
    /// Credentials in fields and bodies.
    pub credentials: bool,
    /// Further fields.
    pub names: Vec<FieldName>,
}

impl RedactionConfig {
    /// Nothing is hidden.
    pub fn is_empty(&self) -> bool {
        !self.credentials && self.names.is_empty()
    }
}
