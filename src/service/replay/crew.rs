//! The worker threads that speak with the target, as the conductor's thread sees them.
//!
//! Owns the threads and who has how much to do. Jobs go to the worker with the least in flight.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
};

use super::super::resolver;
use crate::{
    config::replay::ReplayConfig,
    observe::{ExitCode, Failure},
    replay::job::{self, BrokenKind},
    ring::{Options, Uring},
    sys::{bell::Bell, clock::Clock, cpu},
    target::{self, Broken, ConductorEnd, Counter, Counters, Parts, Settings, Worker, link},
    tls::Trust,
};

/// All workers.
pub(super) struct Crew {
    members: Vec<Member>,
    /// Why the last handshake of TLS was refused.
    distrust: Option<Arc<str>>,
}

struct Member {
    link: ConductorEnd,
    in_flight: usize,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Crew {
    /// Starts the threads.
    pub(super) fn hire(config: &ReplayConfig, conductor: &Arc<Bell>) -> Result<Self, Failure> {
        let cpus = config.cpus.clone().unwrap_or_else(cpu::usable).0;
        let workers = config.workers.unwrap_or_else(|| cpus.len().saturating_sub(1).max(1));
        let settings = settings(config, addresses(config)?)?;
        resolver::follow("target", config.target.clone(), Arc::clone(&settings.addresses))
            .map_err(|error| Failure::new(ExitCode::Failed, error))?;
        let mut members = Vec::new();
        for number in 0..workers {
            let bell =
                Arc::new(Bell::new().map_err(|error| Failure::new(ExitCode::Failed, error))?);
            let (ours, theirs) = link(Arc::clone(&bell), Arc::clone(conductor));
            let counters = Arc::new(Counters::default());
            let (settings, counted) = (settings.clone(), Arc::clone(&counters));
            // The conductor's thread stays where the scheduler puts it: on the first processor, as a rule.
            let seat = cpus
                .len()
                .checked_sub(1 + number % cpus.len().max(1))
                .and_then(|at| cpus.get(at))
                .copied();
            let work = move || {
                if let Some(cpu) = seat {
                    cpu::pin(cpu);
                }
                let clock = Clock::default();
                let ring = Uring::new(Options::default()).map_err(|error| error.to_string())?;
                let parts = Parts { ring, settings, counters: counted, bell, link: theirs };
                Worker::new(parts, clock.monotonic_ns())
                    .run(|| clock.monotonic_ns())
                    .map_err(|error| error.to_string())
            };
            let thread = thread::Builder::new()
                .name(format!("target-{number}"))
                .spawn(work)
                .map_err(|error| {
                    Failure::new(ExitCode::Failed, format!("cannot start a thread: {error}"))
                })?;
            members.push(Member { link: ours, in_flight: 0, counters, thread: Some(thread) });
        }
        Ok(Self { members, distrust: None })
    }

    /// Gives a job to whoever has the least to do; it goes with the next [`Crew::flush`].
    pub(super) fn send(&mut self, job: job::Job) {
        let member = self.members.iter_mut().min_by_key(|member| member.in_flight);
        let member = member.expect("invariant: there is at least one worker");
        member.in_flight += 1;
        member.link.send(target::Job {
            id: job.id,
            head: job.head,
            bytes: job.bytes,
            from: job.from,
            head_request: job.head_request,
            keep: job.keep,
        });
    }

    /// Publishes what was sent.
    pub(super) fn flush(&mut self) {
        for member in &mut self.members {
            member.link.flush();
        }
    }

    /// Gives every reply there is to `take`; true when there was one.
    pub(super) fn collect(&mut self, mut take: impl FnMut(job::Reply)) -> bool {
        let mut any = false;
        for member in &mut self.members {
            while let Some(reply) = member.link.reply() {
                member.in_flight -= 1;
                any = true;
                if let Err(Broken::Tls { handshake: true, text }) = &reply.result {
                    self.distrust = Some(Arc::clone(text));
                }
                take(job::Reply {
                    id: reply.id,
                    head: reply.head,
                    bytes: reply.bytes,
                    took_ns: reply.finished_ns.saturating_sub(reply.started_ns),
                    result: match reply.result {
                        Ok(response) => Ok(job::Response {
                            status: response.status,
                            bytes: response.bytes,
                            head_bytes: response.head_bytes,
                            whole: response.whole,
                            wire_bytes: response.wire_bytes,
                        }),
                        Err(broken) => Err(broken_as(&broken)),
                    },
                });
            }
        }
        any
    }

    /// Why the target is not to be trusted, or speaks no TLS, when a connection to it was refused for that.
    pub(super) fn distrust(&self) -> Option<&str> {
        self.distrust.as_deref()
    }

    /// Nothing waits to be collected.
    pub(super) fn is_quiet(&self) -> bool {
        self.members.iter().all(|member| member.link.is_quiet() && !member.link.is_blocked())
    }

    /// A worker that has ended before it was told to is a failure.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        for member in &mut self.members {
            let ended = member.thread.as_ref().is_some_and(JoinHandle::is_finished);
            if ended && let Some(thread) = member.thread.take() {
                let why = match thread.join() {
                    Ok(Ok(())) => "a worker ended before its time".to_owned(),
                    Ok(Err(error)) => format!("a worker's ring failed: {error}"),
                    Err(_) => "a worker panicked".to_owned(),
                };
                let text = format!("{why}. The position is kept; start again and report this");
                return Err(Failure::new(ExitCode::Bug, text));
            }
        }
        Ok(())
    }

    /// Ends the threads.
    pub(super) fn dismiss(&mut self) {
        for member in &mut self.members {
            member.link.cancel_all();
            member.link.close();
            while !member.link.flush() {
                thread::yield_now();
            }
        }
        for member in &mut self.members {
            if let Some(thread) = member.thread.take() {
                // What it had to say is of no use any more.
                let _ = thread.join();
            }
            let counters =
                Counter::ALL.iter().map(|counter| (counter.label(), member.counters.get(*counter)));
            let counters: std::collections::BTreeMap<_, _> =
                counters.filter(|(_, count)| *count > 0).collect();
            tracing::debug!(event = "target.counters", ?counters, "a worker ended");
        }
    }
}

fn addresses(config: &ReplayConfig) -> Result<Vec<SocketAddr>, Failure> {
    config.target.resolve().map_err(|error| {
        let text = format!(
            "the name of the target {} cannot be resolved: {error}. Check --target and the resolver",
            config.target
        );
        Failure::new(ExitCode::Unavailable, text)
    })
}

fn settings(config: &ReplayConfig, addresses: Vec<SocketAddr>) -> Result<Settings, Failure> {
    let mut settings = Settings::new(addresses);
    settings.response_timeout = config.response_timeout;
    settings.tls = trust(config)?;
    Ok(settings)
}

fn trust(config: &ReplayConfig) -> Result<Option<Trust>, Failure> {
    if !config.target.tls {
        return Ok(None);
    }
    let files = &config.target_tls;
    if files.insecure {
        tracing::warn!(
            event = "replay.target_insecure", target = %config.target,
            "--target-insecure: whoever answers is taken for the target. Name its authority with --target-ca"
        );
    }
    let identity = files.cert.as_deref().zip(files.key.as_deref());
    let trust = Trust::new(&config.target.host, files.ca.as_deref(), identity, files.insecure);
    trust
        .map(Some)
        .map_err(|why| Failure::configuration(format!("TLS to the target cannot be set up: {why}")))
}

/// A worker's word for it in the core's terms.
fn broken_as(broken: &Broken) -> job::Broken {
    let kind = match broken {
        Broken::Connect(_)
        | Broken::ConnectTimeout
        | Broken::NoDescriptors(_)
        | Broken::Unsecured(_)
        | Broken::Tls { handshake: true, .. } => BrokenKind::Unconnected,
        Broken::Lost { reused: true, response_begun: false, .. } => BrokenKind::Stale,
        Broken::Lost { .. } | Broken::Tls { handshake: false, .. } => BrokenKind::Lost,
        Broken::Timeout { .. } => BrokenKind::TimedOut,
        Broken::Malformed(_) => BrokenKind::Malformed,
        Broken::Cancelled => BrokenKind::Cancelled,
    };
    job::Broken { kind, text: broken.to_string() }
}
