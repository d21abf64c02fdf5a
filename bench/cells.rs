//! The order of a run: rounds of cells, a cell being one proxy under one workload.
//!
//! It owns which process runs when and on which core. Proxies are interleaved round by round and
//! their order rotates, so that a drift of the machine falls on all of them; each cell starts its
//! proxy anew, so that nothing of one cell is left in the next.

use crate::Outcome;
use crate::host::{self, Host};
use crate::load::Window;
use crate::peers::{self, Peer, Variant};
use crate::plan::Plan;
use crate::process::Process;
use crate::report::{self, Cell, Held, Report};
use crate::usage;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;

/// Runs what the plan asks for and prints it.
pub(crate) fn run(plan: &Plan) -> Outcome<()> {
    host::watch_signals()?;
    // Before pinning, which would hide the other cores.
    let host = Host::describe();
    let cores = Cores::choose(plan)?;
    let files = host::raise_file_limit(2 * u64::from(plan.idle.unwrap_or(0)) + FILES_BESIDE);
    let mut bench = Bench {
        plan,
        directory: TempDir::with_prefix_in("bench-", &plan.scratch)?,
        cores,
        files,
        report: Report::new(host, peers::versions(plan), plan),
        left_out: Vec::new(),
    };
    let outcome = match plan.idle {
        Some(connections) => bench.idle(connections),
        None => bench.load(),
    };
    // What was measured before a failure is still worth its time.
    bench.report.print();
    if let Some(path) = &plan.json {
        bench.report.write(path)?;
    }
    outcome?;
    let asked = !plan.proxies.is_empty();
    if asked && !bench.left_out.is_empty() {
        return Err("a proxy that was asked for could not be measured".into());
    }
    Ok(())
}

struct Bench<'a> {
    plan: &'a Plan,
    /// What the roles print on standard error.
    directory: TempDir,
    cores: Cores,
    /// The limit of open files of each process.
    files: u64,
    report: Report,
    /// Proxies that failed; they are not tried again.
    left_out: Vec<Variant>,
}

impl Bench<'_> {
    fn load(&mut self) -> Outcome<()> {
        let workloads = self.plan.workloads();
        let variants = self.plan.variants();
        for round in 0..self.plan.rounds {
            for workload in &workloads {
                for step in 0..variants.len() {
                    host::check_interrupted()?;
                    let variant = variants[(step + round as usize) % variants.len()];
                    if self.left_out.contains(&variant) {
                        continue;
                    }
                    let arguments = vec![
                        format!("--workload={}", workload.name),
                        format!("--seconds={}", self.plan.seconds),
                        format!("--warm-up-ms={}", self.plan.warm_up_ms),
                    ];
                    let measured = self.quiet_window(variant, workload.connections, &arguments);
                    self.note(variant, measured, |(window, origin_connections)| Cell {
                        workload: workload.name,
                        proxy: variant.name(),
                        round,
                        window,
                        origin_connections,
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The first window that others left alone, or the quietest of as many as are tried.
    fn quiet_window(
        &self,
        variant: Variant,
        connections: u32,
        arguments: &[String],
    ) -> Outcome<(Window, u64)> {
        let mut best = self.window(variant, connections, arguments.to_vec())?;
        let Some(percent) = self.plan.others_max else { return Ok(best) };
        for _ in 1..ATTEMPTS_MAX {
            if report::others_percent(&best.0) <= f64::from(percent) {
                break;
            }
            host::check_interrupted()?;
            std::thread::sleep(RETRY_PAUSE);
            let next = self.window(variant, connections, arguments.to_vec())?;
            if report::others_percent(&next.0) < report::others_percent(&best.0) {
                best = next;
            }
        }
        Ok(best)
    }

    /// One measured window and the connections the origin accepted for it.
    fn window(
        &self,
        variant: Variant,
        connections: u32,
        mut arguments: Vec<String>,
    ) -> Outcome<(Window, u64)> {
        let (mut origin, origin_address) = self.origin()?;
        let mut peer =
            Peer::start(variant, self.plan, origin_address, connections, self.cores.proxy)?;
        let target = peer.as_ref().map_or(origin_address, Peer::address);
        arguments.push(format!("--target={target}"));
        arguments.push(format!("--origin-pid={}", origin.pid()));
        if let Some(peer) = &peer {
            let pids: Vec<String> = peer.pids().iter().map(u32::to_string).collect();
            arguments.push(format!("--proxy-pids={}", pids.join(",")));
        }
        arguments.extend(self.plan.tls.then(|| "--tls".to_owned()));
        let mut load = self.role("load", &arguments)?;
        let time_max = Duration::from_millis(self.plan.warm_up_ms + 1000 * self.plan.seconds);
        let line = load.line(time_max + TIME_BESIDE)?;
        if let Some(peer) = &mut peer {
            peer.check_running()?;
        }
        origin.tell("how many")?;
        let origin_connections: u64 = origin.line(TIME_BESIDE)?.parse()?;
        // A proxy that connects anew for each request would be compared at something else.
        let one_each = arguments.iter().any(|argument| argument == "--workload=handshake");
        if !one_each && origin_connections > u64::from(2 * connections + 20) {
            let name = variant.name();
            eprintln!("warning: {name} opened {origin_connections} connections to the origin");
        }
        Ok((serde_json::from_str(&line)?, origin_connections))
    }

    fn idle(&mut self, wanted: u32) -> Outcome<()> {
        // A proxy that keeps one upstream connection per client needs two files for each.
        let possible = (self.files.saturating_sub(FILES_BESIDE) / 2) as u32;
        let connections = wanted.min(possible);
        if connections < wanted {
            eprintln!(
                "compare: {connections} connections instead of {wanted}: the limit of open files \
                 is {} and cannot be raised",
                self.files
            );
        }
        let variants = self.plan.variants();
        for round in 0..self.plan.rounds {
            for variant in &variants {
                host::check_interrupted()?;
                if self.left_out.contains(variant) {
                    continue;
                }
                let measured = self.held(*variant, connections);
                self.note(*variant, measured, |(before_bytes, after_bytes)| Held {
                    proxy: variant.name(),
                    round,
                    connections,
                    before_bytes,
                    after_bytes,
                })?;
            }
        }
        Ok(())
    }

    /// Resident memory of the proxy without connections and with them all, in bytes.
    fn held(&self, variant: Variant, connections: u32) -> Outcome<(u64, u64)> {
        let (_origin, origin_address) = self.origin()?;
        let peer = Peer::start(variant, self.plan, origin_address, connections, self.cores.proxy)?;
        let mut peer = peer.ok_or("memory is measured of proxies")?;
        let before = usage::resident_bytes(&peer.pids())?;
        let mut arguments =
            vec![format!("--target={}", peer.address()), format!("--connections={connections}")];
        arguments.extend(self.plan.tls.then(|| "--tls".to_owned()));
        let mut clients = self.role("idle", &arguments)?;
        clients.line(OPENING_TIME_MAX)?;
        // Records of the last requests are flushed by age within this time.
        std::thread::sleep(SETTLING_TIME);
        let held = usage::resident_bytes(&peer.pids())?;
        clients.tell("again")?;
        clients.line(TIME_BESIDE)?;
        peer.check_running()?;
        Ok((before, held))
    }

    fn note<T, E: Into<report::Entry>>(
        &mut self,
        variant: Variant,
        measured: Outcome<T>,
        entry: impl FnOnce(T) -> E,
    ) -> Outcome<()> {
        match measured {
            Ok(value) => self.report.add(entry(value).into()),
            Err(error) => {
                host::check_interrupted()?;
                let name = variant.name();
                println!("{name} is left out: {error}");
                if name.starts_with("tapline") && self.plan.tapline.is_none() {
                    println!("  --tapline PATH names another program to measure");
                }
                self.left_out.push(variant);
            }
        }
        Ok(())
    }

    fn origin(&self) -> Outcome<(Process, SocketAddr)> {
        let mut origin = self.role("origin", &[])?;
        let port: u16 = origin.line(TIME_BESIDE)?.parse()?;
        Ok((origin, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
    }

    fn role(&self, role: &str, arguments: &[String]) -> Outcome<Process> {
        let log = self.directory.path().join(role);
        let process = Process::role(role, arguments, self.cores.beside, &log)?;
        Ok(process)
    }
}

/// Where processes run; `None` is wherever the kernel likes.
struct Cores {
    proxy: Option<usize>,
    /// Load generator, origin and this process.
    beside: Option<usize>,
}

impl Cores {
    fn choose(plan: &Plan) -> Outcome<Self> {
        if plan.both_cores {
            return Ok(Self { proxy: None, beside: None });
        }
        let ids = core_affinity::get_core_ids().unwrap_or_default();
        let [proxy, beside, ..] = ids[..] else {
            return Err("pinning needs two cores; --both-cores runs without".into());
        };
        if !core_affinity::set_for_current(beside) {
            return Err(format!("cannot pin to core {}", beside.id).into());
        }
        Ok(Self { proxy: Some(proxy.id), beside: Some(beside.id) })
    }
}

/// Open files of a proxy besides its connections.
const FILES_BESIDE: u64 = 300;
const ATTEMPTS_MAX: u32 = 8;
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const TIME_BESIDE: Duration = Duration::from_secs(20);
const OPENING_TIME_MAX: Duration = Duration::from_mins(2);
const SETTLING_TIME: Duration = Duration::from_secs(2);
