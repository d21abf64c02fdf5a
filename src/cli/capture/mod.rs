//! `tapline capture`: its flags.

mod admin;
mod clients;
mod filter;
mod lifecycle;
mod tls;
mod trouble;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use self::{
    admin::AdminArguments,
    tls::{SourceTlsArguments, TlsArguments},
};
use super::{kafka::KafkaArguments, operation::Operation};
use crate::{
    capture::{RECORD_BYTES_MAX_DEFAULT, RECORD_BYTES_MIN},
    config::{CaptureConfig, Effective, Loaded, units},
    http::Limits,
    net::SourceUrl,
    observe::Failure,
    service,
    sys::cpu::CpuList,
};

/// Stand in front of the source cluster, forward every byte, and record every request and response.
///
/// Without --kafka-brokers the records go to a local capture log.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "these texts are the help that users see")]
pub(super) struct Arguments {
    /// The source cluster: http://host[:port]
    #[arg(long, env = "TAPLINE_CAPTURE_SOURCE", value_name = "URL")]
    source: SourceUrl,

    /// Where to listen, as 0.0.0.0:9200 or [::]:9200; may be repeated
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_LISTEN",
        value_name = "ADDR",
        value_delimiter = ',',
        default_value = "0.0.0.0:9200"
    )]
    listen: Vec<SocketAddr>,

    /// Worker threads [default: one per usable processor less one for the sink]
    #[arg(long, env = "TAPLINE_CAPTURE_WORKERS", value_name = "N")]
    workers: Option<usize>,

    /// Processors that workers are pinned to, as 2-7
    #[arg(long, env = "TAPLINE_CAPTURE_CPUS", value_name = "LIST")]
    cpus: Option<CpuList>,

    #[command(flatten)]
    tls: TlsArguments,

    #[command(flatten)]
    source_tls: SourceTlsArguments,

    /// Directory of node name and capture log [default: ./tapline-state, under systemd $STATE_DIRECTORY]
    #[arg(long, env = "TAPLINE_CAPTURE_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// The capture log; with --kafka-brokers, the spool in front of Kafka [default: log in the state directory]
    #[arg(long, env = "TAPLINE_CAPTURE_LOG", value_name = "DIR")]
    log: Option<PathBuf>,

    /// Write records to Kafka instead: bootstrap servers, as host:9092,host2:9092
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

    #[command(flatten)]
    trouble: trouble::TroubleArguments,

    /// Forward only: nothing is recorded and nothing held
    #[arg(long, env = "TAPLINE_CAPTURE_NO_CAPTURE", conflicts_with_all = ["kafka_brokers", "log"])]
    no_capture: bool,

    /// Hold POSTs to read-only endpoints (_search, ...) too until they are durable
    #[arg(long, env = "TAPLINE_CAPTURE_HOLD_ALL_POSTS")]
    hold_all_posts: bool,

    /// The longest time that a record nothing waits for stays open
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_FLUSH_AGE",
        value_name = "TIME",
        default_value = "500ms",
        value_parser = units::duration
    )]
    flush_age: Duration,

    /// How often each worker says in a record where it stands, so that records missing at the end show; 0s: never
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_HEARTBEAT_INTERVAL",
        value_name = "TIME",
        default_value = "10s",
        value_parser = units::duration
    )]
    heartbeat_interval: Duration,

    /// The longest record; with Kafka, below the topic's max.message.bytes less 500
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_RECORD_BYTES_MAX",
        value_name = "BYTES",
        default_value_t = RECORD_BYTES_MAX_DEFAULT
    )]
    record_bytes_max: usize,

    /// Memory for records that are not yet durable, as 512MiB [default: a quarter of the host's]
    #[arg(long, env = "TAPLINE_CAPTURE_CAPTURE_MEMORY", value_name = "BYTES", value_parser = units::bytes)]
    capture_memory: Option<u64>,

    /// The longest line of a request or response head
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_LINE_BYTES_MAX",
        value_name = "BYTES",
        default_value = "8KiB",
        value_parser = units::size
    )]
    line_bytes_max: usize,

    /// The largest head
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_HEAD_BYTES_MAX",
        value_name = "BYTES",
        default_value = "64KiB",
        value_parser = units::size
    )]
    head_bytes_max: usize,

    /// The most fields of a head
    #[arg(long, env = "TAPLINE_CAPTURE_FIELDS_MAX", value_name = "N", default_value_t = 256)]
    fields_max: usize,

    /// How long a stop waits for what is in flight before it cuts connections
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_DRAIN_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        value_parser = units::duration
    )]
    drain_timeout: Duration,

    #[command(flatten)]
    lifecycle: lifecycle::LifecycleFlags,

    /// Length of one segment file of the capture log
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_SEGMENT_BYTES",
        value_name = "BYTES",
        default_value = "256MiB",
        value_parser = units::bytes
    )]
    segment_bytes: u64,

    /// Free space of the file system that the capture log leaves to others
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_LOG_RESERVE",
        value_name = "BYTES",
        default_value = "64MiB",
        value_parser = units::bytes
    )]
    log_reserve: u64,

    #[command(flatten)]
    filter: filter::FilterArguments,

    #[command(flatten)]
    clients: clients::ClientArguments,

    #[command(flatten)]
    admin: AdminArguments,

    #[command(flatten)]
    pub(super) operation: Operation,
}

pub(super) fn run(arguments: Arguments, effective: Effective) -> Result<(), Failure> {
    let check = arguments.operation.check;
    let load = |(arguments, effective)| Ok(Loaded { config: config(arguments)?, effective });
    let loaded = load((arguments, effective))?;
    if check {
        return service::preflight::capture(&loaded);
    }
    service::capture::run(&loaded, Box::new(move || load(super::capture_again()?)))
}

/// More often they would be traffic of their own.
const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_millis(100);

fn config(arguments: Arguments) -> Result<CaptureConfig, Failure> {
    let a = arguments;
    let source = a.source;
    let source_tls = a.source_tls.config(source.tls)?;
    if a.record_bytes_max < RECORD_BYTES_MIN {
        return Err(Failure::configuration(format!(
            "--record-bytes-max must be at least {RECORD_BYTES_MIN}"
        )));
    }
    if a.record_bytes_max > crate::log::PAYLOAD_BYTES_MAX {
        return Err(Failure::configuration(format!(
            "--record-bytes-max must be at most {}",
            crate::log::PAYLOAD_BYTES_MAX
        )));
    }
    if !a.heartbeat_interval.is_zero() && a.heartbeat_interval < HEARTBEAT_INTERVAL_MIN {
        return Err(Failure::configuration(
            "--heartbeat-interval must be at least 100ms: each is a record; 0s switches them off",
        ));
    }
    if a.workers == Some(0) {
        return Err(Failure::configuration("--workers must be at least 1"));
    }
    let kafka = a.kafka.config(a.kafka_brokers, a.kafka_topic)?;
    let under_systemd = || std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    Ok(CaptureConfig {
        source,
        listen: a.listen,
        workers: a.workers,
        cpus: a.cpus,
        tls: a.tls.config()?,
        source_tls,
        state_dir: a.state_dir.or_else(under_systemd).unwrap_or_else(|| "tapline-state".into()),
        log: a.log,
        kafka,
        trouble: a.trouble.config(),
        no_capture: a.no_capture,
        hold_all_posts: a.hold_all_posts,
        flush_age: a.flush_age,
        heartbeat_interval: a.heartbeat_interval,
        record_bytes_max: a.record_bytes_max,
        capture_memory: a.capture_memory,
        http_limits: Limits {
            line_bytes_max: a.line_bytes_max,
            head_bytes_max: a.head_bytes_max,
            fields_max: a.fields_max,
            ..Limits::default()
        },
        drain_timeout: a.drain_timeout,
        lifecycle: a.lifecycle.config(),
        segment_bytes: a.segment_bytes,
        log_reserve: a.log_reserve,
        admin: a.admin.config(),
        log_level: a.operation.log_level,
        deadlines: a.clients.deadlines(),
        caps: a.clients.caps(),
        proxy_protocol: a.clients.proxy_protocol(),
        redaction: a.filter.redaction(),
        record_replayed: a.filter.record_replayed(),
        filter: a.filter.filter()?,
    })
}
