//! Power that is lost at any moment: what `sync` promised is there, what it did not is there whole or not at all, and
//! nobody is asked.
//!
//! Each seed lives several lives on one disk, each ended by the power. `SEED=n cargo test power` lives one of them
//! again, `TAPLINE_SIM_SEEDS=n` more of them.

use std::collections::BTreeMap;
use std::path::Path;

use super::volatile::{Machine, Random};
use super::{read_all, start};
use crate::log::directory::{DRAINED_NAME, incarnations};
use crate::log::{
    LogError, Outcome, Position, Reader, Recovered, Settings, Spool, Writer, recover,
};

const SEEDS: u64 = 400;
const LIVES: u32 = 4;

/// What happened to one incarnation, as its user knows it.
#[derive(Default)]
struct Told {
    /// What was handed over under each sequence; several, when a batch was undone and another one came.
    offered: Vec<Vec<Vec<u8>>>,
    /// Records before this must be there.
    durable: u64,
    /// Of a spool: where it may have been carried on from.
    positions: Vec<Position>,
    marked: bool,
    /// Nothing of it has to be there any more.
    given_up: bool,
}

struct World {
    seed: u64,
    root: tempfile::TempDir,
    random: Random,
    life: u32,
    told: BTreeMap<u64, Told>,
}

#[test]
fn power_what_was_synced_is_in_the_log_and_nothing_is_damaged() {
    for_each_seed(|world| world.live(World::log_life));
}

#[test]
fn power_what_was_synced_is_in_the_spool_or_has_arrived() {
    for_each_seed(|world| world.live(World::spool_life));
}

fn for_each_seed(one: impl Fn(&mut World)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TAPLINE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let mut world = World::new(seed);
        (0..LIVES).for_each(|_| one(&mut world));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SEED={}, in life {}", self.seed, self.life);
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        // Memory where there is some: the disk is a fake, and what it is made of need not be one.
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        std::fs::create_dir(root.path().join("0")).unwrap();
        Self { seed, root, random: Random(seed), life: 0, told: BTreeMap::new() }
    }

    /// One life, from the disk that the last one left.
    fn live(&mut self, work: fn(&mut Self, &Machine, &Path) -> Result<(), LogError>) {
        let base = self.root.path().join(self.life.to_string());
        self.life += 1;
        let after = self.root.path().join(self.life.to_string());
        let syncs = self.chance(3).then(|| self.random.below(40) as u32);
        let machine = Machine::start(&base, &after, self.random.next(), syncs);
        let ended = work(self, &machine, &base.join("deep/down/log"));
        if let Err(error) = ended {
            assert!(machine.is_off() || error.is_disk_full(), "{error}");
        }
        machine.cut();
    }

    fn log_life(&mut self, machine: &Machine, dir: &Path) -> Result<(), LogError> {
        let before = dir.exists().then(|| read_all(dir, &Position::start()));
        recover(dir)?.iter().for_each(undamaged);
        assert_eq!(recover(dir)?, [], "once is enough");
        let after = read_all(dir, &Position::start());
        assert!(
            before.is_none_or(|before| before == after),
            "recovery changes nothing for readers"
        );
        let mut found: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
        for (incarnation, sequence, payload) in after {
            let frames = found.entry(incarnation).or_default();
            assert_eq!(frames.len() as u64, sequence, "in order, from the first");
            frames.push(payload);
        }
        for (id, told) in &mut self.told {
            told.judge(0, found.remove(id).unwrap_or_default());
        }
        assert!(found.is_empty(), "nobody wrote {found:?}");
        let (mut writer, id) = self.writer(machine, dir)?;
        for _ in 0..self.random.below(25) {
            self.write(&mut writer, id)?;
        }
        if self.chance(4) {
            let next = writer.next_sequence();
            machine.be_near_the_end();
            writer.close()?;
            self.told(id).durable = next;
        }
        Ok(())
    }

    fn spool_life(&mut self, machine: &Machine, dir: &Path) -> Result<(), LogError> {
        let mut found = Vec::new();
        // Before the life's own, of which it would take a moment to find that it lives.
        let leftovers = if dir.exists() { Spool::leftovers(dir)? } else { Vec::new() };
        for (spool, recovered) in leftovers {
            recovered.iter().for_each(undamaged);
            found.push(spool.incarnation());
            if self.chance(4) {
                machine.be_near_the_end();
            }
            self.carry(spool)?;
        }
        self.check_marks(dir, &found);
        let (mut writer, id) = self.writer(machine, dir)?;
        let name = writer.directory().file_name().unwrap().to_string_lossy().into_owned();
        self.told(id).positions = vec![Position { incarnation: name, ..Position::start() }];
        let spool = Spool::of(&writer, dir)?;
        self.told(id).marked = true;
        let mut reader = spool.reader(&spool.position()?)?;
        for _ in 0..self.random.below(25) {
            self.write(&mut writer, id)?;
            while self.chance(2) && reader.next()?.is_some() {}
            if self.chance(8) {
                self.advance(id, &spool, &reader)?;
            }
        }
        if self.chance(4) {
            machine.be_near_the_end();
            writer.sync()?;
            self.told(id).durable = writer.next_sequence();
            self.advance(id, &spool, &reader)?;
            let arrived = reader.next_sequence() == writer.next_sequence();
            self.told(id).given_up = arrived;
            spool.close(writer, arrived)?;
        }
        Ok(())
    }

    /// Looks at a spool that an earlier life left, and carries some of it on.
    fn carry(&mut self, spool: Spool) -> Result<(), LogError> {
        let id = spool.incarnation();
        let position = spool.position()?;
        let told = self.told(id);
        assert!(told.positions.contains(&position), "{position:?} of {:?}", told.positions);
        told.positions = vec![position.clone()];
        let mut reader = spool.reader(&position)?;
        let mut rest = Vec::new();
        while let Some(frame) = reader.next()? {
            assert_eq!(frame.incarnation, id);
            assert_eq!(frame.sequence, position.next + rest.len() as u64);
            rest.push(frame.payload.to_vec());
        }
        told.judge(position.next, rest.clone());
        let whole = self.chance(2);
        let mut reader = spool.reader(&position)?;
        let count =
            if whole { rest.len() as u64 } else { self.random.below(1 + rest.len() as u64) };
        for _ in 0..count {
            reader.next()?;
        }
        self.advance(id, &spool, &reader)?;
        if whole {
            self.told(id).given_up = true;
            spool.remove()?;
        }
        Ok(())
    }

    /// A spool is known by its mark until its last segment has gone.
    fn check_marks(&self, dir: &Path, found: &[u64]) {
        for incarnation in incarnations(dir).unwrap_or_default() {
            let told = &self.told[&incarnation.id];
            let segments = incarnation.segments().unwrap().len();
            let marked = incarnation.path.join(DRAINED_NAME).exists();
            assert!(marked || segments == 0 || !told.marked, "a spool without its mark");
        }
        for (id, told) in self.told.iter().filter(|(_, told)| !told.given_up) {
            let carried = told.positions.iter().map(|position| position.next).min();
            assert!(
                found.contains(id) || told.durable <= carried.unwrap_or(0),
                "{} records of {id} are nowhere",
                told.durable
            );
        }
    }

    fn advance(&mut self, id: u64, spool: &Spool, reader: &Reader) -> Result<(), LogError> {
        let position = reader.position();
        let told = self.told(id);
        told.positions.push(position.clone());
        spool.advance(&position)?;
        told.positions = vec![position];
        Ok(())
    }

    fn writer(&mut self, machine: &Machine, dir: &Path) -> Result<(Writer, u64), LogError> {
        let id = u64::from(self.life) << 32 | self.random.next() >> 32;
        self.told.insert(id, Told::default());
        let segment_bytes = 4096 + 512 * self.random.below(60);
        let settings = Settings { segment_bytes, reserve_bytes: 0, ..Settings::new(dir) };
        let writer = Writer::create_on(Box::new(machine.clone()), settings, "n", id, start())?;
        Ok((writer, id))
    }

    /// Hands over a batch; mostly makes it durable then, and sometimes takes a while until then.
    fn write(&mut self, writer: &mut Writer, id: u64) -> Result<(), LogError> {
        let batch: Vec<Vec<u8>> = (0..=self.random.below(5)).map(|_| self.payload()).collect();
        let payloads: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        let first = writer.next_sequence();
        self.told(id).offer(first, &batch);
        if let Err(error) = writer.append(&payloads)
            && !error.is_disk_full()
        {
            return Err(error);
        }
        if self.chance(3) {
            writer.sync()?;
            self.told(id).durable = writer.next_sequence();
        }
        Ok(())
    }

    fn payload(&mut self) -> Vec<u8> {
        let bytes = match self.random.below(10) {
            0 => 16_000 + self.random.below(4000),
            1..4 => self.random.below(5000),
            _ => self.random.below(300),
        };
        // No byte of it is zero: text, as it mostly is.
        let pattern = (self.random.next() | 0x0101_0101_0101_0101).to_le_bytes();
        let mut payload = pattern.repeat(bytes as usize / 8 + 1);
        payload.truncate(bytes as usize);
        payload
    }

    fn told(&mut self, id: u64) -> &mut Told {
        self.told.get_mut(&id).expect("it was made in some life")
    }

    fn chance(&mut self, one_of: u64) -> bool {
        self.random.below(one_of) == 0
    }
}

impl Told {
    fn offer(&mut self, first: u64, batch: &[Vec<u8>]) {
        for (at, payload) in (first as usize..).zip(batch) {
            if self.offered.len() == at {
                self.offered.push(Vec::new());
            }
            self.offered[at].push(payload.clone());
        }
    }

    /// What is read from `first` on is what was handed over, and nothing durable is missing. From then on all of it is.
    fn judge(&mut self, first: u64, found: Vec<Vec<u8>>) {
        let next = first + found.len() as u64;
        assert!(next >= self.durable || self.given_up, "{} of {} are there", next, self.durable);
        for (at, payload) in (first as usize..).zip(found) {
            assert!(self.offered[at].contains(&payload), "record {at} was never handed over");
            self.offered[at] = vec![payload];
        }
        self.durable = next.max(self.durable);
        self.offered.truncate(self.durable as usize);
    }
}

fn undamaged(found: &Recovered) {
    assert!(!matches!(found.outcome, Outcome::Corrupt { .. }), "{found:?}");
}
