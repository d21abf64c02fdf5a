//! The spool in the log directory: this run's incarnation, and those that earlier runs left.
//!
//! Older ones are read to their end before the own one, so that all of the old arrives before any of the new. They are
//! looked for at the start and every second from then on (a run that hands its sockets over ends later than its
//! successor starts), on a thread of its own: ending a dead run's last segment means reading it.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    SinkCounters, SpoolBacklog,
    lease::Ticket,
    ledger::{Ledger, Place},
    sides::Shelf,
};
use crate::{
    log::{self, LogError, Outcome, Position, RECORD, Reader, Recovered, Writer},
    sys::bell::Bell,
};

/// The position is stored after so many records have arrived, or after so long.
const CHECKPOINT_RECORDS: u64 = 1000;
/// See above.
const CHECKPOINT_NS: u64 = 100_000_000;
/// How often spools of runs that ended meanwhile are looked for.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);
/// The source number of the own incarnation: behind all others.
const OWN: u32 = u32::MAX;

/// See the file.
pub struct LogSpool {
    dir: PathBuf,
    writer: Writer,
    own: Source,
    older: VecDeque<Source>,
    sources: u32,
    found: Receiver<Found>,
    /// The first search is not over.
    searching: bool,
    _ended: Ended,
    /// Arrived since the last checkpoint, and when that was.
    arrived: u64,
    checked_ns: u64,
    /// When the own records were appended: first sequence and Unix time, one entry a second.
    times: VecDeque<(u64, u64)>,
    /// Losses that reading met.
    losses: u64,
    counters: Arc<SinkCounters>,
}

/// One incarnation.
struct Source {
    number: u32,
    spool: log::Spool,
    reader: Reader,
    ledger: Ledger,
    position: Position,
    read: bool,
    /// When its oldest record was written, Unix nanoseconds.
    since_ns: u64,
}

enum Found {
    Leftover(log::Spool, Option<Recovered>),
    Failed(LogError),
    /// A search is over.
    Searched,
}

impl LogSpool {
    /// Begins an incarnation of its own. `bell` is rung when something was found.
    pub fn open(
        settings: log::Settings,
        node: &str,
        incarnation: u64,
        bell: &Arc<Bell>,
        counters: Arc<SinkCounters>,
    ) -> Result<Self, LogError> {
        let dir = settings.dir.clone();
        let writer = Writer::create(settings, node, incarnation, SystemTime::now())?;
        let spool = log::Spool::of(&writer, &dir)?;
        let searching = log::any_leftover(&dir)?;
        let own = Source::new(OWN, spool, 0)?;
        let ended = Arc::new(AtomicBool::new(false));
        let found = search(&dir, &ended, bell)
            .map_err(|error| LogError::failed(&dir, "starting a thread", error))?;
        Ok(Self {
            dir,
            writer,
            own,
            older: VecDeque::new(),
            sources: 0,
            found,
            searching,
            _ended: Ended(ended),
            arrived: 0,
            checked_ns: 0,
            times: VecDeque::new(),
            losses: 0,
            counters,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes over what was found; true when there is something to carry.
    pub(super) fn take_found(&mut self) -> Result<bool, LogError> {
        let mut any = false;
        while let Ok(found) = self.found.try_recv() {
            match found {
                Found::Searched => self.searching = false,
                Found::Failed(error) => {
                    self.searching = false;
                    return Err(error);
                }
                Found::Leftover(spool, recovered) => {
                    any = true;
                    tell(&spool, recovered.as_ref());
                    self.sources += 1;
                    self.older.push_back(Source::new(self.sources, spool, unix_ns())?);
                }
            }
        }
        Ok(any)
    }

    /// How much has not arrived.
    pub(super) fn backlog(&mut self) -> SpoolBacklog {
        let records = self.writer.next_sequence() - self.own.position.next;
        while let Some((first, _)) = self.times.get(1)
            && *first <= self.own.position.next
        {
            self.times.pop_front();
        }
        let own = self.times.front().filter(|_| records > 0).map(|(_, at)| *at);
        let oldest = self.older.front().map(|source| source.since_ns).or(own);
        // Segments before the position are gone, so that this is bytes appended less bytes passed.
        let own_bytes = if records > 0 { self.own.spool.bytes_from(&self.own.position) } else { 0 };
        let older: u64 =
            self.older.iter().map(|source| source.spool.bytes_from(&source.position)).sum();
        SpoolBacklog {
            records,
            bytes: own_bytes + older,
            oldest_unix_ns: oldest.unwrap_or(0),
            earlier_runs: self.older.len() as u64,
            losses: self.losses,
        }
    }

    /// Ends this run's incarnation; what has not arrived is left for the next run.
    pub(super) fn close(mut self) -> Result<(), LogError> {
        self.writer.sync()?;
        self.store()?;
        let arrived = self.own.position.next == self.writer.next_sequence();
        self.own.spool.close(self.writer, arrived)
    }

    fn store(&mut self) -> Result<(), LogError> {
        self.arrived = 0;
        for source in std::iter::once(&mut self.own).chain(&mut self.older) {
            source.store()?;
        }
        while self.older.front().is_some_and(|source| source.read && source.ledger.is_empty()) {
            let Some(source) = self.older.pop_front() else { break };
            tracing::info!(
                event = "spool.drained",
                incarnation = source.spool.name(),
                "what an earlier run left in the spool has arrived"
            );
            source.spool.remove()?;
        }
        Ok(())
    }

    fn source(&mut self, number: u32) -> Option<&mut Source> {
        if number == OWN {
            return Some(&mut self.own);
        }
        self.older.iter_mut().find(|source| source.number == number)
    }
}

impl Shelf for LogSpool {
    fn append(&mut self, payloads: &[&[u8]]) -> Result<Ticket, LogError> {
        let range = self.writer.append(payloads)?;
        let now = unix_ns();
        if self.times.back().is_none_or(|(_, at)| now >= at + 1_000_000_000) {
            self.times.push_back((range.start, now));
        }
        Ok(Ticket { source: OWN, sequence: range.start })
    }

    fn sync(&mut self) -> Result<(), LogError> {
        let began = Instant::now();
        self.writer.sync()?;
        self.counters.synced(began);
        Ok(())
    }

    fn read(&mut self) -> Result<Option<(Ticket, Vec<u8>)>, LogError> {
        if self.searching {
            return Ok(None);
        }
        let end = self.writer.next_sequence();
        for source in self.older.iter_mut().filter(|source| !source.read) {
            match source.next(&mut self.losses)? {
                Some(found) => return Ok(Some(found)),
                None => source.read = true,
            }
        }
        if self.own.reader.next_sequence() == end {
            return Ok(None);
        }
        self.own.next(&mut self.losses)
    }

    fn is_read(&self) -> bool {
        !self.searching
            && self.older.iter().all(|source| source.read)
            && self.own.reader.next_sequence() == self.writer.next_sequence()
    }

    fn arrived(&mut self, ticket: Ticket) {
        self.arrived += 1;
        if let Some(source) = self.source(ticket.source) {
            source.ledger.arrived(ticket.sequence);
        }
    }

    fn checkpoint(&mut self, now_ns: u64) -> Result<(), LogError> {
        let removable =
            self.older.front().is_some_and(|source| source.read && source.ledger.is_empty());
        let due = self.arrived >= CHECKPOINT_RECORDS
            || (self.arrived > 0 && now_ns >= self.checked_ns + CHECKPOINT_NS);
        if !due && !removable {
            return Ok(());
        }
        self.checked_ns = now_ns;
        self.store()
    }
}

/// Ends the search.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Source {
    fn new(number: u32, spool: log::Spool, since_ns: u64) -> Result<Self, LogError> {
        let position = spool.position()?;
        let reader = spool.reader(&position)?;
        let ledger = Ledger::default();
        Ok(Self { number, spool, reader, ledger, position, read: false, since_ns })
    }

    fn next(&mut self, losses: &mut u64) -> Result<Option<(Ticket, Vec<u8>)>, LogError> {
        loop {
            match self.reader.next() {
                Ok(Some(frame)) => {
                    let (sequence, after) = (frame.sequence, frame.after);
                    let place = Place { sequence, segment: after.segment, offset: after.offset };
                    let payload = (frame.kind == RECORD).then(|| frame.payload.to_vec());
                    self.ledger.read(place);
                    match payload {
                        Some(payload) => {
                            return Ok(Some((Ticket { source: self.number, sequence }, payload)));
                        }
                        None => self.ledger.arrived(sequence),
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) if error.is_loss() => {
                    *losses += 1;
                    tracing::error!(event = "spool.lost", "{error}");
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn store(&mut self) -> Result<(), LogError> {
        let Some(place) = self.ledger.take_passed() else { return Ok(()) };
        self.position.segment = place.segment;
        self.position.offset = place.offset;
        self.position.next = place.sequence + 1;
        self.spool.advance(&self.position)
    }
}

/// Looks for spools that dead runs left, until the spool ends.
fn search(
    dir: &Path,
    ended: &Arc<AtomicBool>,
    bell: &Arc<Bell>,
) -> std::io::Result<Receiver<Found>> {
    let (tell, found) = channel();
    let (dir, ended, bell) = (dir.to_path_buf(), Arc::clone(ended), Arc::clone(bell));
    let work = move || {
        let mut first = true;
        while !ended.load(Ordering::Acquire) {
            let mut news = first;
            match log::Spool::leftovers(&dir) {
                Ok(leftovers) => {
                    for (spool, recovered) in leftovers {
                        news = true;
                        if tell.send(Found::Leftover(spool, recovered)).is_err() {
                            return;
                        }
                    }
                }
                // Later a directory that has gone is noticed by whoever writes to it.
                Err(error) if first => {
                    if tell.send(Found::Failed(error)).is_err() {
                        return;
                    }
                }
                Err(_) => {}
            }
            if std::mem::take(&mut first) && tell.send(Found::Searched).is_err() {
                return;
            }
            if news {
                bell.ring_always();
            }
            thread::sleep(SEARCH_PAUSE);
        }
    };
    thread::Builder::new().name("spool-search".into()).spawn(work).map(|_| found)
}

fn tell(spool: &log::Spool, recovered: Option<&Recovered>) {
    let incarnation = spool.name();
    match recovered.map(|recovered| &recovered.outcome) {
        Some(Outcome::Corrupt { lost, .. }) => tracing::error!(
            event = "spool.corrupt",
            incarnation,
            ?lost,
            "records that an earlier run left in the spool are damaged; the segment was kept aside, the rest goes to \
             Kafka"
        ),
        other => tracing::info!(
            event = "spool.found",
            incarnation,
            clean = other.is_none(),
            "an earlier run left records in the spool; they go to Kafka before newer ones"
        ),
    }
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
