//! Accepting: who comes, and what happens when accepting has to pause.

use super::{
    connection::{CLIENT, Connection},
    worker::Worker,
};
use crate::{
    capture::ConnectionId,
    config::limits,
    observe::Counter,
    ring::{Errno, Fd, Ring, Token},
};

/// A listening socket of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// A descriptor that is the worker's own.
    pub fd: Fd,
    /// Other workers (or processes) accept on the same socket: they take turns.
    pub shared: bool,
}

impl<R: Ring> Worker<R> {
    pub(super) fn accepted(&mut self, fd: Fd) {
        self.core.counters.add(Counter::Accepted, 1);
        self.serial = self.serial.wrapping_add(1);
        let identity = &self.core.recorder.identity;
        let id = ConnectionId::new(identity, self.serial, self.core.now.unix_ns);
        let index = self.connections.insert(|index, generation| {
            Connection::new(Token::new(index, generation, CLIENT), fd, id)
        });
        let connection = self.connections.at(index).expect("invariant: just inserted");
        connection.dirty = true;
        self.dirty.push(index);
        connection.secure_client(&mut self.core);
        connection.arrive(&mut self.core);
    }

    pub(super) fn accept_ended(&mut self, listener: Fd, errno: Errno) {
        if self.core.drain.is_some() {
            self.close_listener(listener);
            return;
        }
        match errno.0 {
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                self.core.counters.add(Counter::AcceptPaused, 1);
                let pause = limits::ACCEPT_PAUSE.as_nanos() as u64;
                self.paused_listeners.push((self.core.now.monotonic_ns + pause, listener));
            }
            _ => self.accept(listener),
        }
    }

    pub(super) fn close_listener(&mut self, listener: Fd) {
        self.core.ring.close(listener, false);
        self.listeners.retain(|other| other.fd != listener);
        self.control.end_accepting();
    }

    fn accept(&mut self, listener: Fd) {
        let shared = self.listeners.iter().any(|other| other.fd == listener && other.shared);
        self.core.ring.accept(listener, shared);
    }

    /// Accepts again where the pause is over.
    pub(super) fn go_on_accepting(&mut self) {
        let now = self.core.now.monotonic_ns;
        while self.paused_listeners.first().is_some_and(|(due, _)| *due <= now) {
            let (_, listener) = self.paused_listeners.remove(0);
            self.accept(listener);
        }
    }
}
