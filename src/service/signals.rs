//! Signals become events of the control thread.

use std::{io, thread};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
};
use tokio::sync::mpsc::UnboundedSender;

use super::Event;

/// Forwards SIGTERM and SIGINT (stop), SIGHUP (reload) and SIGUSR1 (log the counters) from a thread of its own.
pub(super) fn forward(to: UnboundedSender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1])?;
    let forward = move || {
        for signal in signals.forever() {
            let event = match signal {
                SIGHUP => Event::Reload,
                SIGUSR1 => Event::Report,
                _ => Event::Stop,
            };
            if to.send(event).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
}
