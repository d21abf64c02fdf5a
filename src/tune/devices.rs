//! The parts of the host that tuners turn: processors, network cards, their queues and interrupts.

use std::collections::BTreeMap;

use crate::sys::{cpu::CpuList, tree::Tree};

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Processors that are on.
    pub(super) cpus: Vec<usize>,
    /// Those of the workers.
    pub(super) workers: Vec<usize>,
    /// All others: the sink, Kafka's threads, interrupts.
    pub(super) others: Vec<usize>,
    pub(super) cards: Vec<Card>,
}

/// A network card.
#[derive(Clone, Debug, Default)]
pub(super) struct Card {
    /// As `eth0`.
    pub(super) name: String,
    /// Interrupts that carry packets, in the order of the queues.
    pub(super) interrupts: Vec<u32>,
    pub(super) receive_queues: usize,
    pub(super) transmit_queues: usize,
}

impl Host {
    pub(super) fn look(tree: &Tree, workers: Option<&CpuList>) -> Self {
        let online = tree.value::<CpuList>("sys/devices/system/cpu/online");
        let cpus = online.map(|list| list.0).unwrap_or_default();
        let workers = match workers {
            Some(list) => list.0.iter().copied().filter(|cpu| cpus.contains(cpu)).collect(),
            None => cpus[..cpus.len().saturating_sub(1).max(cpus.len().min(1))].to_vec(),
        };
        let others = cpus.iter().copied().filter(|cpu| !workers.contains(cpu)).collect();
        Self { cpus, workers, others, cards: cards(tree) }
    }
}

fn cards(tree: &Tree) -> Vec<Card> {
    let names = interrupt_names(tree);
    let mut cards = Vec::new();
    for name in tree.names("sys/class/net") {
        let at = format!("sys/class/net/{name}");
        // Bridges, tunnels and the loopback have no device behind them.
        if !tree.has(&format!("{at}/device")) {
            continue;
        }
        // A virtio card is a child of the device that has the interrupts.
        let mut interrupts = tree.names(&format!("{at}/device/msi_irqs"));
        if interrupts.is_empty() {
            interrupts = tree.names(&format!("{at}/device/../msi_irqs"));
        }
        let interrupts = interrupts
            .iter()
            .filter_map(|number| number.parse().ok())
            .filter(|number| names.get(number).is_some_and(|name| carries_packets(name)))
            .collect();
        let queues = tree.names(&format!("{at}/queues"));
        let count = |kind: &str| queues.iter().filter(|queue| queue.starts_with(kind)).count();
        let (receive_queues, transmit_queues) = (count("rx-"), count("tx-"));
        cards.push(Card { name, interrupts, receive_queues, transmit_queues });
    }
    cards
}

/// What `/proc/interrupts` says each interrupt is for: its last word.
fn interrupt_names(tree: &Tree) -> BTreeMap<u32, String> {
    let text = tree.read("proc/interrupts").unwrap_or_default();
    let name = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        Some((number.trim().parse().ok()?, rest.split_whitespace().last()?.to_owned()))
    };
    text.lines().filter_map(name).collect()
}

/// Control vectors of ena, mlx5 and virtio move no packets.
fn carries_packets(name: &str) -> bool {
    !["config", "control", "mgmnt", "async", "cmd", "event"].iter().any(|word| name.contains(word))
}
