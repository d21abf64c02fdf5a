//! Where the kernel reads the time: tapline reads it several times in each loop turn.

use super::{Setting, Tuner};
use crate::sys::tree::Tree;

const DIR: &str = "sys/devices/system/clocksource/clocksource0";
/// Read without entering the kernel.
const FAST: [&str; 4] = ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"];

pub(super) fn tuner(tree: &Tree) -> Tuner {
    let mut tuner = Tuner::new("clocksource", "a clock that is read without a system call");
    let file = format!("{DIR}/current_clocksource");
    let Some(now) = tree.read(&file) else {
        return tuner.unsupported("the kernel shows no clock source");
    };
    let available = tree.read(&format!("{DIR}/available_clocksource")).unwrap_or_default();
    let fits = FAST.contains(&now.as_str());
    let best = FAST.iter().find(|name| available.split_whitespace().any(|known| known == **name));
    let Some(best) = best.copied().or(fits.then_some(now.as_str())) else {
        return tuner.unsupported(format!("this host has no fast clock, only {available}"));
    };
    tuner.settings.push(Setting {
        name: format!("/{file}"),
        file,
        fits,
        wanted: if fits { now.clone() } else { best.into() },
        now: Some(now),
        reason: "reading a slow clock is a system call, or a trip to the hypervisor".into(),
        ours: false,
    });
    tuner
}
