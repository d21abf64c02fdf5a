//! Puts the rooms together into a running process: checks, threads, signals, the end.
//!
//! The only room that starts threads of the data path. It sees no byte of the traffic.

pub mod capture;
mod checks;
pub mod replay;
mod signals;
mod sinks;

/// What the control thread waits for.
#[derive(Debug)]
pub(super) enum Event {
    /// Stop accepting, finish, end.
    Stop,
    /// Log the counters.
    Report,
    /// Take over what was changed in the configuration.
    Reload,
    /// A worker is done, or its ring failed.
    WorkerEnded(Result<(), String>),
    /// The sink is done, or durability can no longer be promised.
    SinkEnded(Result<(), String>),
}
