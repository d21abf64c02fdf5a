//! CPU time and memory of processes, from `/proc` (proc(5)).
//!
//! It owns the readings and their difference. It never estimates: a process that is gone is an
//! error.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// User and system time of some processes at one instant, all threads included. Kernel threads
/// that work for a ring are threads of its process and so are counted too.
pub(crate) struct CpuReading {
    /// Nanoseconds run so far, by thread.
    threads: BTreeMap<u32, u64>,
    /// The same of whole processes with their ended threads, at the clock tick's resolution.
    processes_ns: u64,
}

impl CpuReading {
    /// Reads the time of all threads of these processes.
    pub(crate) fn take(pids: &[u32]) -> io::Result<Self> {
        let mut reading = Self { threads: BTreeMap::new(), processes_ns: 0 };
        for pid in pids {
            for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
                let entry = entry?;
                // A thread may end between the listing and the reading.
                let Ok(line) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
                let thread = entry.file_name().to_string_lossy().parse().map_err(io::Error::other);
                reading.threads.insert(thread?, field(&line, 0)?);
            }
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
            let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let ticks = field(after_name, 11)? + field(after_name, 12)?;
            reading.processes_ns += ticks * (1_000_000_000 / TICKS_PER_SECOND);
        }
        Ok(reading)
    }

    /// Nanoseconds of CPU used since `earlier`. A thread that ended in between took its count
    /// with it, and then the coarser figure of the process is used.
    pub(crate) fn ns_since(&self, earlier: &Self) -> u64 {
        if earlier.threads.keys().all(|thread| self.threads.contains_key(thread)) {
            let sum = |reading: &Self| reading.threads.values().sum::<u64>();
            sum(self).saturating_sub(sum(earlier))
        } else {
            self.processes_ns.saturating_sub(earlier.processes_ns)
        }
    }
}

/// Time the processors of the machine were busy since it started, whoever used them, in
/// nanoseconds; what a hypervisor took away counts too.
pub(crate) fn machine_busy_ns() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let mut ticks = 0;
    for index in [USER, NICE, SYSTEM, IRQ, SOFTIRQ, STEAL] {
        ticks += field(&stat, index)?;
    }
    Ok(ticks * (1_000_000_000 / TICKS_PER_SECOND))
}

/// Resident memory of these processes, in bytes. Pages shared between them count in each.
pub(crate) fn resident_bytes(pids: &[u32]) -> io::Result<u64> {
    let mut kib = 0;
    for pid in pids {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = rollup.lines().find(|l| l.starts_with("Rss:")).unwrap_or_default();
        kib += field(line, 1)?;
    }
    Ok(kib * 1024)
}

/// What a process cost from its start to its end.
#[derive(serde::Serialize, Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// By the clock.
    pub(crate) seconds: f64,
    /// User and system time of all its threads, at the clock tick's resolution.
    pub(crate) cpu_us: f64,
    /// The most memory that was resident, in bytes.
    pub(crate) peak_bytes: u64,
}

/// The CPU time of a process that has ended and was not waited for yet, in microseconds; `None`
/// while it runs.
pub(crate) fn ended_cpu_us(pid: u32) -> io::Result<Option<f64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    if !after_name.trim_start().starts_with('Z') {
        return Ok(None);
    }
    let ticks = field(after_name, 11)? + field(after_name, 12)?;
    Ok(Some(ticks as f64 * 1e6 / TICKS_PER_SECOND as f64))
}

/// The most memory that was resident so far, in bytes; `None` when the process has given it up.
pub(crate) fn peak_bytes(pid: u32) -> io::Result<Option<u64>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.map(|line| field(line, 1).map(|kib| kib * 1024)).transpose()
}

/// A process and all its descendants.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while next < family.len() {
        let tasks = fs::read_dir(format!("/proc/{}/task", family[next])).into_iter().flatten();
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|p| p.parse::<u32>().ok()));
        }
        next += 1;
    }
    family
}

fn field(line: &str, index: usize) -> io::Result<u64> {
    line.split_whitespace()
        .nth(index)
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no number in field {index} of {line:?}")))
}

/// Fields of the first line of `/proc/stat`; 4 and 5 are idle time.
const USER: usize = 1;
const NICE: usize = 2;
const SYSTEM: usize = 3;
const IRQ: usize = 6;
const SOFTIRQ: usize = 7;
const STEAL: usize = 8;
/// `USER_HZ`: fixed at 100 in the kernel's interface on every architecture this runs on.
const TICKS_PER_SECOND: u64 = 100;
