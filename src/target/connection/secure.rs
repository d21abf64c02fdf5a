//! TLS on a connection: what stands between its bytes and the socket.
//!
//! Owns the handshake, and when plaintext is sealed and opened. Never keeps more than one sealed part of a request.

use std::sync::Arc;

use super::{Broken, Connection, Core, State, next_part};
use crate::{
    ring::{Chunk, Errno, Ring, Segment},
    target::Counter,
    tls::{ClientTls, TlsFault},
};

/// The layer of one connection.
pub(super) struct Secure {
    tls: ClientTls,
    /// Bytes of the request in the send that is under way.
    plain: usize,
    /// What they became.
    sealed: u64,
}

impl Secure {
    /// A send of `bytes` has ended; how many bytes of the request it took along. A send that was cut short counts for
    /// nothing: part of a record can be opened by nobody.
    pub(super) fn take_sent(&mut self, bytes: u64) -> usize {
        let plain = std::mem::take(&mut self.plain);
        if bytes == self.sealed { plain } else { 0 }
    }
}

impl Connection {
    /// Begins the handshake, if there is to be one; false when there is not. It has to be over when the connect has to.
    pub(super) fn shake_hands<R: Ring>(&mut self, core: &mut Core<R>, late: bool) -> bool {
        let Some(trust) = &core.settings.tls else { return false };
        match ClientTls::new(trust) {
            Ok(tls) => self.secure = Some(Box::new(Secure { tls, plain: 0, sealed: 0 })),
            Err(fault) => {
                self.state = State::Handshaking;
                self.distrust(core, &fault);
                return true;
            }
        }
        self.state = State::Handshaking;
        if late {
            let timeout = core.settings.connect_timeout;
            self.expire_after(core, timeout);
        }
        self.receive(core);
        self.send_sealed(core);
        true
    }

    /// Sends what the handshake has to say, or the next part of the request.
    pub(super) fn send_sealed<R: Ring>(&mut self, core: &mut Core<R>) {
        let (Some(fd), Some(secure), false) = (self.fd, &mut self.secure, self.sending) else {
            return;
        };
        let mut plain = 0;
        if self.state == State::Busy {
            let parts = next_part(&self.head, &self.request, self.from, self.sent);
            let mut sealed = Ok(());
            for (memory, range) in parts.into_iter().filter(|(_, range)| !range.is_empty()) {
                plain += range.len();
                sealed = sealed.and_then(|()| secure.tls.send(&memory[range]));
            }
            if let Err(fault) = sealed {
                return self.distrust(core, &fault);
            }
        }
        let bytes = secure.tls.outgoing();
        if bytes.is_empty() {
            return;
        }
        (secure.plain, secure.sealed) = (plain, bytes.len() as u64);
        core.out.push(Segment::owned(bytes));
        self.sending = true;
        core.ring.send(self.token, fd, &mut core.out);
    }

    /// Says that nothing more follows (RFC 8446 section 6.1), or what is wrong. As much as the socket takes at once: a
    /// target that does not read is not waited for.
    pub(super) fn send_farewell<R: Ring>(&mut self, core: &mut Core<R>) {
        let Some(secure) = &mut self.secure else { return };
        if !secure.tls.is_handshaking() {
            secure.tls.close();
        }
        self.send_sealed(core);
    }

    pub(super) fn received_sealed<R: Ring>(&mut self, core: &mut Core<R>, chunk: Chunk) {
        let (Some(secure), false) = (&mut self.secure, matches!(self.state, State::Closing { .. }))
        else {
            return core.ring.release(chunk.buffer);
        };
        let mut plain = std::mem::take(&mut core.plain);
        plain.clear();
        let outcome = secure.tls.received(core.ring.bytes(chunk), &mut plain);
        core.ring.release(chunk.buffer);
        self.opened(core, &plain, outcome);
        core.plain = plain;
    }

    /// `over`: the target said that nothing more follows.
    fn opened<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        plain: &[u8],
        outcome: Result<bool, TlsFault>,
    ) {
        if self.state == State::Handshaking {
            if let Err(fault) = outcome {
                return self.distrust(core, &fault);
            }
            let done = self.secure.as_ref().is_some_and(|secure| !secure.tls.is_handshaking());
            // What is left of the handshake goes out with the request.
            if done {
                self.begin(core);
            } else {
                self.send_sealed(core);
            }
        }
        if !plain.is_empty() {
            if self.state == State::Busy {
                let progress = self.answer.take(&core.settings.limits, plain);
                self.progressed(core, progress);
            } else {
                self.surplus(core);
            }
        }
        match outcome {
            Ok(false) => {}
            Ok(true) if self.state == State::Handshaking => self.unsecured(core, None),
            Ok(true) => self.ended(core, None, true),
            Err(fault) => match self.state {
                State::Busy => self.distrust(core, &fault),
                State::Idle => self.close(core, true),
                _ => self.surplus(core),
            },
        }
    }

    /// The connection ended within the handshake.
    pub(super) fn unsecured<R: Ring>(&mut self, core: &mut Core<R>, error: Option<Errno>) {
        core.counters.add(Counter::TlsFailures, 1);
        let error = error.or(self.exchange.deaf);
        self.give_up(core, Broken::Unsecured(error), false);
    }

    fn distrust<R: Ring>(&mut self, core: &mut Core<R>, fault: &TlsFault) {
        core.counters.add(Counter::TlsFailures, 1);
        let handshake = self.state == State::Handshaking;
        let text = Arc::from(fault.to_string());
        self.give_up(core, Broken::Tls { handshake, text }, false);
    }
}
