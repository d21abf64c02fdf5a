//! The settings of `tapline replay`, checked against each other.

use std::{path::PathBuf, time::Duration};

use super::{AdminConfig, KafkaConfig};
use crate::{net::SourceUrl, sys::cpu::CpuList};

/// Everything that `tapline replay` can be told.
// Independent switches.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// The target cluster.
    pub target: SourceUrl,
    /// How the target is known to be the target.
    pub target_tls: TargetTls,
    /// The source cluster, for what has to be asked of it.
    pub source: Option<SourceUrl>,
    /// Where the records are.
    pub input: Input,
    /// Whose position is kept.
    pub group: String,
    /// Go on at the oldest record there is when the position's record is gone.
    pub from_oldest: bool,
    /// End at the end of the records instead of waiting for more.
    pub until_end: bool,
    /// Captured time to real time.
    pub speed: Speed,
    /// What must hold before anything is sent.
    pub start_after: Vec<StartAfter>,
    /// Which requests are sent.
    pub only: Only,
    /// What is kept in order.
    pub order: Order,
    /// What becomes of the captured credentials.
    pub auth: Auth,
    /// `Name: value` lines; an empty value removes the field.
    pub set_headers: Vec<(String, String)>,
    /// Mark what is sent, so that a tapline in the way does not capture it again.
    pub marker: bool,
    /// Send the captured Host field.
    pub keep_host: bool,
    /// Appended to the captured User-Agent.
    pub user_agent: Option<String>,
    /// jq programs, or the name of a built-in one.
    pub transforms: Vec<String>,
    /// A jq expression; what it calls false is not sent.
    pub request_filter: Option<String>,
    /// A request on which a transform fails is quarantined instead of sent as captured.
    pub quarantine_failed_transforms: bool,
    /// Documents get the ids that the source gave.
    pub ids: Ids,
    /// What becomes of writes that the source refused.
    pub refused: Refused,
    /// What becomes of conditions on sequence numbers.
    pub conditions: Conditions,
    /// Caps.
    pub max_in_flight: Option<usize>,
    /// Requests per second.
    pub max_rate: Option<u64>,
    /// Request bytes per second.
    pub max_bytes_per_second: Option<u64>,
    /// How often a request that failed is sent in all.
    pub retries: u32,
    /// Exception types of bulk items that are final.
    pub non_retryable: Option<Vec<String>>,
    /// How far ahead of what is sent records are read, in captured time.
    pub lookahead: Duration,
    /// After so much captured time without a word a connection is over.
    pub connection_timeout: Duration,
    /// After so long without a byte of the answer a request has failed.
    pub response_timeout: Duration,
    /// Budget for everything read and not finished, in bytes; by default an eighth of the host's memory.
    pub read_ahead: Option<u64>,
    /// Worker threads.
    pub workers: Option<usize>,
    /// Processors for the workers.
    pub cpus: Option<CpuList>,
    /// Where journal, tuples and quarantine are kept.
    pub state_dir: PathBuf,
    /// Tuples; `None` for none.
    pub tuples: Option<PathBuf>,
    /// What could not be decoded or sent for good.
    pub quarantine: PathBuf,
    /// Where the summary goes as one JSON object.
    pub summary: Option<PathBuf>,
    /// How long a stop waits for what is in flight.
    pub drain_timeout: Duration,
    /// The admin endpoint.
    pub admin: AdminConfig,
}

/// Where records come from.
#[derive(Clone, Debug)]
pub enum Input {
    /// A capture log.
    Log(PathBuf),
    /// A topic.
    Kafka(KafkaConfig),
    /// Lines of a file.
    File(PathBuf),
    /// Lines of the standard input.
    Stdin,
}

/// How the target is verified, and how it verifies us.
#[derive(Clone, Debug, Default)]
pub struct TargetTls {
    /// Authorities instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Take any certificate.
    pub insecure: bool,
}

/// Captured time to real time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As captured, so many times as fast.
    Factor(f64),
    /// As fast as the target allows.
    Max,
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let factor: f64 =
            text.parse().map_err(|_| format!("'{text}' is no speed; write 1.1, 10 or max"))?;
        if !factor.is_finite() || factor <= 0.0 || factor > 1e6 {
            return Err(format!(
                "{text} is out of range; write a factor above 0 and up to 1000000, or max"
            ));
        }
        Ok(Self::Factor(factor))
    }
}

/// A condition for the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAfter {
    /// The snapshot is complete on the source.
    Snapshot {
        /// Its repository.
        repository: String,
        /// Its name.
        name: String,
    },
    /// The file exists.
    File(PathBuf),
    /// The URL answers 200.
    Url(String),
    /// The time has come, Unix seconds.
    Time(i64),
}

impl std::fmt::Display for StartAfter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Snapshot { repository, name } => {
                write!(f, "snapshot {repository}/{name} complete")
            }
            Self::File(path) => write!(f, "file {} there", path.display()),
            Self::Url(url) => write!(f, "{url} answering 200"),
            Self::Time(seconds) => match jiff::Timestamp::from_second(*seconds) {
                Ok(time) => write!(f, "time {time} reached"),
                Err(_) => write!(f, "Unix time {seconds} reached"),
            },
        }
    }
}

impl std::str::FromStr for StartAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write snapshot:REPO/NAME, file:PATH, url:URL or time:2026-11-21T03:20:00Z";
        let (kind, what) =
            text.split_once(':').ok_or_else(|| format!("'{text}' is no condition; {help}"))?;
        if what.is_empty() {
            return Err(format!("'{text}' names nothing; {help}"));
        }
        match kind {
            "snapshot" => {
                let (repository, name) = what
                    .split_once('/')
                    .ok_or_else(|| format!("'{text}' names no snapshot; {help}"))?;
                let plain =
                    |part: &str| !part.is_empty() && !part.contains(['/', '?', '#', ' ', ',', '*']);
                if !plain(repository) || !plain(name) {
                    return Err(format!("'{text}' is not one snapshot of one repository; {help}"));
                }
                Ok(Self::Snapshot { repository: repository.into(), name: name.into() })
            }
            "file" => Ok(Self::File(what.into())),
            "url" if what.starts_with("http://") || what.starts_with("https://") => {
                Ok(Self::Url(what.into()))
            }
            "url" => Err(format!("'{what}' is no http:// or https:// URL")),
            "time" => what
                .parse::<jiff::Timestamp>()
                .map(|time| Self::Time(time.as_second()))
                .map_err(|error| format!("'{what}' is no time as 2026-11-21T03:20:00Z: {error}")),
            _ => Err(format!("'{kind}' is no kind of condition; {help}")),
        }
    }
}

/// Which requests are sent; the others are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Only {
    /// All of them.
    #[default]
    All,
    /// What may change something.
    Writes,
    /// What changes nothing.
    Reads,
}

/// What is kept in order beside each captured connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// Writes to one document, across connections.
    #[default]
    Document,
    /// Nothing.
    Connection,
}

/// Whose ids documents get that the client gave none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Ids {
    /// Those that the source gave, from its captured answers.
    #[default]
    Source,
    /// New ones by the target.
    Target,
}

/// What becomes of writes that the source answered with 409, 429 or 503.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Refused {
    /// They had no effect there, and are left out.
    #[default]
    Skip,
    /// They are sent all the same.
    Send,
}

/// What becomes of `if_seq_no` and `if_primary_term`, which count differently on the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Conditions {
    /// Writes that met them on the source are sent without.
    #[default]
    Drop,
    /// They are sent as captured.
    Keep,
}

/// What becomes of the captured credentials.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// Sent as captured.
    Keep,
    /// Removed.
    Remove,
    /// Replaced by this value.
    Header(String),
    /// Replaced by user and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// Replaced by AWS signatures.
    SigV4 {
        /// As `es` or `aoss`.
        service: String,
        /// As `us-east-1`.
        region: String,
    },
}

impl std::fmt::Debug for Auth {
    /// Never shows a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Remove => "remove",
            Self::Header(_) => "header",
            Self::Basic { .. } => "basic",
            Self::SigV4 { .. } => "sigv4",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_and_conditions_parse_or_say_how_they_are_written() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("1.1".parse(), Ok(Speed::Factor(1.1)));
        for bad in ["0", "-1", "fast", "NaN", "inf"] {
            assert!(bad.parse::<Speed>().is_err_and(|error| error.contains("max")), "{bad}");
        }
        let parsed = |text: &str| text.parse::<StartAfter>();
        let snapshot = StartAfter::Snapshot { repository: "r".into(), name: "s-1".into() };
        assert_eq!(parsed("snapshot:r/s-1"), Ok(snapshot));
        assert_eq!(parsed("file:/tmp/go"), Ok(StartAfter::File("/tmp/go".into())));
        assert_eq!(parsed("time:1970-01-01T00:01:00Z"), Ok(StartAfter::Time(60)));
        assert_eq!(parsed("url:https://a/b"), Ok(StartAfter::Url("https://a/b".into())));
        for bad in
            ["", "file:", "snapshot:r", "snapshot:r/a/b", "url:ftp://x", "time:soon", "moon:full"]
        {
            assert!(
                parsed(bad).is_err_and(|error| error.contains("write") || error.contains('\'')),
                "{bad}"
            );
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let auth = Auth::Basic { user: "u".into(), password: "hush".into() };
        assert!(!format!("{auth:?}").contains("hush"));
    }
}
