//! Processors: how many there are for workers, and whether a control group takes them away again.

use super::Finding;
use crate::{
    config::DoctorConfig,
    sys::{cgroup, cpu, cpu::CpuList, tree::Tree},
};

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Those that this process may use.
    pub(super) usable: Vec<usize>,
    /// Those that the workers are to be pinned to.
    pub(super) pinned: Vec<usize>,
    /// Worker threads.
    pub(super) workers: usize,
    /// How many processors' worth of time the control group gives; `None` for no limit.
    pub(super) quota: Option<f64>,
    /// The processors of each memory node.
    pub(super) nodes: Vec<Vec<usize>>,
}

pub(super) fn look(tree: &Tree, config: &DoctorConfig) -> Facts {
    let usable = cpu::usable().0;
    let pinned = config.cpus.as_ref().map_or_else(|| usable.clone(), |cpus| cpus.0.clone());
    let nodes = "sys/devices/system/node";
    Facts {
        workers: config.workers.unwrap_or_else(|| pinned.len().saturating_sub(1).max(1)),
        usable,
        pinned,
        quota: quota(tree),
        nodes: tree
            .names(nodes)
            .iter()
            .filter(|name| name.starts_with("node"))
            .filter_map(|name| tree.value::<CpuList>(&format!("{nodes}/{name}/cpulist")))
            .map(|list| list.0)
            .collect(),
    }
}

/// The tightest limit of the control group and those above it.
fn quota(tree: &Tree) -> Option<f64> {
    let groups = cgroup::directories(tree, "cpu");
    groups.iter().filter_map(|dir| limit(tree, dir)).min_by(f64::total_cmp)
}

fn limit(tree: &Tree, dir: &str) -> Option<f64> {
    if let Some(text) = tree.read(&format!("{dir}/cpu.max")) {
        let (time, period) = text.split_once(' ')?;
        return Some(time.parse::<f64>().ok()? / period.parse::<f64>().ok()?);
    }
    let time: f64 = tree.value(&format!("{dir}/cpu.cfs_quota_us"))?;
    let period: f64 = tree.value(&format!("{dir}/cpu.cfs_period_us"))?;
    (time > 0.0).then_some(time / period)
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![layout(facts), quota_finding(facts)];
    if facts.nodes.len() > 1 {
        findings.push(nodes(facts));
    }
    findings
}

fn layout(facts: &Facts) -> Finding {
    let check = "cpu.layout";
    let (usable, workers) = (facts.usable.len(), facts.workers);
    let list = CpuList(facts.usable.clone());
    let outside: Vec<usize> =
        facts.pinned.iter().copied().filter(|cpu| !facts.usable.contains(cpu)).collect();
    if !outside.is_empty() {
        return Finding::fail(
            check,
            format!("--cpus names {}, but only {list} may be used", CpuList(outside)),
            format!("--cpus {list}, or give the service the others (AllowedCPUs= in its unit)"),
        );
    }
    if usable == 1 {
        return Finding::warn(
            check,
            "one processor: worker, sink and everything else take turns on it",
            "use a host with two processors or more",
        );
    }
    if workers >= usable {
        return Finding::warn(
            check,
            format!("{workers} workers on {usable} processors leave none for the sink"),
            format!("--workers {}", usable - 1),
        );
    }
    Finding::ok(check, format!("{workers} workers on {usable} processors"))
}

fn quota_finding(facts: &Facts) -> Finding {
    let check = "cpu.quota";
    let Some(quota) = facts.quota else { return Finding::ok(check, "no limit of processor time") };
    let wanted = (facts.workers + 1) as f64;
    if quota < wanted {
        return Finding::warn(
            check,
            format!(
                "the control group gives {quota:.1} processors' time, {} workers and the sink want {wanted}: all stand \
                 still when it is used up",
                facts.workers
            ),
            "remove CPUQuota= from the unit (or --cpus, limits.cpu of the container) and give whole processors \
             instead: AllowedCPUs=, --cpuset-cpus",
        );
    }
    Finding::ok(check, format!("{quota:.1} processors' time"))
}

fn nodes(facts: &Facts) -> Finding {
    let check = "cpu.nodes";
    let workers = &facts.pinned[..facts.workers.min(facts.pinned.len())];
    let home = facts.nodes.iter().find(|node| workers.iter().all(|cpu| node.contains(cpu)));
    if home.is_some() {
        return Finding::ok(check, "all workers are on one memory node");
    }
    let best = facts.nodes.iter().max_by_key(|node| node.len()).cloned().unwrap_or_default();
    Finding::warn(
        check,
        format!("workers are spread over {} memory nodes", facts.nodes.len()),
        format!("the node that the network card hangs on is best, as --cpus {}", CpuList(best)),
    )
}
