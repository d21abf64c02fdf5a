//! A disk that fills up, breaks, and forgets what was not synced when the host dies.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashSet},
    rc::Rc,
};

use super::world::Mark;
use crate::{
    log::LogError,
    ring::sim::Random,
    sink::{lease::Ticket, sides::Shelf},
};

/// What is on the disk: of every run its frames. Outlives the runs.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) runs: Vec<Run>,
    /// What was synced, ever.
    pub(super) durable: HashSet<Mark>,
    pub(super) full: bool,
    pub(super) broken: bool,
}

/// One incarnation.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub(super) frames: Vec<Vec<u8>>,
    /// So many survive.
    pub(super) synced: usize,
    /// So many have arrived, as stored.
    pub(super) position: usize,
}

/// See the file.
pub(super) struct FakeShelf {
    pub(super) disk: Rc<RefCell<Disk>>,
    pub(super) random: Random,
    /// By run: read up to here, and what has arrived.
    reading: Vec<(usize, BTreeSet<usize>)>,
    own: usize,
    /// The search for earlier runs takes so many more looks.
    pub(super) searching: u32,
    checked_ns: u64,
}

impl FakeShelf {
    pub(super) fn open(disk: Rc<RefCell<Disk>>, mut random: Random) -> Self {
        let (own, reading) = {
            let mut disk = disk.borrow_mut();
            disk.runs.push(Run::default());
            let reading = disk.runs.iter().map(|run| (run.position, BTreeSet::new())).collect();
            (disk.runs.len() - 1, reading)
        };
        let searching = if own > 0 { random.below(50) as u32 } else { 0 };
        Self { disk, random, reading, own, searching, checked_ns: 0 }
    }

    fn error(code: i32) -> LogError {
        let error = std::io::Error::from_raw_os_error(code);
        LogError::failed(std::path::Path::new("spool"), "write", error)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.disk.borrow().runs.iter().all(|run| run.position == run.frames.len())
    }
}

impl Shelf for FakeShelf {
    fn append(&mut self, payloads: &[&[u8]]) -> Result<Ticket, LogError> {
        let mut disk = self.disk.borrow_mut();
        if disk.full {
            return Err(Self::error(28));
        }
        let run = &mut disk.runs[self.own];
        let sequence = run.frames.len() as u64;
        run.frames.extend(payloads.iter().map(|payload| payload.to_vec()));
        Ok(Ticket { source: self.own as u32, sequence })
    }

    fn sync(&mut self) -> Result<(), LogError> {
        let mut disk = self.disk.borrow_mut();
        if disk.broken {
            return Err(Self::error(5));
        }
        let Disk { runs, durable, .. } = &mut *disk;
        let run = &mut runs[self.own];
        durable.extend(run.frames[run.synced..].iter().map(|frame| Mark::of(frame)));
        run.synced = run.frames.len();
        Ok(())
    }

    fn read(&mut self) -> Result<Option<(Ticket, Vec<u8>)>, LogError> {
        if self.searching > 0 {
            self.searching -= 1;
            return Ok(None);
        }
        let disk = self.disk.borrow();
        for (number, (next, _)) in self.reading.iter_mut().enumerate() {
            if let Some(frame) = disk.runs[number].frames.get(*next) {
                let ticket = Ticket { source: number as u32, sequence: *next as u64 };
                *next += 1;
                return Ok(Some((ticket, frame.clone())));
            }
        }
        Ok(None)
    }

    fn is_read(&self) -> bool {
        let disk = self.disk.borrow();
        let read = |(run, (next, _)): (&Run, &(usize, _))| run.frames.len() == *next;
        self.searching == 0 && disk.runs.iter().zip(&self.reading).all(read)
    }

    fn arrived(&mut self, ticket: Ticket) {
        self.reading[ticket.source as usize].1.insert(ticket.sequence as usize);
    }

    fn checkpoint(&mut self, now_ns: u64) -> Result<(), LogError> {
        if now_ns < self.checked_ns + 100_000_000 && self.random.chance(900) {
            return Ok(());
        }
        self.checked_ns = now_ns;
        let mut disk = self.disk.borrow_mut();
        for (run, (next, arrived)) in disk.runs.iter_mut().zip(&mut self.reading) {
            while run.position < *next && arrived.remove(&run.position) {
                run.position += 1;
            }
        }
        Ok(())
    }
}
