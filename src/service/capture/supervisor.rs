//! The control thread: waits for signals and for the ends of the other threads, and ends the process in order.
//!
//! It runs a tokio runtime of its own, on which everything lives that is neither traffic nor records. Nothing here
//! touches the data path but through counters, bells and [`Control`].

use std::{
    os::fd::OwnedFd,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::{
    super::Event,
    board::Board,
    heart::Heart,
    predecessor::{self, Estate},
    program::Program,
    reload::Reload,
    successor::Succession,
};
use crate::{
    admin::Door,
    config::CaptureConfig,
    net::Doors,
    observe::{Counter, Counters, ExitCode, Failure, Snapshot},
    proxy::{Control, Haste},
    sink::SinkCounters,
    sys::bell::Bell,
};

/// The control thread's view.
pub(super) struct Supervisor {
    pub(super) control: Arc<Control>,
    pub(super) bells: Vec<Arc<Bell>>,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) sink_counters: Arc<SinkCounters>,
    pub(super) reload: Reload<CaptureConfig>,
    pub(super) board: Arc<Board>,
    /// Where the board is shown.
    pub(super) admin: Option<Door>,
    /// Another descriptor of its socket, to hand over.
    pub(super) admin_socket: Option<OwnedFd>,
    /// A descriptor of each listening socket; closed when nothing more is accepted.
    pub(super) doors: Option<Arc<Doors>>,
    pub(super) heart: Heart,
    /// What a successor is started from, and where it comes.
    pub(super) program: Program,
    pub(super) place: PathBuf,
    pub(super) events: UnboundedSender<Event>,
    pub(super) drain_delay: Duration,
    pub(super) stage: Stage,
    /// Why the process ends, when it does not end well.
    pub(super) failure: Option<Failure>,
    /// What is said when every worker accepts.
    pub(super) ready: Option<Box<dyn FnOnce()>>,
    pub(super) workers_to_come: usize,
    pub(super) workers_left: usize,
    pub(super) sinks_left: usize,
}

/// How far the process is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not yet.
    Serving,
    /// It was told to stop and serves on until then.
    Delayed(Instant),
    /// Nothing new is accepted.
    Draining(Haste),
}

impl Supervisor {
    /// Runs until every worker and the sink have ended.
    pub(super) async fn run(
        mut self,
        mut inbox: UnboundedReceiver<Event>,
        mut succession: Option<Succession>,
    ) -> Result<(), Failure> {
        if let Some(door) = self.admin.take() {
            tokio::spawn(Arc::clone(&self.board).run(door));
        }
        while self.workers_left + self.sinks_left > 0 {
            let event = tokio::time::timeout(self.wait(), inbox.recv()).await;
            self.heart.beat();
            if let Stage::Delayed(until) = self.stage
                && Instant::now() >= until
            {
                self.drain(Haste::Soon);
            }
            let Ok(event) = event else { continue };
            let Some(event) = event else { break };
            match event {
                Event::Stop => self.stop()?,
                Event::Report => self.report("capture.counters"),
                Event::Reload => {
                    self.heart.reloading();
                    if let Some(effective) = self.reload.run() {
                        self.board.settings(effective);
                    }
                    self.heart.reloaded();
                }
                Event::WorkerReady => self.worker_ready(&mut succession),
                Event::StartSuccessor => self.start_successor(),
                Event::HandedOver(process) => self.handed_over(process),
                Event::TookOver(result) => self.took_over(result),
                Event::WorkerEnded(Ok(())) => self.workers_left -= 1,
                Event::SinkEnded(Ok(())) => self.sinks_left -= 1,
                Event::WorkerEnded(Err(error)) => {
                    self.report("capture.failed");
                    let text = format!(
                        "{error}. Nothing acknowledged is lost; start again and report this"
                    );
                    let failure = Failure::new(ExitCode::Bug, text);
                    return Err(failed(failure, succession.as_ref()));
                }
                Event::SinkEnded(Err(error)) => {
                    self.report("capture.failed");
                    let text = format!(
                        "{error}. Nothing more was let through after this; what was acknowledged is safe"
                    );
                    let failure = Failure::new(ExitCode::Failed, text);
                    return Err(failed(failure, succession.as_ref()));
                }
            }
        }
        self.report("capture.stopped");
        self.failure.map_or(Ok(()), Err)
    }

    fn wait(&self) -> Duration {
        let beat = self.heart.wait();
        match self.stage {
            Stage::Delayed(until) => beat.min(until.saturating_duration_since(Instant::now())),
            _ => beat,
        }
    }

    /// When the last one accepts, everything is up: the sink was made before the workers.
    fn worker_ready(&mut self, succession: &mut Option<Succession>) {
        self.workers_to_come -= 1;
        if self.workers_to_come > 0 {
            return;
        }
        if let Some(ready) = self.ready.take() {
            ready();
        }
        match succession.take() {
            None => self.serve(),
            Some(succession) => {
                if let Err(error) = succession.complete(self.events.clone()) {
                    self.took_over(Err(error.to_string()));
                }
            }
        }
    }

    /// This process is the service.
    fn serve(&mut self) {
        self.heart.ready();
        let Some(doors) = &self.doors else { return };
        let estate = Estate {
            doors: Arc::downgrade(doors),
            control: Arc::clone(&self.control),
            admin: self.admin_socket.as_ref().and_then(|socket| socket.try_clone().ok()),
            managed: self.heart.is_watched(),
            events: self.events.clone(),
        };
        if let Err(error) = predecessor::wait(&self.place, estate) {
            tracing::warn!(
                event = "handover.unavailable",
                path = %self.place.display(),
                %error,
                "no other process can take over from this one; an upgrade takes a restart"
            );
        }
    }

    fn start_successor(&mut self) {
        if self.stage != Stage::Serving {
            tracing::warn!(event = "handover.refused", "this process is stopping already");
            return;
        }
        let program = self.program.path().display().to_string();
        match self.program.start_again(&self.control) {
            Ok(()) => tracing::info!(
                event = "handover.starting",
                program,
                "a new process was started to take over"
            ),
            Err(error) => tracing::error!(
                event = "handover.failed",
                program,
                %error,
                "the program could not be started again; this process goes on as before"
            ),
        }
    }

    /// A new process accepts. What is in flight here is finished; nobody waits for that.
    fn handed_over(&mut self, process: u32) {
        tracing::info!(
            event = "handover.done",
            process,
            "another process has taken over; finishing what is in flight"
        );
        self.heart.hand_on(process);
        // The other one is asked from now on.
        self.board.close();
        self.admin_socket = None;
        self.drain(Haste::None);
    }

    fn took_over(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) => {
                tracing::info!(event = "handover.taken", "this process has taken over");
                self.control.accept_anew();
                self.ring();
                if self.stage == Stage::Serving {
                    self.serve();
                }
            }
            Err(why) => {
                let text = format!("the running process did not let go: {why}. It goes on");
                self.failure = Some(Failure::new(ExitCode::Failed, text));
                self.drain(Haste::Soon);
            }
        }
    }

    /// SIGTERM or SIGINT: each one hurries more.
    fn stop(&mut self) -> Result<(), Failure> {
        match self.stage {
            Stage::Serving if !self.drain_delay.is_zero() => {
                tracing::info!(
                    event = "capture.stopping",
                    delay_ms = self.drain_delay.as_millis() as u64,
                    "not ready any more; serving on until the delay is over"
                );
                self.stage = Stage::Delayed(Instant::now() + self.drain_delay);
                self.board.draining();
                self.heart
                    .stopping("serving on until the load balancer has gone", self.drain_delay);
            }
            Stage::Draining(Haste::Soon) => {
                self.report("capture.abandoned");
                return Err(Failure::new(
                    ExitCode::Failed,
                    "stopped by a second signal before everything in flight was finished",
                ));
            }
            _ => self.drain(Haste::Soon),
        }
        Ok(())
    }

    /// Stops accepting; the workers end when everything in flight is finished.
    fn drain(&mut self, haste: Haste) {
        self.stage = Stage::Draining(haste);
        if haste == Haste::Soon {
            tracing::info!(event = "capture.stopping", "finishing what is in flight");
            self.heart.stopping("finishing what is in flight", Duration::ZERO);
        }
        self.doors = None;
        self.board.draining();
        self.control.drain(haste);
        self.ring();
    }

    fn ring(&self) {
        self.bells.iter().for_each(|bell| bell.ring_always());
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

/// Who waits for this process to take over is told why it does not.
fn failed(failure: Failure, succession: Option<&Succession>) -> Failure {
    if let Some(succession) = succession {
        succession.give_up(&failure);
    }
    failure
}
