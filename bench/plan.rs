//! The command line: what a person may ask for, and what the bench tells its own processes.
//!
//! It owns names, defaults and limits of the arguments, and never starts anything.

use crate::peers::Variant;
use crate::workload::Workload;
use clap::{Parser, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a person may ask for.
#[derive(Parser, Debug)]
#[command(name = "compare", about = "Compares tapline with its peers on pinned cores")]
// Independent switches of a command line.
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Plan {
    /// Workloads to run, by name (default: all)
    #[arg(long, value_delimiter = ',', value_parser = Workload::by_name)]
    pub(crate) only: Vec<&'static Workload>,
    /// Proxies to compare (default: direct, the three tapline ones and haproxy-http); `all` for all
    #[arg(long, value_delimiter = ',', value_parser = variants)]
    pub(crate) proxies: Vec<Vec<Variant>>,
    /// Rounds; every proxy runs once in each, in an order that rotates
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Length of a measured window, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Load before each measured window, in milliseconds
    #[arg(long, default_value_t = 700, value_parser = clap::value_parser!(u64).range(0..=120_000))]
    pub(crate) warm_up_ms: u64,
    /// TLS 1.3 between load and proxy, AES-128-GCM, with tapline and `HAProxy` http; adds full
    /// handshakes to the workloads
    #[arg(long)]
    pub(crate) tls: bool,
    /// Pin nothing: proxy, origin and load share all cores
    #[arg(long)]
    pub(crate) both_cores: bool,
    /// Repeat a measurement, up to 8 times, while other programs use more than this percentage of
    /// one core in its window; the quietest is kept
    #[arg(long, value_name = "PERCENT")]
    pub(crate) others_max: Option<u32>,
    /// Measure memory per idle connection with this many connections instead of the workloads
    #[arg(long, num_args = 0..=1, default_missing_value = "10000",
          value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) idle: Option<u32>,
    /// Measure `tapline replay` at full speed against wrk on the same target
    #[arg(long, conflicts_with = "idle")]
    pub(crate) replay: bool,
    /// Measure decoding, reassembly and ordering of records alone, in this process
    #[arg(long, conflicts_with = "idle")]
    pub(crate) replay_core: bool,
    /// Measure the peak memory of a replay of a log of 10 GB, or of so many
    #[arg(long, value_name = "GB", num_args = 0..=1, default_missing_value = "10",
          conflicts_with = "idle", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) replay_memory: Option<u64>,
    /// Requests in the log of --replay
    #[arg(long, default_value_t = 400_000,
          value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    pub(crate) replay_requests: u64,
    /// Connections of --replay: in the log, of wrk, and in flight at most
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) replay_connections: u32,
    /// Another flag for every replay of --replay, as --replay-flag=--read-ahead=32MiB
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) replay_flag: Vec<String>,
    /// The tapline program to measure (default: the one cargo built for this bench)
    #[arg(long)]
    pub(crate) tapline: Option<PathBuf>,
    /// A running Kafka for `tapline-kafka`; a topic per measurement is created and deleted
    #[arg(long, value_name = "HOST:PORT,...")]
    pub(crate) kafka_brokers: Option<String>,
    /// The process of that Kafka, for `tapline-kafka-silent`: it is stopped for the length of a measurement
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(2..))]
    pub(crate) kafka_pid: Option<i32>,
    /// Where logs, configurations and capture logs go while a proxy runs
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub(crate) scratch: PathBuf,
    /// Write every round, with kernel, CPU and versions, as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Plan {
    /// Whether it is about replay, not about proxies.
    pub(crate) fn is_about_replay(&self) -> bool {
        self.replay || self.replay_core || self.replay_memory.is_some()
    }

    /// The workloads asked for, in the order of the table.
    pub(crate) fn workloads(&self) -> Vec<&'static Workload> {
        let all = || Workload::ALL.iter().filter(|workload| self.tls || !workload.is_handshakes());
        if self.only.is_empty() { all().collect() } else { self.only.clone() }
    }

    /// The proxies asked for; the default differs for memory, where `direct` has no proxy.
    pub(crate) fn variants(&self) -> Vec<Variant> {
        let asked: Vec<Variant> = self.proxies.iter().flatten().copied().collect();
        match (asked.is_empty(), self.idle) {
            (false, None) => asked,
            (true, _) if self.tls => {
                [Variant::TaplineOff, Variant::TaplineLog, Variant::HaproxyHttp].to_vec()
            }
            (false, Some(_)) => asked.into_iter().filter(|v| *v != Variant::Direct).collect(),
            (true, None) => [
                Variant::Direct,
                Variant::TaplineOff,
                Variant::TaplineLog,
                Variant::TaplineKafka,
                Variant::HaproxyHttp,
            ]
            .to_vec(),
            (true, Some(_)) => {
                [Variant::TaplineOff, Variant::TaplineLog, Variant::HaproxyTcp].to_vec()
            }
        }
    }
}

fn variants(name: &str) -> Result<Vec<Variant>, String> {
    if name == "all" {
        return Ok(Variant::value_variants().to_vec());
    }
    Variant::from_str(name, false).map(|v| vec![v]).map_err(|_| {
        let known: Vec<&str> = Variant::value_variants().iter().map(|v| v.name()).collect();
        format!("no such proxy; one of: all, {}", known.join(", "))
    })
}

/// The part a started copy of this program plays.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Answers requests.
    Origin,
    /// Sends requests in a closed loop and reports.
    Load,
    /// Holds idle connections open.
    Idle,
}

/// What the bench tells a copy of itself; not for people.
#[derive(Parser, Debug)]
pub(crate) struct RoleArguments {
    #[arg(long)]
    pub(crate) role: Role,
    #[arg(long, default_value = "127.0.0.1:1")]
    pub(crate) target: SocketAddr,
    #[arg(long, default_value = "get-1k", value_parser = Workload::by_name)]
    pub(crate) workload: &'static Workload,
    #[arg(long, default_value_t = 1)]
    pub(crate) seconds: u64,
    #[arg(long, default_value_t = 0)]
    pub(crate) warm_up_ms: u64,
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: u32,
    #[arg(long)]
    pub(crate) tls: bool,
    #[arg(long, value_delimiter = ',')]
    pub(crate) proxy_pids: Vec<u32>,
    #[arg(long)]
    pub(crate) origin_pid: Option<u32>,
}
