//! Replay: how fast a capture log gets to a target, at what cost, within what memory.
//!
//! It owns the order of such a run and its table. Load generator and replays alternate round by
//! round on one target, nothing is pinned, and whole processes are counted, start and end included.

use crate::Outcome;
use crate::decoding::{self, Pass};
use crate::fixed::{self, Target};
use crate::host::{self, Host};
use crate::peers;
use crate::plan::Plan;
use crate::process::Process;
use crate::report::median;
use crate::tape::{Made, Mix, Traffic};
use crate::usage::{self, CpuReading, Spent};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tapline::log::{Position, Reader};
use tempfile::TempDir;

/// Runs what the plan asks for and prints it.
pub(crate) fn run(plan: &Plan) -> Outcome<()> {
    host::watch_signals()?;
    host::raise_file_limit(FILES);
    let host = Host::describe();
    println!("{}", host.line());
    println!("tapline: {}", host::version(&peers::tapline(plan), "--version"));
    let directory = TempDir::with_prefix_in("bench-", &plan.scratch)?;
    let mut bench = Bench { plan, directory, runs: 0, found: Found::new(host) };
    let outcome = bench.all();
    if let Some(path) = &plan.json {
        let text = serde_json::to_string_pretty(&bench.found)? + "\n";
        std::fs::write(path, text).map_err(|e| format!("writing {}: {e}", path.display()))?;
    }
    outcome
}

/// Everything that was measured, for a program.
#[derive(Serialize)]
struct Found {
    host: Host,
    rounds: Vec<Cell>,
    core: Vec<Pass>,
    memory: Option<Cell>,
}

impl Found {
    fn new(host: Host) -> Self {
        Self { host, rounds: Vec::new(), core: Vec::new(), memory: None }
    }
}

/// One process in one round.
#[derive(Serialize)]
struct Cell {
    name: &'static str,
    round: u32,
    requests: u64,
    spent: Spent,
    /// CPU time of the target meanwhile, in microseconds.
    target_cpu_us: f64,
    /// What the rest of the machine used, in percent of one core.
    others_percent: f64,
}

impl Cell {
    fn per_second(&self) -> f64 {
        self.requests as f64 / self.spent.seconds
    }

    fn per_request(&self, cpu_us: f64) -> f64 {
        cpu_us / self.requests as f64
    }
}

struct Bench<'a> {
    plan: &'a Plan,
    directory: TempDir,
    /// Replays so far: each is a reader of its own.
    runs: u32,
    found: Found,
}

impl Bench<'_> {
    fn all(&mut self) -> Outcome<()> {
        if self.plan.replay_core {
            self.found.core = decoding::run(self.plan.rounds)?;
        }
        if self.plan.replay {
            let outcome = self.speed();
            self.print_speed();
            outcome?;
        }
        if let Some(gigabytes) = self.plan.replay_memory {
            self.memory(gigabytes)?;
        }
        Ok(())
    }

    fn speed(&mut self) -> Outcome<()> {
        let connections = self.plan.replay_connections;
        let mix = Mix::Mixed(self.plan.replay_requests);
        let (log, made) = self.log(&Traffic { connections, mix })?;
        warm(&log)?;
        let target = Target::start(&self.plan.scratch)?;
        let names = ["wrk", "replay", "replay-connection", "replay-tuples"];
        for round in 0..self.plan.rounds {
            for step in 0..names.len() {
                host::check_interrupted()?;
                let name = names[(step + round as usize) % names.len()];
                let more: &[&str] = match name {
                    "replay" => &["--tuples", "off"],
                    "replay-connection" => &["--tuples", "off", "--order", "connection"],
                    _ => &[],
                };
                let cell = self.cell(name, round, target.pid(), |bench| {
                    if name == "wrk" {
                        let plan = bench.plan;
                        return fixed::wrk(&target, connections, plan.seconds, &plan.scratch);
                    }
                    let in_flight = format!("--max-in-flight={connections}");
                    let flags = bench.plan.replay_flag.iter().map(String::as_str);
                    let more: Vec<&str> =
                        more.iter().copied().chain([&*in_flight]).chain(flags).collect();
                    let spent = bench.replay(&log, target.address, &more, made)?;
                    Ok((made.requests, spent))
                })?;
                eprintln!(
                    "round {} {name:<18} {:>8.0} req/s {:>6.1} us/req, others {:.0}%",
                    round + 1,
                    cell.per_second(),
                    cell.per_request(cell.spent.cpu_us),
                    cell.others_percent,
                );
                self.found.rounds.push(cell);
            }
        }
        Ok(())
    }

    /// Peak memory of the replay of a log that is much larger.
    fn memory(&mut self, gigabytes: u64) -> Outcome<()> {
        let space = rustix::fs::statvfs(&self.plan.scratch)?;
        let free = space.f_bavail.saturating_mul(space.f_frsize) / GB;
        if free < gigabytes * 3 / 2 {
            let place = self.plan.scratch.display();
            return Err(format!(
                "{place} has {free} GB free, a log of {gigabytes} GB wants half as much again: \
                 name another place with --scratch, or fewer with --replay-memory"
            )
            .into());
        }
        let traffic =
            Traffic { connections: self.plan.replay_connections, mix: Mix::Large(gigabytes * GB) };
        let (log, made) = self.log(&traffic)?;
        // Ours reads whole bodies before it answers, whatever their size.
        let output = self.directory.path().join("origin");
        let mut origin = Process::role("origin", &[], None, &output)?;
        let port: u16 = origin.line(TIME_BESIDE)?.parse()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let cell = self.cell("replay-memory", 0, origin.pid(), |bench| {
            let more = ["--tuples", "off", "--read-ahead", READ_AHEAD];
            Ok((made.requests, bench.replay(&log, address, &more, made)?))
        })?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "\nmemory: {:.1} GB of log, {} bulks of 5 KiB to 1 MiB, --read-ahead {READ_AHEAD}: \
             peak {:.0} MiB resident, {:.0} MB/s, {:.1} s",
            made.bytes as f64 / GB as f64,
            made.requests,
            mib(cell.spent.peak_bytes),
            made.bytes as f64 / 1e6 / cell.spent.seconds,
            cell.spent.seconds,
        );
        self.found.memory = Some(cell);
        Ok(())
    }

    fn cell(
        &mut self,
        name: &'static str,
        round: u32,
        target: u32,
        measure: impl FnOnce(&mut Self) -> Outcome<(u64, Spent)>,
    ) -> Outcome<Cell> {
        let machine_before = usage::machine_busy_ns()?;
        let before = CpuReading::take(&[target])?;
        let own_before = CpuReading::take(&[std::process::id()])?;
        let (requests, spent) = measure(self)?;
        let target_cpu_us = CpuReading::take(&[target])?.ns_since(&before) as f64 / 1e3;
        let own_us = CpuReading::take(&[std::process::id()])?.ns_since(&own_before) as f64 / 1e3;
        let machine_us = (usage::machine_busy_ns()? - machine_before) as f64 / 1e3;
        let others_us = (machine_us - spent.cpu_us - target_cpu_us - own_us).max(0.0);
        let others_percent = others_us / spent.seconds / 1e4;
        Ok(Cell { name, round, requests, spent, target_cpu_us, others_percent })
    }

    /// Replays all of the log; every request of it must have been sent, once, and well.
    fn replay(
        &mut self,
        log: &Path,
        target: SocketAddr,
        more: &[&str],
        made: Made,
    ) -> Outcome<Spent> {
        self.runs += 1;
        let state = TempDir::with_prefix_in("bench-", &self.plan.scratch)?;
        let summary = state.path().join("summary");
        let mut command = Command::new(peers::tapline(self.plan));
        command.args(["replay", "--speedup", "max", "--until-end"]);
        command.arg(format!("--target=http://{target}"));
        command.arg(format!("--group=bench-{}", self.runs));
        command.arg("--log").arg(log).arg("--state-dir").arg(state.path().join("state"));
        command.arg("--summary").arg(&summary).args(more);
        let output = state.path().join("output");
        let mut process = Process::proxy("tapline replay", command, None, &output)?;
        let spent = process.spent(REPLAY_TIME_MAX)?;
        let text = std::fs::read_to_string(&summary)?;
        let totals: serde_json::Value = serde_json::from_str(&text)?;
        let wanted = [
            ("requests", made.requests),
            ("sent", made.requests),
            ("done", made.requests),
            ("retries", 0),
            ("failed", 0),
            ("quarantined", 0),
        ];
        for (name, wanted) in wanted {
            if totals[name].as_u64() != Some(wanted) {
                return Err(format!("{name} is not {wanted} in the summary: {text}").into());
            }
        }
        Ok(spent)
    }

    /// A log of this traffic, in a directory of its own.
    fn log(&self, traffic: &Traffic) -> Outcome<(PathBuf, Made)> {
        let dir = TempDir::with_prefix_in("log-", self.directory.path())?.keep();
        let started = Instant::now();
        let made = traffic.write(&dir)?;
        eprintln!(
            "a log of {} requests in {} records, {:.0} MB, written in {:.1} s",
            made.requests,
            made.records,
            made.bytes as f64 / 1e6,
            started.elapsed().as_secs_f64()
        );
        Ok((dir, made))
    }

    fn print_speed(&self) {
        println!(
            "\nreplay at full speed: 70 % GET 1 KiB, 30 % bulk 5 KiB, {} connections; nginx with \
             fixed answers on the same cores; medians over rounds",
            self.plan.replay_connections
        );
        println!(
            "{:<18} {:>6} {:>9} {:>6} {:>10} {:>6} {:>10} {:>9} {:>7}",
            "what",
            "rounds",
            "req/s",
            "/wrk",
            "CPU us/rq",
            "busy",
            "target us",
            "peak MiB",
            "others"
        );
        for name in ["wrk", "replay", "replay-connection", "replay-tuples"] {
            let own: Vec<&Cell> = self.found.rounds.iter().filter(|c| c.name == name).collect();
            if own.is_empty() {
                continue;
            }
            let of = |figure: fn(&Cell) -> f64| median(own.iter().map(|c| figure(c)).collect());
            let ratios: Vec<f64> = own.iter().filter_map(|cell| self.ratio(cell)).collect();
            let ratio = if ratios.is_empty() { f64::NAN } else { median(ratios) };
            println!(
                "{name:<18} {:>6} {:>9.0} {ratio:>6.2} {:>10.2} {:>6} {:>10.2} {:>9.1} {:>7}",
                own.len(),
                of(Cell::per_second),
                of(|c| c.per_request(c.spent.cpu_us)),
                format!("{:.0}%", of(|c| c.spent.cpu_us / c.spent.seconds / 1e4)),
                of(|c| c.per_request(c.target_cpu_us)),
                of(|c| c.spent.peak_bytes as f64 / f64::from(1 << 20)),
                format!("{:.0}%", of(|c| c.others_percent)),
            );
        }
    }

    /// Its rate over that of wrk in the same round.
    fn ratio(&self, cell: &Cell) -> Option<f64> {
        let same = |other: &&Cell| other.name == "wrk" && other.round == cell.round;
        let wrk = self.found.rounds.iter().find(same)?;
        Some(cell.per_second() / wrk.per_second())
    }
}

/// Reads the log once: pages just written are dearer to read the first time, and the first replay
/// would pay for all.
fn warm(log: &Path) -> Outcome<()> {
    let mut reader = Reader::open(log, &Position::default())?;
    while reader.next()?.is_some() {}
    Ok(())
}

const READ_AHEAD: &str = "256MiB";
const GB: u64 = 1_000_000_000;
const FILES: u64 = 4096;
const TIME_BESIDE: Duration = Duration::from_secs(20);
const REPLAY_TIME_MAX: Duration = Duration::from_mins(10);
