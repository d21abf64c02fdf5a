//! Packets between processors: RPS hands received ones on, XPS chooses the queue of those that are sent.

use super::{Setting, Tuner, devices::Host};
use crate::sys::{cpu, tree::Tree};

/// Only for a card with one receive queue: several spread the packets themselves.
pub(super) fn receive(tree: &Tree, host: &Host) -> Tuner {
    let mut tuner =
        Tuner::new("rps", "received packets of a card with one queue, handed to all workers");
    if host.cpus.len() < 3 {
        return tuner.unsupported("with fewer than three processors handing packets on only costs");
    }
    for card in host.cards.iter().filter(|card| card.receive_queues == 1) {
        let file = format!("sys/class/net/{}/queues/rx-0/rps_cpus", card.name);
        let reason = "one receive queue: without it one processor handles every packet";
        tuner.settings.extend(mask(tree, file, &host.workers, reason));
    }
    if tuner.settings.is_empty() {
        return tuner.unsupported("no network card with exactly one receive queue");
    }
    tuner
}

/// Only where each processor can have a queue of its own.
pub(super) fn transmit(tree: &Tree, host: &Host) -> Tuner {
    let mut tuner = Tuner::new("xps", "each processor sends through a queue of its own");
    let wide = |queues: usize| queues > 1 && queues >= host.cpus.len();
    for card in host.cards.iter().filter(|card| wide(card.transmit_queues)) {
        for queue in 0..card.transmit_queues {
            let cpu = host.cpus[queue % host.cpus.len()];
            let file = format!("sys/class/net/{}/queues/tx-{queue}/xps_cpus", card.name);
            let reason = "a queue per processor: no lock is shared";
            tuner.settings.extend(mask(tree, file, &[cpu], reason));
        }
    }
    if tuner.settings.is_empty() {
        return tuner.unsupported("no network card with a transmit queue for every processor");
    }
    tuner
}

fn mask(tree: &Tree, file: String, cpus: &[usize], reason: &str) -> Option<Setting> {
    let now = tree.read(&file)?;
    let fits = cpu::from_mask(&now).is_some_and(|set| set == cpus);
    Some(Setting {
        name: format!("/{file}"),
        file,
        fits,
        now: Some(now),
        wanted: cpu::to_mask(cpus),
        reason: reason.into(),
        ours: false,
    })
}
