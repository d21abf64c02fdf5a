//! Limits of the process and memory of the host.

use std::{fs, path::Path};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one; returns what may now be open.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Memory that this process may use: the host's, or its control group's if that is less.
pub fn memory_bytes() -> u64 {
    memory_below(Path::new("/"))
}

fn memory_below(root: &Path) -> u64 {
    let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
    let host = read(Path::new("proc/meminfo")).and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    // Of the group and of those it is in. Seen from a container the path may lead nowhere but to its own root.
    let groups = read(Path::new("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let ours = controllers.is_empty() || controllers.split(',').any(|name| name == "memory");
        let groups = Path::new(path).ancestors().filter(move |_| ours);
        let files = groups.map(|group| {
            Path::new(mount).join(group.strip_prefix("/").unwrap_or(group)).join(file)
        });
        files.filter_map(|file| read(&file)?.trim().parse::<u64>().ok()).collect::<Vec<_>>()
    });
    host.into_iter().chain(limits).min().unwrap_or(1 << 30)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_the_host_and_the_groups_around_holds() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(memory_below(root.path()), 1 << 30, "nobody says");
        put("proc/meminfo", "MemTotal:       8388608 kB\nMemFree: 1 kB\n");
        assert_eq!(memory_below(root.path()), 8 << 30);
        put("proc/self/cgroup", "0::/system.slice/tapline.service\n");
        put("sys/fs/cgroup/system.slice/tapline.service/memory.max", "max\n");
        put("sys/fs/cgroup/system.slice/memory.max", "4294967296\n");
        assert_eq!(memory_below(root.path()), 4 << 30);
        put("sys/fs/cgroup/system.slice/tapline.service/memory.max", "268435456\n");
        assert_eq!(memory_below(root.path()), 256 << 20);
        put("proc/self/cgroup", "9:cpu,cpuacct:/x\n5:memory:/deep/down\n");
        put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        put("sys/fs/cgroup/memory/deep/memory.limit_in_bytes", "134217728\n");
        assert_eq!(memory_below(root.path()), 128 << 20);
    }
}
