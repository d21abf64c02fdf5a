//! The machine of a run: its limits, its description, and the wish to stop.
//!
//! It owns the bench's own file limit and its signal flag. It never changes the machine.

use crate::Outcome;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};

/// What a figure depends on besides the programs.
#[derive(Serialize)]
pub(crate) struct Host {
    kernel: String,
    cpu: String,
    cores: usize,
}

impl Host {
    /// Reads the description of this machine.
    pub(crate) fn describe() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model = cpus.lines().find_map(|l| l.strip_prefix("model name"));
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: model.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
        }
    }

    /// One line for the table.
    pub(crate) fn line(&self) -> String {
        format!("Linux {}, {} cores, {}", self.kernel, self.cores, self.cpu)
    }
}

/// The first line a program says about its version, on either output.
pub(crate) fn version(program: &str, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return "absent".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
}

/// Raises the limit of open files towards `wanted` for this process and its children; returns
/// what it is then.
pub(crate) fn raise_file_limit(wanted: u64) -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    // Only a privileged process may pass the hard limit; for the others the attempt just fails.
    for maximum in [wanted.max(hard), hard] {
        limit.current = Some(maximum);
        limit.maximum = Some(maximum);
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return maximum;
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(hard)
}

/// A port on 127.0.0.1 that nobody listens on. It lies below the range the kernel takes client
/// ports from, so that no connection of the run takes it before its proxy does.
pub(crate) fn free_port() -> Outcome<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() as u16 % PORTS;
    for _ in 0..PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        let port = PORT_FIRST + (start + step) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err("no free port".into())
}

/// From here on SIGINT and SIGTERM end the run in order instead of leaving its children behind.
pub(crate) fn watch_signals() -> Outcome<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// An error once a signal asked to stop.
pub(crate) fn check_interrupted() -> Outcome<()> {
    match INTERRUPTED.get() {
        Some(flag) if flag.load(Ordering::Relaxed) => Err("interrupted".into()),
        _ => Ok(()),
    }
}

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
const PORT_FIRST: u16 = 21_000;
const PORTS: u16 = 8_000;
