//! The process of `tapline capture`.
//!
//! Order matters at the start: the sink is made before any thread is pinned, since librdkafka's threads inherit the
//! processors of the thread that makes them; listeners are bound before rings are made, so that an address in use is
//! found out first; each ring is made on its own worker's thread, which is its only issuer.

use std::{
    os::fd::IntoRawFd,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use uuid::Uuid;

use super::{
    Event, checks, signals,
    sinks::{self, Origin, SinkWork},
};
use crate::{
    capture::Identity,
    config::CaptureConfig,
    observe::{Counter, Counters, ExitCode, Failure, Snapshot},
    proxy::{Control, Now, Parts, Settings, Worker},
    ring::{Fd, Options, Uring},
    sink::{SinkCounters, WorkerEnd, link},
    sys::{bell::Bell, clock::Clock, cpu, limits, state},
};

/// Runs until stopped by a signal.
pub fn run(config: &CaptureConfig) -> Result<(), Failure> {
    checks::supported(config)?;
    checks::rings()?;
    checks::descriptors()?;
    state::prepare(&config.state_dir).map_err(Failure::configuration)?;
    let origin = Origin {
        node: state::node_id(&config.state_dir).map_err(Failure::configuration)?,
        incarnation: Uuid::new_v4().as_u64_pair().0,
    };
    let addresses = checks::source(config)?;
    let cpus = config.cpus.clone().unwrap_or_else(cpu::usable).0;
    let workers = config.workers.unwrap_or_else(|| cpus.len().saturating_sub(1).max(1));
    let bound = checks::bind(config, workers)?;

    let (events, inbox) = channel();
    let failed = |error: std::io::Error| Failure::new(ExitCode::Failed, error);
    let bells = (0..workers)
        .map(|_| Bell::new().map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    let sink_counters = Arc::new(SinkCounters::default());
    let mut ends: Vec<Option<WorkerEnd>> = (0..workers).map(|_| None).collect();
    let mut sinks_left = 0;
    if !config.no_capture {
        let sink_bell = Arc::new(Bell::new().map_err(failed)?);
        let (worker_ends, sink_ends): (Vec<_>, Vec<_>) =
            bells.iter().map(|bell| link(Arc::clone(bell), Arc::clone(&sink_bell))).unzip();
        let work = sinks::make(config, &origin, sink_ends, sink_bell, Arc::clone(&sink_counters))?;
        ends = worker_ends.into_iter().map(Some).collect();
        start_sink(work, events.clone()).map_err(failed)?;
        sinks_left = 1;
    }

    let mut settings = Settings::new(config.source.to_string(), addresses);
    settings.limits = config.http_limits;
    settings.capture = !config.no_capture;
    settings.hold_all_posts = config.hold_all_posts;
    settings.record_bytes_max = config.record_bytes_max;
    settings.flush_age = config.flush_age;
    settings.drain_timeout = config.drain_timeout;
    let memory = config.capture_memory.unwrap_or_else(|| limits::memory_bytes() / 4);
    settings.unacknowledged_bytes_max = memory / workers as u64;

    let control = Arc::new(Control::default());
    let counters: Vec<Arc<Counters>> = (0..workers).map(|_| Arc::default()).collect();
    let listeners = checks::listen(bound, workers)?;
    for (number, (sockets, end)) in listeners.into_iter().zip(ends).enumerate() {
        let seat = Seat {
            settings: settings.clone(),
            identity: Identity {
                node: origin.node.clone(),
                incarnation: origin.incarnation,
                worker: number as u16,
            },
            counters: Arc::clone(&counters[number]),
            control: Arc::clone(&control),
            bell: Arc::clone(&bells[number]),
            sink: end,
            listeners: sockets.into_iter().map(|socket| Fd(socket.into_raw_fd())).collect(),
            cpu: cpus.get(number % cpus.len().max(1)).copied(),
        };
        start_worker(number, seat, events.clone()).map_err(failed)?;
    }
    signals::forward(events).map_err(failed)?;
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    tracing::info!(
        event = "capture.ready", listen = listen.join(","), source = %config.source, workers,
        node = origin.node, incarnation = format!("{:016x}", origin.incarnation),
        capture = !config.no_capture, capture_memory_bytes = memory, "ready"
    );
    let control =
        Supervisor { control, bells, counters, sink_counters, workers_left: workers, sinks_left };
    control.run(&inbox)
}

/// What a worker thread is given.
struct Seat {
    settings: Settings,
    identity: Identity,
    counters: Arc<Counters>,
    control: Arc<Control>,
    bell: Arc<Bell>,
    sink: Option<WorkerEnd>,
    listeners: Vec<Fd>,
    cpu: Option<usize>,
}

fn start_worker(number: usize, seat: Seat, events: Sender<Event>) -> std::io::Result<()> {
    let work = move || {
        if let Some(cpu) = seat.cpu
            && !cpu::pin(cpu)
        {
            tracing::warn!(
                event = "worker.unpinned",
                worker = number,
                cpu,
                "the worker could not be pinned to its processor"
            );
        }
        let result = work(seat).map_err(|error| format!("worker {number}: {error}"));
        // The receiver is gone only when the process is ending anyway.
        let _ = events.send(Event::WorkerEnded(result));
    };
    thread::Builder::new().name(format!("worker-{number}")).spawn(work).map(drop)
}

fn work(seat: Seat) -> std::io::Result<()> {
    let clock = Clock::default();
    let now = || Now { monotonic_ns: clock.monotonic_ns(), unix_ns: clock.unix_ns() };
    let parts = Parts {
        ring: Uring::new(Options::default())?,
        listeners: seat.listeners,
        settings: seat.settings,
        identity: seat.identity,
        counters: seat.counters,
        control: seat.control,
        bell: seat.bell,
        sink: seat.sink,
    };
    Worker::new(parts, now()).run(now)
}

fn start_sink(work: SinkWork, events: Sender<Event>) -> std::io::Result<()> {
    let work = move || {
        let _ = events.send(Event::SinkEnded(work()));
    };
    thread::Builder::new().name("sink".into()).spawn(work).map(drop)
}

/// The control thread's view.
struct Supervisor {
    control: Arc<Control>,
    bells: Vec<Arc<Bell>>,
    counters: Vec<Arc<Counters>>,
    sink_counters: Arc<SinkCounters>,
    workers_left: usize,
    sinks_left: usize,
}

impl Supervisor {
    fn run(mut self, inbox: &Receiver<Event>) -> Result<(), Failure> {
        let mut stopping = false;
        while self.workers_left + self.sinks_left > 0 {
            let Ok(event) = inbox.recv() else { break };
            match event {
                Event::Stop if stopping => {
                    self.report("capture.abandoned");
                    return Err(Failure::new(
                        ExitCode::Failed,
                        "stopped by a second signal before everything in flight was finished",
                    ));
                }
                Event::Stop => {
                    stopping = true;
                    tracing::info!(event = "capture.stopping", "finishing what is in flight");
                    self.control.drain();
                    self.bells.iter().for_each(|bell| bell.ring_always());
                }
                Event::Report => self.report("capture.counters"),
                Event::WorkerEnded(Ok(())) => self.workers_left -= 1,
                Event::SinkEnded(Ok(())) => self.sinks_left -= 1,
                Event::WorkerEnded(Err(error)) => {
                    self.report("capture.failed");
                    return Err(Failure::new(
                        ExitCode::Bug,
                        format!(
                            "{error}. Nothing acknowledged is lost; start again and report this"
                        ),
                    ));
                }
                Event::SinkEnded(Err(error)) => {
                    self.report("capture.failed");
                    return Err(Failure::new(
                        ExitCode::Failed,
                        format!(
                            "{error}. Nothing more was let through after this; what was acknowledged is safe"
                        ),
                    ));
                }
            }
        }
        self.report("capture.stopped");
        Ok(())
    }

    fn report(&self, event: &str) {
        let snapshot = Snapshot::of(self.counters.iter().map(|counters| &**counters));
        tracing::info!(
            event,
            open = snapshot.get(Counter::Accepted) - snapshot.get(Counter::Closed),
            counters = %snapshot.to_json(),
            sink = %self.sink_counters.to_json(),
            sink_state = ?self.sink_counters.state(),
            "counters"
        );
    }
}
