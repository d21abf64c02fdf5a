//! What `tapline doctor` is told: the settings of capture or replay whose surroundings it looks at.

use std::{net::SocketAddr, path::PathBuf};

use super::{KafkaConfig, TlsMode, replay::TargetTls};
use crate::{net::SourceUrl, sys::cpu::CpuList};

/// Everything that can be looked at; what is not named is not asked.
#[derive(Clone, Debug)]
pub struct DoctorConfig {
    /// The source cluster.
    pub source: Option<SourceUrl>,
    /// How the source is known to be the source.
    pub source_tls: TargetTls,
    /// The target cluster.
    pub target: Option<SourceUrl>,
    /// How the target is known to be the target.
    pub target_tls: TargetTls,
    /// Addresses that capture will listen on.
    pub listen: Vec<SocketAddr>,
    /// TLS to clients.
    pub tls: TlsMode,
    /// The certificate that clients are shown.
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The capture log, if it is to lie elsewhere.
    pub log: Option<PathBuf>,
    /// Kafka, if records go there.
    pub kafka: Option<KafkaConfig>,
    /// Worker threads.
    pub workers: Option<usize>,
    /// Processors for the workers.
    pub cpus: Option<CpuList>,
    /// The longest record, in bytes.
    pub record_bytes_max: usize,
    /// Budget for records that are not yet durable, in bytes.
    pub capture_memory: Option<u64>,
}
