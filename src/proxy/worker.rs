//! The loop: completions in, operations out, batches to the sink.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use super::{
    Control, Settings,
    accepting::Listener,
    connection::{CLIENT, Connection, Receiving},
    core::{Core, Now, Recorder},
    ends::{hung_up, receive_ended, send_failed},
    heartbeat::Heart,
    outstanding::{Epochs, Outstanding},
    slab::Slab,
    timers::{Deadline, Timers},
};
use crate::{
    capture::{BlockPool, Identity, Stamp, Told, UndeliveredCause},
    filter::Filter,
    observe::{Counter, Counters, Gauge, Timing},
    ring::{Completion, Fd, Ring, SendQueue, Token},
    sink::{Batch, WorkerEnd},
    sys::bell::Bell,
    tls::Opened,
};

/// One worker: a ring, a listener, their connections.
pub struct Worker<R: Ring> {
    pub(super) core: Core<R>,
    pub(super) connections: Slab<Connection>,
    pub(super) dirty: Vec<u32>,
    completions: Vec<Completion>,
    pub(super) listeners: Vec<Listener>,
    /// When accepting on these goes on after it had to pause.
    pub(super) paused_listeners: Vec<(u64, Fd)>,
    pub(super) control: Arc<Control>,
    bell: Arc<Bell>,
    pub(super) sink: Option<WorkerEnd>,
    pub(super) unpublished: Option<Batch>,
    unpublished_urgent: bool,
    pub(super) outstanding: Outstanding,
    pub(super) serial: u32,
    pub(super) heart: Heart,
    next_age_scan_ns: u64,
    pub(super) next_hold_scan_ns: u64,
    pub(super) drain_deadline_ns: u64,
    /// When a drain next looks at all connections.
    pub(super) next_drain_scan_ns: u64,
    /// Orders to accept anew that were followed.
    pub(super) accepted_anew: u64,
    /// Filters that took the place of the first.
    filters_seen: u64,
    /// Changes of the source's addresses.
    addresses_seen: u64,
}

/// What a worker is made of.
pub struct Parts<R: Ring> {
    /// Its ring, enabled on this thread.
    pub ring: R,
    /// The listening sockets; the worker closes them when it drains.
    pub listeners: Vec<Listener>,
    /// What to do.
    pub settings: Settings,
    /// Its name in records.
    pub identity: Identity,
    /// Where it counts.
    pub counters: Arc<Counters>,
    /// What it is told.
    pub control: Arc<Control>,
    /// What wakes it.
    pub bell: Arc<Bell>,
    /// The way to the sink; `None` when nothing is captured.
    pub sink: Option<WorkerEnd>,
}

impl<R: Ring> Worker<R> {
    /// A worker that accepts from its first turn on.
    pub fn new(parts: Parts<R>, now: Now) -> Self {
        let Parts { mut ring, listeners, settings, identity, counters, control, bell, sink } =
            parts;
        ring.wake_on(Fd(std::os::fd::AsRawFd::as_raw_fd(bell.event())));
        for listener in &listeners {
            ring.accept(listener.fd, listener.shared);
        }
        control.begin_accepting(listeners.len());
        let recorder = Recorder {
            identity,
            pool: BlockPool::default(),
            stamp: Stamp::new(now.unix_ns),
            batch: Vec::new(),
            urgent: false,
            sequence: 0,
            epochs: Epochs::default(),
            told: Told::default(),
            unacknowledged_bytes: 0,
            open_bytes: 0,
            unacknowledged_bytes_max: settings.unacknowledged_bytes_max,
        };
        let look = settings.deadlines.period().unwrap_or_default();
        let filter = own(&settings.filter);
        let core = Core {
            ring,
            source_addresses: settings.source_addresses.current(),
            settings,
            filter,
            recorder,
            counters,
            timers: Timers::new(look),
            now,
            drain: None,
            ageing: Vec::new(),
            holding: Vec::new(),
            starved: Vec::new(),
            over_budget: Vec::new(),
            pressed: false,
            passing: false,
            passed: None,
            opened: Opened::default(),
            sealed: SendQueue::default(),
            unhandled: 0,
        };
        Self {
            core,
            connections: Slab::new(),
            dirty: Vec::new(),
            completions: Vec::new(),
            listeners,
            paused_listeners: Vec::new(),
            control,
            bell,
            sink,
            unpublished: None,
            unpublished_urgent: false,
            outstanding: Outstanding::default(),
            serial: 0,
            heart: Heart::new(now.monotonic_ns, now.unix_ns),
            next_age_scan_ns: 0,
            next_hold_scan_ns: 0,
            drain_deadline_ns: u64::MAX,
            next_drain_scan_ns: u64::MAX,
            accepted_anew: 0,
            filters_seen: 0,
            addresses_seen: 0,
        }
    }

    /// Turns until drained.
    pub fn run(&mut self, clock: impl Fn() -> Now) -> io::Result<()> {
        while !self.turn(&clock)? {}
        Ok(())
    }

    /// One loop turn; true when the worker is done.
    pub fn turn(&mut self, clock: impl Fn() -> Now) -> io::Result<bool> {
        let timeout = self.timeout();
        self.core.ring.wait(timeout, &mut self.completions)?;
        self.bell.unpark();
        self.core.counters.add(Counter::Turns, 1);
        self.core.now = clock();
        self.core.recorder.stamp = Stamp::new(self.core.now.unix_ns);
        self.take_returned();
        self.check_passing();
        // Before what came in is looked at: what comes after a reload is under its filter.
        if let Some(filter) = self.control.filter_since(&mut self.filters_seen) {
            self.core.filter = own(&filter);
        }
        let addresses = &self.core.settings.source_addresses;
        if let Some(addresses) = addresses.since(&mut self.addresses_seen) {
            self.core.source_addresses = addresses;
        }
        let mut completions = std::mem::take(&mut self.completions);
        let is_chunk = |completion: &&Completion| matches!(completion, Completion::Received(..));
        self.core.unhandled = completions.iter().filter(is_chunk).count();
        completions.drain(..).for_each(|completion| self.handle(completion));
        self.completions = completions;
        self.check_control();
        self.check_timers();
        self.check_budget();
        self.check_holding();
        self.settle();
        self.check_age();
        if self.is_deserted() {
            self.mark_passed();
        }
        self.check_heartbeat(self.is_deserted());
        self.publish();
        while let Some(block) = self.core.ring.reclaim() {
            self.core.recorder.pool.give(block);
        }
        Ok(self.is_done())
    }

    /// How long to wait; announces sleep to the sink.
    fn timeout(&mut self) -> Option<Duration> {
        self.bell.park();
        let told = self.control.drain_wanted() > self.core.drain.map(|drain| drain.haste);
        let quiet = self.sink.as_ref().is_none_or(WorkerEnd::is_quiet);
        if told || !quiet || self.unpublished.is_some() {
            self.bell.unpark();
            // An unpublished batch waits for the sink to empty its queue: look again soon, but do not spin.
            let full = self.unpublished.is_some() && quiet && !told;
            return Some(if full { Duration::from_millis(1) } else { Duration::ZERO });
        }
        let age_scan = (!self.core.ageing.is_empty()).then_some(self.next_age_scan_ns);
        let drain = self.core.drain.map(|_| self.drain_deadline_ns.min(self.next_drain_scan_ns));
        let hold_scan = (!self.core.holding.is_empty()).then_some(self.next_hold_scan_ns);
        let accept = self.paused_listeners.first().map(|(due, _)| *due);
        let beat = self.heart.due_ns();
        let due = [self.core.timers.next(), age_scan, hold_scan, accept, drain, beat];
        let due = due.into_iter().flatten().min()?;
        Some(Duration::from_nanos(due.saturating_sub(self.core.now.monotonic_ns)))
    }

    fn handle(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted(fd) => self.accepted(fd),
            Completion::AcceptEnded(listener, errno) => self.accept_ended(listener, errno),
            Completion::Woken => self.bell.hush(),
            Completion::Received(token, chunk) => {
                self.core.unhandled -= 1;
                let Some((connection, core)) = self.find(token) else {
                    self.core.ring.release(chunk.buffer);
                    return;
                };
                let mut chunk = chunk;
                if token.side() == CLIENT && connection.preface.is_some() {
                    let Some(rest) = connection.take_preface(core, chunk) else { return };
                    chunk = rest;
                }
                connection.received(core, token.side(), chunk);
            }
            Completion::ReceiveEnded(token, end) => {
                if let Some((connection, core)) = self.find(token) {
                    receive_ended(connection, core, token, end);
                }
            }
            Completion::Sent(token, bytes) => {
                if let Some((connection, _)) = self.find(token) {
                    let side = connection.side(token.side());
                    side.sending = 0;
                    side.sent += bytes;
                }
            }
            Completion::SendFailed(token, errno) => {
                if let Some((connection, core)) = self.find(token) {
                    connection.side(token.side()).sending = 0;
                    send_failed(connection, core, token, errno);
                }
            }
            Completion::Connected(token, result) => {
                if let Some((connection, core)) = self.find(token) {
                    connection.source_connected(core, result);
                }
            }
            Completion::HungUp(token) => {
                if let Some((connection, core)) = self.find(token) {
                    hung_up(connection, core, token);
                }
            }
            Completion::WatchEnded(token) => {
                if let Some((connection, _)) = self.find(token) {
                    connection.side(token.side()).watching = false;
                }
            }
        }
    }

    /// The connection a token names, marked to be settled at the end of the turn.
    pub(super) fn find(&mut self, token: Token) -> Option<(&mut Connection, &mut Core<R>)> {
        let connection = self.connections.get(token.index(), token.generation())?;
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(token.index());
        }
        Some((connection, &mut self.core))
    }

    /// Records that came back: their memory is what may be sent now, or is used again.
    fn take_returned(&mut self) {
        let mut any = false;
        while let Some(batch) = self.sink.as_ref().and_then(WorkerEnd::returned) {
            any = true;
            let now_ns = self.core.now.monotonic_ns;
            let counters = &self.core.counters;
            counters.add(Counter::RecordsReturned, batch.len() as u64);
            self.outstanding.back(batch.len(), now_ns, |ns| counters.observe(Timing::Durable, ns));
            for record in batch {
                let (bytes, memory) = (record.bytes.len(), u64::from(record.memory));
                self.core.recorder.epochs.back(record.epoch);
                let unacknowledged = &mut self.core.recorder.unacknowledged_bytes;
                *unacknowledged = unacknowledged.saturating_sub(memory);
                self.core.counters.add(Counter::RecordBytesReturned, bytes as u64);
                let mut memory = Some(record.bytes);
                if record.held
                    && let Some((connection, _)) = self.find(Token::from_bits(record.owner))
                {
                    let block = memory.take().expect("invariant: just set");
                    memory =
                        connection.hold.durable(record.number, block, &mut connection.source.out);
                }
                if let Some(memory) = memory {
                    self.core.recorder.pool.give(memory);
                }
            }
        }
        if any {
            self.core.counters.set(Gauge::OldestUnixNs, self.outstanding.oldest_unix_ns());
        }
    }

    /// Whether memory is short, and what follows for those who send.
    fn check_budget(&mut self) {
        let pressed = self.core.recorder.is_pressed(self.core.pressed);
        if pressed == std::mem::replace(&mut self.core.pressed, pressed) {
            return;
        }
        self.core.recorder.pool.set_short(pressed);
        if !pressed {
            for token in std::mem::take(&mut self.core.over_budget) {
                if let Some((connection, _)) = self.find(token) {
                    connection.over_budget = false;
                }
            }
            return;
        }
        // Whoever is read without a bound could fill the buffers of a turn by itself, one after the other.
        for index in self.connections.indexes() {
            let Some(connection) = self.connections.at(index) else { continue };
            if connection.client.receiving == Receiving::On {
                connection.client.receiving = Receiving::Stopping;
                self.core.ring.stop_receiving(connection.token);
            }
        }
    }

    fn check_timers(&mut self) {
        let now = self.core.now.monotonic_ns;
        self.go_on_accepting();
        while let Some((kind, token)) = self.core.timers.pop(now) {
            let Some((connection, core)) = self.find(token) else { continue };
            match kind {
                Deadline::Connect => {
                    // The deadline of an earlier address says nothing about this one.
                    if connection.source.connecting
                        && now >= connection.connect_due_ns
                        && let Some(fd) = connection.source.fd
                    {
                        core.ring.cancel_all(fd);
                    }
                }
                // What the client is due comes first, as long as it reads.
                Deadline::Linger | Deadline::SourceClosed if !connection.client.is_flushed() => {
                    core.timers.set(kind, token, now);
                }
                Deadline::Look => {
                    core.timers.set(kind, token, now);
                    connection.look(core);
                }
                Deadline::SourceClosed => {
                    connection.drop_held(core, UndeliveredCause::SourceClosed);
                    connection.close(core, false, false);
                }
                Deadline::Linger => connection.close(core, false, false),
                Deadline::Handshake => connection.handshake_is_due(core, token.side()),
            }
        }
        self.check_drain();
    }

    fn settle(&mut self) {
        let starved = std::mem::take(&mut self.core.starved);
        if !starved.is_empty() {
            // What slow receivers keep is below one half (see `is_scarce`), so this comes about.
            let (free, all) = self.core.ring.free_buffers();
            for token in starved {
                if free < all / 4 {
                    self.core.starved.push(token);
                } else if let Some((connection, _)) = self.find(token) {
                    connection.side(token.side()).receiving = Receiving::Off;
                }
            }
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let Some(connection) = self.connections.at(index) else { continue };
            connection.dirty = false;
            let over = connection.settle(&mut self.core);
            let open = if over { 0 } else { connection.uncounted_memory() };
            self.core.recorder.recount(&mut connection.open_bytes, open);
            if over {
                self.core.counters.add(Counter::Closed, 1);
                if !connection.has_bytes {
                    self.core.counters.add(Counter::Empty, 1);
                }
                connection.depart(&mut self.core);
                self.connections.remove(index);
            }
        }
        self.dirty = dirty;
    }

    /// Finishes the records that have been open for as long as they may.
    fn check_age(&mut self) {
        let now = self.core.now.monotonic_ns;
        if self.core.ageing.is_empty() || now < self.next_age_scan_ns {
            return;
        }
        let age_ns = self.core.settings.flush_age.as_nanos() as u64;
        let period_ns = (age_ns / AGE_SCANS).max(1_000_000);
        self.next_age_scan_ns = now + period_ns;
        let mut ageing = std::mem::take(&mut self.core.ageing);
        ageing.retain(|token| {
            let Some(connection) = self.connections.get(token.index(), token.generation()) else {
                return false;
            };
            if connection.stream.is_open() {
                // One scan early rather than one late.
                if now + period_ns < connection.opened_ns + age_ns {
                    return true;
                }
                connection.finish_record(&mut self.core.recorder, &self.core.counters, false);
                let open = connection.uncounted_memory();
                self.core.recorder.recount(&mut connection.open_bytes, open);
                connection.stream.forget_size();
            }
            connection.ageing = false;
            false
        });
        self.core.ageing.append(&mut ageing);
    }

    fn publish(&mut self) {
        let recorder = &mut self.core.recorder;
        let Some(sink) = &self.sink else { return };
        if self.unpublished.is_none() && recorder.batch.is_empty() {
            return;
        }
        let mut batch = self.unpublished.take().unwrap_or_default();
        batch.append(&mut recorder.batch);
        self.unpublished_urgent |= std::mem::take(&mut recorder.urgent);
        let (records, urgent) = (batch.len(), self.unpublished_urgent);
        match sink.publish(batch, urgent) {
            Ok(()) => {
                self.unpublished_urgent = false;
                let Now { monotonic_ns, unix_ns } = self.core.now;
                self.outstanding.sent(records, urgent, monotonic_ns, unix_ns);
                self.core.counters.set(Gauge::OldestUnixNs, self.outstanding.oldest_unix_ns());
            }
            Err(batch) => self.unpublished = Some(batch),
        }
    }
}

/// A copy for one thread, if there is anything to do.
fn own(filter: &Arc<Filter>) -> Option<Rc<Filter>> {
    (!filter.is_empty()).then(|| Rc::new(Filter::clone(filter)))
}

/// Open records are looked through this many times per flush age.
const AGE_SCANS: u64 = 8;
