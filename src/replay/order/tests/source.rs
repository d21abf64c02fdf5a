//! A simulated source: clients that write at the same time, and the records of it.
//!
//! Every operation is applied at some instant between the request's record and its answer's; items of a bulk each at
//! its own, those of one document in their order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Dice;
use crate::replay::order::footprint::hash;
use crate::replay::order::{Document, Fact, Facts, Footprint, Item};

/// What happens how often: one in so many, 0 for never.
#[derive(Debug, Clone)]
pub(super) struct Habits {
    pub(super) clients: u64,
    pub(super) requests: u64,
    pub(super) indices: u64,
    pub(super) documents: u64,
    pub(super) items: u64,
    pub(super) lost: u64,
    pub(super) refused: u64,
    pub(super) barriers: u64,
    pub(super) deletions: u64,
    pub(super) aliases: u64,
    pub(super) reads: u64,
    pub(super) versions_only: u64,
}

/// What was recorded.
pub(super) struct World {
    pub(super) requests: Vec<Request>,
    pub(super) records: Vec<Record>,
    /// The writes that made each document, in their order.
    pub(super) documents: BTreeMap<(usize, usize), Vec<(usize, usize)>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Record {
    Request(usize),
    Answer(usize),
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) client: usize,
    pub(super) ops: Vec<Op>,
    pub(super) footprint: Footprint,
    pub(super) lost: bool,
    versions_only: bool,
    /// Places in the records.
    pub(super) received: usize,
    pub(super) answered: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Op {
    pub(super) what: What,
    pub(super) refused: bool,
    pub(super) seq_no: Option<u64>,
    pub(super) version: Option<u64>,
    /// Which life of the index it was applied to.
    pub(super) life: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Nothing,
    Read(usize, usize),
    Write(usize, usize),
    Generated(usize),
    /// Touches the index as a whole, and perhaps deletes it.
    Index(usize, bool),
    Everything,
}

impl Request {
    pub(super) fn facts(&self) -> Facts {
        if self.lost {
            return Facts::none();
        }
        let fact = |op: &Op| Fact {
            status: if op.refused { 400 } else { 200 },
            seq_no: op.seq_no.filter(|_| !self.versions_only),
            version: op.version,
            index: match op.what {
                What::Read(index, _) | What::Write(index, _) | What::Generated(index) => {
                    Some(hash(index_name(index, false).as_bytes()))
                }
                _ => None,
            },
            unchanged: false,
        };
        Facts { items: self.ops.iter().map(fact).collect(), all: None }
    }
}

impl World {
    pub(super) fn play(seed: u64, habits: &Habits) -> Self {
        let mut play = Play {
            dice: Dice::new(seed),
            habits: habits.clone(),
            events: BTreeSet::new(),
            world: Self { requests: Vec::new(), records: Vec::new(), documents: BTreeMap::new() },
            numbers: HashMap::new(),
            versions: HashMap::new(),
            latest: HashMap::new(),
            lives: HashMap::new(),
        };
        for client in 0..habits.clients {
            let at = play.dice.below(50);
            play.events.insert((at, client, Event::Send(client as usize)));
        }
        while let Some((now, _, event)) = play.events.pop_first() {
            play.happens(now, event);
        }
        play.world
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Send(usize),
    Apply(usize, usize),
    Answer(usize),
}

struct Play {
    dice: Dice,
    habits: Habits,
    events: BTreeSet<(u64, u64, Event)>,
    world: World,
    numbers: HashMap<usize, u64>,
    versions: HashMap<(usize, usize), u64>,
    /// The number of each document's last write.
    latest: HashMap<(usize, usize), u64>,
    lives: HashMap<usize, u64>,
}

impl Play {
    fn happens(&mut self, now: u64, event: Event) {
        match event {
            Event::Send(client) => self.send(now, client),
            Event::Apply(request, item) => self.apply(request, item),
            Event::Answer(request) => {
                self.world.requests[request].answered = self.world.records.len();
                self.world.records.push(Record::Answer(request));
                let client = self.world.requests[request].client;
                let pause = 1 + self.dice.below(30);
                self.at(now + pause, Event::Send(client));
            }
        }
    }

    fn at(&mut self, when: u64, event: Event) {
        let tie = self.dice.roll();
        self.events.insert((when, tie, event));
    }

    fn send(&mut self, now: u64, client: usize) {
        if self.world.requests.len() as u64 >= self.habits.requests {
            return;
        }
        let (whats, aliased) = self.think();
        let number = self.world.requests.len();
        let length = 1 + self.dice.below(100);
        let mut instants: Vec<u64> =
            whats.iter().map(|_| now + 1 + self.dice.below(length)).collect();
        // Items of one document are applied in their order.
        for item in 0..whats.len() {
            for earlier in 0..item {
                if whats[earlier] == whats[item] && instants[earlier] > instants[item] {
                    instants.swap(earlier, item);
                }
            }
        }
        for (item, instant) in instants.into_iter().enumerate() {
            // The item's number keeps items of one document apart.
            self.events.insert((instant, item as u64, Event::Apply(number, item)));
        }
        let footprint = footprint(&whats, aliased);
        let ops = whats.into_iter().map(|what| Op {
            what,
            refused: matches!(what, What::Write(..)) && self.dice.one_in(self.habits.refused),
            seq_no: None,
            version: None,
            life: 0,
        });
        let request = Request {
            client,
            ops: ops.collect(),
            footprint,
            lost: self.dice.one_in(self.habits.lost),
            versions_only: self.dice.one_in(self.habits.versions_only),
            received: self.world.records.len(),
            answered: 0,
        };
        self.world.requests.push(request);
        self.world.records.push(Record::Request(number));
        self.at(now + length + 1, Event::Answer(number));
    }

    fn think(&mut self) -> (Vec<What>, bool) {
        let habits = self.habits.clone();
        let dice = &mut self.dice;
        let index = dice.below(habits.indices) as usize;
        let aliased = dice.one_in(habits.aliases);
        let document = dice.below(habits.documents) as usize;
        if dice.one_in(habits.deletions) {
            return (vec![What::Index(index, true)], false);
        }
        if dice.one_in(habits.barriers) {
            let one = if dice.one_in(3) { What::Everything } else { What::Index(index, false) };
            return (vec![one], aliased);
        }
        if dice.one_in(habits.reads) {
            return (vec![What::Read(index, document)], aliased);
        }
        if dice.one_in(12) {
            return (
                vec![if dice.one_in(2) { What::Nothing } else { What::Generated(index) }],
                aliased,
            );
        }
        let items = 1 + dice.below(habits.items) as usize;
        let item = |_| {
            let other = if dice.one_in(3) { dice.below(habits.indices) as usize } else { index };
            if items > 1 && dice.one_in(9) {
                What::Generated(other)
            } else {
                What::Write(other, dice.below(habits.documents) as usize)
            }
        };
        ((0..items).map(item).collect(), aliased)
    }

    fn apply(&mut self, request: usize, item: usize) {
        let op = &mut self.world.requests[request].ops[item];
        match op.what {
            What::Read(index, document) => {
                op.seq_no = self.latest.get(&(index, document)).copied();
                op.version = self.versions.get(&(index, document)).copied();
                op.life = self.lives.get(&index).copied().unwrap_or(0);
            }
            What::Write(index, document) => {
                op.life = self.lives.get(&index).copied().unwrap_or(0);
                if op.refused {
                    return;
                }
                let number = self.numbers.entry(index).or_default();
                *number += 1;
                let version = self.versions.entry((index, document)).or_default();
                *version += 1;
                self.latest.insert((index, document), *number);
                (op.seq_no, op.version) = (Some(*number), Some(*version));
                self.world.documents.entry((index, document)).or_default().push((request, item));
            }
            What::Index(index, true) => {
                self.numbers.remove(&index);
                self.latest.retain(|(of, _), _| *of != index);
                *self.lives.entry(index).or_default() += 1;
                self.versions.retain(|(of, _), _| *of != index);
                self.world.documents.retain(|(of, _), _| *of != index);
            }
            What::Index(..) | What::Everything | What::Nothing | What::Generated(_) => {}
        }
    }
}

fn index_name(index: usize, aliased: bool) -> String {
    format!("{}-{index}", if aliased { "alias" } else { "index" })
}

fn footprint(whats: &[What], aliased: bool) -> Footprint {
    let name = |index: usize| hash(index_name(index, aliased).as_bytes());
    let id = |document: usize| hash(document.to_string().as_bytes());
    if whats.len() > 1 {
        let item = |what: &What| match *what {
            What::Write(index, document) => Item { index: name(index), id: Some(id(document)) },
            What::Generated(index) => Item { index: name(index), id: None },
            _ => unreachable!("not in bulks"),
        };
        return Footprint::Bulk(whats.iter().map(item).collect());
    }
    match whats[0] {
        What::Nothing => Footprint::Free,
        What::Read(index, document) => {
            Footprint::Read(Document { index: name(index), id: id(document) })
        }
        What::Write(index, document) => {
            Footprint::Write(Document { index: name(index), id: id(document) })
        }
        What::Generated(index) => Footprint::Generated(name(index)),
        What::Index(index, renames) => Footprint::Indices { names: vec![name(index)], renames },
        What::Everything => Footprint::Everything { renames: false },
    }
}
