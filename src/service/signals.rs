//! Signals become events of the control thread.

use std::{io, sync::mpsc::Sender, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
};

use super::Event;

/// Forwards SIGTERM and SIGINT (stop) and SIGUSR1 (log the counters) from a thread of its own.
pub(super) fn forward(to: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])?;
    let forward = move || {
        for signal in signals.forever() {
            let event = if signal == SIGUSR1 { Event::Report } else { Event::Stop };
            if to.send(event).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
}
