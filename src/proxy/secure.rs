//! TLS on either side of a connection: received bytes become plaintext before anything else sees them, and what TLS has
//! to say about the connection becomes what a plain socket would have said.
//!
//! A farewell (`close_notify`) is a FIN. A FIN without one is one too, as far as requests go, since HTTP/1 says itself
//! where they end; an answer that ends with its connection is cut short by it.

use super::{
    connection::{CLIENT, Connection, Phase, SOURCE, Side, Upstream},
    core::Core,
    timers::Deadline,
};
use crate::{
    http::{self, Eof},
    observe::{Counter, Counters},
    ring::{Chunk, Errno, Fd, Ring, Segment, SendQueue, Token},
    tls::{Established, FaultKind, Session, TlsFault},
};

/// Plaintext that came.
#[derive(Clone, Copy)]
pub(super) enum Arrival<'a> {
    /// In a provided buffer, with one reference to it.
    Lent(Chunk),
    /// In memory that is used again: to be copied by whoever keeps it.
    Loose(&'a [u8]),
}

impl<'a> Arrival<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Lent(chunk) => chunk.len as usize,
            Self::Loose(bytes) => bytes.len(),
        }
    }

    pub(super) fn bytes<'b, R: Ring>(&self, ring: &'b R) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Lent(chunk) => ring.bytes(chunk),
            Self::Loose(bytes) => bytes,
        }
    }

    /// Nobody keeps any of it.
    pub(super) fn release<R: Ring>(&self, ring: &mut R) {
        self.share(ring, 0);
    }

    /// So many segments point into it: each needs a reference of its own, and it came with one.
    pub(super) fn share<R: Ring>(&self, ring: &mut R, shares: u16) {
        let Self::Lent(chunk) = self else { return };
        match shares {
            0 => ring.release(chunk.buffer),
            _ => (1..shares).for_each(|_| ring.retain(chunk.buffer)),
        }
    }
}

impl Connection {
    /// Bytes came from one side.
    pub(super) fn received<R: Ring>(&mut self, core: &mut Core<R>, number: u8, chunk: Chunk) {
        if self.side(number).tls.is_some() {
            return self.received_sealed(core, number, chunk);
        }
        let arrival = Arrival::Lent(chunk);
        if number == CLIENT && !self.has_bytes && self.phase == Phase::Flowing {
            // No method of HTTP begins like this.
            if core.ring.bytes(chunk).first() == Some(&TLS_HANDSHAKE) {
                arrival.release(&mut core.ring);
                core.counters.add(Counter::TlsUnexpected, 1);
                return self.answer(core, NO_TLS_HERE.to_vec());
            }
        }
        self.deliver(core, number, arrival);
    }

    fn deliver<R: Ring>(&mut self, core: &mut Core<R>, number: u8, arrival: Arrival<'_>) {
        match number {
            CLIENT => self.client_data(core, arrival),
            _ => self.source_data(core, arrival),
        }
    }

    fn received_sealed<R: Ring>(&mut self, core: &mut Core<R>, number: u8, chunk: Chunk) {
        let side = self.side(number);
        let session = match &mut side.tls {
            Some(session) if !side.eof && side.closing.is_none() => session,
            _ => return core.ring.release(chunk.buffer),
        };
        let mut opened = std::mem::take(&mut core.opened);
        let result = session.open(core.ring.bytes_mut(chunk), &mut opened);
        if let Ok(Some(established)) = result {
            self.secured(core, number, established);
        }
        for range in &opened.gathered_ranges {
            self.deliver(core, number, Arrival::Loose(&opened.gathered[range.clone()]));
        }
        for range in &opened.ranges {
            core.ring.retain(chunk.buffer);
            let (offset, len) = (chunk.offset + range.start as u32, range.len() as u32);
            self.deliver(core, number, Arrival::Lent(Chunk { buffer: chunk.buffer, offset, len }));
        }
        core.ring.release(chunk.buffer);
        match result {
            Err(fault) => self.tls_failed(core, number, &fault),
            Ok(_) if !opened.farewell => {}
            Ok(_) if number == CLIENT => self.client_eof(),
            Ok(_) => self.source_eof(core),
        }
        core.opened = opened;
    }

    /// A client has connected: if it is to speak TLS, it has to do so soon.
    pub(super) fn secure_client<R: Ring>(&mut self, core: &mut Core<R>) {
        let Some(acceptor) = &core.settings.tls else { return };
        match Session::accept(acceptor) {
            Ok(session) => self.client.tls = Some(Box::new(session)),
            // The system has no random numbers: nothing can be said safely.
            Err(_) => return self.close(core, true, true),
        }
        core.timers.set(Deadline::Handshake, self.token, core.now.monotonic_ns);
    }

    /// The source is connected and TLS begins.
    pub(super) fn secure_source<R: Ring>(&mut self, core: &mut Core<R>, session: Session) {
        self.source.tls = Some(Box::new(session));
        self.upstream = Upstream::Securing;
        core.timers.set(Deadline::Handshake, self.source_token(), core.now.monotonic_ns);
    }

    fn secured<R: Ring>(&mut self, core: &mut Core<R>, number: u8, established: Established) {
        if number == SOURCE {
            core.counters.add(Counter::SourceTlsHandshakes, 1);
            self.upstream = Upstream::Connected;
            return;
        }
        core.counters.add(Counter::TlsHandshakes, 1);
        core.counters.add(Counter::TlsResumed, u64::from(established.resumed));
    }

    fn is_securing(&self, number: u8) -> bool {
        let side = if number == CLIENT { &self.client } else { &self.source };
        side.closing.is_none() && side.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    pub(super) fn handshake_is_due<R: Ring>(&mut self, core: &mut Core<R>, number: u8) {
        if !self.is_securing(number) || self.phase != Phase::Flowing {
            return;
        }
        if number == SOURCE {
            core.counters.add(Counter::SourceTlsFailed, 1);
            self.source_unreachable(core, "it did not finish the TLS handshake in time");
            return;
        }
        core.counters.add(Counter::TlsFailedTimeout, 1);
        self.close(core, false, false);
    }

    /// One side sent FIN.
    pub(super) fn sealed_eof<R: Ring>(&mut self, core: &mut Core<R>, number: u8) {
        let securing = self.is_securing(number);
        let side = self.side(number);
        if side.eof || side.closing.is_some() {
            side.eof = true;
            return;
        }
        match number {
            CLIENT if securing => {
                side.eof = true;
                // Whoever only looks whether the port is open is a health check, not a failure.
                if side.tls.as_ref().is_some_and(|tls| tls.has_begun()) {
                    core.counters.add(Counter::TlsFailedClosed, 1);
                }
                self.close(core, false, false);
            }
            CLIENT => {
                if self.phase == Phase::Flowing {
                    core.counters.add(Counter::TlsTruncated, 1);
                }
                self.client_eof();
            }
            _ if securing => {
                side.eof = true;
                core.counters.add(Counter::SourceTlsFailed, 1);
                self.source_unreachable(core, "it closed the connection within the TLS handshake");
            }
            _ if self.answer_began && !self.tunnel && self.response.eof() == Eof::Complete => {
                side_eof(&mut self.source);
                core.counters.add(Counter::SourceTlsTruncated, 1);
                self.source_failed(core, Errno(libc::ECONNRESET));
            }
            _ => self.source_eof(core),
        }
    }

    /// What came cannot be opened, or the handshake came to nothing.
    fn tls_failed<R: Ring>(&mut self, core: &mut Core<R>, number: u8, fault: &TlsFault) {
        if number == SOURCE {
            return self.source_tls_failed(core, fault);
        }
        if self.has_bytes || self.phase != Phase::Flowing {
            core.counters.add(Counter::TlsBroken, 1);
            let text = Errno(libc::EPROTO);
            // The alert goes first, as far as the socket takes it.
            self.close_side(core, CLIENT, false);
            return self.client_failed(core, text);
        }
        count(&core.counters, fault.kind());
        if fault.kind() == FaultKind::Plaintext {
            self.client.tls = None;
            return self.answer(core, http::not_tls());
        }
        // The alert is what there is to say; then the client is given the time to read it.
        self.answer(core, Vec::new());
    }

    fn source_tls_failed<R: Ring>(&mut self, core: &mut Core<R>, fault: &TlsFault) {
        core.counters.add(Counter::SourceTlsFailed, 1);
        // The source is told why.
        self.close_side(core, SOURCE, false);
        if self.upstream == Upstream::Securing && self.phase == Phase::Flowing {
            self.source_unreachable(core, &fault.to_string());
        } else {
            self.source_failed(core, Errno(libc::EPROTO));
        }
    }
}

fn side_eof(side: &mut Side) {
    side.eof = true;
}

fn count(counters: &Counters, kind: FaultKind) {
    let counter = match kind {
        FaultKind::Plaintext => Counter::TlsFailedPlaintext,
        FaultKind::Version => Counter::TlsFailedVersion,
        FaultKind::Offer => Counter::TlsFailedOffer,
        FaultKind::Certificate => Counter::TlsFailedCertificate,
        FaultKind::Alert => Counter::TlsFailedAlert,
        FaultKind::Malformed => Counter::TlsFailedMalformed,
    };
    counters.add(counter, 1);
}

/// Sends FIN, in TLS behind the farewell: false while that is still on its way.
pub(super) fn shut<R: Ring>(ring: &mut R, side: &mut Side) -> bool {
    if side.tls.as_mut().is_some_and(|tls| tls.say_farewell()) {
        return false;
    }
    side.shut = true;
    side.fd.into_iter().for_each(|fd| ring.shutdown_write(fd));
    true
}

/// Says in TLS that nothing more follows, or what went wrong, before the socket is closed: as much as the socket takes
/// at once, for a peer that does not read is not waited for. What was cut short does not get the farewell of a whole.
pub(super) fn send_farewell<R: Ring>(ring: &mut R, side: &mut Side, token: Token, fd: Fd) {
    let Some(session) = &mut side.tls else { return };
    if side.sending > 0 || side.shut || side.deaf || side.connecting || !side.out.is_empty() {
        return;
    }
    if !side.cut {
        session.say_farewell();
    }
    let Some(bytes) = session.outgoing() else { return };
    let mut queue = SendQueue::default();
    side.sending = bytes.len() as u64;
    queue.push(Segment::owned(bytes));
    ring.send(token, fd, &mut queue);
}

/// The content type of a handshake record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// A fatal alert in the clear, `protocol_version`: no version of TLS is spoken here.
const NO_TLS_HERE: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];
