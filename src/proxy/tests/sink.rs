//! A sink for simulations: makes records durable late and in an order of its own, but in order on each connection.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    capture::Record,
    ring::sim::{Net, Random},
    sink::SinkEnd,
};

pub(super) struct Sink {
    pub(super) end: SinkEnd,
    /// Everything that was published, in order.
    pub(super) stored: Vec<Stored>,
    /// Bytes published and not given back.
    pub(super) outstanding_bytes: u64,
    pub(super) next_ns: u64,
    pub(super) temper: Temper,
    /// An event after which a record had been here for the patience: between two looks time passes.
    pub(super) stuck: Option<u64>,
    looked: u64,
    patience_ns: u64,
    /// When what is here came.
    taken_ns: VecDeque<(u64, usize)>,
    waiting: BTreeMap<Vec<u8>, VecDeque<(u64, usize, Record)>>,
    stalled_until_ns: u64,
}

pub(super) struct Stored {
    pub(super) key: Vec<u8>,
    pub(super) bytes: Vec<u8>,
    /// The event at which it became durable.
    pub(super) durable: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Temper {
    pub(super) delay_ns_max: u64,
    /// Stalls in so many of 1,000 turns.
    pub(super) stalls: u32,
    pub(super) stall_ns_max: u64,
    /// From this time on nothing is given back.
    pub(super) dies_ns: u64,
    /// Until this one.
    pub(super) revives_ns: u64,
    /// Nothing is taken either.
    pub(super) deaf: bool,
}

impl Sink {
    pub(super) fn new(end: SinkEnd, temper: Temper, patience_ns: u64) -> Self {
        Self {
            end,
            stored: Vec::new(),
            outstanding_bytes: 0,
            next_ns: 0,
            temper,
            stuck: None,
            looked: 0,
            patience_ns,
            taken_ns: VecDeque::new(),
            waiting: BTreeMap::new(),
            stalled_until_ns: 0,
        }
    }

    pub(super) fn act(&mut self, net: &mut Net) {
        self.look(net);
        if net.now_ns() < self.next_ns {
            return;
        }
        let now = net.now_ns();
        let mut random = Random::new(net.random.draw());
        let dead = (self.temper.dies_ns..self.temper.revives_ns).contains(&now);
        while let Some(batch) = if self.temper.deaf { None } else { self.end.take() } {
            for record in batch {
                self.outstanding_bytes += record.bytes.len() as u64;
                let (key, bytes) = (record.key().to_vec(), record.bytes.clone());
                self.taken_ns.push_back((now, self.stored.len()));
                self.stored.push(Stored { key: key.clone(), bytes, durable: None });
                let due = now + random.below(self.temper.delay_ns_max + 1);
                let queue = self.waiting.entry(key).or_default();
                queue.push_back((due, self.stored.len() - 1, record));
            }
        }
        if random.chance(self.temper.stalls) {
            self.stalled_until_ns = now + random.below(self.temper.stall_ns_max);
        }
        if now >= self.stalled_until_ns && !dead {
            self.give_back(net, &mut random);
        }
        let waiting = self.waiting.values().filter_map(|queue| queue.front().map(|(due, ..)| *due));
        let due = waiting.min().filter(|due| *due > now && !dead).unwrap_or(u64::MAX);
        self.next_ns = due.min(now + 1 + random.below(2_000_000));
    }

    /// Notes when something has been here for too long.
    fn look(&mut self, net: &mut Net) {
        while let Some((_, stored)) = self.taken_ns.front()
            && self.stored[*stored].durable.is_some()
        {
            self.taken_ns.pop_front();
        }
        let oldest = self.taken_ns.front().map(|(at, _)| at.saturating_add(self.patience_ns));
        if self.stuck.is_none() && oldest.is_some_and(|due| due <= net.now_ns()) {
            self.stuck = Some(self.looked);
        }
        self.looked = net.event();
    }

    fn give_back(&mut self, net: &mut Net, random: &mut Random) {
        let now = net.now_ns();
        let mut keys: Vec<_> = self.waiting.keys().cloned().collect();
        random.shuffle(&mut keys);
        let mut batch = Vec::new();
        for key in keys {
            let Some(queue) = self.waiting.get_mut(&key) else { continue };
            while queue.front().is_some_and(|(due, ..)| *due <= now) {
                let Some((_, stored, record)) = queue.pop_front() else { break };
                self.stored[stored].durable = Some(net.event());
                self.outstanding_bytes -= record.bytes.len() as u64;
                batch.push(record);
                if random.chance(300) {
                    break;
                }
            }
            if queue.is_empty() {
                self.waiting.remove(&key);
            }
        }
        self.end.give_back(&mut batch);
    }
}
