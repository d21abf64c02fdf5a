//! `tapline log`: its flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::kafka::KafkaArguments;
use crate::{
    inspect::{self, DumpOptions, Edge, ExportOptions, Filter, Format, Origin, VerifyOptions},
    observe::Failure,
};

/// Look into a capture log or a Kafka topic of captured traffic.
///
/// All but import read only, also while the log is being written. Exit codes: 0 done (verify: whole, or without a gap
/// since --since on every node), 1 not, or failed, 69 the brokers cannot be reached, 78 there is no such log or topic,
/// or the brokers do not let us in.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count what is there: records, times, connections, requests, gaps
    Describe {
        #[command(flatten)]
        input: Input,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print records one by one
    Dump {
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        shape: Shape,
    },
    /// Write records to a file: gzip of lines <connection id>|<base64>, as the reference exports a topic
    ///
    /// Records of one partition come in their order, those of several in no order among each other: to replay writes of
    /// the same documents by many connections, read the topic itself.
    Export {
        #[command(flatten)]
        input: Input,
        /// The file; - is the standard output
        #[arg(long, value_name = "FILE|-")]
        output: PathBuf,
        /// Begin here: an offset (log: a frame's sequence), or the time of a first observation as 2026-11-21T03:20:00Z
        #[arg(long, value_name = "EDGE")]
        from: Option<Edge>,
        /// End here; what lies on the edge belongs to it
        #[arg(long, value_name = "EDGE")]
        to: Option<Edge>,
    },
    /// Add the records of a file to a capture log or a topic: lines <base64> or <key>|<base64>, plain or gzip
    Import {
        /// The file; - is the standard input
        #[arg(long = "input", value_name = "FILE|-")]
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Prove that no record is missing, or name the ones that are
    Verify {
        #[command(flatten)]
        input: Input,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Records that are there twice count as faults
        #[arg(long)]
        strict: bool,
        /// Answer another question: has every node captured without a gap since then, as 2026-11-21T03:20:00Z?
        #[arg(long, value_name = "TIME")]
        since: Option<jiff::Timestamp>,
    },
}

#[derive(Debug, Args)]
struct Input {
    /// The capture log
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./tapline-state/log",
        conflicts_with = "kafka_brokers"
    )]
    log: PathBuf,

    /// Read a topic instead: bootstrap servers, as host:9092,host2:9092
    #[arg(long, value_name = "LIST")]
    kafka_brokers: Option<String>,

    /// The topic
    #[arg(
        long,
        value_name = "NAME",
        default_value = "logging-traffic-topic",
        requires = "kafka_brokers"
    )]
    kafka_topic: String,

    #[command(flatten)]
    kafka: KafkaArguments,
}

#[derive(Debug, Args)]
struct Output {
    /// The capture log: the records become a new incarnation of it
    #[arg(long, value_name = "DIR", required_unless_present = "kafka_brokers")]
    log: Option<PathBuf>,

    /// A topic instead, keys where Java clients put them: bootstrap servers, as host:9092,host2:9092
    #[arg(long, value_name = "LIST", conflicts_with = "log")]
    kafka_brokers: Option<String>,

    /// The topic
    #[arg(
        long,
        value_name = "NAME",
        default_value = "logging-traffic-topic",
        requires = "kafka_brokers"
    )]
    kafka_topic: String,

    #[command(flatten)]
    kafka: KafkaArguments,
}

#[derive(Debug, Args)]
struct Shape {
    /// The form
    #[arg(long, value_enum, default_value = "raw")]
    format: Format,

    /// Begin here: an offset (log: a frame's sequence), or the time of a first observation as 2026-11-21T03:20:00Z
    #[arg(long, value_name = "EDGE")]
    from: Option<Edge>,

    /// End here; what lies on the edge is still shown
    #[arg(long, value_name = "EDGE")]
    to: Option<Edge>,

    /// Only this connection
    #[arg(long, value_name = "ID")]
    connection: Option<String>,

    /// Only so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Go on at the end, until interrupted
    #[arg(long)]
    follow: bool,

    /// Bytes that the raw form shows of each run of reads or writes
    #[arg(long, value_name = "N", default_value_t = 24)]
    preview_bytes: usize,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Describe { input, json } => inspect::describe(&input.origin()?, json),
        Command::Dump { input, shape } => inspect::dump(&input.origin()?, &shape.options()),
        Command::Export { input, output, from, to } => {
            let filter = Filter { from, to, connection: None };
            inspect::export(&input.origin()?, &ExportOptions { output, filter })
        }
        Command::Import { file, output } => inspect::import(&file, &output.origin()?),
        Command::Verify { input, json, strict, since } => {
            inspect::verify(&input.origin()?, VerifyOptions { json, strict, since })
        }
    }
}

impl Input {
    fn origin(self) -> Result<Origin, Failure> {
        let kafka = self.kafka.config(self.kafka_brokers, self.kafka_topic)?;
        Ok(kafka.map_or(Origin::Log(self.log), Origin::Kafka))
    }
}

impl Output {
    fn origin(self) -> Result<Origin, Failure> {
        let kafka = self.kafka.config(self.kafka_brokers, self.kafka_topic)?;
        Ok(kafka.map_or_else(|| Origin::Log(self.log.unwrap_or_default()), Origin::Kafka))
    }
}

impl Shape {
    fn options(self) -> DumpOptions {
        DumpOptions {
            format: self.format,
            filter: Filter { from: self.from, to: self.to, connection: self.connection },
            limit: self.limit,
            follow: self.follow,
            preview_bytes: self.preview_bytes,
        }
    }
}
