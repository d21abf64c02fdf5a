//! The control thread: waits for signals and for the ends of the other threads, and ends the process in order.
//!
//! It runs a tokio runtime of its own, on which everything lives that is neither traffic nor records. Nothing here
//! touches the data path but through counters, bells and [`Control`].

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;

use super::{super::Event, reload::Reload};
use crate::{
    config::CaptureConfig,
    observe::{Counter, Counters, ExitCode, Failure, Snapshot},
    proxy::Control,
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
    pub(super) workers_left: usize,
    pub(super) sinks_left: usize,
}

impl Supervisor {
    /// Runs until every worker and the sink have ended.
    pub(super) async fn run(mut self, mut inbox: UnboundedReceiver<Event>) -> Result<(), Failure> {
        let mut stopping = false;
        while self.workers_left + self.sinks_left > 0 {
            let Some(event) = inbox.recv().await else { break };
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
                    self.drain();
                }
                Event::Report => self.report("capture.counters"),
                Event::Reload => self.reload.run(),
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

    /// Stops accepting; the workers end when everything in flight is finished.
    fn drain(&self) {
        tracing::info!(event = "capture.stopping", "finishing what is in flight");
        self.control.drain();
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
