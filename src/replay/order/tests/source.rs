//! A simulated source: clients that write at the same time, and the records of it.
//!
//! Every operation is applied at some instant between the request's record and its answer's; items of a bulk each at
//! its own, those of one document in their order. The record of an answer may come long after the answer: a capturing
//! proxy keeps the record of a connection open for a while, and a client may go on with another connection meanwhile.
//! A read, which need not wait for its record, may be recorded as late as that as a whole.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::Dice;
use crate::replay::order::footprint::hash;
use crate::replay::order::{Change, Document, Fact, Facts, Footprint, Item};

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
    /// Answers that are recorded late; then the client goes on with another connection.
    pub(super) late: u64,
    /// Reads of which the request is recorded with the answer, and late.
    pub(super) late_reads: u64,
    /// Indices that exist from the start are made by requests, before anything else.
    pub(super) made: bool,
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
    client: usize,
    pub(super) connection: usize,
    pub(super) ops: Vec<Op>,
    pub(super) footprint: Footprint,
    pub(super) lost: bool,
    /// Recorded only after its answer.
    pub(super) late: bool,
    versions_only: bool,
    /// Places in the records.
    pub(super) received: usize,
    pub(super) answered: usize,
    /// On the source's clock.
    pub(super) received_at: u64,
    pub(super) answered_at: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Op {
    pub(super) what: What,
    pub(super) refused: bool,
    pub(super) seq_no: Option<u64>,
    pub(super) version: Option<u64>,
    /// The life of the index that a write was applied to.
    pub(super) life: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Nothing,
    Read(usize, usize),
    Write(usize, usize),
    Generated(usize),
    /// Touches the index as a whole.
    Index(usize),
    /// Deletes the index, unless there is none: then it is refused.
    Delete(usize),
    /// Makes the index, unless there is one: then it is refused. A write makes it as well.
    Make(usize),
    Everything,
}

impl Request {
    /// What it touches as a whole; none when it is no such request.
    pub(super) fn replaced(&self) -> Option<usize> {
        // Whether it was refused stands in the answer alone.
        match self.ops[0].what {
            What::Delete(index) if self.lost || !self.ops[0].refused => Some(index),
            _ => None,
        }
    }

    pub(super) fn facts(&self) -> Facts {
        if self.lost {
            return Facts::none();
        }
        let status = |op: &Op| if op.refused { 400 } else { 200 };
        let fact = |op: &Op| Fact {
            status: status(op),
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
        match self.ops[0].what {
            What::Index(_) | What::Delete(_) | What::Make(_) | What::Everything => {
                let fact = Fact { status: status(&self.ops[0]), ..Fact::default() };
                Facts { items: Vec::new(), all: Some(fact) }
            }
            _ => Facts { items: self.ops.iter().map(fact).collect(), all: None },
        }
    }
}

impl World {
    pub(super) fn play(seed: u64, habits: &Habits) -> Self {
        let mut play = Play {
            dice: Dice::new(seed),
            habits: habits.clone(),
            events: BTreeSet::new(),
            world: Self { requests: Vec::new(), records: Vec::new(), documents: BTreeMap::new() },
            connections: (0..habits.clients as usize).collect(),
            connection_count: habits.clients as usize,
            next: HashMap::new(),
            first: VecDeque::new(),
            indices: HashMap::new(),
            lives: HashMap::new(),
        };
        if habits.made {
            play.first = (0..habits.indices as usize).map(What::Make).collect();
            play.events.insert((1, 0, Event::Send(0)));
        } else {
            play.all_begin(0);
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
    Record(usize),
}

struct Play {
    dice: Dice,
    habits: Habits,
    events: BTreeSet<(u64, u64, Event)>,
    world: World,
    /// The connection each client has now.
    connections: Vec<usize>,
    connection_count: usize,
    /// What a client does next in any case.
    next: HashMap<usize, What>,
    /// What the first client does before all others begin.
    first: VecDeque<What>,
    indices: HashMap<usize, Index>,
    /// How often each was deleted.
    lives: HashMap<usize, u64>,
}

/// An index that exists.
#[derive(Debug, Default)]
struct Index {
    number: u64,
    versions: HashMap<usize, u64>,
    /// The number of each document's last write.
    latest: HashMap<usize, u64>,
}

impl Play {
    fn happens(&mut self, now: u64, event: Event) {
        match event {
            Event::Send(client) => self.send(now, client),
            Event::Apply(request, item) => self.apply(request, item),
            Event::Answer(number) => {
                let request = &mut self.world.requests[number];
                request.answered_at = now;
                let (client, late) = (request.client, request.late);
                if late || self.dice.one_in(self.habits.late) {
                    let late = 1 + self.dice.below(LATE_MAX);
                    self.at(now + late, Event::Record(number));
                    self.connections[client] = self.connection_count;
                    self.connection_count += 1;
                } else {
                    self.record(number);
                }
                if self.habits.made && self.world.requests.len() as u64 == self.habits.indices {
                    self.all_begin(now);
                } else {
                    let pause = 1 + self.dice.below(30);
                    self.at(now + pause, Event::Send(client));
                }
            }
            Event::Record(request) => self.record(request),
        }
    }

    fn all_begin(&mut self, now: u64) {
        for client in 0..self.habits.clients {
            let at = now + 1 + self.dice.below(50);
            self.events.insert((at, client, Event::Send(client as usize)));
        }
    }

    fn record(&mut self, number: usize) {
        let request = &mut self.world.requests[number];
        if request.late {
            request.received = self.world.records.len();
            self.world.records.push(Record::Request(number));
        }
        request.answered = self.world.records.len();
        self.world.records.push(Record::Answer(number));
    }

    fn at(&mut self, when: u64, event: Event) {
        let tie = self.dice.roll();
        self.events.insert((when, tie, event));
    }

    fn send(&mut self, now: u64, client: usize) {
        if self.world.requests.len() as u64 >= self.habits.requests {
            return;
        }
        let (whats, aliased) = match self.first.pop_front().or_else(|| self.next.remove(&client)) {
            Some(what) => (vec![what], false),
            None => self.think(client),
        };
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
        let late =
            matches!(whats[..], [What::Read(..)]) && self.dice.one_in(self.habits.late_reads);
        let ops = whats.into_iter().map(|what| Op {
            what,
            refused: matches!(what, What::Write(..)) && self.dice.one_in(self.habits.refused),
            seq_no: None,
            version: None,
            life: 0,
        });
        let request = Request {
            client,
            connection: self.connections[client],
            ops: ops.collect(),
            footprint,
            lost: self.dice.one_in(self.habits.lost),
            late,
            versions_only: self.dice.one_in(self.habits.versions_only),
            received: self.world.records.len(),
            answered: 0,
            received_at: now,
            answered_at: 0,
        };
        self.world.requests.push(request);
        if !late {
            self.world.records.push(Record::Request(number));
        }
        self.at(now + length + 1, Event::Answer(number));
    }

    fn think(&mut self, client: usize) -> (Vec<What>, bool) {
        let habits = self.habits.clone();
        let dice = &mut self.dice;
        let index = dice.below(habits.indices) as usize;
        let aliased = dice.one_in(habits.aliases);
        let document = dice.below(habits.documents) as usize;
        if dice.one_in(habits.deletions) {
            if dice.one_in(2) {
                self.next.insert(client, What::Make(index));
            }
            return (vec![What::Delete(index)], false);
        }
        if dice.one_in(habits.barriers) {
            let one = if dice.one_in(3) { What::Everything } else { What::Index(index) };
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
                let Some(index) = self.indices.get(&index) else { return };
                op.seq_no = index.latest.get(&document).copied();
                op.version = index.versions.get(&document).copied();
            }
            What::Write(..) if op.refused => {}
            What::Write(place, document) => {
                op.life = self.lives.get(&place).copied().unwrap_or_default();
                let index = self.indices.entry(place).or_default();
                index.number += 1;
                let version = index.versions.entry(document).or_default();
                *version += 1;
                index.latest.insert(document, index.number);
                (op.seq_no, op.version) = (Some(index.number), Some(*version));
                self.world.documents.entry((place, document)).or_default().push((request, item));
            }
            What::Generated(index) => self.indices.entry(index).or_default().number += 1,
            What::Make(index) => {
                op.refused = self.indices.contains_key(&index);
                self.indices.entry(index).or_default();
            }
            What::Delete(index) => {
                op.refused = self.indices.remove(&index).is_none();
                *self.lives.entry(index).or_default() += u64::from(!op.refused);
                self.world.documents.retain(|(of, _), _| *of != index);
            }
            What::Index(..) | What::Everything | What::Nothing => {}
        }
    }
}

/// How late an answer is recorded at most; requests take 100 at most.
const LATE_MAX: u64 = 500;

fn index_name(index: usize, aliased: bool) -> String {
    format!("{}-{index}", if aliased { "alias" } else { "index" })
}

fn footprint(whats: &[What], aliased: bool) -> Footprint {
    let name = |index: usize| hash(index_name(index, aliased).as_bytes());
    let id = |document: usize| hash(document.to_string().as_bytes());
    let indices = |index, change| Footprint::Indices { names: vec![name(index)], change };
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
        What::Index(index) => indices(index, Change::Nothing),
        What::Make(index) => indices(index, Change::Names),
        What::Delete(index) => indices(index, Change::Indices),
        What::Everything => Footprint::Everything { change: Change::Nothing },
    }
}
