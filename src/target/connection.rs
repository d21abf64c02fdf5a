//! One connection to the target and the one exchange on it.
//!
//! Bytes leave in [`Connection::send_on`] and arrive in [`Connection::received`] and nowhere else: TLS stands between
//! these two and the socket, in `secure`.

mod ending;
mod secure;

use std::{ops::Range, rc::Rc, time::Duration};

use self::secure::Secure;

use super::{
    Broken, Counter, Job, Response,
    answer::{Answer, Progress},
    core::Core,
};
use crate::{
    http::Answering,
    ring::{Chunk, Errno, Fd, Ring, Segment, Token},
};

#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; they combine freely")]
pub(super) struct Connection {
    pub(super) token: Token,
    fd: Option<Fd>,
    state: State,
    /// When the state has lasted too long.
    due_ns: u64,
    connecting: bool,
    sending: bool,
    receiving: bool,
    /// On the list of connections to settle.
    dirty: bool,
    /// It was connected at some time.
    opened: bool,
    /// It has carried a request before.
    reused: bool,
    /// What goes before the request's memory, or nothing; shared with the ring as that is.
    head: Rc<Vec<u8>>,
    /// The request's memory, shared with the ring while a part of it is being sent. One allocation for all requests.
    request: Rc<Vec<u8>>,
    /// Where in it that begins which goes.
    from: usize,
    /// How much of both is in the socket's buffer.
    sent: usize,
    /// TLS, from the connect on.
    secure: Option<Box<Secure>>,
    exchange: Exchange,
    answer: Answer,
    /// The exchange's result, when it waits for the ring to give the request's memory back.
    result: Option<Result<Response, Broken>>,
}

#[derive(Debug, Default)]
struct Exchange {
    id: u64,
    started_ns: u64,
    sent_ns: u64,
    finished_ns: u64,
    /// The send failed; what the target sent before is still worth reading.
    deaf: Option<Errno>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// With a job. `late`: the connect was cancelled because it took too long.
    Connecting {
        address: usize,
        tried: usize,
        late: bool,
    },
    /// With a job: TLS is being agreed upon.
    Handshaking,
    Idle,
    /// With a job.
    Busy,
    /// With a job whose response is whole while its request is being sent, as far as is known; decided at the end of
    /// the turn.
    Answered {
        close: bool,
    },
    /// To be closed when no operation is under way.
    Closing {
        reset: bool,
    },
}

impl Connection {
    pub(super) fn new(token: Token) -> Self {
        Self {
            token,
            fd: None,
            state: State::Closing { reset: false },
            due_ns: u64::MAX,
            connecting: false,
            sending: false,
            receiving: false,
            dirty: false,
            opened: false,
            reused: false,
            head: Rc::default(),
            request: Rc::default(),
            from: 0,
            sent: 0,
            secure: None,
            exchange: Exchange::default(),
            answer: Answer::new(),
            result: None,
        }
    }

    /// Takes a job and a socket to connect with. To be called once, on a new connection.
    pub(super) fn connect<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        job: Job,
        fd: Fd,
        address: usize,
    ) {
        self.take_on(core, job);
        self.fd = Some(fd);
        self.connect_to(core, fd, address, 1);
    }

    /// Takes a job while idle.
    pub(super) fn reuse<R: Ring>(&mut self, core: &mut Core<R>, job: Job) {
        debug_assert_eq!(self.state, State::Idle);
        self.reused = true;
        self.take_on(core, job);
        self.begin(core);
    }

    fn take_on<R: Ring>(&mut self, core: &mut Core<R>, job: Job) {
        let kind = if job.head_request { Answering::Head } else { Answering::Other };
        self.answer.expect(kind, job.keep.min(core.settings.response_bytes_max));
        self.exchange = Exchange { id: job.id, started_ns: core.now_ns, ..Exchange::default() };
        *own(&mut self.head) = job.head;
        *own(&mut self.request) = job.bytes;
        (self.from, self.sent) = (job.from, 0);
    }

    fn connect_to<R: Ring>(&mut self, core: &mut Core<R>, fd: Fd, address: usize, tried: usize) {
        self.state = State::Connecting { address, tried, late: false };
        self.connecting = true;
        core.ring.connect(self.token, fd, &core.addresses[address]);
        let timeout = core.settings.connect_timeout;
        self.expire_after(core, timeout);
    }

    fn begin<R: Ring>(&mut self, core: &mut Core<R>) {
        self.state = State::Busy;
        let timeout = core.settings.response_timeout;
        self.expire_after(core, timeout);
        self.send_on(core);
    }

    fn expire_after<R: Ring>(&mut self, core: &mut Core<R>, timeout: Duration) {
        self.due_ns = core.now_ns.saturating_add(timeout.as_nanos() as u64);
        core.expect_at(self.due_ns);
    }

    /// Sends the next part of the request. Large ones go in parts, so that progress is seen.
    fn send_on<R: Ring>(&mut self, core: &mut Core<R>) {
        if self.secure.is_some() {
            return self.send_sealed(core);
        }
        let Some(fd) = self.fd else { return };
        let parts = next_part(&self.head, &self.request, self.from, self.sent);
        for (memory, range) in parts {
            if !range.is_empty() {
                core.out.push(Segment::Shared {
                    bytes: Rc::clone(memory),
                    offset: range.start as u32,
                    len: range.len() as u32,
                });
            }
        }
        if core.out.is_empty() {
            return;
        }
        self.sending = true;
        core.ring.send(self.token, fd, &mut core.out);
    }

    /// Bytes of the request on the wire.
    fn wire_bytes(&self) -> usize {
        self.head.len() + self.request.len() - self.from
    }

    pub(super) fn connected<R: Ring>(&mut self, core: &mut Core<R>, result: Result<(), Errno>) {
        self.connecting = false;
        if result.is_ok() {
            self.opened = true;
            core.counters.add(Counter::Opened, 1);
        }
        let State::Connecting { address, tried, late } = self.state else {
            return self.touch(core);
        };
        let Err(errno) = result else {
            if self.shake_hands(core, late) {
                return;
            }
            self.receive(core);
            return self.begin(core);
        };
        core.counters.add(Counter::ConnectFailures, 1);
        if let Some(fd) = self.fd.take() {
            core.ring.close(fd, false);
        }
        // A connect is only ever cancelled here by its deadline.
        let why = if late { Broken::ConnectTimeout } else { Broken::Connect(errno) };
        let count = core.addresses.len();
        if tried >= count {
            return self.give_up(core, why, false);
        }
        let address = (address + 1) % count;
        match core.ring.open(&core.addresses[address]) {
            Ok(fd) => {
                self.fd = Some(fd);
                self.connect_to(core, fd, address, tried + 1);
            }
            Err(errno) => {
                core.counters.add(Counter::NoDescriptors, 1);
                self.give_up(core, Broken::NoDescriptors(errno), false);
            }
        }
    }

    /// So many bytes are in the socket's buffer.
    pub(super) fn sent<R: Ring>(&mut self, core: &mut Core<R>, bytes: u64) {
        self.sending = false;
        let own = match &mut self.secure {
            None => bytes as usize,
            Some(secure) => secure.take_sent(bytes),
        };
        self.sent += own;
        core.counters.add(Counter::BytesOut, bytes);
        if own > 0 && self.is_sent() {
            self.exchange.sent_ns = core.now_ns;
        }
        match self.state {
            State::Busy => {
                let timeout = core.settings.response_timeout;
                self.expire_after(core, timeout);
                self.send_on(core);
            }
            State::Handshaking => self.send_sealed(core),
            // The end of the turn tells whether all of it was sent in time.
            State::Answered { .. } => {}
            _ => {
                self.hand_back(core);
                self.touch(core);
            }
        }
    }

    pub(super) fn send_failed<R: Ring>(&mut self, core: &mut Core<R>, errno: Errno) {
        self.sending = false;
        match self.state {
            // A target that answers early and closes has said something before: that is read first, its end follows.
            State::Busy | State::Handshaking => self.exchange.deaf = Some(errno),
            State::Answered { .. } => {}
            _ => {
                self.hand_back(core);
                self.touch(core);
            }
        }
    }

    pub(super) fn received<R: Ring>(&mut self, core: &mut Core<R>, chunk: Chunk) {
        core.counters.add(Counter::BytesIn, u64::from(chunk.len));
        if self.secure.is_some() {
            return self.received_sealed(core, chunk);
        }
        if self.state == State::Busy {
            let input = core.ring.bytes(chunk);
            let progress = self.answer.take(&core.settings.limits, input);
            core.ring.release(chunk.buffer);
            return self.progressed(core, progress);
        }
        core.ring.release(chunk.buffer);
        self.surplus(core);
    }

    /// Bytes came that nothing had asked for.
    fn surplus<R: Ring>(&mut self, core: &mut Core<R>) {
        match &mut self.state {
            State::Idle => {
                core.counters.add(Counter::Surplus, 1);
                self.close(core, true);
            }
            State::Answered { close } => {
                if !*close {
                    core.counters.add(Counter::Surplus, 1);
                    *close = true;
                }
            }
            State::Connecting { .. } | State::Handshaking | State::Busy | State::Closing { .. } => {
            }
        }
    }

    fn progressed<R: Ring>(
        &mut self,
        core: &mut Core<R>,
        progress: Result<Progress, crate::http::Malformed>,
    ) {
        match progress {
            Ok(Progress::More) => {
                let timeout = core.settings.response_timeout;
                self.expire_after(core, timeout);
            }
            Ok(Progress::Whole { response, close, surplus }) => {
                if surplus {
                    core.counters.add(Counter::Surplus, 1);
                }
                self.answered(core, response, close);
            }
            Err(fault) => {
                core.counters.add(Counter::Malformed, 1);
                self.give_up(core, Broken::Malformed(fault), true);
            }
        }
    }

    fn answered<R: Ring>(&mut self, core: &mut Core<R>, response: Response, close: bool) {
        core.counters.add(Counter::Responses, 1);
        self.finish(core, Ok(response));
        if self.sending {
            self.state = State::Answered { close };
            self.touch(core);
        } else {
            self.answered_and_sent(core, close);
        }
    }

    fn answered_and_sent<R: Ring>(&mut self, core: &mut Core<R>, close: bool) {
        let early = !self.is_sent();
        if early {
            core.counters.add(Counter::Early, 1);
        }
        self.hand_back(core);
        if close || early {
            return self.close(core, false);
        }
        self.state = State::Idle;
        core.idle.push_back(self.token.index());
        let timeout = core.settings.idle_timeout;
        self.expire_after(core, timeout);
    }

    /// The end of a turn that touched it. True when it is gone.
    pub(super) fn settle<R: Ring>(&mut self, core: &mut Core<R>) -> bool {
        self.dirty = false;
        if let State::Answered { close } = self.state {
            if self.sending {
                core.counters.add(Counter::Early, 1);
                self.close(core, false);
            } else {
                self.answered_and_sent(core, close);
            }
            // A close has put it on the list again.
            self.dirty = false;
        }
        if let State::Closing { reset } = self.state {
            if !self.is_still() {
                return false;
            }
            if let Some(fd) = self.fd.take() {
                core.ring.close(fd, reset);
            }
            core.counters.add(Counter::Closed, u64::from(self.opened));
            return true;
        }
        if !self.receiving && !self.connecting {
            self.receive(core);
        }
        false
    }

    fn receive<R: Ring>(&mut self, core: &mut Core<R>) {
        if let Some(fd) = self.fd {
            self.receiving = true;
            core.ring.receive(self.token, fd);
        }
    }

    /// All of the request is in the socket's buffer.
    fn is_sent(&self) -> bool {
        self.sent == self.wire_bytes()
    }

    fn is_still(&self) -> bool {
        !self.connecting && !self.sending && !self.receiving
    }

    fn touch<R: Ring>(&mut self, core: &mut Core<R>) {
        if !self.dirty {
            self.dirty = true;
            core.dirty.push(self.token.index());
        }
    }
}

/// What is to be sent next when `sent` bytes are: of the head, and of the request's memory from `from` on.
fn next_part<'a>(
    head: &'a Rc<Vec<u8>>,
    request: &'a Rc<Vec<u8>>,
    from: usize,
    sent: usize,
) -> [(&'a Rc<Vec<u8>>, Range<usize>); 2] {
    let left = sent.min(head.len())..head.len();
    let from = from + (sent - left.start);
    let len = (request.len() - from).min(SEND_BYTES_MAX);
    [(head, left), (request, from..from + len)]
}

/// Memory that no send holds a share of.
fn own(memory: &mut Rc<Vec<u8>>) -> &mut Vec<u8> {
    Rc::get_mut(memory).expect("invariant: an ended send has given its share back")
}

/// What one send takes of a request. What a slow target takes in `response_timeout` must be more than this.
const SEND_BYTES_MAX: usize = 256 << 10;
