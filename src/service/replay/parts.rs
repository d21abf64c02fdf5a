//! Settings become the parts of a running replay.

use std::fs;

use super::programs;
use crate::{
    config::replay::{Auth, Conditions, Ids, Input, Only, Order, Refused, ReplayConfig, Speed},
    feed::{Feed, KafkaFeed, KafkaOptions, LinesFeed, LogFeed, LogOptions},
    http::{self, Limits, REPLAY_FIELD, RequestFraming, RequestPart, RequestPiece},
    observe::Failure,
    replay::{
        amend, assembly,
        conductor::{self, Conductor},
        limiter::Bounds,
        order, pace, retry,
    },
    rewrite::{self, Credentials, Rewriter, Rewritten, Transform},
    sys::limits,
};

/// A request longer than this is quarantined: no cluster takes it (`http.max_content_length` is 100 MB by default, and
/// at most 2 GiB).
const REQUEST_BYTES_MAX: usize = 1 << 30;
/// What is kept of a captured answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What tuples keep of a reply, at most.
const REPLY_BYTES_MAX: usize = 4 << 20;
/// Numbers per worker of a capturing node among which a record is recognised as read before.
const DUPLICATES_WINDOW: usize = 1 << 16;
/// Requests in flight, whatever the target bears: each takes a connection.
const IN_FLIGHT_MAX: u32 = 1024;
/// The smallest budget that is of any use.
const READ_AHEAD_MIN: u64 = 8 << 20;

/// Bytes of everything read and not finished.
pub(super) fn read_ahead(config: &ReplayConfig) -> u64 {
    config
        .read_ahead
        .unwrap_or_else(|| (limits::memory_bytes() / 8).min(4 << 30))
        .max(READ_AHEAD_MIN)
}

/// The core.
pub(super) fn core(config: &ReplayConfig) -> Result<Conductor, Failure> {
    let read_ahead_bytes = read_ahead(config);
    let bounds = Bounds {
        in_flight_max: config
            .max_in_flight
            .map_or(IN_FLIGHT_MAX, |cap| cap.min(IN_FLIGHT_MAX as usize) as u32),
        requests_per_second: config.max_rate,
        bytes_per_second: config.max_bytes_per_second,
    };
    let mut policy = retry::Policy {
        attempts_max: config.retries.saturating_add(1),
        ..retry::Policy::default()
    };
    if let Some(types) = &config.non_retryable {
        policy.final_types = types.iter().map(|name| name.trim().to_owned()).collect();
    }
    let settings = conductor::Settings {
        assembly: assembly::Limits {
            http: Limits::default(),
            request_bytes_max: REQUEST_BYTES_MAX,
            answer_bytes_max: ANSWER_BYTES_MAX,
            keep_answers: if config.tuples.is_some() {
                assembly::KeepAnswers::All
            } else {
                assembly::KeepAnswers::Writes
            },
            connection_timeout_ns: config.connection_timeout.as_nanos() as i64,
            duplicates_window: DUPLICATES_WINDOW,
        },
        order: match config.order {
            Order::Document => order::Order::Document,
            Order::Connection => order::Order::Connection,
        },
        speed: match config.speed {
            Speed::Max => pace::Speed::Max,
            Speed::Factor(factor) => pace::Speed::Factor(factor),
        },
        only: match config.only {
            Only::All => conductor::Only::All,
            Only::Writes => conductor::Only::Writes,
            Only::Reads => conductor::Only::Reads,
        },
        amend: amend::Settings {
            ids: match config.ids {
                Ids::Source => amend::Ids::Source,
                Ids::Target => amend::Ids::Target,
            },
            refused: match config.refused {
                Refused::Skip => amend::Refused::Skip,
                Refused::Send => amend::Refused::Send,
            },
            conditions: match config.conditions {
                Conditions::Drop => amend::Conditions::Drop,
                Conditions::Keep => amend::Conditions::Keep,
            },
        },
        retry: policy,
        bounds,
        read_ahead_bytes,
        lookahead_ns: config.lookahead.as_nanos() as i64,
        tuples: config.tuples.is_some(),
        reply_bytes_max: REPLY_BYTES_MAX,
    };
    let rewriter = rewriter(config, true)?;
    if let Some(pulse) = rewriter.pulse() {
        programs::watch(pulse)?;
    }
    Ok(Conductor::new(settings, rewriter))
}

/// `with_programs`: filter and transforms as well as headers and credentials.
fn rewriter(config: &ReplayConfig, with_programs: bool) -> Result<Rewriter, Failure> {
    let mut transforms = Vec::new();
    for name in config.transforms.iter().filter(|_| with_programs) {
        transforms.push(match name.as_str() {
            "type-mapping" => Transform::TypeMapping(rewrite::TypeMapping::default()),
            path => {
                let source = fs::read_to_string(path).map_err(|error| {
                    Failure::configuration(format!("--transform {path} cannot be read: {error}"))
                })?;
                Transform::Jq { name: path.to_owned(), source }
            }
        });
    }
    let target = &config.target;
    let default_port = if target.tls { 443 } else { 80 };
    let host =
        if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let host = if target.port == default_port { host } else { format!("{host}:{}", target.port) };
    let settings = rewrite::Settings {
        host: if config.keep_host { rewrite::Host::Keep } else { rewrite::Host::Target(host) },
        set_headers: set_headers(config),
        user_agent: config.user_agent.clone(),
        auth: match &config.auth {
            Auth::Keep => rewrite::Auth::Keep,
            Auth::Remove => rewrite::Auth::Remove,
            Auth::Header(value) => rewrite::Auth::Header(value.clone()),
            Auth::Basic { user, password } => {
                rewrite::Auth::Basic { user: user.clone(), password: password.clone() }
            }
            Auth::SigV4 { service, region } => {
                rewrite::Auth::SigV4 { service: service.clone(), region: region.clone() }
            }
        },
        transforms,
        filter: config.request_filter.clone().filter(|_| with_programs),
        on_error: if config.quarantine_failed_transforms {
            rewrite::OnError::Quarantine
        } else {
            rewrite::OnError::SendOriginal
        },
    };
    Rewriter::new(&settings).map_err(Failure::configuration)
}

/// A request of our own with the headers and credentials that every request gets, signed as of `now_unix_s` where
/// requests are signed.
pub(super) fn question(
    config: &ReplayConfig,
    request: &[u8],
    now_unix_s: i64,
    credentials: Option<&Credentials>,
) -> Result<Vec<u8>, Failure> {
    let mut framing = RequestFraming::new();
    let Ok(RequestPiece { what: RequestPart::Head(head), .. }) =
        framing.next(&Limits::default(), request)
    else {
        return Ok(request.to_vec());
    };
    Ok(match rewriter(config, false)?.apply(request, &head, now_unix_s, credentials) {
        Rewritten::Changed(changed) => changed.bytes,
        _ => request.to_vec(),
    })
}

/// Where records come from.
pub(super) fn feed(config: &ReplayConfig) -> Result<Box<dyn Feed>, Failure> {
    Ok(match &config.input {
        Input::Log(dir) => {
            let options = LogOptions {
                group: config.group.clone(),
                until_end: config.until_end,
                from_oldest: config.from_oldest,
            };
            Box::new(LogFeed::open(dir, options)?)
        }
        Input::Kafka(kafka) => {
            let options = KafkaOptions {
                group: config.group.clone(),
                until_end: config.until_end,
                from_oldest: config.from_oldest,
                read_ahead_bytes: read_ahead(config) / 4,
            };
            Box::new(KafkaFeed::open(kafka, options)?)
        }
        Input::File(path) => Box::new(LinesFeed::open(path)?),
        Input::Stdin => Box::new(LinesFeed::open("-".as_ref())?),
    })
}

/// What the operator asked for, and the mark by which a tapline in the way knows a replay.
fn set_headers(config: &ReplayConfig) -> Vec<(String, String)> {
    let mut fields = config.set_headers.clone();
    if config.marker && !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(REPLAY_FIELD)) {
        let group = &config.group;
        let value = if http::is_field_value(group.as_bytes()) { group } else { "unnamed" };
        fields.push((REPLAY_FIELD.to_owned(), value.to_owned()));
    }
    fields
}
