//! The process of `tapline capture`.
//!
//! Order matters at the start: the sink is made before any thread is pinned, since librdkafka's threads inherit the
//! processors of the thread that makes them; listeners are bound before rings are made, so that an address in use is
//! found out first; each ring is made on its own worker's thread, which is its only issuer.

mod crew;
mod reload;
mod supervisor;

use std::{os::fd::IntoRawFd, sync::Arc};

use tokio::sync::mpsc::unbounded_channel;
use uuid::Uuid;

use self::{
    crew::Seat,
    reload::{Hook, Reload},
    supervisor::Supervisor,
};
use super::{
    checks, signals,
    sinks::{self, Origin},
};
use crate::{
    capture::Identity,
    config::CaptureConfig,
    observe::{Counters, ExitCode, Failure},
    proxy::{Control, Settings},
    ring::Fd,
    sink::{SinkCounters, WorkerEnd, link},
    sys::{bell::Bell, cpu, limits, state},
};

pub use reload::Reread;

/// Runs until stopped by a signal. `reread` gives the configuration anew at SIGHUP.
pub fn run(config: &CaptureConfig, reread: Reread<CaptureConfig>) -> Result<(), Failure> {
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

    let (events, inbox) = unbounded_channel();
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
        crew::start_sink(work, events.clone()).map_err(failed)?;
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
        crew::start_worker(number, seat, events.clone()).map_err(failed)?;
    }
    signals::forward(events).map_err(failed)?;
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    tracing::info!(
        event = "capture.ready", listen = listen.join(","), source = %config.source, workers,
        node = origin.node, incarnation = format!("{:016x}", origin.incarnation),
        capture = !config.no_capture, capture_memory_bytes = memory, "ready"
    );
    // What can change at SIGHUP, in the order in which it does.
    let hooks: Vec<Hook<CaptureConfig>> = Vec::new();
    let supervisor = Supervisor {
        control,
        bells,
        counters,
        sink_counters,
        reload: Reload::new(reread, hooks),
        workers_left: workers,
        sinks_left,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(failed)?.block_on(supervisor.run(inbox))
}
