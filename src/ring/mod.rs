//! The completion loop's surface: what a worker can ask of the kernel, and what comes back.
//!
//! This room is the only one that knows `io_uring`. Workers are written against the [`Ring`] trait;
//! [`Uring`] is the real one and `SimRing` a seeded stand-in that shortens, delays, reorders and
//! refuses as a kernel may.
//!
//! Invariants:
//! - memory that the kernel reads or writes is owned by the ring from submission to completion: segments are moved in,
//!   provided buffers are counted, so no caller can free what is in flight;
//! - every operation that was accepted ends in exactly one final completion (a multishot receive in one
//!   [`Completion::ReceiveEnded`]); only then may its descriptor be closed.

mod buffers;
pub mod probe;
mod segment;
mod sends;
pub mod sim;

#[cfg(test)]
mod tests;
mod uring;

use std::{io, net::SocketAddr, time::Duration};

pub use segment::{Segment, SendQueue};
pub use uring::{Options, Uring};

/// A socket or event descriptor that the worker owns and closes through [`Ring::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fd(pub i32);

/// An error number of the kernel, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

/// Names one side of one connection of one worker: slab index, generation (so that a late completion of a reused slot
/// is told apart) and side. 56 bits, since the ring keeps the kind of operation in the other eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// `side` is the caller's, 0 or 1 for a proxy.
    pub fn new(index: u32, generation: u16, side: u8) -> Self {
        Self(u64::from(index) | u64::from(generation) << 32 | u64::from(side) << 48)
    }

    /// The slab index.
    pub fn index(self) -> u32 {
        self.0 as u32
    }

    /// The generation of the slab's slot.
    pub fn generation(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// The side.
    pub fn side(self) -> u8 {
        (self.0 >> 48) as u8
    }

    /// As an opaque number, below 2^56.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The reverse of [`Token::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// Received bytes: part of a provided buffer, with one reference that the receiver must give back by
/// [`Ring::release`] or by moving it into a [`Segment::Provided`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The buffer's id.
    pub buffer: u16,
    /// First byte; what the kernel fills begins at 0.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

/// Why a receive ended. It has to be armed anew unless the side is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveEnd {
    /// The peer sent FIN.
    Eof,
    /// Cancelled by [`Ring::stop_receiving`] or [`Ring::cancel_all`].
    Cancelled,
    /// No provided buffer was free. Arm again when some were given back.
    NoBuffers,
    /// The kernel ended the multishot for reasons of its own; arm again at once.
    Rearm,
    /// The connection broke.
    Failed(Errno),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// A client connected.
    Accepted(Fd),
    /// The multishot accept of this listener ended (for example EMFILE); call [`Ring::accept`] again, later.
    AcceptEnded(Fd, Errno),
    /// A connect ended.
    Connected(Token, Result<(), Errno>),
    /// Bytes arrived; the receive stays armed.
    Received(Token, Chunk),
    /// The receive is no longer armed.
    ReceiveEnded(Token, ReceiveEnd),
    /// Everything that was given to [`Ring::send`] is in the socket's buffer: so many bytes.
    Sent(Token, u64),
    /// The send failed and what was left of it was dropped.
    SendFailed(Token, Errno),
    /// The peer reset, or both directions are shut; seen by [`Ring::watch_hangup`].
    HungUp(Token),
    /// The watch of [`Ring::watch_hangup`] is over.
    WatchEnded(Token),
    /// The event descriptor was written.
    Woken,
}

/// What a worker can ask for. One thread, no call blocks but [`Ring::wait`].
pub trait Ring {
    /// Accepts on `listener` until stopped. When other rings accept on it as well (`shared`), accepting ends with each
    /// connection: [`Completion::AcceptEnded`] follows at once.
    fn accept(&mut self, listener: Fd, shared: bool);
    /// Asks for accepting to end; [`Completion::AcceptEnded`] follows.
    fn stop_accepting(&mut self, listener: Fd);
    /// Completes with [`Completion::Woken`] whenever `event` is written.
    fn wake_on(&mut self, event: Fd);
    /// A new TCP socket for a connection to `address`.
    fn open(&mut self, address: &SocketAddr) -> Result<Fd, Errno>;
    /// The address of the other end, while there is one.
    fn peer(&self, fd: Fd) -> Option<SocketAddr>;
    /// Connects.
    fn connect(&mut self, token: Token, fd: Fd, address: &SocketAddr);
    /// Receives into provided buffers until stopped.
    fn receive(&mut self, token: Token, fd: Fd);
    /// Receives once, into one provided buffer, `bytes` at most; [`ReceiveEnd::Rearm`] follows the data.
    fn receive_once(&mut self, token: Token, fd: Fd, bytes: u32);
    /// Asks for the receive of `token` to end; [`Completion::ReceiveEnded`] follows, perhaps after more data.
    fn stop_receiving(&mut self, token: Token);
    /// Reports a reset even while nothing is being received on `fd`, until cancelled.
    fn watch_hangup(&mut self, token: Token, fd: Fd);
    /// Sends all of `queue`, which is left empty, in as few operations as possible. One send at a time per token.
    fn send(&mut self, token: Token, fd: Fd, queue: &mut SendQueue);
    /// Asks for every operation on `fd` to end; their completions follow.
    fn cancel_all(&mut self, fd: Fd);
    /// Passes on a half-close.
    fn shutdown_write(&mut self, fd: Fd);
    /// Closes. `reset` makes the peer see a reset. No operation may be under way on `fd`.
    fn close(&mut self, fd: Fd, reset: bool);
    /// Submits what was asked for and waits for at least one completion, at most `timeout` (`None`: for ever), then
    /// appends what completed to `out`.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()>;
    /// As [`Ring::wait`], and may put its return off by up to `patience` so that it brings `many` completions at once:
    /// each return costs a wake-up, here and of whoever is told of it. A ring that cannot do so just waits.
    fn wait_for_many(
        &mut self,
        many: u32,
        patience: Duration,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let _ = (many, patience);
        self.wait(timeout, out)
    }
    /// The bytes of a chunk.
    fn bytes(&self, chunk: Chunk) -> &[u8];
    /// The bytes of a chunk, to be changed in place. Only for whoever holds the one reference to its buffer.
    fn bytes_mut(&mut self, chunk: Chunk) -> &mut [u8];
    /// Adds a reference to a provided buffer.
    fn retain(&mut self, buffer: u16);
    /// Gives a reference back; the last one returns the buffer to the kernel.
    fn release(&mut self, buffer: u16);
    /// Provided buffers that the kernel can still fill, and all there are.
    fn free_buffers(&self) -> (usize, usize);
    /// Takes a memory block that came back from sends, for reuse.
    fn reclaim(&mut self) -> Option<Vec<u8>>;
}
