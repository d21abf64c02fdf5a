//! A control group with a limit of memory, of version 1 or 2, for one process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::services::say;
use super::wait;

/// A group of its own; removed when dropped, when nothing is in it any more.
#[derive(Debug)]
pub(crate) struct MemoryGroup {
    dir: PathBuf,
    limit: &'static str,
}

impl MemoryGroup {
    /// A group that may have `bytes`; `None`, and a line that says so, where this process may not make one.
    pub(crate) fn make(bytes: u64, test: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tapline-rig-{}-{number}", std::process::id());
        let (old, new) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let group = if old.join("memory.limit_in_bytes").exists() {
            Self { dir: old.join(name), limit: "memory.limit_in_bytes" }
        } else {
            // Of version 2: a group gives to those in it only what it is told to.
            let _ = fs::write(new.join("cgroup.subtree_control"), "+memory");
            Self { dir: new.join(name), limit: "memory.max" }
        };
        let made = fs::create_dir(&group.dir).and_then(|()| group.set(bytes));
        if let Err(error) = made {
            say(&format!("left out: {test} (no control group of memory can be made: {error})"));
            return None;
        }
        // Where there is swap, it would only take longer.
        let _ = fs::write(group.dir.join("memory.swap.max"), "0");
        let _ = fs::write(group.dir.join("memory.swappiness"), "0");
        Some(group)
    }

    /// What starts a program in it, for [`super::tapline::Capture::under`].
    pub(crate) fn launcher(&self) -> [String; 4] {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.dir.display());
        ["sh".to_owned(), "-c".to_owned(), enter, "sh".to_owned()]
    }

    /// Leaves it no more than what cannot be taken from it, so that its process is killed when it wants more.
    pub(crate) fn squeeze(&self) {
        let lowest = (8..1024).find(|mib| self.set(mib << 20).is_ok());
        assert!(lowest.is_some(), "no limit can be set on {}", self.dir.display());
    }

    /// Processes that the kernel has killed in it.
    pub(crate) fn kills(&self) -> u64 {
        let texts = ["memory.oom_control", "memory.events"]
            .map(|name| fs::read_to_string(self.dir.join(name)).unwrap_or_default());
        let mut lines = texts.iter().flat_map(|text| text.lines());
        lines.find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }

    /// The most memory that it had, its part of the page cache included; 0 where the kernel does not say.
    pub(crate) fn peak_mib(&self) -> u64 {
        let texts = ["memory.max_usage_in_bytes", "memory.peak"]
            .map(|name| fs::read_to_string(self.dir.join(name)).unwrap_or_default());
        texts.iter().find_map(|text| text.trim().parse::<u64>().ok()).unwrap_or(0) >> 20
    }

    fn set(&self, bytes: u64) -> std::io::Result<()> {
        fs::write(self.dir.join(self.limit), bytes.to_string())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        wait::until(Duration::from_secs(5), || fs::remove_dir(&self.dir).is_ok());
    }
}
