//! `tapline replay`: its flags.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{kafka::KafkaArguments, operation::Operation};
use crate::{
    config::{
        AdminAddress, AdminConfig, Effective, Loaded, REPLAY_ADMIN_PORT, otlp_endpoint,
        replay::{
            Auth, Conditions, Ids, Input, Only, Order, Refused, ReplayConfig, Speed, StartAfter,
            TargetTls,
        },
        units,
    },
    net::SourceUrl,
    observe::Failure,
    service,
    sys::{cpu::CpuList, secret},
};

/// Send captured traffic to the target cluster, in order, until the target is where the source is.
///
/// Reads the local capture log unless told otherwise, keeps its position, and goes on where it stopped. Exit codes:
/// 0 done, 1 failed, 64 wrong usage, 69 Kafka cannot be reached, 78 something must be set right first.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "these texts are the help that users see")]
// Independent switches of a command line.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Arguments {
    /// The target cluster: http(s)://host[:port]
    #[arg(long, env = "TAPLINE_REPLAY_TARGET", value_name = "URL")]
    target: SourceUrl,

    /// Certificate authorities of the target, PEM [default: the system's]
    #[arg(long, env = "TAPLINE_REPLAY_TARGET_CA", value_name = "FILE")]
    target_ca: Option<PathBuf>,

    /// Our certificate for the target, PEM
    #[arg(long, env = "TAPLINE_REPLAY_TARGET_CERT", value_name = "FILE", requires = "target_key")]
    target_cert: Option<PathBuf>,

    /// Its key, PEM
    #[arg(long, env = "TAPLINE_REPLAY_TARGET_KEY", value_name = "FILE", requires = "target_cert")]
    target_key: Option<PathBuf>,

    /// Take any certificate of the target
    #[arg(long, env = "TAPLINE_REPLAY_TARGET_INSECURE", conflicts_with = "target_ca")]
    target_insecure: bool,

    /// The source cluster: asked for snapshots by --start-after, and refused as target
    #[arg(long, env = "TAPLINE_REPLAY_SOURCE", value_name = "URL")]
    source: Option<SourceUrl>,

    /// The capture log [default: log in the state directory]
    #[arg(long, env = "TAPLINE_REPLAY_LOG", value_name = "DIR", conflicts_with_all = ["kafka_brokers", "input"])]
    log: Option<PathBuf>,

    /// Read a topic instead: bootstrap servers, as host:9092,host2:9092
    #[arg(
        long,
        env = "TAPLINE_REPLAY_KAFKA_BROKERS",
        value_name = "LIST",
        conflicts_with = "input"
    )]
    kafka_brokers: Option<String>,

    /// The topic
    #[arg(
        long,
        env = "TAPLINE_REPLAY_KAFKA_TOPIC",
        value_name = "NAME",
        default_value = "logging-traffic-topic"
    )]
    kafka_topic: String,

    #[command(flatten)]
    kafka: KafkaArguments,

    /// Read lines of base64 records (`<base64>` or `<key>|<base64>`, plain or gzip) from a file, or - for
    /// standard input
    #[arg(long, env = "TAPLINE_REPLAY_INPUT", value_name = "FILE")]
    input: Option<PathBuf>,

    /// Whose position is kept, in the log or as Kafka's consumer group
    #[arg(
        long,
        visible_alias = "kafka-group",
        env = "TAPLINE_REPLAY_GROUP",
        value_name = "NAME",
        default_value = "tapline-replay"
    )]
    group: String,

    /// When the record at the position is gone, go on at the oldest there is
    #[arg(long, env = "TAPLINE_REPLAY_FROM_OLDEST")]
    from_oldest: bool,

    /// Stay at the live edge [default for log and Kafka]
    #[arg(long, env = "TAPLINE_REPLAY_FOLLOW", conflicts_with_all = ["until_end", "input"])]
    follow: bool,

    /// Stop at the end of the records [default for --input]
    #[arg(long, env = "TAPLINE_REPLAY_UNTIL_END")]
    until_end: bool,

    /// As captured, so many times as fast; max: as fast as the target allows
    #[arg(long, env = "TAPLINE_REPLAY_SPEEDUP", value_name = "F|max", default_value = "1.1")]
    speedup: Speed,

    /// Send nothing before this holds: snapshot:REPO/NAME, file:PATH, url:URL, time:RFC3339; may be repeated
    #[arg(long, env = "TAPLINE_REPLAY_START_AFTER", value_name = "COND", value_delimiter = ',')]
    start_after: Vec<StartAfter>,

    /// Which requests are sent; the others are counted
    #[arg(long, env = "TAPLINE_REPLAY_ONLY", value_enum, default_value = "all")]
    only: Only,

    /// What is kept in order beside each captured connection: writes to one document, or nothing
    #[arg(long, env = "TAPLINE_REPLAY_ORDER", value_enum, default_value = "document")]
    order: Order,

    /// What becomes of captured credentials [default: keep, or what the flags below say]
    #[arg(long, env = "TAPLINE_REPLAY_AUTH", value_enum)]
    auth: Option<AuthMode>,

    /// User for --auth basic
    #[arg(
        long,
        env = "TAPLINE_REPLAY_AUTH_USER",
        value_name = "NAME",
        requires = "auth_password_file"
    )]
    auth_user: Option<String>,

    /// File with the password for --auth basic
    #[arg(
        long,
        env = "TAPLINE_REPLAY_AUTH_PASSWORD_FILE",
        value_name = "FILE",
        requires = "auth_user"
    )]
    auth_password_file: Option<PathBuf>,

    /// Value of the Authorization header for --auth header
    #[arg(long, env = "TAPLINE_REPLAY_AUTH_HEADER", value_name = "VALUE", hide_env_values = true)]
    auth_header: Option<String>,

    /// AWS service and region for --auth sigv4, as es,us-east-1
    #[arg(long, env = "TAPLINE_REPLAY_SIGV4", value_name = "SERVICE,REGION")]
    sigv4: Option<String>,

    /// Set a header of what is sent, as 'Name: value'; an empty value removes it; may be repeated
    #[arg(long, env = "TAPLINE_REPLAY_SET_HEADER", value_name = "HEADER")]
    set_header: Vec<String>,

    /// Leave X-Tapline-Replay out of what is sent; a tapline capture in front of the target then records the replay
    #[arg(long, env = "TAPLINE_REPLAY_NO_REPLAY_MARKER")]
    no_replay_marker: bool,

    /// Send the captured Host header instead of the target's name
    #[arg(long, env = "TAPLINE_REPLAY_KEEP_HOST")]
    keep_host: bool,

    /// Append this to the User-Agent
    #[arg(long, env = "TAPLINE_REPLAY_USER_AGENT", value_name = "TEXT")]
    user_agent: Option<String>,

    /// jq program over the request object, from a file, or `type-mapping`; may be repeated
    #[arg(long, env = "TAPLINE_REPLAY_TRANSFORM", value_name = "FILE")]
    transform: Vec<String>,

    /// jq expression over the request object; requests for which it is false are not sent
    #[arg(long, env = "TAPLINE_REPLAY_REQUEST_FILTER", value_name = "EXPR")]
    request_filter: Option<String>,

    /// Quarantine a request on which a transform fails, instead of sending it as captured
    #[arg(long, env = "TAPLINE_REPLAY_QUARANTINE_FAILED_TRANSFORMS")]
    quarantine_failed_transforms: bool,

    /// Whose ids documents get that the client gave none
    #[arg(long, env = "TAPLINE_REPLAY_IDS", value_enum, default_value = "source")]
    ids: Ids,

    /// Writes that the source refused with 401, 403, 404, 409, 429 or 503, and requests for whole indices that it
    /// refused at all: they had no effect there
    #[arg(long, env = "TAPLINE_REPLAY_REFUSED", value_enum, default_value = "skip")]
    refused: Refused,

    /// if_seq_no and if_primary_term of writes that the source accepted; the target counts differently
    #[arg(long, env = "TAPLINE_REPLAY_CONDITIONS", value_enum, default_value = "drop")]
    conditions: Conditions,

    /// The most requests in flight [default: adaptive]
    #[arg(long, env = "TAPLINE_REPLAY_MAX_IN_FLIGHT", value_name = "N")]
    max_in_flight: Option<usize>,

    /// The most requests per second
    #[arg(long, env = "TAPLINE_REPLAY_MAX_RATE", value_name = "N")]
    max_rate: Option<u64>,

    /// The most request bytes per second, as 50MiB
    #[arg(long, env = "TAPLINE_REPLAY_MAX_BYTES_PER_SECOND", value_name = "BYTES", value_parser = units::bytes)]
    max_bytes_per_second: Option<u64>,

    /// How often a failed request is sent again; writes that the target is too busy for are sent until taken
    #[arg(long, env = "TAPLINE_REPLAY_RETRIES", value_name = "N", default_value_t = 3)]
    retries: u32,

    /// Exception types of bulk items that are final; replaces the built-in list
    #[arg(
        long,
        env = "TAPLINE_REPLAY_NON_RETRYABLE_DOC_EXCEPTION_TYPES",
        value_name = "LIST",
        value_delimiter = ','
    )]
    non_retryable_doc_exception_types: Option<Vec<String>>,

    /// How far ahead of what is sent records are read, in captured time
    #[arg(
        long,
        env = "TAPLINE_REPLAY_LOOKAHEAD",
        value_name = "TIME",
        default_value = "400s",
        value_parser = units::duration
    )]
    lookahead: Duration,

    /// A captured connection that is silent for so long, in captured time, is over
    #[arg(
        long,
        env = "TAPLINE_REPLAY_CONNECTION_TIMEOUT",
        value_name = "TIME",
        default_value = "360s",
        value_parser = units::duration
    )]
    connection_timeout: Duration,

    /// A request that gets no byte of its answer for so long has failed
    #[arg(
        long,
        env = "TAPLINE_REPLAY_RESPONSE_TIMEOUT",
        value_name = "TIME",
        default_value = "150s",
        value_parser = units::duration
    )]
    response_timeout: Duration,

    /// Memory for everything read and not finished, as 512MiB [default: an eighth of the host's]
    #[arg(long, env = "TAPLINE_REPLAY_READ_AHEAD", value_name = "BYTES", value_parser = units::bytes)]
    read_ahead: Option<u64>,

    /// Worker threads [default: one per usable processor less one for the reader]
    #[arg(long, env = "TAPLINE_REPLAY_WORKERS", value_name = "N")]
    workers: Option<usize>,

    /// Processors that workers are pinned to, as 2-7
    #[arg(long, env = "TAPLINE_REPLAY_CPUS", value_name = "LIST")]
    cpus: Option<CpuList>,

    /// Directory of journal, tuples and quarantine [default: ./tapline-state, under systemd $STATE_DIRECTORY]
    #[arg(long, env = "TAPLINE_REPLAY_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Directory of the tuples, or off [default: tuples in the state directory]
    #[arg(long, env = "TAPLINE_REPLAY_TUPLES", value_name = "DIR|off")]
    tuples: Option<PathBuf>,

    /// Directory for what could not be decoded or sent for good [default: quarantine in the state directory]
    #[arg(long, env = "TAPLINE_REPLAY_QUARANTINE", value_name = "DIR")]
    quarantine: Option<PathBuf>,

    /// Write the summary as one JSON object to this file at the end
    #[arg(long, env = "TAPLINE_REPLAY_SUMMARY", value_name = "FILE")]
    summary: Option<PathBuf>,

    /// Address of the admin endpoint (/livez /readyz /startupz /metrics /status /config), or off [default:
    /// 127.0.0.1:9601, as soon as it is free]
    #[arg(long, env = "TAPLINE_REPLAY_ADMIN", value_name = "ADDR|off")]
    admin: Option<AdminAddress>,

    /// How long nothing must have been sent before /readyz says so with a 503
    #[arg(
        long,
        env = "TAPLINE_REPLAY_READINESS_PATIENCE",
        value_name = "TIME",
        default_value = "5s",
        value_parser = units::duration
    )]
    readiness_patience: Duration,

    /// Push metrics to an OpenTelemetry collector too, as OTLP over HTTP: http(s)://host:4318
    #[arg(
        long,
        env = "TAPLINE_REPLAY_OTLP_ENDPOINT",
        value_name = "URL",
        value_parser = otlp_endpoint
    )]
    otlp_endpoint: Option<String>,

    /// How long a stop waits for what is in flight before it is left to the next run
    #[arg(
        long,
        env = "TAPLINE_REPLAY_DRAIN_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        value_parser = units::duration
    )]
    drain_timeout: Duration,

    #[command(flatten)]
    pub(super) operation: Operation,
}

/// The values of --auth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuthMode {
    /// Replace them by --auth-user and --auth-password-file
    Basic,
    /// Replace them by --auth-header
    Header,
    /// Sign with AWS credentials of the default chain
    Sigv4,
    /// Remove them
    Remove,
    /// Send them as captured
    Keep,
}

pub(super) fn run(arguments: Arguments, effective: Effective) -> Result<(), Failure> {
    let check = arguments.operation.check;
    let loaded = Loaded { config: config(arguments)?, effective };
    if check { service::preflight::replay(&loaded) } else { service::replay::run(&loaded) }
}

fn config(arguments: Arguments) -> Result<ReplayConfig, Failure> {
    let auth = auth(&arguments)?;
    let a = arguments;
    let refuse = |text: String| Err(Failure::configuration(text));
    if a.workers == Some(0) || a.max_in_flight == Some(0) {
        return refuse("--workers and --max-in-flight must be at least 1".into());
    }
    if a.max_rate == Some(0) || a.max_bytes_per_second == Some(0) {
        return refuse("--max-rate and --max-bytes-per-second must be above 0".into());
    }
    if a.lookahead <= a.connection_timeout {
        return refuse(
            "--lookahead must be longer than --connection-timeout: an unfinished connection could hold everything up \
             otherwise"
                .into(),
        );
    }
    let wants_source =
        a.start_after.iter().any(|condition| matches!(condition, StartAfter::Snapshot { .. }));
    if wants_source && a.source.is_none() {
        return refuse(
            "--start-after snapshot:… asks the source cluster: name it with --source".into(),
        );
    }
    if a.group.is_empty() {
        return refuse("--group must not be empty".into());
    }
    let mut set_headers = Vec::new();
    for header in &a.set_header {
        let Some((name, value)) = header.split_once(':') else {
            return refuse(format!("--set-header '{header}' has no colon; write 'Name: value'"));
        };
        set_headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let under_systemd = || std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    let state_dir = a.state_dir.or_else(under_systemd).unwrap_or_else(|| "tapline-state".into());
    let is_file = a.input.is_some();
    let kafka = a.kafka.config(a.kafka_brokers, a.kafka_topic)?;
    let input = match (a.input, kafka) {
        (Some(path), _) if path.as_os_str() == "-" => Input::Stdin,
        (Some(path), _) => Input::File(path),
        (None, Some(kafka)) => Input::Kafka(kafka),
        (None, None) => Input::Log(a.log.unwrap_or_else(|| state_dir.join("log"))),
    };
    let tuples = match a.tuples {
        Some(path) if path.as_os_str() == "off" => None,
        Some(path) => Some(path),
        None => Some(state_dir.join("tuples")),
    };
    Ok(ReplayConfig {
        target: a.target,
        target_tls: TargetTls {
            ca: a.target_ca,
            cert: a.target_cert,
            key: a.target_key,
            insecure: a.target_insecure,
        },
        source: a.source,
        input,
        group: a.group,
        from_oldest: a.from_oldest,
        until_end: a.until_end || (is_file && !a.follow),
        speed: a.speedup,
        start_after: a.start_after,
        only: a.only,
        order: a.order,
        auth,
        set_headers,
        marker: !a.no_replay_marker,
        keep_host: a.keep_host,
        user_agent: a.user_agent,
        transforms: a.transform,
        request_filter: a.request_filter,
        quarantine_failed_transforms: a.quarantine_failed_transforms,
        ids: a.ids,
        refused: a.refused,
        conditions: a.conditions,
        max_in_flight: a.max_in_flight,
        max_rate: a.max_rate,
        max_bytes_per_second: a.max_bytes_per_second,
        retries: a.retries,
        non_retryable: a.non_retryable_doc_exception_types,
        lookahead: a.lookahead,
        connection_timeout: a.connection_timeout,
        response_timeout: a.response_timeout,
        read_ahead: a.read_ahead,
        workers: a.workers,
        cpus: a.cpus,
        quarantine: a.quarantine.unwrap_or_else(|| state_dir.join("quarantine")),
        state_dir,
        tuples,
        summary: a.summary,
        drain_timeout: a.drain_timeout,
        admin: AdminConfig::new(a.admin, REPLAY_ADMIN_PORT, a.readiness_patience, a.otlp_endpoint),
    })
}

/// One way only: what `--auth` names and what the flags of a way imply must be the same.
fn auth(a: &Arguments) -> Result<Auth, Failure> {
    let implied = [
        (AuthMode::Basic, a.auth_user.is_some(), "--auth-user"),
        (AuthMode::Header, a.auth_header.is_some(), "--auth-header"),
        (AuthMode::Sigv4, a.sigv4.is_some(), "--sigv4"),
    ];
    let mut mode = a.auth.map(|mode| (mode, "--auth"));
    for (way, there, flag) in implied {
        match mode {
            _ if !there => {}
            None => mode = Some((way, flag)),
            Some((named, _)) if named == way => {}
            Some((named, by)) => {
                let named = named.to_possible_value().map(|value| value.get_name().to_owned());
                return Err(Failure::configuration(format!(
                    "two ways of authentication at once: {by} says {}, and {flag} is another way. Leave out one of \
                     them",
                    named.unwrap_or_default()
                )));
            }
        }
    }
    let missing = |what: &str| Failure::configuration(format!("this way of --auth needs {what}"));
    Ok(match mode.map(|(mode, _)| mode) {
        None | Some(AuthMode::Keep) => Auth::Keep,
        Some(AuthMode::Remove) => Auth::Remove,
        Some(AuthMode::Header) => {
            Auth::Header(a.auth_header.clone().ok_or_else(|| missing("--auth-header 'value'"))?)
        }
        Some(AuthMode::Basic) => {
            let (Some(user), Some(file)) = (&a.auth_user, &a.auth_password_file) else {
                return Err(missing("--auth-user and --auth-password-file"));
            };
            let password = secret::read(file)
                .map_err(|why| Failure::configuration(format!("--auth-password-file: {why}")))?;
            Auth::Basic { user: user.clone(), password }
        }
        Some(AuthMode::Sigv4) => {
            let pair = a.sigv4.as_deref().and_then(|text| text.split_once(','));
            let (service, region) =
                pair.ok_or_else(|| missing("--sigv4 service,region, as es,us-east-1"))?;
            Auth::SigV4 { service: service.trim().into(), region: region.trim().into() }
        }
    })
}
