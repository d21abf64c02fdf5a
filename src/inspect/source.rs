//! Records one after another, wherever they lie, and what a reader of them is asked to do.
//!
//! Owns the vocabulary between the sources and the visitors. Never decodes unless a visitor asks,
//! and never passes over a loss in silence.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use prost::Message;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use super::{capture_log, kafka};
use crate::{
    config::KafkaConfig,
    observe::{ExitCode, Failure},
    proto::TrafficStream,
};

/// Where the records are.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A capture log directory.
    Log(PathBuf),
    /// A Kafka topic.
    Kafka(KafkaConfig),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(dir) => write!(f, "the capture log {}", dir.display()),
            Self::Kafka(kafka) => write!(f, "the topic {} at {}", kafka.topic, kafka.brokers),
        }
    }
}

/// Which part of a source is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    /// The first offset or sequence that is wanted.
    pub(super) from: Option<u64>,
    /// The last one.
    pub(super) to: Option<u64>,
    /// Go on at the end until interrupted.
    pub(super) follow: bool,
}

/// Gives everything in the span to a visitor. Ends early without an error when the visitor has seen
/// enough.
pub(super) fn read(origin: &Origin, span: Span, visitor: &mut dyn Visit) -> Result<(), Failure> {
    let stopped = if span.follow { interrupt()? } else { Arc::default() };
    quietly(match origin {
        Origin::Log(dir) => capture_log::read(dir, span, &stopped, visitor),
        Origin::Kafka(config) => kafka::read(config, span, &stopped, visitor),
    })
}

/// Whoever reads the records.
pub(super) trait Visit {
    /// The next record.
    fn record(&mut self, raw: &Raw<'_>) -> Result<(), Stop>;

    /// The source has lost something here.
    fn loss(&mut self, loss: &Loss) -> Result<(), Stop>;

    /// Nothing more for now: what was written should be seen.
    fn idle(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}

/// A record as it lies in its source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    /// Where.
    pub(super) place: Place,
    /// The node that the log's segment names; empty for Kafka.
    pub(super) node: &'a str,
    /// The bytes; `None` for what is no record: a value that is null, a frame of an unknown kind.
    pub(super) payload: Option<&'a [u8]>,
}

impl Raw<'_> {
    /// The record, or why it cannot be read.
    pub(super) fn decode(&self) -> Result<TrafficStream, String> {
        let payload = self.payload.ok_or("not a record")?;
        let stream = TrafficStream::decode(payload).map_err(|error| error.to_string())?;
        // Every writer puts it there, and everything is told apart by it.
        if stream.connection_id.is_empty() {
            return Err("it names no connection".into());
        }
        Ok(stream)
    }

    /// Length of the payload.
    pub(super) fn bytes(&self) -> u64 {
        self.payload.map_or(0, |payload| payload.len() as u64)
    }
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In a capture log: the writer's life, and the frame's sequence in it.
    Log {
        /// The writer's life.
        incarnation: u64,
        /// The frame, from 0.
        sequence: u64,
    },
    /// In a topic.
    Kafka {
        /// The partition.
        partition: i32,
        /// The offset in it.
        offset: i64,
    },
}

impl Place {
    /// The offset or sequence: what `--from` and `--to` count.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Log { sequence, .. } => sequence,
            Self::Kafka { offset, .. } => offset as u64,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log { incarnation, sequence } => {
                write!(f, "frame {sequence} of incarnation {incarnation:016x}")
            }
            Self::Kafka { partition, offset } => {
                write!(f, "offset {offset} of partition {partition}")
            }
        }
    }
}

/// Something that was in the source and cannot be read any more.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    /// What the source says.
    pub(super) text: String,
    /// How many records, where that is known.
    pub(super) records: Option<u64>,
}

/// Why reading ends before the source does.
#[derive(Debug)]
pub(super) enum Stop {
    /// The visitor has what it wants, or nobody reads its output any more.
    Enough,
    /// It failed.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Enough;
        }
        let text = format!("cannot write the output: {error}. Check where it is redirected to");
        Self::Failed(Failure::new(ExitCode::Failed, text))
    }
}

/// Turns an early end that was wished for into success.
pub(super) fn quietly(result: Result<(), Stop>) -> Result<(), Failure> {
    match result {
        Ok(()) | Err(Stop::Enough) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// A flag that the first SIGINT or SIGTERM raises; the second ends the process, should the output
/// be blocked.
fn interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stopped))
            .and_then(|_| flag::register(signal, Arc::clone(&stopped)))
            .map_err(|error| {
                Failure::new(ExitCode::Failed, format!("cannot watch for signals: {error}"))
            })?;
    }
    Ok(stopped)
}

/// Whether the flag was raised.
pub(super) fn is_raised(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}
