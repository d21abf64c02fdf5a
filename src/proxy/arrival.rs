//! The beginning and the end of a client connection: may it come, whose is it, and what is given back when it goes.

use std::net::SocketAddr;

use super::{connection::Connection, core::Core, timers::Deadline};
use crate::{
    config::ProxyProtocol,
    http::{self, RequestPart},
    net::proxy_protocol::{self, HEADER_BYTES_MAX, Origin},
    observe::Counter,
    ring::{Chunk, Ring},
};

impl Connection {
    /// A client has connected.
    pub(super) fn arrive<R: Ring>(&mut self, core: &mut Core<R>) {
        self.filter.clone_from(&core.filter);
        self.asks_source = self.filter.as_ref().is_none_or(|filter| filter.health_path.is_none());
        if core.settings.deadlines.period().is_some() {
            core.timers.set(Deadline::Look, self.token, core.now.monotonic_ns);
        }
        if !core.settings.admission.enter() {
            core.counters.add(Counter::Denied, 1);
            self.turn_away(core, "tapline has too many connections");
            return;
        }
        if core.settings.proxy_protocol != ProxyProtocol::Off {
            self.preface = Some(Vec::new());
            return;
        }
        if (self.appends_address() || core.settings.admission.asks_address())
            && let Some(address) = self.client.fd.and_then(|fd| core.ring.peer(fd))
        {
            self.is_of(core, address);
        }
    }

    /// The connection is over.
    pub(super) fn depart<R: Ring>(&mut self, core: &mut Core<R>) {
        core.settings.admission.leave();
        if let Some(counted) = self.counted.take() {
            core.settings.admission.leave_address(&counted);
        }
    }

    /// The client's address is known.
    fn is_of<R: Ring>(&mut self, core: &mut Core<R>, address: SocketAddr) {
        self.address = Some(address.ip());
        self.counted = core.settings.admission.enter_address(address.ip());
        if self.counted.is_none() {
            core.counters.add(Counter::DeniedAddress, 1);
            self.turn_away(core, "this address has too many connections to tapline");
        }
    }

    fn turn_away<R: Ring>(&mut self, core: &mut Core<R>, why: &str) {
        if self.client.tls.is_some() {
            // There is no handshake yet in which to say it.
            return self.close(core, true, true);
        }
        self.answer(core, http::unavailable(why, RETRY_AFTER_S));
    }

    /// Takes the PROXY protocol header off the front of what the client side sends. What is left is the client's.
    pub(super) fn take_preface<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        chunk: Chunk,
    ) -> Option<Chunk> {
        let mut kept = self.preface.take()?;
        let earlier = kept.len();
        let bytes = core.ring.bytes(chunk);
        let more = bytes.len().min(HEADER_BYTES_MAX + 1 - earlier);
        kept.extend_from_slice(&bytes[..more]);
        match proxy_protocol::parse(&kept) {
            Ok(None) => {
                self.preface = Some(kept);
                core.ring.release(chunk.buffer);
                None
            }
            Ok(Some((len, origin))) => {
                if let Origin::Client(address) = origin {
                    self.stream.note(|notes| notes.client = Some(address));
                    self.is_of(core, address);
                }
                let used = (len - earlier) as u32;
                let rest = Chunk { offset: chunk.offset + used, len: chunk.len - used, ..chunk };
                if rest.len == 0 {
                    core.ring.release(chunk.buffer);
                    return None;
                }
                Some(rest)
            }
            Err(proxy_protocol::Fault::NoHeader)
                if core.settings.proxy_protocol == ProxyProtocol::Accept
                    && (earlier == 0 || self.client.tls.is_none()) =>
            {
                self.give_back(core, &kept[..earlier]);
                Some(chunk)
            }
            Err(_) => {
                core.ring.release(chunk.buffer);
                core.counters.add(Counter::PrefaceFaults, 1);
                self.has_bytes = true;
                self.close(core, true, true);
                None
            }
        }
    }

    /// Bytes that began like a header and were the client's own: fewer than any head has.
    fn give_back<R: Ring>(&mut self, core: &mut Core<R>, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.has_bytes = true;
        match self.request.next(&core.settings.limits, bytes) {
            Ok(piece) => {
                debug_assert_eq!(
                    piece.what,
                    RequestPart::HeadPart,
                    "invariant: too short for a head"
                );
                self.head_began.get_or_insert(core.recorder.stamp);
            }
            Err(reason) => self.refuse_late(core, reason),
        }
    }
}

/// When a client that was turned away should try again.
const RETRY_AFTER_S: u32 = 1;
