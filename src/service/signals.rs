//! Signals become events of the control thread.

use std::{io, thread};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::Signals,
};
use tokio::sync::mpsc::UnboundedSender;

use super::Event;

/// Forwards SIGTERM and SIGINT (stop), SIGHUP (reload), SIGUSR1 (log the counters) and SIGUSR2 (hand over to a new
/// process) from a thread of its own.
pub(super) fn forward(to: UnboundedSender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2])?;
    let forward = move || {
        for signal in signals.forever() {
            let event = match signal {
                SIGHUP => Event::Reload,
                SIGUSR1 => Event::Report,
                SIGUSR2 => Event::StartSuccessor,
                _ => Event::Stop,
            };
            if to.send(event).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
}
