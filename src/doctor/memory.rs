//! Memory for records that are not yet durable.

use super::{Finding, finding::size};
use crate::{
    config::DoctorConfig,
    sys::{limits, tree::Tree},
};

/// Buffers, connections and the program itself, for each worker.
const WORKER_BYTES: u64 = 64 << 20;

/// What was seen, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) available: u64,
    pub(super) budget: u64,
    pub(super) swap: u64,
    pub(super) swappiness: Option<u32>,
}

pub(super) fn look(tree: &Tree, config: &DoctorConfig) -> Facts {
    let text = tree.read("proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    };
    let limit = limits::memory_bytes();
    let workers = config.workers.unwrap_or(1) as u64;
    Facts {
        available: field("MemAvailable:").unwrap_or(limit).min(limit),
        budget: config.capture_memory.unwrap_or(limit / 4) + workers * WORKER_BYTES,
        swap: field("SwapTotal:").unwrap_or(0),
        swappiness: tree.value("proc/sys/vm/swappiness"),
    }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let Facts { available, budget, swap, swappiness } = *facts;
    let mut findings = Vec::new();
    let shown = format!(
        "{} may be taken while the log is slow, {} are available",
        size(budget),
        size(available)
    );
    findings.push(if budget > available {
        let fit = (available / 2) >> 20;
        Finding::warn("memory.budget", shown, format!("--capture-memory {fit}MiB, or more memory"))
    } else {
        Finding::ok("memory.budget", shown)
    });
    findings.push(match (swap, swappiness) {
        (0, _) => Finding::ok("memory.swap", "none"),
        (swap, Some(0..=1)) => Finding::ok("memory.swap", format!("{}, avoided", size(swap))),
        (swap, _) => Finding::warn(
            "memory.swap",
            format!("{} of swap, and the kernel uses it early", size(swap)),
            "sudo tapline tune --apply --only sysctl, or: swapoff -a",
        ),
    });
    findings
}
