//! Test equipment: a ring without a kernel, driven by one seed.
//!
//! [`SimRing`] does what the [`Ring`] trait's documentation allows a ring to do, and no less: short
//! receives, sends that make progress over many turns, completions that come late and out of order
//! between operations (never within one), cancels that lose their race, multishots that end, buffers
//! that run out, resets at any moment. It also checks the caller's side of the contract and panics
//! with `contract: …` where it is broken. Time is virtual: a wait with nothing to do moves the clock
//! of the [`Net`] on.
//!
//! The peers are played by the test, between turns, through the [`Net`]. Nothing here is used by a running tapline.

mod kernel;
mod memory;
mod net;
mod random;
mod socket;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

pub use net::{Faults, Ledger, LinkId, Net, Receipt};
pub use random::Random;

use self::{
    memory::Memory,
    net::Trouble,
    socket::{Kind, Socket},
};
use super::{Chunk, Completion, Errno, Fd, Ring, Segment, SendQueue, Token};

/// A ring of one worker over a [`Net`].
pub struct SimRing {
    net: Rc<RefCell<Net>>,
    memory: Memory,
    sockets: BTreeMap<i32, Socket>,
    accepts: BTreeMap<i32, Accept>,
    event: Option<Fd>,
    spent: Vec<Vec<u8>>,
}

/// The accept of one listener.
struct Accept {
    /// It ends with each connection.
    shared: bool,
    stopped: bool,
    over: bool,
    done: VecDeque<Completion>,
}

impl SimRing {
    /// A ring with `buffers` provided buffers of `buffer_bytes` each.
    pub fn new(net: Rc<RefCell<Net>>, buffers: usize, buffer_bytes: usize) -> Self {
        Self {
            net,
            memory: Memory::new(buffers, buffer_bytes),
            sockets: BTreeMap::new(),
            accepts: BTreeMap::new(),
            event: None,
            spent: Vec::new(),
        }
    }

    fn socket(&mut self, fd: Fd) -> &mut Socket {
        self.sockets.get_mut(&fd.0).unwrap_or_else(|| panic!("contract: {fd:?} is not open"))
    }

    /// Every live token names one socket.
    fn check_token(&self, kind: Kind, token: Token) {
        let twice = self
            .sockets
            .values()
            .any(|socket| socket.peek(kind).is_some_and(|operation| operation.token == token));
        assert!(!twice, "contract: {kind:?} of {token:?} is under way already");
    }
}

impl Ring for SimRing {
    fn accept(&mut self, listener: Fd, shared: bool) {
        let known = self.net.borrow().listeners.contains_key(&listener.0);
        assert!(known, "contract: {listener:?} does not listen");
        let accept = Accept { shared, stopped: false, over: false, done: VecDeque::new() };
        let twice = self.accepts.insert(listener.0, accept).is_some();
        assert!(!twice, "contract: two accepts on {listener:?}");
    }

    fn stop_accepting(&mut self, listener: Fd) {
        let known = self.net.borrow().listeners.contains_key(&listener.0);
        assert!(known, "contract: {listener:?} does not listen");
        if let Some(accept) = self.accepts.get_mut(&listener.0) {
            accept.stopped = true;
        }
    }

    fn wake_on(&mut self, event: Fd) {
        assert!(self.event.is_none(), "contract: one event descriptor");
        self.event = Some(event);
    }

    fn open(&mut self, _address: &SocketAddr) -> Result<Fd, Errno> {
        let mut net = self.net.borrow_mut();
        let per_mille = net.faults.open_fails;
        if net.random.chance(per_mille) {
            return Err(Errno(libc::EMFILE));
        }
        let fd = net.new_fd();
        self.sockets.insert(fd.0, Socket::default());
        Ok(fd)
    }

    /// All clients of a simulated world come from one host.
    fn peer(&self, fd: Fd) -> Option<SocketAddr> {
        Some(SocketAddr::from(([192, 0, 2, 1], fd.0 as u16)))
    }

    fn connect(&mut self, token: Token, fd: Fd, _address: &SocketAddr) {
        self.check_token(Kind::Connect, token);
        let due = {
            let net = &mut *self.net.borrow_mut();
            let (random, faults) = (&mut net.random, net.faults);
            let at = net.now_ns + random.below(net.connect_ns_max + 1);
            let answered = !random.chance(faults.connect_silent);
            answered.then(|| (at, !random.chance(faults.connect_refused)))
        };
        let socket = self.socket(fd);
        assert!(!socket.connect_asked, "contract: {fd:?} connects twice");
        socket.connect_asked = true;
        socket.start(Kind::Connect, token).due = due;
    }

    fn receive(&mut self, token: Token, fd: Fd) {
        self.check_token(Kind::Receive, token);
        let socket = self.socket(fd);
        assert!(socket.link.is_some(), "contract: {fd:?} receives before it is connected");
        socket.start(Kind::Receive, token);
    }

    fn receive_once(&mut self, token: Token, fd: Fd, bytes: u32) {
        self.receive(token, fd);
        let receive = self.socket(fd).get(Kind::Receive);
        receive.expect("invariant: just begun").once = Some(bytes as usize);
    }

    fn stop_receiving(&mut self, token: Token) {
        // A cancel that finds nothing is none: the receive ended meanwhile.
        for socket in self.sockets.values_mut() {
            if let Some(receive) = socket.get(Kind::Receive)
                && receive.token == token
            {
                receive.cancelled = true;
            }
        }
    }

    fn watch_hangup(&mut self, token: Token, fd: Fd) {
        self.check_token(Kind::Watch, token);
        self.socket(fd).start(Kind::Watch, token);
    }

    fn send(&mut self, token: Token, fd: Fd, queue: &mut SendQueue) {
        self.check_token(Kind::Send, token);
        assert!(!queue.is_empty(), "contract: an empty send");
        for segment in queue.segments() {
            assert!(!segment.is_empty(), "contract: an empty segment");
            if let Segment::Provided { buffer, offset, len } = segment {
                self.memory.bytes(*buffer, *offset, *len);
            }
        }
        let link = self.socket(fd).link;
        let link = link.unwrap_or_else(|| panic!("contract: {fd:?} sends before it is connected"));
        let shut = self.net.borrow_mut().link(link).to_peer.fin;
        assert!(!shut, "contract: {fd:?} sends behind its FIN");
        let operation = self.socket(fd).start(Kind::Send, token);
        std::mem::swap(&mut operation.queue, queue);
    }

    fn cancel_all(&mut self, fd: Fd) {
        self.socket(fd).cancel();
    }

    fn shutdown_write(&mut self, fd: Fd) {
        let socket = self.socket(fd);
        assert!(
            socket.peek(Kind::Send).is_none(),
            "contract: {fd:?} is shut while a send is under way"
        );
        if let Some(link) = socket.link {
            self.net.borrow_mut().link(link).to_peer.fin = true;
        }
    }

    fn close(&mut self, fd: Fd, reset: bool) {
        let mut net = self.net.borrow_mut();
        if let Some(backlog) = net.listeners.remove(&fd.0) {
            assert!(!self.accepts.contains_key(&fd.0), "contract: {fd:?} closed while it accepts");
            for id in backlog {
                net.link(id).peer_reset = true;
            }
            net.free_fd(fd);
            return;
        }
        let socket = self.sockets.remove(&fd.0);
        let socket = socket.unwrap_or_else(|| panic!("contract: {fd:?} closed twice"));
        assert!(socket.is_still(), "contract: {fd:?} closed while an operation is under way");
        net.free_fd(fd);
        let Some(id) = socket.link else { return };
        let lost = reset && net.random.chance(500);
        let link = net.link(id);
        link.worker_gone = true;
        link.to_peer.fin = true;
        // Closing with unread bytes resets too, but only after what was sent.
        link.peer_reset |= reset || !link.to_worker.bytes.is_empty();
        if lost {
            link.to_peer.bytes.clear();
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        self.turn(timeout, out)
    }

    fn bytes(&self, chunk: Chunk) -> &[u8] {
        self.memory.bytes(chunk.buffer, chunk.offset, chunk.len)
    }

    fn bytes_mut(&mut self, chunk: Chunk) -> &mut [u8] {
        self.memory.bytes_mut(chunk.buffer, chunk.offset, chunk.len)
    }

    fn retain(&mut self, buffer: u16) {
        self.memory.retain(buffer);
    }

    fn release(&mut self, buffer: u16) {
        self.memory.release(buffer);
    }

    fn free_buffers(&self) -> (usize, usize) {
        (self.memory.free(), self.memory.count())
    }

    fn reclaim(&mut self) -> Option<Vec<u8>> {
        self.spent.pop()
    }
}

impl Drop for SimRing {
    fn drop(&mut self) {
        // Within a panic the network may be borrowed: nothing is worth saying then.
        let Ok(mut net) = self.net.try_borrow_mut() else { return };
        net.ledger = Ledger {
            open_fds: self.sockets.len() + net.listeners.len(),
            buffers_out: self.memory.out(),
            dropped: true,
        };
    }
}
