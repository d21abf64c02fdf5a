//! Puts the rooms together into a running process: checks, threads, signals, the end.
//!
//! The only room that starts threads of the data path. It sees no byte of the traffic.

pub mod capture;
mod checks;
pub mod preflight;
pub mod replay;
mod resolver;
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
    /// A worker accepts.
    WorkerReady,
    /// Start this program again, to take over.
    StartSuccessor,
    /// A new process of this id accepts on our sockets.
    HandedOver(u32),
    /// The process that this one takes over from does not accept any more, or refuses to let go.
    TookOver(Result<(), String>),
    /// A worker is done, or its ring failed.
    WorkerEnded(Result<(), String>),
    /// The sink is done, or durability can no longer be promised.
    SinkEnded(Result<(), String>),
}
