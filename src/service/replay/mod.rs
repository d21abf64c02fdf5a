//! The process of `tapline replay`.
//!
//! One thread reads records, turns the core and hands out jobs; one thread per worker speaks with the target; one
//! writes outcomes. They wake each other by bells, and sleep when there is nothing to do.

mod aws;
mod board;
mod crew;
mod desk;
mod identity;
mod parts;
mod programs;
mod progress;
mod start_after;
mod tend;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGUSR1},
    flag,
};

use self::{
    aws::Signing,
    board::{Board, Phase},
    crew::Crew,
    desk::Desk,
    progress::{Progress, Summary, View},
    tend::Tended,
};
use super::checks;
use crate::{
    config::{Loaded, replay::ReplayConfig},
    feed::{Feed, Next},
    observe::{ExitCode, Failure},
    replay::{
        conductor::{Conductor, Now},
        exchange::Mark,
    },
    sys::{bell::Bell, clock::Clock, state},
};

/// Records taken from the feed before anything else is looked at.
const RECORDS_PER_TURN: usize = 64;
/// Bytes of them.
const RECORD_BYTES_PER_TURN: usize = 1 << 20;
/// Jobs handed out before anything else is looked at.
const JOBS_PER_TURN: usize = 256;
/// How long the thread sleeps when the feed has nothing: how late a record of a live log may be noticed.
const FEED_NAP: Duration = Duration::from_millis(5);
/// The longest sleep.
const NAP_MAX: Duration = Duration::from_millis(500);
/// How often positions are stored.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// How often the feed is asked what is left.
const BACKLOG_EVERY: Duration = Duration::from_secs(1);
/// How long a closing lane may have requests in flight; the group waits for us.
const LANE_PATIENCE: Duration = Duration::from_secs(8);

/// Why it does not go faster, when that is so.
const SLOW_TUPLES: &str =
    "tuples are written more slowly than the target answers; --tuples off leaves them out";

/// Runs until the end of the records, or until stopped by a signal.
pub fn run(loaded: &Loaded<ReplayConfig>) -> Result<(), Failure> {
    let Loaded { config, effective } = loaded;
    checks::rings()?;
    checks::descriptors_for_replay()?;
    state::prepare(&config.state_dir).map_err(Failure::configuration)?;
    let signals = Signals::watch()?;
    let admin = checks::admin(&config.admin, false)?;
    let admin_at = admin.to_string();
    let bell = Arc::new(Bell::new().map_err(|error| Failure::new(ExitCode::Failed, error))?);
    let board = Board::open(config, effective, &bell, admin)?;
    let conductor = parts::core(config)?;
    // Early: whoever waits for a start condition learns now that there are none.
    let signing = Signing::start(config)?;
    let mut feed = parts::feed(config)?;
    let mut tended = Tended::new(&mut *feed);
    let mut stop = || !tended.serve() || signals.stopped();
    let holds = start_after::wait(&config.start_after, config.source.as_ref(), &mut stop)?;
    if !holds {
        tended.end()?;
        tracing::info!(
            event = "replay.stopped",
            "stopped before the start conditions held; nothing was sent"
        );
        return feed.close();
    }
    let mut crew = Crew::hire(config, &bell)?;
    let uuid = identity::check(config, &mut crew, &bell, signing.keeper(), &mut stop)?;
    let losses = tended.end()?;
    let desk = Desk::open(config, &bell, feed.is_new())?;
    let mut run = Run {
        config,
        signals,
        conductor,
        signing,
        feed,
        crew,
        desk,
        bell,
        board,
        clock: Clock::default(),
        progress: Progress::new(),
        view: View::default(),
        closing: Vec::new(),
        feed_ended: false,
        saved_ns: 0,
        backlog_ns: 0,
        stopping_ns: None,
    };
    run.conductor.recall(run.desk.known());
    run.conductor.set_target_uuid(uuid);
    (0..losses).for_each(|_| run.conductor.loss());
    tracing::info!(
        event = "replay.ready", target = %config.target, input = ?config.input, group = config.group,
        order = ?config.order, speed = ?config.speed, read_ahead_bytes = parts::read_ahead(config),
        admin = admin_at,
        "replaying"
    );
    run.board.phase(Phase::Replaying);
    let result = run.work();
    run.progress.end();
    match result {
        Ok(()) => run.finish(),
        Err(failure) => {
            run.progress.beat(&run.view, "replay.failed");
            Err(failure)
        }
    }
}

/// Whether transforms, filters and credentials can be read; for `--check`.
pub(super) fn check_rewriting(config: &ReplayConfig) -> Result<(), Failure> {
    parts::core(config).map(drop)
}

/// Flags that signals raise.
struct Signals {
    stop: Arc<AtomicBool>,
    report: Arc<AtomicBool>,
}

impl Signals {
    /// The first SIGTERM or SIGINT asks for an orderly end, the second ends the process.
    fn watch() -> Result<Self, Failure> {
        let (stop, report) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let watched = [SIGINT, SIGTERM].into_iter().try_for_each(|signal| {
            flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop)).map(drop)
        });
        watched.and_then(|()| flag::register(SIGUSR1, Arc::clone(&report)).map(drop)).map_err(
            |error| Failure::new(ExitCode::Failed, format!("cannot watch for signals: {error}")),
        )?;
        Ok(Self { stop, report })
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

struct Run<'a> {
    config: &'a ReplayConfig,
    signals: Signals,
    conductor: Conductor,
    signing: Signing,
    feed: Box<dyn Feed>,
    crew: Crew,
    desk: Desk,
    bell: Arc<Bell>,
    board: Arc<Board>,
    clock: Clock,
    progress: Progress,
    view: View,
    /// Lanes that somebody else is waiting for, and since when.
    closing: Vec<(u32, u64)>,
    feed_ended: bool,
    saved_ns: u64,
    backlog_ns: u64,
    stopping_ns: Option<u64>,
}

impl Run<'_> {
    fn work(&mut self) -> Result<(), Failure> {
        loop {
            let now = self.now();
            self.board.turned();
            self.signing.refresh(&mut self.conductor, now.monotonic_ns);
            let mut busy = self.crew.collect(|reply| self.conductor.reply(reply, now));
            busy |= self.desk.collect(&mut self.conductor)?;
            self.crew.check()?;
            // Before records are read: the target waits meanwhile.
            busy |= self.send(now);
            let feed = self.read(now)?;
            if self.conductor.target_is_source() {
                return Err(identity::same(
                    "a captured answer of the source says the target's cluster_uuid",
                ));
            }
            busy |= feed == Feeding::Read;
            busy |= self.send(now);
            self.desk.submit(&mut self.conductor)?;
            self.close_lanes(now)?;
            self.save(now, false)?;
            self.look(now);
            if self.signals.stopped() && self.stopping_ns.is_none() {
                tracing::info!(event = "replay.stopping", "finishing what is in flight");
                self.stopping_ns = Some(now.monotonic_ns);
                self.board.phase(Phase::Stopping);
                self.conductor.drain();
            }
            if self.is_over(now) {
                return Ok(());
            }
            if !busy {
                self.sleep(now, feed);
            }
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_ns: self.clock.monotonic_ns(), unix_ns: self.clock.unix_ns() as i64 }
    }

    /// Takes records until the core has enough or others are to be looked after.
    fn read(&mut self, now: Now) -> Result<Feeding, Failure> {
        if self.feed_ended && self.closing.is_empty() {
            return Ok(Feeding::Nothing);
        }
        let mut bytes = 0;
        let mut feeding = Feeding::Nothing;
        let started = Instant::now();
        for _ in 0..RECORDS_PER_TURN {
            let wanted = self.conductor.wants_records(now) && !self.desk.is_full();
            match self.feed.next(wanted, started)? {
                Next::Record(record) => {
                    let mark = Mark { lane: record.lane, number: record.number };
                    match &record.poison {
                        None => self.conductor.record(mark, &record.place, record.payload),
                        Some(why) => {
                            self.conductor.poison(mark, &record.place, record.payload, why);
                        }
                    }
                    bytes += record.payload.len();
                    feeding = Feeding::Read;
                    if bytes >= RECORD_BYTES_PER_TURN {
                        break;
                    }
                }
                Next::Loss { text, records } => {
                    tracing::error!(event = "replay.loss", records, "{text}");
                    self.conductor.loss();
                    feeding = Feeding::Read;
                }
                Next::LaneClosing { lane } => {
                    self.conductor.close_lane(lane);
                    self.closing.push((lane, now.monotonic_ns));
                }
                Next::LaneLost { lane } => {
                    self.conductor.drop_lane(lane);
                    self.desk.left(lane);
                    self.closing.retain(|(closing, _)| *closing != lane);
                }
                Next::Idle => {
                    if wanted && feeding == Feeding::Nothing {
                        feeding = Feeding::Idle;
                    }
                    break;
                }
                Next::End => {
                    if !self.feed_ended {
                        self.feed_ended = true;
                        self.conductor.end();
                        feeding = Feeding::Read;
                    }
                    break;
                }
            }
        }
        Ok(feeding)
    }

    /// Hands out what may go.
    fn send(&mut self, now: Now) -> bool {
        if self.desk.is_full() {
            return false;
        }
        let mut sent = 0;
        while sent < JOBS_PER_TURN {
            let Some(job) = self.conductor.next_job(now) else { break };
            self.crew.send(job);
            sent += 1;
        }
        self.crew.flush();
        if sent == 0 {
            self.conductor.unblock();
        }
        sent > 0
    }

    /// Gives lanes away in which nothing is under way any more, or that have been waited for long enough.
    fn close_lanes(&mut self, now: Now) -> Result<(), Failure> {
        if self.closing.is_empty() {
            return Ok(());
        }
        let deadline = LANE_PATIENCE.as_nanos() as u64;
        let (quiet, busy): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.closing).into_iter().partition(|(lane, since)| {
                self.conductor.lane_is_quiet(*lane) || now.monotonic_ns > since + deadline
            });
        self.closing = busy;
        if quiet.is_empty() {
            return Ok(());
        }
        // What is done goes with the release: the group stores it before it gives the lane away.
        self.save(now, true)?;
        for (lane, _) in quiet {
            self.conductor.drop_lane(lane);
            self.desk.left(lane);
            self.feed.release(lane);
        }
        Ok(())
    }

    /// Stores positions from time to time, or now.
    fn save(&mut self, now: Now, at_once: bool) -> Result<(), Failure> {
        if !at_once && now.monotonic_ns < self.saved_ns + SAVE_EVERY.as_nanos() as u64 {
            return Ok(());
        }
        self.saved_ns = now.monotonic_ns;
        let mut lanes = Vec::new();
        self.conductor.done(|lane, number| lanes.push((lane, number)));
        for (lane, number) in &lanes {
            self.feed.done(*lane, *number);
        }
        self.feed.save(false)?;
        self.desk.saved(&self.feed.stored())
    }

    /// Tells people how things go.
    fn look(&mut self, now: Now) {
        let report = self.signals.report.swap(false, Ordering::Relaxed);
        if !report && !self.progress.is_due(now.monotonic_ns) {
            return;
        }
        if now.monotonic_ns >= self.backlog_ns + BACKLOG_EVERY.as_nanos() as u64 {
            self.backlog_ns = now.monotonic_ns;
            let backlog = self.feed.backlog();
            self.view.records_left = backlog.records;
            self.view.bytes_left = backlog.bytes;
        }
        self.view.take(self.conductor.look(now));
        self.view.totals.tuple_waits = self.desk.waits();
        if self.desk.is_full() {
            self.view.why = SLOW_TUPLES.into();
        }
        self.view.no_records = self.feed.trouble().map(str::to_owned);
        if let Some(why) = &self.view.no_records {
            self.view.why.clone_from(why);
        }
        self.progress.look(&self.view, now.monotonic_ns);
        self.board.note(&self.view);
        if report {
            self.progress.beat(&self.view, "replay.counters");
        }
    }

    fn is_over(&self, now: Now) -> bool {
        let settled = self.conductor.is_settled() && self.desk.is_settled();
        match self.stopping_ns {
            Some(since) => {
                settled || now.monotonic_ns > since + self.config.drain_timeout.as_nanos() as u64
            }
            None => self.feed_ended && settled,
        }
    }

    fn sleep(&mut self, now: Now, feed: Feeding) {
        let mut nap =
            if feed == Feeding::Idle || !self.closing.is_empty() { FEED_NAP } else { NAP_MAX };
        if let Some(due) = self.conductor.next_due_ns() {
            nap = nap.min(Duration::from_nanos(due.saturating_sub(now.monotonic_ns)));
        }
        if nap.is_zero() {
            return;
        }
        self.bell.park();
        if self.crew.is_quiet() && self.desk.is_quiet() {
            let timeout =
                Timespec { tv_sec: nap.as_secs() as i64, tv_nsec: i64::from(nap.subsec_nanos()) };
            let mut fds = [PollFd::new(self.bell.event(), PollFlags::IN)];
            // An interruption is a wake-up like any other.
            if matches!(poll(&mut fds, Some(&timeout)), Ok(ready) if ready > 0) {
                self.bell.hush();
            }
        }
        self.bell.unpark();
    }

    /// Everything that can be is finished: store it, say what was done.
    fn finish(mut self) -> Result<(), Failure> {
        let now = self.now();
        self.crew.dismiss();
        self.desk.close(&mut self.conductor)?;
        self.save(now, true)?;
        self.view.take(self.conductor.look(now));
        self.view.totals.tuple_waits = self.desk.waits();
        let stopped = self.stopping_ns.is_some();
        let summary = Summary::new(&self.view, now.monotonic_ns as f64 / 1e9, stopped);
        eprintln!("tapline: {}", summary.text());
        if let Some(path) = &self.config.summary {
            std::fs::write(path, summary.to_json() + "\n").map_err(|error| {
                Failure::new(
                    ExitCode::Failed,
                    format!("the summary {} cannot be written: {error}", path.display()),
                )
            })?;
        }
        self.feed.close()
    }
}

/// What came of asking the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feeding {
    /// Something came.
    Read,
    /// It has nothing now.
    Idle,
    /// It was not asked, or has ended.
    Nothing,
}
