//! The threads of the data path: each worker on its processor, and the sink.

use std::{
    io,
    os::fd::IntoRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::sync::mpsc::UnboundedSender;

use super::super::{Event, sinks::SinkWork};
use crate::{
    capture::Identity,
    net::Share,
    observe::Counters,
    proxy::{Control, Listener, Now, Parts, Settings, Worker},
    ring::{Fd, Options, Uring},
    sink::WorkerEnd,
    sys::{bell::Bell, clock::Clock, cpu},
};

/// What a worker thread is given.
pub(super) struct Seat {
    pub(super) settings: Settings,
    pub(super) identity: Identity,
    pub(super) counters: Arc<Counters>,
    pub(super) control: Arc<Control>,
    pub(super) bell: Arc<Bell>,
    /// Set when the worker has ended.
    pub(super) ended: Arc<AtomicBool>,
    pub(super) sink: Option<WorkerEnd>,
    pub(super) listeners: Vec<Listener>,
    pub(super) cpu: Option<usize>,
}

/// A share of the listening sockets as the worker's own.
pub(super) fn listener(share: Share) -> Listener {
    Listener { fd: Fd(share.socket.into_raw_fd()), shared: share.shared }
}

/// Starts a worker; that it accepts and that it ended are events.
pub(super) fn start_worker(
    number: usize,
    seat: Seat,
    events: UnboundedSender<Event>,
) -> io::Result<()> {
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
        let ended = Arc::clone(&seat.ended);
        let result = work(seat, || drop(events.send(Event::WorkerReady)))
            .map_err(|error| format!("worker {number}: {error}"));
        ended.store(true, Ordering::Relaxed);
        // The receiver is gone only when the process is ending anyway.
        let _ = events.send(Event::WorkerEnded(result));
    };
    thread::Builder::new().name(format!("worker-{number}")).spawn(work).map(drop)
}

fn work(seat: Seat, ready: impl FnOnce()) -> io::Result<()> {
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
    let mut worker = Worker::new(parts, now());
    ready();
    worker.run(now)
}

/// Starts the sink; its end is an event.
pub(super) fn start_sink(work: SinkWork, events: UnboundedSender<Event>) -> io::Result<()> {
    let work = move || {
        let _ = events.send(Event::SinkEnded(work()));
    };
    thread::Builder::new().name("sink".into()).spawn(work).map(drop)
}
