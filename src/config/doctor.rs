//! What `tapline doctor` is told: the settings of capture or replay whose surroundings it looks at.

use std::{net::SocketAddr, path::PathBuf};

use super::{CaptureConfig, KafkaConfig, TlsMode, replay::TargetTls};
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
    /// Free space of the file system that the capture log leaves to others, in bytes.
    pub log_reserve: u64,
    /// Records hold hashes in place of credentials.
    pub redact_credentials: bool,
    /// Worker threads.
    pub workers: Option<usize>,
    /// Processors for the workers.
    pub cpus: Option<CpuList>,
    /// The longest record, in bytes.
    pub record_bytes_max: usize,
    /// Budget for records that are not yet durable, in bytes.
    pub capture_memory: Option<u64>,
}

impl From<&CaptureConfig> for DoctorConfig {
    fn from(config: &CaptureConfig) -> Self {
        let tls = &config.source_tls;
        Self {
            source: Some(config.source.clone()),
            source_tls: TargetTls {
                ca: tls.ca.clone(),
                cert: tls.certificate.clone(),
                key: tls.key.clone(),
                insecure: tls.insecure,
            },
            target: None,
            target_tls: TargetTls::default(),
            listen: config.listen.clone(),
            tls: config.tls.mode,
            tls_cert: config.tls.certificate.clone(),
            tls_key: config.tls.key.clone(),
            state_dir: config.state_dir.clone(),
            log: config.log.clone(),
            kafka: config.kafka.clone(),
            log_reserve: config.log_reserve,
            redact_credentials: config.redaction.credentials,
            workers: config.workers,
            cpus: config.cpus.clone(),
            record_bytes_max: config.record_bytes_max,
            capture_memory: config.capture_memory,
        }
    }
}
