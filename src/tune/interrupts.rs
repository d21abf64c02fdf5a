//! Which processor serves which interrupt of a network card.
//!
//! A card with a queue for at least half of the processors spreads over all of them, so that each serves its own
//! packets. One with fewer would burden single workers: its interrupts go to the processors that no worker has.

use super::{
    Setting, Tuner,
    devices::{Card, Host},
};
use crate::sys::{cpu::CpuList, tree::Tree};

pub(super) fn tuner(tree: &Tree, host: &Host) -> Tuner {
    let mut tuner =
        Tuner::new("irq-affinity", "interrupts of network cards, away from workers or spread");
    if let Some(why) = none(host) {
        return tuner.unsupported(why);
    }
    for card in &host.cards {
        let (places, reason) = places(host, card);
        for (number, interrupt) in card.interrupts.iter().enumerate() {
            let file = format!("proc/irq/{interrupt}/smp_affinity_list");
            let Some(now) = tree.read(&file) else { continue };
            let wanted = places[number % places.len()];
            let fits = now.parse::<CpuList>().is_ok_and(|list| list.0 == [wanted]);
            tuner.settings.push(Setting {
                name: format!("{} interrupt {interrupt}", card.name),
                file,
                now: Some(now),
                wanted: wanted.to_string(),
                fits,
                reason: reason.clone(),
                ours: false,
            });
        }
    }
    if tuner.settings.is_empty() {
        return tuner.unsupported("/proc/irq shows no interrupts of network cards");
    }
    tuner
}

/// Why there is nothing to place.
pub(super) fn none(host: &Host) -> Option<String> {
    if host.cards.iter().all(|card| card.interrupts.is_empty()) {
        return Some("no network card with interrupts of its own".into());
    }
    if host.cpus.len() < 3 {
        return Some(
            "with fewer than three processors every one is a worker's or the sink's".into(),
        );
    }
    host.others.is_empty().then(|| "every processor is a worker's; leave one out of --cpus".into())
}

fn places<'a>(host: &'a Host, card: &Card) -> (&'a [usize], String) {
    let queues = card.interrupts.len();
    if queues * 2 >= host.cpus.len() {
        (&host.cpus, format!("{queues} queues: each processor serves packets of its own"))
    } else {
        (
            &host.others,
            format!("{queues} queues for {} processors: kept away from workers", host.cpus.len()),
        )
    }
}
