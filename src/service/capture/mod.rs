//! The process of `tapline capture`.
//!
//! Order matters at the start: the sink is made before any thread is pinned, since librdkafka's threads inherit the
//! processors of the thread that makes them; listeners are bound before rings are made, so that an address in use is
//! found out first; each ring is made on its own worker's thread, which is its only issuer.

mod board;
mod crew;
mod expiry;
mod heart;
mod predecessor;
mod program;
mod reload;
mod secure;
mod starting;
mod successor;
mod supervisor;

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

use self::{
    board::{Board, Facts, Sources},
    crew::Seat,
    heart::Heart,
    program::Program,
    reload::{Apply, Hook, Reload},
    starting::Starting,
    successor::Succession,
    supervisor::{Stage, Supervisor},
};
use super::{
    Event, checks, resolver, signals,
    sinks::{self, Origin},
};
use crate::{
    admin::Kind,
    capture::Identity,
    config::{CaptureConfig, Loaded, RedactionConfig},
    filter::{Filter, Redaction},
    observe::{Counters, ExitCode, Failure, logging},
    proxy::{Admission, Control, Settings},
    sink::{SinkCounters, WorkerEnd, link},
    sys::{bell::Bell, cpu, limits, notify::Notifier, state},
};

pub use reload::Reread;

/// Runs until stopped by a signal, or until another process has taken over. `reread` gives the configuration anew at
/// SIGHUP.
pub fn run(loaded: &Loaded<CaptureConfig>, reread: Reread<CaptureConfig>) -> Result<(), Failure> {
    let detached = program::detach().map_err(|error| Failure::new(ExitCode::Failed, error))?;
    if detached {
        return Ok(());
    }
    let mut succession = None;
    match start(loaded, reread, &mut succession) {
        Ok((supervisor, inbox, watch)) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Failure::new(ExitCode::Failed, error))?;
            runtime.block_on(async {
                tokio::spawn(watch);
                supervisor.run(inbox, succession).await
            })
        }
        Err(failure) => {
            if let Some(succession) = succession {
                succession.give_up(&failure);
            }
            Err(failure)
        }
    }
}

/// What runs beside the supervisor until the process ends.
type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Everything up to the moment at which the workers run. With `--take-over`, `succession` is left with the process that
/// is to be told how it went.
fn start(
    loaded: &Loaded<CaptureConfig>,
    reread: Reread<CaptureConfig>,
    succession: &mut Option<Succession>,
) -> Result<(Supervisor, UnboundedReceiver<Event>, Background), Failure> {
    let Loaded { config, effective } = loaded;
    let notifier = Notifier::from_env().map_err(|error| {
        Failure::configuration(format!("NOTIFY_SOCKET does not name a socket: {error}"))
    })?;
    checks::user()?;
    checks::rings()?;
    checks::descriptors()?;
    state::prepare(&config.state_dir).map_err(Failure::configuration)?;
    let origin = Origin {
        node: state::node_id(&config.state_dir).map_err(Failure::configuration)?,
        incarnation: Uuid::new_v4().as_u64_pair().0,
    };
    let (acceptor, trust) = (secure::acceptor(config)?, secure::trust(config)?);
    let addresses = checks::source(config)?;
    let cpus = config.cpus.clone().unwrap_or_else(cpu::usable).0;
    let workers = config.workers.unwrap_or_else(|| cpus.len().saturating_sub(1).max(1));
    let place = successor::meeting_place(config);
    let (mut taken_over, mut admin_socket) = (None, None);
    if config.lifecycle.take_over {
        let (peer, inheritance) = Succession::ask(&place)?;
        (*succession, taken_over) = (Some(peer), Some(inheritance.traffic));
        admin_socket = inheritance.admin;
    }
    let doors = checks::doors(config, workers, taken_over)?;
    let admin = match checks::inherited_admin(&config.admin, admin_socket) {
        Some(door) => door,
        None => checks::admin(&config.admin, config.lifecycle.take_over)?,
    };
    // One that is to take over is not heard yet.
    let starting = match succession {
        None => {
            Starting::begin(&notifier).map_err(|error| Failure::new(ExitCode::Failed, error))?
        }
        Some(_) => None,
    };

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
    (settings.tls, settings.source_tls) = (acceptor.clone(), trust.clone());
    settings.limits = config.http_limits;
    settings.capture = !config.no_capture;
    settings.hold_all_posts = config.hold_all_posts;
    settings.record_bytes_max = config.record_bytes_max;
    settings.flush_age = config.flush_age;
    settings.workers = workers as u64;
    settings.heartbeat_interval = config.heartbeat_interval;
    settings.drain_timeout = config.drain_timeout;
    settings.hold_timeout = Some(config.trouble.hold_timeout);
    settings.pass = config.passes();
    settings.filter = filter(config)?;
    settings.record_replayed = config.record_replayed;
    settings.deadlines = config.deadlines;
    settings.admission = Arc::new(Admission::new(config.caps.connections, config.caps.per_address));
    settings.proxy_protocol = config.proxy_protocol;
    let memory = config.capture_memory.unwrap_or_else(|| limits::memory_bytes() / 4);
    settings.unacknowledged_bytes_max = memory / workers as u64;

    if config.passes() {
        tracing::warn!(
            event = "capture.may_miss",
            "--on-capture-unavailable is pass: writes go on uncaptured while nothing can be stored, so that what is \
             captured need not be complete; tapline log verify says where it is not"
        );
    }
    let source_addresses = Arc::clone(&settings.source_addresses);
    resolver::follow("source", config.source.clone(), Arc::clone(&source_addresses))
        .map_err(failed)?;

    drop(starting);
    let control = Arc::new(Control::default());
    let counters: Vec<Arc<Counters>> = (0..workers).map(|_| Arc::default()).collect();
    let ended: Vec<Arc<AtomicBool>> = (0..workers).map(|_| Arc::default()).collect();
    // Whoever can connect can also ask for an orderly end.
    signals::forward(events.clone()).map_err(failed)?;
    doors.open().map_err(Failure::configuration)?;
    let shares = doors.share_out(workers).map_err(failed)?;
    for (number, (shares, end)) in shares.into_iter().zip(ends).enumerate() {
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
            ended: Arc::clone(&ended[number]),
            sink: end,
            listeners: shares.into_iter().map(crew::listener).collect(),
            cpu: cpus.get(number % cpus.len().max(1)).copied(),
        };
        crew::start_worker(number, seat, events.clone()).map_err(failed)?;
    }
    let listen: Vec<String> = doors.addresses().iter().map(ToString::to_string).collect();
    let source = config.source.to_string();
    let capture = !config.no_capture;
    let admin_at = admin.to_string();
    // What can change at SIGHUP, in the order in which it does.
    let mut hooks = vec![log_level(), filters(Arc::clone(&control))];
    hooks.extend(secure::hooks(acceptor.as_ref(), trust.as_ref()));
    let mut extras = secure::extras(acceptor.as_ref(), config);
    extras.metrics.push(Box::new(move |out| {
        let help = "Times that the source's name led to other addresses.";
        let changes = source_addresses.changes() as f64;
        out.single("source_address_changes_total", Kind::Counter, help, changes);
    }));
    let watch = Box::pin(secure::watch(acceptor, counters.clone()));
    let reload = Reload::new(reread, hooks, effective.clone());
    let facts = Facts {
        config: config.clone(),
        node: origin.node.clone(),
        incarnation: origin.incarnation,
        memory_bytes: memory,
    };
    let sources = Sources {
        counters: counters.clone(),
        bells: bells.clone(),
        ended,
        sink: Arc::clone(&sink_counters),
        reload: reload.state(),
    };
    let board = Arc::new(Board::new(facts, sources, effective.clone(), extras));
    let ready = Box::new(move || {
        tracing::info!(
            event = "capture.ready",
            listen = listen.join(","),
            source,
            workers,
            node = origin.node,
            incarnation = format!("{:016x}", origin.incarnation),
            capture,
            capture_memory_bytes = memory,
            admin = admin_at,
            "ready"
        );
    });
    // Until the other process lets go, it is the one that the service manager listens to.
    let mute = succession.is_some();
    let heart =
        Heart::new(notifier, mute, &bells, &counters, Arc::clone(&sink_counters), config.policy());
    let supervisor = Supervisor {
        control,
        bells,
        counters,
        sink_counters,
        reload,
        board,
        admin_socket: admin.descriptor(),
        admin: Some(admin),
        doors: Some(Arc::new(doors)),
        program: Program::of_this_process().map_err(failed)?,
        place,
        events,
        drain_delay: config.lifecycle.drain_delay,
        stage: Stage::Serving,
        failure: None,
        heart,
        ready: Some(ready),
        workers_to_come: workers,
        workers_left: workers,
        sinks_left,
    };
    Ok((supervisor, inbox, watch))
}

/// Whether TLS can be had as it is asked for; for `--check`. Makes no certificate.
pub(super) fn check_tls(config: &CaptureConfig) -> Result<String, Failure> {
    secure::check(config)
}

/// The level of the log follows the configuration.
fn log_level() -> Hook<CaptureConfig> {
    let prepare = |config: &CaptureConfig| -> Result<Apply, String> {
        let level = config.log_level.clone();
        Ok(Box::new(move || logging::change(level.as_ref())))
    };
    Hook { name: "log level", settings: &["log-level"], prepare: Box::new(prepare) }
}

/// Requests that begin after a reload are changed and left out as it says.
fn filters(control: Arc<Control>) -> Hook<CaptureConfig> {
    let prepare = move |config: &CaptureConfig| -> Result<Apply, String> {
        let filter = filter(config).map_err(|failure| failure.to_string())?;
        let control = Arc::clone(&control);
        Ok(Box::new(move || control.change_filter(filter)))
    };
    Hook { name: "filters", settings: &FILTERS, prepare: Box::new(prepare) }
}

/// The settings that make a filter.
const FILTERS: [&str; 9] = [
    "set-header",
    "forwarded-for",
    "health-path",
    "suppress-header",
    "suppress-method",
    "suppress-path",
    "suppress-method-and-path",
    "redact-credentials",
    "redact-header",
];

/// What is changed and left out; redaction gets the key of this node.
fn filter(config: &CaptureConfig) -> Result<Arc<Filter>, Failure> {
    let mut filter = config.filter.clone();
    let RedactionConfig { credentials, names } = &config.redaction;
    if !config.redaction.is_empty() {
        let key = state::key(&config.state_dir, "redaction.key").map_err(Failure::configuration)?;
        filter.redaction = Some(Redaction::new(&key, *credentials, names));
    }
    Ok(Arc::new(filter))
}
