//! Limits of the process and memory of the host.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one; returns what may now be open.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Memory that this process may use: the host's, or its control group's if that is less.
pub fn memory_bytes() -> u64 {
    let host = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    [host, group].into_iter().flatten().min().unwrap_or(1 << 30)
}

/// Files that may be open: what is set now, and what a process may raise it to. No limit is `u64::MAX`.
pub fn open_files() -> (u64, u64) {
    both(Resource::Nofile)
}

/// Bytes of memory that may be locked, likewise.
pub fn locked_memory() -> (u64, u64) {
    both(Resource::Memlock)
}

fn both(resource: Resource) -> (u64, u64) {
    let limit = getrlimit(resource);
    (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
}
