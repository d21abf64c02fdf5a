//! What the kernel would do: which operations can make progress, which of them do, and what of it the worker learns.
#![allow(unsafe_code)]

use std::{io, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Kind, Memory, SimRing, Trouble,
    net::{LinkId, Net},
    socket::{KINDS, Operation, Socket},
};
use crate::ring::{Completion, Errno, Fd, ReceiveEnd, Segment};

/// One thing that can happen now.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The kernel does a part of an operation.
    Work(i32, Kind),
    /// The worker learns of completions of an operation.
    Tell(i32, Kind),
    Accept(i32),
    TellAccept(i32),
    Wake,
}

impl SimRing {
    pub(super) fn turn(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let deadline = {
            let net = &mut *self.net.borrow_mut();
            net.now_ns += net.random.below(TURN_NS_MAX);
            timeout.map(|timeout| net.now_ns + timeout.as_nanos() as u64)
        };
        for _ in 0..ROUNDS_MAX {
            let mut steps = self.steps();
            if steps.is_empty() {
                let net = &mut *self.net.borrow_mut();
                let connects = self.sockets.values().filter_map(|socket| {
                    let connect = socket.peek(Kind::Connect)?;
                    if connect.over { None } else { connect.due.map(|(due, _)| due) }
                });
                let next = connects.chain(deadline).chain(net.alarm_ns).min();
                let Some(next) = next else {
                    return Err(io::Error::other("stuck: nothing can ever happen"));
                };
                let spins = Some(next) == deadline && next <= net.now_ns;
                net.spins = if spins { net.spins + 1 } else { 0 };
                if next <= net.now_ns || Some(next) == deadline || Some(next) == net.alarm_ns {
                    net.now_ns = net.now_ns.max(next);
                    return Ok(());
                }
                net.now_ns = next;
                continue;
            }
            {
                let net = &mut *self.net.borrow_mut();
                net.spins = 0;
                if net.random.chance(net.faults.idle) {
                    return Ok(());
                }
                net.random.shuffle(&mut steps);
                let n = net.random.part(steps.len());
                steps.truncate(n);
            }
            for step in steps {
                self.step(step, out);
            }
            if !out.is_empty() || timeout == Some(Duration::ZERO) {
                break;
            }
        }
        let net = &mut *self.net.borrow_mut();
        if net.random.chance(net.faults.woken) {
            out.push(Completion::Woken);
        }
        Ok(())
    }

    /// Everything that can happen now.
    fn steps(&self) -> Vec<Step> {
        let net = &mut *self.net.borrow_mut();
        let mut steps = Vec::new();
        for (&fd, socket) in &self.sockets {
            for kind in KINDS {
                let Some(operation) = socket.peek(kind) else { continue };
                if !operation.done.is_empty() {
                    steps.push(Step::Tell(fd, kind));
                }
                if !operation.over && can_work(net, socket, kind, operation) {
                    steps.push(Step::Work(fd, kind));
                }
            }
        }
        for (&fd, accept) in &self.accepts {
            if !accept.done.is_empty() {
                steps.push(Step::TellAccept(fd));
            }
            let waiting = net.listeners.get(&fd).is_some_and(|backlog| !backlog.is_empty());
            if !accept.over && (waiting || accept.stopped) {
                steps.push(Step::Accept(fd));
            }
        }
        if self.event.is_some_and(is_readable) {
            steps.push(Step::Wake);
        }
        steps
    }

    fn step(&mut self, step: Step, out: &mut Vec<Completion>) {
        match step {
            Step::Wake => out.push(Completion::Woken),
            Step::Accept(fd) => self.work_accept(fd),
            Step::TellAccept(fd) => {
                let Some(accept) = self.accepts.get_mut(&fd) else { return };
                out.extend(accept.done.pop_front());
                if accept.over && accept.done.is_empty() {
                    self.accepts.remove(&fd);
                }
            }
            Step::Tell(fd, kind) => {
                let Some(socket) = self.sockets.get_mut(&fd) else { return };
                let waiting = socket.peek(kind).map_or(0, |operation| operation.done.len());
                let n = self.net.borrow_mut().random.part(waiting);
                for _ in 0..n {
                    let Some(completion) = socket.hand_over(kind) else { return };
                    if matches!(completion, Completion::Received(..)) {
                        self.memory.tell();
                    }
                    out.push(completion);
                }
            }
            Step::Work(fd, Kind::Receive) => self.work_receive(fd),
            Step::Work(fd, Kind::Send) => self.work_send(fd),
            Step::Work(fd, Kind::Connect) => self.work_connect(fd),
            Step::Work(fd, Kind::Watch) => self.work_watch(fd),
        }
    }

    fn work_accept(&mut self, fd: i32) {
        let Self { net, accepts, sockets, .. } = self;
        let net = &mut *net.borrow_mut();
        let Some(accept) = accepts.get_mut(&fd) else { return };
        if accept.stopped && net.random.chance(700) {
            accept.over = true;
            accept.done.push_back(Completion::AcceptEnded(Fd(fd), Errno(libc::ECANCELED)));
            return;
        }
        let (full, ends) = (net.faults.accept_full, net.faults.accept_ends);
        if net.random.chance(full) {
            accept.over = true;
            accept.done.push_back(Completion::AcceptEnded(Fd(fd), Errno(libc::EMFILE)));
            return;
        }
        let Some(id) = net.listeners.get_mut(&fd).and_then(std::collections::VecDeque::pop_front)
        else {
            return;
        };
        let new = net.new_fd();
        sockets.insert(new.0, Socket::accepted(id));
        accept.done.push_back(Completion::Accepted(new));
        if accept.shared || net.random.chance(ends) {
            accept.over = true;
            accept.done.push_back(Completion::AcceptEnded(Fd(fd), Errno(libc::EAGAIN)));
        }
    }

    fn work_receive(&mut self, fd: i32) {
        let Self { net, memory, sockets, .. } = self;
        let net = &mut *net.borrow_mut();
        let Some(socket) = sockets.get_mut(&fd) else { return };
        let Some(id) = socket.link else { return };
        let Some(receive) = socket.get(Kind::Receive) else { return };
        let (token, cancelled, once) = (receive.token, receive.cancelled, receive.once);
        let mut end = |end| receive.end(Completion::ReceiveEnded(token, end));
        let waiting = net.link(id).to_worker.bytes.len();
        if cancelled && (waiting == 0 || net.random.chance(600)) {
            // The end of the stream may win the race as well.
            let fin = waiting == 0 && net.link(id).to_worker.fin && net.random.chance(300);
            end(if fin { ReceiveEnd::Eof } else { ReceiveEnd::Cancelled });
            return;
        }
        if waiting == 0 {
            let link = net.link(id);
            end(match link.trouble {
                _ if link.to_worker.fin => ReceiveEnd::Eof,
                Trouble::Pending(errno) => {
                    link.trouble = Trouble::Dead;
                    ReceiveEnd::Failed(Errno(errno))
                }
                _ => ReceiveEnd::Eof,
            });
            return;
        }
        let (rearm, starve) = (net.faults.rearm, net.faults.no_buffers);
        if net.random.chance(starve) {
            end(ReceiveEnd::NoBuffers);
            return;
        }
        let most = waiting.min(memory.size_bytes()).min(once.unwrap_or(usize::MAX));
        let n = net.random.part(most);
        let bytes = &mut net.link(id).to_worker.bytes;
        let Some(chunk) = memory.fill(bytes.iter().take(n).copied()) else {
            end(ReceiveEnd::NoBuffers);
            return;
        };
        bytes.drain(..chunk.len as usize);
        receive.done.push_back(Completion::Received(token, chunk));
        if once.is_some() || net.random.chance(rearm) {
            receive.end(Completion::ReceiveEnded(token, ReceiveEnd::Rearm));
        }
    }

    fn work_send(&mut self, fd: i32) {
        let Self { net, memory, sockets, spent, .. } = self;
        let net = &mut *net.borrow_mut();
        let Some(socket) = sockets.get_mut(&fd) else { return };
        let Some(id) = socket.link else { return };
        let Some(send) = socket.get(Kind::Send) else { return };
        let token = send.token;
        let fails = net.faults.send_fails;
        if net.random.chance(fails) && net.link(id).trouble == Trouble::None {
            let link = net.link(id);
            link.trouble = Trouble::Pending(libc::ECONNRESET);
            link.peer_reset = true;
        }
        let cancelled = send.cancelled && net.random.chance(700);
        let event = net.event();
        let part = net.random.part(send.queue.bytes() as usize);
        let link = net.link(id);
        let errno = match link.trouble {
            _ if cancelled => Some(libc::ECANCELED),
            Trouble::Pending(errno) => {
                link.trouble = Trouble::Dead;
                Some(errno)
            }
            Trouble::Dead => Some(libc::EPIPE),
            Trouble::None => None,
        };
        if let Some(errno) = errno {
            while let Some(segment) = send.queue.pop() {
                give_back(segment, memory, spent);
            }
            send.end(Completion::SendFailed(token, Errno(errno)));
            return;
        }
        // A peer that is gone takes what comes and answers with a reset.
        let room = if link.peer_gone { usize::MAX } else { link.to_peer.room() };
        let n = part.min(room);
        if n == 0 {
            return;
        }
        if link.peer_gone {
            let errno = if link.to_worker.fin { libc::EPIPE } else { libc::ECONNRESET };
            link.trouble = Trouble::Pending(errno);
        } else {
            let mut left = n;
            for segment in send.queue.segments() {
                let bytes = content(segment, memory);
                let bytes = &bytes[..bytes.len().min(left)];
                link.to_peer.bytes.extend(bytes);
                link.departed.extend_from_slice(bytes);
                left -= bytes.len();
            }
            link.to_peer.total += n as u64;
            link.departures.push((link.to_peer.total, event));
        }
        send.queue.advance(n as u64, |segment| give_back(segment, memory, spent));
        send.sent += n as u64;
        if send.queue.is_empty() {
            let sent = send.sent;
            send.end(Completion::Sent(token, sent));
        }
    }

    fn work_connect(&mut self, fd: i32) {
        let net = &mut *self.net.borrow_mut();
        let Some(socket) = self.sockets.get_mut(&fd) else { return };
        let Some(connect) = socket.get(Kind::Connect) else { return };
        let token = connect.token;
        if connect.cancelled && net.random.chance(700) {
            connect.end(Completion::Connected(token, Err(Errno(libc::ECANCELED))));
            return;
        }
        match connect.due {
            Some((due, good)) if due <= net.now_ns => {
                let result = if good { Ok(()) } else { Err(Errno(libc::ECONNREFUSED)) };
                connect.end(Completion::Connected(token, result));
                if good {
                    let id = net.connect();
                    net.arrivals.push_back(id);
                    socket.link = Some(id);
                }
            }
            _ => {}
        }
    }

    fn work_watch(&mut self, fd: i32) {
        let net = &mut *self.net.borrow_mut();
        let Some(socket) = self.sockets.get_mut(&fd) else { return };
        let hung_up = socket.link.is_some_and(|id| is_hung_up(net, id));
        let Some(watch) = socket.get(Kind::Watch) else { return };
        let token = watch.token;
        if hung_up && !watch.reported && (!watch.cancelled || net.random.chance(300)) {
            watch.reported = true;
            watch.done.push_back(Completion::HungUp(token));
            let per_mille = net.faults.watch_ends;
            if net.random.chance(per_mille) {
                watch.end(Completion::WatchEnded(token));
            }
        } else if watch.cancelled {
            watch.end(Completion::WatchEnded(token));
        }
    }
}

/// The most that a turn takes by itself.
const TURN_NS_MAX: u64 = 30_000;
/// A wait returns after this much progress that the worker does not see.
const ROUNDS_MAX: usize = 8;

fn content<'a>(segment: &'a Segment, memory: &'a Memory) -> &'a [u8] {
    let (bytes, offset, len) = match segment {
        Segment::Provided { buffer, offset, len } => {
            return memory.bytes(*buffer, *offset, *len);
        }
        Segment::Owned { bytes, offset, len } => (bytes, offset, len),
        Segment::Shared { bytes, offset, len } => (&**bytes, offset, len),
    };
    &bytes[*offset as usize..][..*len as usize]
}

fn give_back(segment: Segment, memory: &mut Memory, spent: &mut Vec<Vec<u8>>) {
    match segment {
        Segment::Provided { buffer, .. } => memory.release(buffer),
        Segment::Owned { bytes, .. } => spent.push(bytes),
        Segment::Shared { bytes, .. } => spent.extend(std::rc::Rc::try_unwrap(bytes).ok()),
    }
}

fn can_work(net: &mut Net, socket: &Socket, kind: Kind, operation: &Operation) -> bool {
    let Some(id) = socket.link else {
        let due = operation.due.is_some_and(|(due, _)| due <= net.now_ns);
        return operation.cancelled || (kind == Kind::Connect && due);
    };
    let broken = net.link(id).trouble != Trouble::None;
    operation.cancelled
        || match kind {
            Kind::Receive => {
                let pipe = &net.link(id).to_worker;
                broken || pipe.fin || !pipe.bytes.is_empty()
            }
            Kind::Send => {
                let link = net.link(id);
                broken || link.peer_gone || link.to_peer.room() > 0
            }
            Kind::Connect => false,
            Kind::Watch => !operation.reported && is_hung_up(net, id),
        }
}

/// What a poll for nothing but errors reports: a reset, or both directions shut.
fn is_hung_up(net: &mut Net, id: LinkId) -> bool {
    let link = net.link(id);
    link.trouble != Trouble::None || (link.to_worker.fin && link.to_peer.fin)
}

fn is_readable(event: Fd) -> bool {
    // SAFETY: the worker keeps its event descriptor open for as long as it has a ring.
    let event = unsafe { std::os::fd::BorrowedFd::borrow_raw(event.0) };
    let mut fds = [PollFd::new(&event, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}
