//! irqbalance moves interrupts about: it is told to leave those alone that were placed.

use super::{Setting, Tuner, devices::Host, interrupts};
use crate::sys::tree::Tree;

/// What makes a change of the file known.
pub(super) const RELOAD: [&str; 2] =
    ["systemctl daemon-reload", "systemctl try-restart irqbalance.service"];
/// In /run, so that it lasts as long as the affinity that it protects.
const FILE: &str = "run/systemd/system/irqbalance.service.d/90-tapline.conf";

pub(super) fn tuner(tree: &Tree, host: &Host) -> Tuner {
    let mut tuner = Tuner::new("irqbalance", "irqbalance leaves the placed interrupts alone");
    let units = ["usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system"];
    if !units.iter().any(|dir| tree.has(&format!("{dir}/irqbalance.service"))) {
        return tuner.unsupported("irqbalance is not installed as a service, so nobody moves them");
    }
    if let Some(why) = interrupts::none(host) {
        return tuner.unsupported(why);
    }
    let bans: Vec<String> = host
        .cards
        .iter()
        .flat_map(|card| &card.interrupts)
        .map(|number| format!("--banirq={number}"))
        .collect();
    let wanted = format!("[Service]\nEnvironment=\"IRQBALANCE_ARGS={}\"", bans.join(" "));
    let now = tree.read(FILE);
    tuner.settings.push(Setting {
        name: format!("/{FILE}"),
        file: FILE.into(),
        fits: now.as_ref() == Some(&wanted),
        now,
        wanted,
        reason: "it would move within seconds what irq-affinity has placed".into(),
        ours: true,
    });
    tuner.reload = RELOAD.to_vec();
    tuner
}
