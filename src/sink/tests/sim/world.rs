//! Workers with connections, the FIFO between them and Kafka, weather, deaths of the process, and the judge.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use super::{
    broker::{FAIR, FakeBroker, Topic, Weather},
    shelf::{Disk, FakeShelf},
};
use crate::{
    capture::{ConnectionId, Record},
    ring::sim::Random,
    sink::{Batch, fifo::Fifo, sides::Course},
};

/// Which record of which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Mark {
    pub(super) connection: u32,
    pub(super) number: u32,
}

impl Mark {
    fn bytes(self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0x0A, ConnectionId::BYTES as u8];
        bytes.extend_from_slice(format!("{:060}", self.connection).as_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.resize(bytes.len() + len, 7);
        bytes
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(&bytes[2..62]).expect("digits");
        let number = u32::from_le_bytes(bytes[62..66].try_into().expect("four"));
        Self { connection: text.parse().expect("a number"), number }
    }
}

/// What runs met, so that it is known that they met it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sights {
    spooled: u64,
    drained: u64,
    resent: u64,
    deaths: u64,
    full: u64,
    straightened: u64,
    repeats: u64,
    passed_over: u64,
}

impl Sights {
    pub(super) fn add(&mut self, other: &Self) {
        self.spooled += other.spooled;
        self.drained += other.drained;
        self.resent += other.resent;
        self.deaths += other.deaths;
        self.full += other.full;
        self.straightened += other.straightened;
        self.repeats += other.repeats;
        self.passed_over += other.passed_over;
    }

    pub(super) fn met_everything(&self) -> bool {
        let Self { spooled, drained, resent, deaths, full, straightened, repeats, passed_over } =
            *self;
        [spooled, drained, resent, deaths, full, straightened, repeats, passed_over]
            .iter()
            .all(|count| *count > 0)
    }
}

#[derive(Default)]
struct Conn {
    partition_key: u32,
    link: u16,
    sent: u32,
    /// Given back, in order.
    back: u32,
    /// The highest held number that was given back.
    promised: u32,
    dead: bool,
}

/// One run of the simulation.
pub(super) struct World {
    random: Random,
    topic: Rc<RefCell<Topic>>,
    disk: Rc<RefCell<Disk>>,
    fifo: Option<Fifo<FakeBroker, FakeShelf>>,
    connections: BTreeMap<u32, Conn>,
    next_connection: u32,
    now_ns: u64,
    with_spool: bool,
    weather: Weather,
    sights: Sights,
    /// Records that may be in the topic twice.
    repeats_max: u64,
    course: Course,
}

const LINKS: u16 = 3;
const BATCH_BYTES_MAX: usize = 3000;

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let partitions = random.between(1, 5) as usize;
        let topic = Topic {
            partitions: vec![Vec::new(); partitions],
            bytes_max: usize::MAX,
            ..Topic::default()
        };
        Self {
            with_spool: !random.chance(150),
            random,
            topic: Rc::new(RefCell::new(topic)),
            disk: Rc::default(),
            fifo: None,
            connections: BTreeMap::new(),
            next_connection: 0,
            now_ns: 1_000_000_000,
            weather: FAIR,
            sights: Sights::default(),
            repeats_max: 0,
            course: Course::Straight,
        }
    }

    pub(super) fn run(mut self) -> Sights {
        let steps = self.random.between(100, 800);
        for step in 0..steps {
            if self.fifo.is_none() {
                self.start();
            }
            if self.random.chance(15) {
                self.draw_weather();
            }
            if self.random.chance(600) {
                self.send();
            }
            // Sometimes nobody looks for a while.
            let pause = self.random.spread(16, 29);
            self.now_ns += pause;
            self.turn();
            if self.fifo.is_some() && self.random.chance(4) {
                self.die(step);
            }
        }
        self.heal();
        self.judge();
        self.sights
    }

    fn start(&mut self) {
        let broker = Random::new(self.random.draw());
        let broker = FakeBroker::new(Rc::clone(&self.topic), self.weather, broker);
        let shelf = Random::new(self.random.draw());
        let shelf = self.with_spool.then(|| FakeShelf::open(Rc::clone(&self.disk), shelf));
        let mut fifo = Fifo::new(broker, shelf, BATCH_BYTES_MAX);
        // Little enough that a spool is often read in many turns, with new records coming meanwhile.
        fifo.in_hand_bytes_max = self.random.between(1, 20_000) as usize;
        fifo.read_bytes_max = self.random.between(1, 3_000) as usize;
        self.fifo = Some(fifo);
    }

    fn draw_weather(&mut self) {
        let random = &mut self.random;
        self.weather = match random.below(7) {
            0 | 1 => FAIR,
            2 => Weather { silent: true, ..FAIR },
            3 => Weather { silent_partition: Some(random.below(5) as u32), ..FAIR },
            4 => Weather { fails: random.between(1, 300) as u32, ..FAIR },
            5 => Weather { breaks: random.between(1, 100) as u32, ..FAIR },
            _ => Weather { fails: 50, breaks: 20, ..FAIR },
        };
        self.topic.borrow_mut().bytes_max = if self.random.chance(150) { 300 } else { usize::MAX };
        let mut disk = self.disk.borrow_mut();
        disk.full = self.random.chance(150);
        disk.broken = self.random.chance(20);
        drop(disk);
        if let Some(fifo) = &mut self.fifo {
            fifo.broker.weather = self.weather;
        }
    }

    fn send(&mut self) {
        for _ in 0..self.random.between(1, 12) {
            let open: Vec<u32> =
                self.connections.iter().filter(|(_, c)| !c.dead).map(|(id, _)| *id).collect();
            let id = if open.len() < 6 || self.random.chance(50) {
                self.next_connection += 1;
                let link = self.random.below(u64::from(LINKS)) as u16;
                let fresh = Conn { partition_key: self.next_connection, link, ..Conn::default() };
                self.connections.insert(self.next_connection, fresh);
                self.next_connection
            } else {
                open[self.random.below(open.len() as u64) as usize]
            };
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            debug_assert_eq!(connection.partition_key, id);
            connection.sent += 1;
            let mark = Mark { connection: id, number: connection.sent };
            let len = self.random.spread(0, 10) as usize;
            let held = self.random.chance(600);
            let record = Record {
                bytes: mark.bytes(len),
                owner: u64::from(id),
                number: mark.number,
                held,
                epoch: 0,
                memory: 0,
            };
            let link = connection.link;
            if let Some(fifo) = &mut self.fifo {
                fifo.push(link, record);
            }
        }
    }

    fn turn(&mut self) {
        let Some(fifo) = &mut self.fifo else { return };
        let mut done: Vec<Batch> = (0..LINKS).map(|_| Batch::new()).collect();
        let result = fifo.turn(self.now_ns, &mut done);
        let tally = fifo.take_tally();
        self.sights.spooled += tally.spooled;
        self.sights.drained += tally.drained;
        self.sights.resent += tally.resent;
        self.repeats_max += tally.resent;
        let course = fifo.course();
        self.sights.full += u64::from(course == Course::Stuck && self.with_spool);
        self.sights.straightened +=
            u64::from(course == Course::Straight && self.course != Course::Straight);
        self.course = course;
        for (link, batch) in done.into_iter().enumerate() {
            for record in batch {
                self.take_back(link as u16, &record);
            }
        }
        if result.is_err() {
            // What a broken disk says: the process ends.
            self.disk.borrow_mut().broken = false;
            self.die(0);
        }
    }

    fn take_back(&mut self, link: u16, record: &Record) {
        let mark = Mark::of(&record.bytes);
        let connection = self.connections.get_mut(&mark.connection).expect("known");
        assert_eq!(link, connection.link);
        assert_eq!(mark.number, connection.back + 1, "{mark:?}: given back in order, once");
        connection.back = mark.number;
        if record.held {
            connection.promised = mark.number;
            let there = self.topic.borrow().there.contains(&mark);
            let durable = there || self.disk.borrow().durable.contains(&mark);
            assert!(durable, "{mark:?} was given back and lies nowhere");
        }
    }

    /// The process dies; what was not synced is lost with the host.
    fn die(&mut self, _step: u64) {
        let Some(fifo) = self.fifo.take() else { return };
        self.sights.deaths += 1;
        let Fifo { broker, .. } = fifo;
        self.repeats_max += broker.die();
        let mut disk = self.disk.borrow_mut();
        let host_dies = self.random.chance(500);
        for run in &mut disk.runs {
            if host_dies {
                run.frames.truncate(run.synced);
                run.position = run.position.min(run.frames.len());
            } else {
                run.synced = run.frames.len();
            }
            // What had arrived behind the stored position is sent again.
            self.repeats_max += (run.frames.len() - run.position) as u64;
        }
        drop(disk);
        self.connections.values_mut().for_each(|connection| connection.dead = true);
    }

    /// The sky clears: everything must come to its end by itself.
    fn heal(&mut self) {
        self.weather = FAIR;
        self.topic.borrow_mut().bytes_max = usize::MAX;
        (self.disk.borrow_mut().full, self.disk.borrow_mut().broken) = (false, false);
        if self.fifo.is_none() {
            self.start();
        }
        for turn in 0.. {
            if let Some(fifo) = &mut self.fifo {
                fifo.broker.weather = FAIR;
            }
            self.now_ns += 20_000_000;
            self.turn();
            let fifo = self.fifo.as_ref().expect("nothing breaks any more");
            let empty = fifo.shelf.as_ref().is_none_or(FakeShelf::is_empty);
            if fifo.owed() == 0 && fifo.on_the_way() == 0 && empty {
                break;
            }
            assert!(turn < 20_000, "it does not come to an end: {:?}", fifo.course());
        }
        // With something to acknowledge it is on its straight course again.
        self.send();
        for _ in 0..200 {
            self.now_ns += 20_000_000;
            self.turn();
        }
        let fifo = self.fifo.as_ref().expect("nothing breaks any more");
        assert_eq!((fifo.course(), fifo.owed()), (Course::Straight, 0));
    }

    fn judge(&mut self) {
        let topic = self.topic.borrow();
        let mut highest: BTreeMap<u32, (u32, usize)> = BTreeMap::new();
        let mut repeats = 0;
        for (partition, marks) in topic.partitions.iter().enumerate() {
            for mark in marks {
                let (number, home) = highest.entry(mark.connection).or_insert((0, partition));
                assert_eq!(*home, partition, "{mark:?} is on another partition");
                if mark.number <= *number {
                    repeats += 1;
                    continue;
                }
                assert_eq!(mark.number, *number + 1, "{mark:?} comes after {number}");
                *number = mark.number;
            }
        }
        for (id, connection) in &self.connections {
            let there = highest.get(id).map_or(0, |(number, _)| *number);
            assert!(there >= connection.promised, "{id}: {there} of {}", connection.promised);
            if !connection.dead {
                assert_eq!((there, connection.back), (connection.sent, connection.sent), "{id}");
            }
        }
        assert!(repeats <= self.repeats_max, "{repeats} repeats, {} at most", self.repeats_max);
        self.sights.repeats += repeats;
        self.sights.passed_over += self.sights.drained.saturating_sub(repeats);
    }
}
