//! Wake-ups only for sleepers.
//!
//! A thread that is about to sleep says so in its `parked` flag, looks at its queues once more, and sleeps on its event
//! descriptor. Whoever fills a queue clears the flag and writes the descriptor only if the flag was set: waking a
//! sleeping thread costs the writer 10-12 µs, more than a whole proxied request.

use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};

use super::parked::Parked;

/// A thread's event descriptor and whether it sleeps on it.
pub struct Bell {
    event: OwnedFd,
    parked: Parked,
}

impl Bell {
    /// Fails only when the process is out of descriptors or memory.
    pub fn new() -> std::io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, parked: Parked::new() })
    }

    /// What to sleep on.
    pub fn event(&self) -> &OwnedFd {
        &self.event
    }

    /// Announces sleep. The caller must look at its queues once more before it sleeps.
    pub fn park(&self) {
        self.parked.announce();
    }

    /// Takes the announcement back.
    pub fn unpark(&self) {
        self.parked.take_back();
    }

    /// Wakes the thread if it sleeps or is about to.
    pub fn ring(&self) {
        if self.parked.claim() {
            self.ring_always();
        }
    }

    /// Wakes the thread at its next sleep in any case; for signals, where the queues carry nothing.
    pub fn ring_always(&self) {
        // A full counter (2^64 - 2) means that a wake-up is pending already.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Resets the descriptor after a wake-up.
    pub fn hush(&self) {
        let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
    }
}
