//! Making the sink: the capture log with its recovery, or Kafka with its topic check.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    config::{CaptureConfig, KafkaConfig, Policy},
    kafka::Access,
    log::{self, Outcome},
    observe::{ExitCode, Failure},
    sink::{KafkaSettings, KafkaSink, LogSink, LogSpool, SinkCounters, SinkEnd, TopicCheck},
    sys::bell::Bell,
};

/// A spool's segments are no longer than this.
const SPOOL_SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// How long a start waits for credentials of AWS; they are fetched on meanwhile, as for brokers that do not answer.
const CREDENTIALS_MAX: Duration = Duration::from_secs(1);

/// Work that the sink thread does.
pub(super) type SinkWork = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Who the records come from.
pub(super) struct Origin {
    pub(super) node: String,
    pub(super) incarnation: u64,
}

pub(super) fn make(
    config: &CaptureConfig,
    origin: &Origin,
    links: Vec<SinkEnd>,
    bell: Arc<Bell>,
    counters: Arc<SinkCounters>,
) -> Result<SinkWork, Failure> {
    match &config.kafka {
        Some(kafka) => kafka_sink(config, kafka, origin, links, bell, counters),
        None => log_sink(config, origin, links, bell, counters),
    }
}

fn log_sink(
    config: &CaptureConfig,
    origin: &Origin,
    links: Vec<SinkEnd>,
    bell: Arc<Bell>,
    counters: Arc<SinkCounters>,
) -> Result<SinkWork, Failure> {
    let dir = config.log.clone().unwrap_or_else(|| config.state_dir.join("log"));
    let mut settings = log::Settings::new(dir);
    settings.segment_bytes = config.segment_bytes;
    settings.reserve_bytes = config.log_reserve;
    for found in log::recover(&settings.dir).map_err(Failure::configuration)? {
        let incarnation = found.directory.display().to_string();
        match found.outcome {
            Outcome::Closed { next, torn } => tracing::info!(
                event = "log.recovered",
                incarnation,
                next,
                torn,
                "the last run did not end cleanly; its log was closed"
            ),
            Outcome::Corrupt { lost, next, .. } => tracing::error!(
                event = "log.corrupt",
                incarnation,
                ?lost,
                next,
                "records of an earlier run are damaged; the segment was kept aside and the rest stays readable"
            ),
            Outcome::Empty => {}
        }
    }
    let dir = settings.dir.clone();
    let writer = log::Writer::create(settings, &origin.node, origin.incarnation, SystemTime::now())
        .map_err(Failure::configuration)?;
    // Replay does without; what it cannot read it cannot compare.
    if let Err(error) = std::fs::write(dir.join(log::SOURCE_FILE), format!("{}\n", config.source)) {
        tracing::warn!(event = "log.source_unnoted", %error, "the source's URL could not be noted beside the log");
    }
    tracing::info!(event = "log.open", log = %dir.display(), "records go to the capture log");
    let sink = LogSink::new(writer, links, bell, counters);
    Ok(Box::new(move || sink.run().map_err(|error| error.to_string())))
}

/// Whether the properties can be read and the topic is there; for `--check`.
pub(super) fn check_kafka(config: &CaptureConfig, kafka: &KafkaConfig) -> Result<(), Failure> {
    check_topic(&kafka_settings(config, kafka)?, config.trouble.policy)
}

fn kafka_sink(
    config: &CaptureConfig,
    kafka: &KafkaConfig,
    origin: &Origin,
    links: Vec<SinkEnd>,
    bell: Arc<Bell>,
    counters: Arc<SinkCounters>,
) -> Result<SinkWork, Failure> {
    let settings = kafka_settings(config, kafka)?;
    let spool = match config.trouble.policy {
        Policy::Spool => Some(spool(config, origin, &bell, Arc::clone(&counters))?),
        Policy::Block | Policy::Pass => None,
    };
    check_topic(&settings, config.trouble.policy)?;
    let sink =
        KafkaSink::new(settings, spool, links, bell, counters).map_err(Failure::configuration)?;
    Ok(Box::new(move || sink.run().map_err(|error| error.to_string())))
}

fn spool(
    config: &CaptureConfig,
    origin: &Origin,
    bell: &Arc<Bell>,
    counters: Arc<SinkCounters>,
) -> Result<LogSpool, Failure> {
    let dir = config.log.clone().unwrap_or_else(|| config.state_dir.join("log"));
    let mut settings = log::Settings::new(dir);
    // What is deleted after it has arrived is deleted by the segment.
    settings.segment_bytes = config.segment_bytes.min(SPOOL_SEGMENT_BYTES_MAX);
    settings.reserve_bytes = config.log_reserve;
    LogSpool::open(settings, &origin.node, origin.incarnation, bell, counters)
        .map_err(Failure::configuration)
}

fn kafka_settings(config: &CaptureConfig, kafka: &KafkaConfig) -> Result<KafkaSettings, Failure> {
    let access = Access::open(kafka, CREDENTIALS_MAX)?;
    KafkaSettings::new(kafka, access, config.record_bytes_max).map_err(Failure::configuration)
}

/// A missing topic is asked for again: brokers that were started a moment ago may not know it yet.
fn check_topic(settings: &KafkaSettings, policy: Policy) -> Result<(), Failure> {
    let meanwhile = match policy {
        Policy::Spool => "records go to the spool until Kafka takes them",
        Policy::Block => "reads are served, writes wait until Kafka takes their records",
        Policy::Pass => "reads are served, writes wait for --hold-timeout and then pass",
    };
    for last in [false, false, true] {
        match settings.check_topic().map_err(Failure::configuration)? {
            TopicCheck::Ready(partitions) => {
                tracing::info!(
                    event = "kafka.topic",
                    topic = settings.topic(),
                    partitions,
                    "records go to Kafka"
                );
                return Ok(());
            }
            TopicCheck::Unreachable(reason) => {
                tracing::warn!(
                    event = "kafka.unreachable",
                    brokers = settings.brokers(),
                    reason,
                    "Kafka cannot be used yet; {meanwhile}"
                );
                return Ok(());
            }
            TopicCheck::Unknown if last => {}
            TopicCheck::Unknown => std::thread::sleep(Duration::from_millis(500)),
        }
    }
    Err(Failure::new(ExitCode::Configuration, settings.missing()))
}
