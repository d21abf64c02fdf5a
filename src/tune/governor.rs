//! How fast the processors run.

use super::{Setting, Tuner, devices::Host};
use crate::sys::tree::Tree;

pub(super) fn tuner(tree: &Tree, host: &Host) -> Tuner {
    let mut tuner = Tuner::new("cpu-governor", "processors at full speed instead of on demand");
    let mut lacking = false;
    for cpu in &host.cpus {
        let dir = format!("sys/devices/system/cpu/cpu{cpu}/cpufreq");
        let file = format!("{dir}/scaling_governor");
        let Some(now) = tree.read(&file) else { continue };
        let known = tree.read(&format!("{dir}/scaling_available_governors")).unwrap_or_default();
        if !known.split_whitespace().any(|name| name == "performance") {
            lacking = true;
            continue;
        }
        tuner.settings.push(Setting {
            name: format!("/{file}"),
            file,
            fits: now == "performance",
            now: Some(now),
            wanted: "performance".into(),
            reason: "a processor that sleeps between requests answers the next one late".into(),
            ours: false,
        });
    }
    match (tuner.settings.is_empty(), lacking) {
        (true, true) => tuner.unsupported("the driver of the processors has no such governor"),
        (true, false) => tuner.unsupported("the host or hypervisor sets the speed itself"),
        _ => tuner,
    }
}
