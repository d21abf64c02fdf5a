//! The kernel and its rings.

use super::Finding;
use crate::{
    ring::{Options, probe},
    sys::tree::Tree,
};

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// As `6.1.0-18-amd64`.
    pub(super) release: String,
    /// `kernel.io_uring_disabled`; kernels before 6.6 have none.
    pub(super) disabled: Option<u8>,
    /// `kernel.io_uring_group`.
    pub(super) group: Option<i64>,
    /// Whether this is root, whom the group does not bind.
    pub(super) root: bool,
    /// A seccomp filter lies over this process.
    pub(super) filtered: bool,
    /// Whether rings of the size of a worker's can be had: if not, why and what to do.
    pub(super) rings: Result<(), (String, String)>,
}

pub(super) fn look(tree: &Tree) -> Facts {
    let status = tree.read("proc/self/status").unwrap_or_default();
    let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    Facts {
        release: tree.read("proc/sys/kernel/osrelease").unwrap_or_default(),
        disabled: tree.value("proc/sys/kernel/io_uring_disabled"),
        group: tree.value("proc/sys/kernel/io_uring_group"),
        root: rustix::process::geteuid().is_root(),
        filtered: seccomp.is_some_and(|mode| mode.trim() == "2"),
        rings: probe::check(Options::default()).map_err(|error| (error.what, error.fix)),
    }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    vec![version(facts), rings(facts)]
}

fn version(facts: &Facts) -> Finding {
    let release = &facts.release;
    let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < (6, 1) {
        return Finding::fail(
            "kernel",
            format!("Linux {release} is older than 6.1, whose io_uring tapline needs"),
            "use a distribution with Linux 6.1 or newer (Debian 12, Ubuntu 24.04, Amazon Linux 2023, RHEL 10), or a \
             newer kernel for this one",
        );
    }
    Finding::ok("kernel", format!("Linux {release}"))
}

fn rings(facts: &Facts) -> Finding {
    if let Err((what, fix)) = &facts.rings {
        return Finding::fail("io_uring", what, fix);
    }
    if facts.disabled == Some(1) && facts.root {
        let group = facts.group.unwrap_or(-1);
        return Finding::warn(
            "io_uring",
            format!(
                "root gets rings, but others must be in group {group} (kernel.io_uring_disabled = 1)"
            ),
            format!(
                "add the user of the service to it: usermod -aG {group} tapline; or: sysctl -w \
                 kernel.io_uring_disabled=0"
            ),
        );
    }
    let filter = if facts.filtered { ", through the seccomp filter of this process" } else { "" };
    Finding::ok("io_uring", format!("rings of a worker's size, with every operation{filter}"))
}
