//! The real ring: one `io_uring` per worker thread.
//!
//! Flags: `SINGLE_ISSUER` and `DEFER_TASKRUN`, so every enter asks for events; `SUBMIT_ALL`; a
//! completion queue of its own size. It is created disabled, restricted to the operations used here
//! (seccomp cannot see inside a ring), and then enabled.
#![allow(unsafe_code)]

use std::{io, net::SocketAddr, time::Duration};

use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, register::Restriction, squeue, types};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::{
    Chunk, Completion, Errno, Fd, ReceiveEnd, Ring, Segment, SendQueue, Token,
    buffers::{Buffers, GROUP},
    sends::Sends,
};

/// Of connections that we make, as of those that we accept: a peer, or what is between, that is gone without a word is
/// found out within two minutes, and a balancer does not take a quiet connection for an idle one.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_mins(1))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Submission queue entries, a power of two.
    pub entries: u32,
    /// Completion queue entries, a power of two.
    pub completions: u32,
    /// Provided buffers, a power of two up to 32,768.
    pub buffers: u16,
    /// Bytes of each provided buffer.
    pub buffer_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { entries: 2048, completions: 16_384, buffers: 128, buffer_bytes: 32 * 1024 }
    }
}

/// The real ring.
pub struct Uring {
    ring: IoUring,
    buffers: Buffers,
    sends: Sends,
    /// Addresses of connects not yet submitted; the kernel copies them at submission.
    #[allow(clippy::vec_box, reason = "entries point to them while others are added")]
    addresses: Vec<Box<SockAddr>>,
    /// Memory that came back from sends.
    spent: Vec<Vec<u8>>,
    /// Operations whose final completion is outstanding.
    under_way: u64,
}

impl Uring {
    /// Creates and enables the ring on the calling thread, which must be the one that uses it.
    pub fn new(options: Options) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_r_disabled()
            .setup_cqsize(options.completions)
            .build(options.entries)?;
        let mut buffers = Buffers::new(options.buffers, options.buffer_bytes);
        let submitter = ring.submitter();
        buffers.register(&submitter)?;
        submitter.register_restrictions(&mut restrictions())?;
        submitter.register_enable_rings()?;
        Ok(Self {
            ring,
            buffers,
            sends: Sends::new(),
            addresses: Vec::new(),
            spent: Vec::new(),
            under_way: 0,
        })
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: whatever the entry points to is owned by `self` until its completion (send slots, provided buffers)
        // or until it is submitted (addresses), and descriptors are closed only after the last completion.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            // The queue is full in the middle of a turn: hand over what is there.
            if self.ring.submit().is_ok() {
                self.addresses.clear();
            }
        }
    }

    fn start(&mut self, entry: squeue::Entry, kind: Kind, payload: u64) {
        self.under_way += 1;
        self.push(&entry.user_data(user_data(kind, payload)));
    }

    fn push_send(&mut self, slot: u32) {
        let entry = self.sends.entry(slot, &self.buffers);
        self.start(entry, Kind::Send, u64::from(slot));
    }

    fn send_done(&mut self, slot: u32, result: i32) -> Option<Completion> {
        let Self { sends, buffers, spent, .. } = self;
        let state = sends.slot(slot);
        let token = state.token;
        if result > 0 {
            state.sent += result as u64;
            state.queue.advance(result as u64, |segment| give_back(segment, buffers, spent));
            if state.queue.is_empty() {
                let sent = state.sent;
                sends.end(slot);
                return Some(Completion::Sent(token, sent));
            }
            if !state.cancelled {
                self.push_send(slot);
                return None;
            }
        }
        while let Some(segment) = state.queue.pop() {
            give_back(segment, buffers, spent);
        }
        sends.end(slot);
        let errno = match result {
            0 => libc::EPIPE,
            1.. => libc::ECANCELED,
            _ => -result,
        };
        Some(Completion::SendFailed(token, Errno(errno)))
    }

    fn translate(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let (kind, payload) = split(entry.user_data());
        let result = entry.result();
        let more = cqueue::more(entry.flags());
        if !more {
            self.under_way -= 1;
        }
        let errno = Errno(-result);
        match kind {
            Kind::Receive => {
                let token = Token::from_bits(payload);
                if let Some(id) = cqueue::buffer_select(entry.flags()) {
                    self.buffers.taken(id);
                    if result <= 0 {
                        self.buffers.release(id);
                    }
                }
                Some(match result {
                    1.. => {
                        let buffer = cqueue::buffer_select(entry.flags())
                            .expect("invariant: received bytes lie in a provided buffer");
                        Completion::Received(token, Chunk { buffer, offset: 0, len: result as u32 })
                    }
                    0 => Completion::ReceiveEnded(token, ReceiveEnd::Eof),
                    _ => Completion::ReceiveEnded(token, receive_end(errno)),
                })
            }
            Kind::Send => self.send_done(payload as u32, result),
            Kind::Connect => {
                let result = if result < 0 { Err(errno) } else { Ok(()) };
                Some(Completion::Connected(Token::from_bits(payload), result))
            }
            Kind::Accept => match result {
                0.. => Some(Completion::Accepted(Fd(result))),
                _ => Some(Completion::AcceptEnded(Fd(payload as i32), errno)),
            },
            Kind::Hangup if result > 0 && result as i16 & (libc::POLLERR | libc::POLLHUP) != 0 => {
                Some(Completion::HungUp(Token::from_bits(payload)))
            }
            Kind::Hangup if result > 0 && more => None,
            Kind::Hangup => Some(Completion::WatchEnded(Token::from_bits(payload))),
            Kind::Wake => Some(Completion::Woken),
            Kind::Cancel => None,
        }
    }
}

impl Ring for Uring {
    fn accept(&mut self, listener: Fd, shared: bool) {
        let fd = types::Fd(listener.0);
        // A multishot accept keeps its place at the head of the socket's wait queue, where the kernel wakes one: of
        // several rings the first gets every connection (measured: 50,715 of 50,715). One that is armed anew goes to
        // the tail, so that the rings take turns (28,584 and 28,621), and a busy ring leaves connections to the others.
        let entry = if shared {
            let none = std::ptr::null_mut();
            opcode::Accept::new(fd, none, none.cast()).flags(libc::SOCK_CLOEXEC).build()
        } else {
            opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build()
        };
        self.start(entry, Kind::Accept, listener.0 as u64);
    }

    fn stop_accepting(&mut self, listener: Fd) {
        self.cancel_all(listener);
    }

    fn wake_on(&mut self, event: Fd) {
        let entry = opcode::PollAdd::new(types::Fd(event.0), libc::POLLIN as u32).multi(true);
        self.start(entry.build(), Kind::Wake, event.0 as u64);
    }

    fn open(&mut self, address: &SocketAddr) -> Result<Fd, Errno> {
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))
            .and_then(|socket| socket.set_tcp_nodelay(true).map(|()| socket))
            .and_then(|socket| socket.set_tcp_keepalive(&KEEPALIVE).map(|()| socket))
            .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
        Ok(Fd(std::os::fd::IntoRawFd::into_raw_fd(socket)))
    }

    fn peer(&self, fd: Fd) -> Option<SocketAddr> {
        // SAFETY: the caller owns the descriptor and closes it only through this ring, so it is open now.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd.0) };
        let address = rustix::net::getpeername(fd).ok()??;
        SocketAddr::try_from(address).ok()
    }

    fn connect(&mut self, token: Token, fd: Fd, address: &SocketAddr) {
        let address = Box::new(SockAddr::from(*address));
        let entry = opcode::Connect::new(types::Fd(fd.0), address.as_ptr().cast(), address.len());
        self.addresses.push(address);
        self.start(entry.build(), Kind::Connect, token.to_bits());
    }

    fn receive(&mut self, token: Token, fd: Fd) {
        let entry = opcode::RecvMulti::new(types::Fd(fd.0), GROUP).build();
        self.start(entry, Kind::Receive, token.to_bits());
    }

    fn receive_once(&mut self, token: Token, fd: Fd, bytes: u32) {
        let entry = opcode::Recv::new(types::Fd(fd.0), std::ptr::null_mut(), bytes);
        let entry = entry.buf_group(GROUP).build().flags(squeue::Flags::BUFFER_SELECT);
        self.start(entry, Kind::Receive, token.to_bits());
    }

    fn stop_receiving(&mut self, token: Token) {
        let target = user_data(Kind::Receive, token.to_bits());
        let entry = opcode::AsyncCancel2::new(types::CancelBuilder::user_data(target)).build();
        self.start(entry, Kind::Cancel, 0);
    }

    fn watch_hangup(&mut self, token: Token, fd: Fd) {
        // No events asked for: errors and hang-ups are reported always. Multishot polls are
        // edge-triggered: a FIN, which io_uring reports unasked as well (POLLRDHUP), then comes
        // once instead of for ever.
        let entry = opcode::PollAdd::new(types::Fd(fd.0), 0).multi(true).build();
        self.start(entry, Kind::Hangup, token.to_bits());
    }

    fn send(&mut self, token: Token, fd: Fd, queue: &mut SendQueue) {
        debug_assert!(!queue.is_empty());
        let slot = self.sends.begin(token, fd, queue);
        self.push_send(slot);
    }

    fn cancel_all(&mut self, fd: Fd) {
        self.sends.cancel(Some(fd));
        let builder = types::CancelBuilder::fd(types::Fd(fd.0)).all();
        self.start(opcode::AsyncCancel2::new(builder).build(), Kind::Cancel, 0);
    }

    fn shutdown_write(&mut self, fd: Fd) {
        // SAFETY: no memory is involved; a failure means that the connection is gone already, which
        // its receive reports.
        unsafe { libc::shutdown(fd.0, libc::SHUT_WR) };
    }

    fn close(&mut self, fd: Fd, reset: bool) {
        if reset {
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            // SAFETY: `linger` outlives the call and its size is passed.
            unsafe {
                libc::setsockopt(
                    fd.0,
                    libc::SOL_SOCKET,
                    libc::SO_LINGER,
                    (&raw const linger).cast(),
                    size_of::<libc::linger>() as libc::socklen_t,
                );
            }
        }
        // SAFETY: the descriptor is owned by the caller, who hands it over here, and no operation is under way on it.
        unsafe { libc::close(fd.0) };
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        self.wait_for_many(1, Duration::ZERO, timeout, out)
    }

    fn wait_for_many(
        &mut self,
        many: u32,
        patience: Duration,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        self.buffers.publish();
        let pending = self.ring.completion().len();
        let mut want = u32::from(pending == 0 && timeout != Some(Duration::ZERO));
        let timespec = timeout.map(types::Timespec::from);
        let mut args = types::SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        // Since Linux 6.12. When the time is over one completion is enough.
        if want > 0 && many > 1 && self.ring.params().is_feature_min_timeout() {
            want = many;
            args = args.min_wait_usec(patience.as_micros() as u32);
        }
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if self.ring.params().is_feature_no_iowait() {
            flags |= EnterFlags::NO_IOWAIT;
        }
        let to_submit = self.ring.submission().len() as u32;
        // SAFETY: `args` and the timespec it points to outlive the call; entries own what they point to (see `push`).
        match unsafe { self.ring.submitter().enter(to_submit, want, flags.bits(), Some(&args)) } {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) => {}
            Err(error) => return Err(error),
        }
        if self.ring.submission().is_empty() {
            self.addresses.clear();
        }
        for _ in 0..TURN_COMPLETIONS_MAX {
            let Some(entry) = self.ring.completion().next() else { break };
            let ended = !cqueue::more(entry.flags()) && entry.result() > 0;
            if let Some(completion) = self.translate(&entry) {
                out.push(completion);
                // A multishot may end with the entry that carries its last result: say so in an entry of its own.
                match completion {
                    Completion::Received(token, _) if ended => {
                        out.push(Completion::ReceiveEnded(token, ReceiveEnd::Rearm));
                    }
                    Completion::Accepted(_) if ended => {
                        let listener = Fd(split(entry.user_data()).1 as i32);
                        out.push(Completion::AcceptEnded(listener, Errno(libc::EAGAIN)));
                    }
                    Completion::HungUp(token) if ended => out.push(Completion::WatchEnded(token)),
                    _ => {}
                }
            }
            if ended && let (Kind::Wake, event) = split(entry.user_data()) {
                self.wake_on(Fd(event as i32));
            }
        }
        Ok(())
    }

    fn bytes(&self, chunk: Chunk) -> &[u8] {
        self.buffers.bytes(chunk.buffer, chunk.offset, chunk.len)
    }

    fn bytes_mut(&mut self, chunk: Chunk) -> &mut [u8] {
        self.buffers.bytes_mut(chunk.buffer, chunk.offset, chunk.len)
    }

    fn retain(&mut self, buffer: u16) {
        self.buffers.retain(buffer);
    }

    fn release(&mut self, buffer: u16) {
        self.buffers.release(buffer);
    }

    fn free_buffers(&self) -> (usize, usize) {
        (usize::from(self.buffers.free()), usize::from(self.buffers.count()))
    }

    fn reclaim(&mut self) -> Option<Vec<u8>> {
        self.spent.pop()
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // What is still under way may read and write the buffers and send slots: end it first.
        self.sends.cancel(None);
        self.start(
            opcode::AsyncCancel2::new(types::CancelBuilder::any().all()).build(),
            Kind::Cancel,
            0,
        );
        let mut dropped = Vec::new();
        for _ in 0..DROP_TURNS_MAX {
            if self.under_way == 0 {
                return;
            }
            if self.wait(Some(Duration::from_millis(10)), &mut dropped).is_err() {
                break;
            }
            dropped.clear();
        }
        // The kernel did not let go of it in time: leak rather than free memory that it may still write to.
        std::mem::forget(std::mem::replace(&mut self.buffers, Buffers::new(1, 1)));
        std::mem::forget(std::mem::replace(&mut self.sends, Sends::new()));
    }
}

/// The most completions handled in one turn, so that sends are submitted at a steady pace.
const TURN_COMPLETIONS_MAX: usize = 512;
/// Turns of 10 ms that a dropped ring waits for its operations to end.
const DROP_TURNS_MAX: usize = 100;

/// What an operation was; kept in the upper eight bits of its user data.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Accept = 1,
    Receive,
    Send,
    Connect,
    Hangup,
    Wake,
    Cancel,
}

fn user_data(kind: Kind, payload: u64) -> u64 {
    (kind as u64) << 56 | (payload & ((1 << 56) - 1))
}

fn split(user_data: u64) -> (Kind, u64) {
    let kind = match user_data >> 56 {
        1 => Kind::Accept,
        2 => Kind::Receive,
        3 => Kind::Send,
        4 => Kind::Connect,
        5 => Kind::Hangup,
        6 => Kind::Wake,
        _ => Kind::Cancel,
    };
    (kind, user_data & ((1 << 56) - 1))
}

fn receive_end(errno: Errno) -> ReceiveEnd {
    match errno.0 {
        libc::ECANCELED => ReceiveEnd::Cancelled,
        libc::ENOBUFS => ReceiveEnd::NoBuffers,
        libc::EAGAIN | libc::EINTR => ReceiveEnd::Rearm,
        _ => ReceiveEnd::Failed(errno),
    }
}

fn give_back(segment: Segment, buffers: &mut Buffers, spent: &mut Vec<Vec<u8>>) {
    match segment {
        Segment::Provided { buffer, .. } => buffers.release(buffer),
        Segment::Owned { bytes, .. } => spent.push(bytes),
        Segment::Shared { bytes, .. } => spent.extend(std::rc::Rc::try_unwrap(bytes).ok()),
    }
}

/// The operations that this room submits, and nothing else.
pub(super) const OPERATIONS: [(u8, &str); 7] = [
    (opcode::AcceptMulti::CODE, "accept"),
    (opcode::RecvMulti::CODE, "recv"),
    (opcode::Send::CODE, "send"),
    (opcode::SendMsg::CODE, "sendmsg"),
    (opcode::Connect::CODE, "connect"),
    (opcode::PollAdd::CODE, "poll"),
    (opcode::AsyncCancel2::CODE, "async_cancel"),
];

fn restrictions() -> Vec<Restriction> {
    let operations = OPERATIONS.iter().map(|(code, _)| Restriction::sqe_op(*code));
    let flags = squeue::Flags::BUFFER_SELECT.bits();
    operations.chain([Restriction::sqe_flags_allowed(flags)]).collect()
}

/// The names of the operations that this kernel does not know.
pub(super) fn missing_operations(ring: &IoUring) -> io::Result<Vec<&'static str>> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    Ok(OPERATIONS
        .iter()
        .filter(|(code, _)| !probe.is_supported(*code))
        .map(|(_, name)| *name)
        .collect())
}
