//! `tapline doctor`: its flags, and the table it prints.

use std::{
    io::{IsTerminal as _, Write as _, stdout},
    net::SocketAddr,
    path::PathBuf,
};

use clap::Args;

use super::kafka::KafkaArguments;
use crate::{
    capture::RECORD_BYTES_MAX_DEFAULT,
    config::{DoctorConfig, TlsMode, replay::TargetTls, units},
    doctor::{self, Finding, Status},
    net::SourceUrl,
    observe::{ExitCode, Failure},
    sys::{cpu::CpuList, tree::Tree},
};

/// Look at this host and at what capture and replay will talk to, and say what is wrong with the command that mends it.
///
/// Takes the flags of capture and replay that matter, also from the environment and from their configuration file; what
/// is not named is not asked.
/// Changes nothing. Exit codes: 0 nothing fails (warnings may be there), 1 something does.
#[derive(Debug, Args)]
// Switches of the command line.
#[allow(clippy::struct_excessive_bools)]
#[allow(clippy::doc_markdown, reason = "these texts are the help that users see")]
pub(super) struct Arguments {
    /// Print a JSON list of objects check, status (ok, warn, fail), detail, fix
    #[arg(long)]
    json: bool,

    /// Read settings of capture and of replay from this TOML file too
    #[arg(long, env = "TAPLINE_CAPTURE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// The source cluster: http(s)://host[:port]
    #[arg(long, env = "TAPLINE_CAPTURE_SOURCE", value_name = "URL")]
    source: Option<SourceUrl>,

    /// Authorities that sign the source's certificate, instead of the system's
    #[arg(long, env = "TAPLINE_CAPTURE_SOURCE_CA", value_name = "FILE")]
    source_ca: Option<PathBuf>,

    /// Certificate that the source is shown
    #[arg(long, env = "TAPLINE_CAPTURE_SOURCE_CERT", value_name = "FILE", requires = "source_key")]
    source_cert: Option<PathBuf>,

    /// Its key
    #[arg(long, env = "TAPLINE_CAPTURE_SOURCE_KEY", value_name = "FILE", requires = "source_cert")]
    source_key: Option<PathBuf>,

    /// Take any certificate of the source
    #[arg(long, env = "TAPLINE_CAPTURE_SOURCE_INSECURE")]
    source_insecure: bool,

    /// The target cluster: http(s)://host[:port]
    #[arg(long, env = "TAPLINE_REPLAY_TARGET", value_name = "URL")]
    target: Option<SourceUrl>,

    /// Authorities that sign the target's certificate, instead of the system's
    #[arg(long, env = "TAPLINE_REPLAY_TARGET_CA", value_name = "FILE")]
    target_ca: Option<PathBuf>,

    /// Certificate that the target is shown
    #[arg(long, env = "TAPLINE_REPLAY_TARGET_CERT", value_name = "FILE", requires = "target_key")]
    target_cert: Option<PathBuf>,

    /// Its key
    #[arg(long, env = "TAPLINE_REPLAY_TARGET_KEY", value_name = "FILE", requires = "target_cert")]
    target_key: Option<PathBuf>,

    /// Take any certificate of the target
    #[arg(long, env = "TAPLINE_REPLAY_TARGET_INSECURE")]
    target_insecure: bool,

    /// Where capture will listen; may be repeated
    #[arg(long, env = "TAPLINE_CAPTURE_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<SocketAddr>,

    /// TLS to clients
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_TLS",
        value_name = "MODE",
        value_enum,
        default_value = "self-signed"
    )]
    tls: TlsMode,

    /// Certificate that clients are shown
    #[arg(long, env = "TAPLINE_CAPTURE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// Its key
    #[arg(long, env = "TAPLINE_CAPTURE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// The state directory [default: ./tapline-state, under systemd $STATE_DIRECTORY]
    #[arg(long, env = "TAPLINE_CAPTURE_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// The capture log, if it lies elsewhere
    #[arg(long, env = "TAPLINE_CAPTURE_LOG", value_name = "DIR")]
    log: Option<PathBuf>,

    /// Kafka's bootstrap servers, as host:9092,host2:9092
    #[arg(long, env = "TAPLINE_CAPTURE_KAFKA_BROKERS", value_name = "LIST")]
    kafka_brokers: Option<String>,

    /// The topic
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_KAFKA_TOPIC",
        value_name = "NAME",
        default_value = "logging-traffic-topic"
    )]
    kafka_topic: String,

    #[command(flatten)]
    kafka: KafkaArguments,

    /// Free space that the capture log leaves to others, as 64MiB
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_LOG_RESERVE",
        value_name = "BYTES",
        default_value = "64MiB",
        value_parser = units::bytes
    )]
    log_reserve: u64,

    /// Capture will record hashes in place of credentials
    #[arg(long, env = "TAPLINE_CAPTURE_REDACT_CREDENTIALS")]
    redact_credentials: bool,

    /// Worker threads
    #[arg(long, env = "TAPLINE_CAPTURE_WORKERS", value_name = "N")]
    workers: Option<usize>,

    /// Processors that workers are pinned to, as 2-7
    #[arg(long, env = "TAPLINE_CAPTURE_CPUS", value_name = "LIST")]
    cpus: Option<CpuList>,

    /// The longest record
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_RECORD_BYTES_MAX",
        value_name = "BYTES",
        default_value_t = RECORD_BYTES_MAX_DEFAULT
    )]
    record_bytes_max: usize,

    /// Memory for records that are not yet durable, as 512MiB
    #[arg(long, env = "TAPLINE_CAPTURE_CAPTURE_MEMORY", value_name = "BYTES", value_parser = units::bytes)]
    capture_memory: Option<u64>,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let json = arguments.json;
    let findings = doctor::examine(&config(arguments)?, &Tree::default());
    // A reader that has gone away is no failure.
    let _ = if json { print_json(&findings) } else { print_table(&findings) };
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    match count(Status::Fail) {
        0 => Ok(()),
        1 => Err(Failure::new(ExitCode::Failed, "one check fails; its fix is above")),
        fails => Err(Failure::new(
            ExitCode::Failed,
            format!("{fails} checks fail; their fixes are above"),
        )),
    }
}

fn config(a: Arguments) -> Result<DoctorConfig, Failure> {
    let under_systemd = || std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    Ok(DoctorConfig {
        source: a.source,
        source_tls: TargetTls {
            ca: a.source_ca,
            cert: a.source_cert,
            key: a.source_key,
            insecure: a.source_insecure,
        },
        target: a.target,
        target_tls: TargetTls {
            ca: a.target_ca,
            cert: a.target_cert,
            key: a.target_key,
            insecure: a.target_insecure,
        },
        listen: a.listen,
        tls: a.tls,
        tls_cert: a.tls_cert,
        tls_key: a.tls_key,
        state_dir: a.state_dir.or_else(under_systemd).unwrap_or_else(|| "tapline-state".into()),
        log: a.log,
        kafka: a.kafka.config(a.kafka_brokers, a.kafka_topic)?,
        log_reserve: a.log_reserve,
        redact_credentials: a.redact_credentials,
        workers: a.workers,
        cpus: a.cpus,
        record_bytes_max: a.record_bytes_max,
        capture_memory: a.capture_memory,
    })
}

fn print_json(findings: &[Finding]) -> std::io::Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer_pretty(&mut out, findings)?;
    writeln!(out)
}

fn print_table(findings: &[Finding]) -> std::io::Result<()> {
    let mut out = stdout().lock();
    let colours = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for Finding { check, status, detail, fix } in findings {
        let (word, colour) = match status {
            Status::Ok => ("ok  ", "\x1b[32m"),
            Status::Warn => ("warn", "\x1b[33m"),
            Status::Fail => ("FAIL", "\x1b[1;31m"),
        };
        let (on, off) = if colours { (colour, "\x1b[0m") } else { ("", "") };
        writeln!(out, "{on}{word}{off}  {check:width$}  {detail}")?;
        if !fix.is_empty() {
            writeln!(out, "      {:width$}  fix: {fix}", "")?;
        }
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let (ok, warn, fail) = (count(Status::Ok), count(Status::Warn), count(Status::Fail));
    writeln!(out, "\n{ok} ok, {warn} warnings, {fail} failures")
}
