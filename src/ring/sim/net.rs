//! The network between a simulated worker and the peers that a test plays: TCP-like streams with bounded buffers, FINs
//! and resets, and the clock that all of them share.
//!
//! Owns what is between two sockets. Knows no operations: those are [`super::SimRing`]'s.

use std::collections::{BTreeMap, VecDeque};

use super::Random;
use crate::ring::Fd;

/// How often what goes wrong does, in cases per 1,000 opportunities unless said otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A multishot receive ends without a reason.
    pub rearm: u32,
    /// A receive finds no buffer although there are some.
    pub no_buffers: u32,
    /// A send fails with a reset that comes with it.
    pub send_fails: u32,
    /// A multishot accept ends with EMFILE.
    pub accept_full: u32,
    /// A multishot accept ends without a reason.
    pub accept_ends: u32,
    /// No socket can be opened.
    pub open_fails: u32,
    /// A connect is refused.
    pub connect_refused: u32,
    /// A connect is never answered.
    pub connect_silent: u32,
    /// A hang-up watch ends without a reason.
    pub watch_ends: u32,
    /// A wake-up that nobody asked for.
    pub woken: u32,
    /// A wait that returns early with nothing.
    pub idle: u32,
}

/// One TCP connection of the worker, as its peer names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(usize);

/// What a peer's receive found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// So many bytes were appended.
    Data(usize),
    /// Nothing yet.
    Empty,
    /// The worker sent FIN and everything before it was read.
    Eof,
    /// The worker reset the connection, or the connection is no more.
    Reset,
}

/// All streams, the clock, and chance.
pub struct Net {
    /// What decides whatever is left to chance.
    pub random: Random,
    /// What goes wrong.
    pub faults: Faults,
    /// Buffer sizes of the two directions of a new connection are drawn up to this, in bytes.
    pub socket_bytes_max: u64,
    /// A connect that is answered takes up to this long.
    pub connect_ns_max: u64,
    /// The time at which the test next wants to act; a wait goes no further.
    pub alarm_ns: Option<u64>,
    pub(super) links: Vec<Link>,
    pub(super) listeners: BTreeMap<i32, VecDeque<LinkId>>,
    pub(super) arrivals: VecDeque<LinkId>,
    pub(super) now_ns: u64,
    pub(super) ledger: Ledger,
    pub(super) spins: u32,
    events: u64,
    next_fd: i32,
    free_fds: Vec<i32>,
}

/// What a ring had left when it was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Sockets and listeners that were not closed.
    pub open_fds: usize,
    /// Provided buffers that were not given back.
    pub buffers_out: usize,
    /// The ring was dropped.
    pub dropped: bool,
}

impl Net {
    /// An empty network.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            random: Random::new(seed),
            faults,
            socket_bytes_max: 64 << 10,
            connect_ns_max: 2_000_000,
            alarm_ns: None,
            links: Vec::new(),
            listeners: BTreeMap::new(),
            arrivals: VecDeque::new(),
            now_ns: 1_000_000_000,
            ledger: Ledger::default(),
            spins: 0,
            events: 0,
            next_fd: FIRST_FD,
            free_fds: Vec::new(),
        }
    }

    /// The monotonic time.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Orders what happens: each call gives a larger number.
    pub fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Waits in a row that had nothing to do and no time to wait: a busy loop, if there are many.
    pub fn spins(&self) -> u32 {
        self.spins
    }

    /// Time passes without a worker.
    pub fn pass(&mut self, ns: u64) {
        self.now_ns += ns;
    }

    /// A listening socket for the worker.
    pub fn listen(&mut self) -> Fd {
        let fd = self.new_fd();
        self.listeners.insert(fd.0, VecDeque::new());
        fd
    }

    /// A client connects to the first listener; reset at once when there is none.
    pub fn dial(&mut self) -> LinkId {
        let id = self.connect();
        match self.listeners.values_mut().next() {
            Some(backlog) => backlog.push_back(id),
            None => self.links[id.0].peer_reset = true,
        }
        id
    }

    /// The next connection that the worker made to a source.
    pub fn arrival(&mut self) -> Option<LinkId> {
        self.arrivals.pop_front()
    }

    /// What the ring that was dropped had left.
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// The peer sends: how many bytes the buffer had room for, `None` when the connection is broken.
    pub fn peer_send(&mut self, id: LinkId, bytes: &[u8]) -> Option<usize> {
        let link = &mut self.links[id.0];
        assert!(!link.to_worker.fin, "a test's peer sends behind its FIN");
        if link.worker_gone {
            link.peer_reset = true;
        }
        if link.peer_reset || link.peer_gone {
            return None;
        }
        let n = link.to_worker.room().min(bytes.len());
        link.to_worker.bytes.extend(&bytes[..n]);
        link.to_worker.total += n as u64;
        Some(n)
    }

    /// The peer receives at most `max` bytes.
    pub fn peer_receive(&mut self, id: LinkId, max: usize, to: &mut Vec<u8>) -> Receipt {
        let link = &mut self.links[id.0];
        let n = link.to_peer.bytes.len().min(max);
        if n > 0 {
            to.extend(link.to_peer.bytes.drain(..n));
            return Receipt::Data(n);
        }
        match (link.peer_reset || link.peer_gone, link.to_peer.fin) {
            (true, _) => Receipt::Reset,
            (false, true) => Receipt::Eof,
            _ => Receipt::Empty,
        }
    }

    /// The peer sends FIN; it may go on receiving.
    pub fn peer_shutdown(&mut self, id: LinkId) {
        self.links[id.0].to_worker.fin = true;
    }

    /// The peer resets. What it had sent may be lost.
    pub fn peer_reset(&mut self, id: LinkId) {
        let lost = self.random.chance(500);
        let link = &mut self.links[id.0];
        link.peer_gone = true;
        link.to_peer.bytes.clear();
        if link.worker_gone {
            return;
        }
        if lost {
            link.to_worker.bytes.clear();
        }
        link.trouble = Trouble::Pending(libc::ECONNRESET);
    }

    /// The peer closes both directions: a FIN, or a reset if it leaves something unread. What the worker sends from now
    /// on brings a reset.
    pub fn peer_close(&mut self, id: LinkId) {
        let link = &mut self.links[id.0];
        link.to_worker.fin = true;
        link.peer_gone = true;
        if !link.to_peer.bytes.is_empty() && !link.worker_gone {
            link.to_peer.bytes.clear();
            link.trouble = Trouble::Pending(libc::ECONNRESET);
        }
    }

    /// The worker has closed its socket or was reset: nothing more will come of this connection.
    pub fn is_over(&self, id: LinkId) -> bool {
        self.links[id.0].worker_gone
    }

    /// Total bytes that the worker had sent after each of its sends, with the [`Net::event`] at which they left it.
    pub fn departures(&self, id: LinkId) -> &[(u64, u64)] {
        &self.links[id.0].departures
    }

    /// Everything that the worker sent, read by the peer or not.
    pub fn departed(&self, id: LinkId) -> &[u8] {
        &self.links[id.0].departed
    }

    /// A connection with two new buffers.
    pub(super) fn connect(&mut self) -> LinkId {
        let sizes = [(); 2].map(|()| {
            let max = self.socket_bytes_max;
            self.random.between(SOCKET_BYTES_MIN.min(max), max) as usize
        });
        self.links.push(Link::new(sizes[0], sizes[1]));
        LinkId(self.links.len() - 1)
    }

    pub(super) fn link(&mut self, id: LinkId) -> &mut Link {
        &mut self.links[id.0]
    }

    /// Numbers are reused as a kernel does, so that stale ones are noticed.
    pub(super) fn new_fd(&mut self) -> Fd {
        self.free_fds.sort_unstable_by(|a, b| b.cmp(a));
        Fd(self.free_fds.pop().unwrap_or_else(|| {
            self.next_fd += 1;
            self.next_fd - 1
        }))
    }

    pub(super) fn free_fd(&mut self, fd: Fd) {
        self.free_fds.push(fd.0);
    }
}

/// The lowest descriptor that is handed out, above those a test process has open.
const FIRST_FD: i32 = 10_000;

/// Smaller buffers only make runs long.
const SOCKET_BYTES_MIN: u64 = 200;

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) to_worker: Pipe,
    pub(super) to_peer: Pipe,
    /// What the worker's next operation runs into.
    pub(super) trouble: Trouble,
    /// The peer finds the connection reset.
    pub(super) peer_reset: bool,
    /// The peer has closed or reset its socket.
    pub(super) peer_gone: bool,
    /// The worker has closed its socket.
    pub(super) worker_gone: bool,
    pub(super) departures: Vec<(u64, u64)>,
    pub(super) departed: Vec<u8>,
}

impl Link {
    fn new(to_worker: usize, to_peer: usize) -> Self {
        Self {
            to_worker: Pipe::new(to_worker),
            to_peer: Pipe::new(to_peer),
            trouble: Trouble::None,
            peer_reset: false,
            peer_gone: false,
            worker_gone: false,
            departures: Vec::new(),
            departed: Vec::new(),
        }
    }
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) bytes: VecDeque<u8>,
    capacity: usize,
    /// The sender will send no more.
    pub(super) fin: bool,
    /// Bytes ever sent.
    pub(super) total: u64,
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity, fin: false, total: 0 }
    }

    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }
}

/// The error state of the worker's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// An error that the next operation reports.
    Pending(i32),
    /// It was reported: sends fail with EPIPE, receives find an end.
    Dead,
}
