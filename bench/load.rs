//! The load generator: a closed loop over a fixed number of connections on one thread.
//!
//! It owns its connections, the clock of the measured window and the readings of CPU time at its
//! two ends. It never goes on after a wrong answer: every answer is 200 and has the length asked
//! for, no connection ends early, or the run is an error.

use crate::Outcome;
use crate::latency::Latencies;
use crate::plan::RoleArguments;
use crate::secure::{self, Stream};
use crate::usage::{self, CpuReading};
use crate::wire::{self, KnownHead};
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What one measured window gave; CPU times are user and system time of all threads.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Window {
    /// Answers completed.
    pub(crate) requests: u64,
    /// Length of the window, in seconds.
    pub(crate) seconds: f64,
    /// Median latency, in microseconds.
    pub(crate) p50_us: f64,
    /// 99th percentile of the latency, in microseconds.
    pub(crate) p99_us: f64,
    /// CPU time of the proxy, in microseconds; 0 without one.
    pub(crate) proxy_cpu_us: f64,
    /// CPU time of the origin, in microseconds.
    pub(crate) origin_cpu_us: f64,
    /// CPU time of the load generator, in microseconds.
    pub(crate) load_cpu_us: f64,
    /// CPU time that anything else on the machine used, in microseconds.
    pub(crate) others_cpu_us: f64,
}

/// Runs the load and prints the window as one line of JSON.
pub(crate) fn run(arguments: &RoleArguments) -> Outcome<()> {
    let handshakes = arguments.workload.is_handshakes();
    let mut load = if handshakes { Load::empty(arguments)? } else { Load::connect(arguments)? };
    let mut drive = |length: Duration| -> Outcome<u64> {
        if handshakes {
            return secure::shake_hands(arguments, length);
        }
        load.latencies = Latencies::new();
        load.drive(length)?;
        Ok(load.latencies.total())
    };
    drive(Duration::from_millis(arguments.warm_up_ms))?;
    let readers = Readers::new(arguments);
    let machine_before = usage::machine_busy_ns()?;
    let before = readers.read()?;
    let started = Instant::now();
    let requests = drive(Duration::from_secs(arguments.seconds))?;
    let elapsed = started.elapsed();
    let after = readers.read()?;
    let machine_us = (usage::machine_busy_ns()? - machine_before) as f64 / 1e3;
    let used_us =
        |of: fn(&[CpuReading; 3]) -> &CpuReading| of(&after).ns_since(of(&before)) as f64 / 1e3;
    let [proxy, origin, own] = [used_us(|r| &r[0]), used_us(|r| &r[1]), used_us(|r| &r[2])];
    let window = Window {
        requests,
        seconds: elapsed.as_secs_f64(),
        p50_us: load.latencies.quantile_us(0.5),
        p99_us: load.latencies.quantile_us(0.99),
        proxy_cpu_us: proxy,
        origin_cpu_us: origin,
        load_cpu_us: own,
        others_cpu_us: (machine_us - proxy - origin - own).max(0.0),
    };
    if window.requests == 0 {
        return Err("no answer completed in the measured window".into());
    }
    println!("{}", serde_json::to_string(&window)?);
    Ok(())
}

struct Load {
    poll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    request: Vec<u8>,
    answer_bytes: usize,
    buffer: Vec<u8>,
    latencies: Latencies,
}

impl Load {
    fn connect(arguments: &RoleArguments) -> Outcome<Self> {
        let mut load = Self::empty(arguments)?;
        for number in 0..arguments.workload.connections {
            let stream = TcpStream::connect_timeout(&arguments.target, Duration::from_secs(5))?;
            stream.set_nodelay(true)?;
            let stream = Stream::new(stream, arguments.tls)?;
            stream.socket().set_nonblocking(true)?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            let data = EventData::new_u64(u64::from(number));
            epoll::add(&load.poll, stream.socket(), data, flags)?;
            load.connections.push(Connection::new(stream));
        }
        Ok(load)
    }

    /// Without connections yet.
    fn empty(arguments: &RoleArguments) -> Outcome<Self> {
        Ok(Self {
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            request: arguments.workload.request(),
            answer_bytes: arguments.workload.answer_bytes(),
            buffer: vec![0; READ_BYTES],
            latencies: Latencies::new(),
        })
    }

    /// Keeps every connection busy for `length`. The first call starts the requests; between two
    /// calls they stay in flight.
    fn drive(&mut self, length: Duration) -> Outcome<()> {
        let started = Instant::now();
        let mut progress = started;
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        loop {
            events.clear();
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&tick))?;
            let now = Instant::now();
            if !events.is_empty() {
                progress = now;
            } else if now - progress > STALL_MAX {
                return Err(format!("no progress for {} s", STALL_MAX.as_secs()).into());
            }
            // Every event is served before returning: edges are told once.
            for event in &events {
                let connection = &mut self.connections[event.data.u64() as usize];
                // Copied out: the event is packed.
                let flags = event.flags;
                if flags.contains(EventFlags::OUT) {
                    connection.write(&self.request)?;
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    connection.read(
                        &mut self.buffer,
                        &self.request,
                        self.answer_bytes,
                        &mut self.latencies,
                    )?;
                }
            }
            if now - started >= length {
                return Ok(());
            }
        }
    }
}

struct Connection {
    stream: Stream,
    /// Bytes of the request written so far.
    sent: usize,
    started: Instant,
    head: KnownHead<()>,
    /// The beginning of an answer's head whose end has not come yet.
    partial: Vec<u8>,
    /// Bytes of the answer's body still to come, once its head is in.
    missing: Option<usize>,
}

impl Connection {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            sent: 0,
            started: Instant::now(),
            head: KnownHead::default(),
            partial: Vec::new(),
            missing: None,
        }
    }

    fn write(&mut self, request: &[u8]) -> Outcome<()> {
        if self.sent == 0 {
            self.started = Instant::now();
        }
        while self.sent < request.len() {
            match self.stream.write(&request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("writing a request: {error}").into()),
            }
        }
        match self.stream.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                Err(format!("writing a request: {error}").into())
            }
            _ => Ok(()),
        }
    }

    fn read(
        &mut self,
        buffer: &mut [u8],
        request: &[u8],
        answer_bytes: usize,
        latencies: &mut Latencies,
    ) -> Outcome<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err("the connection was closed during the run".into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("reading an answer: {error}").into()),
            };
            if self.complete(&buffer[..count], answer_bytes)? {
                if self.sent < request.len() {
                    return Err("an answer came before the request was sent".into());
                }
                latencies.record(self.started.elapsed().as_nanos() as u64);
                self.sent = 0;
                self.write(request)?;
                if self.stream.is_plain() {
                    return Ok(());
                }
                continue;
            }
            if count < buffer.len() && self.stream.is_plain() {
                return Ok(());
            }
        }
    }

    /// Takes bytes of the answer; true when it is whole.
    fn complete(&mut self, data: &[u8], answer_bytes: usize) -> Outcome<bool> {
        let check = |head: &[u8]| check(head, answer_bytes);
        let (body, missing) = match self.missing {
            Some(missing) => (data.len(), missing),
            None if self.partial.is_empty() => {
                let Some((length, ())) = self.head.read(data, check)? else {
                    self.partial.extend_from_slice(data);
                    return Ok(false);
                };
                (data.len() - length, answer_bytes)
            }
            None => {
                self.partial.extend_from_slice(data);
                let Some((length, ())) = self.head.read(&self.partial, check)? else {
                    return Ok(false);
                };
                let body = self.partial.len() - length;
                self.partial.clear();
                (body, answer_bytes)
            }
        };
        if body > missing {
            return Err(format!("{} bytes after the end of an answer", body - missing).into());
        }
        self.missing = (body < missing).then_some(missing - body);
        Ok(self.missing.is_none())
    }
}

fn check(head: &[u8], answer_bytes: usize) -> Result<(), String> {
    if wire::status(head) == Some(200) && wire::content_length(head) == Some(answer_bytes) {
        return Ok(());
    }
    Err(format!("a wrong answer: {}", String::from_utf8_lossy(head).trim_end()))
}

/// The processes whose time is read: the proxy, the origin, this one.
struct Readers([Vec<u32>; 3]);

impl Readers {
    fn new(arguments: &RoleArguments) -> Self {
        Self([
            arguments.proxy_pids.clone(),
            arguments.origin_pid.into_iter().collect(),
            vec![std::process::id()],
        ])
    }

    fn read(&self) -> io::Result<[CpuReading; 3]> {
        let [proxy, origin, load] = &self.0;
        Ok([CpuReading::take(proxy)?, CpuReading::take(origin)?, CpuReading::take(load)?])
    }
}

const READ_BYTES: usize = 256 << 10;
const EVENTS: usize = 256;
const STALL_MAX: Duration = Duration::from_secs(10);
