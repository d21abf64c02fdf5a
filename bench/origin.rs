//! The origin: one thread that answers every request with a fixed body of the size its path
//! names, once it has read the whole request.
//!
//! It owns the listening socket and its connections. It never answers before the body is in: an
//! origin that does makes clients abandon large requests, and the figures mean nothing.

use crate::Outcome;
use crate::wire::{self, HEAD_BYTES_MAX, KnownHead};
use crate::workload::BULK_ANSWER_BYTES;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// Serves on a free port of 127.0.0.1, printed as the first line, until standard input ends; for
/// every line on it prints how many connections were accepted so far.
pub(crate) fn serve() -> Outcome<()> {
    let listener = listen()?;
    println!("{}", listener.local_addr()?.port());
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let stdin = io::stdin();
    epoll::add(&poll, &stdin, EventData::new_u64(STDIN), EventFlags::IN)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut accepted = 0_u64;
    let mut answers = Answers::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                STDIN if rustix::io::read(&stdin, &mut buffer)? == 0 => return Ok(()),
                STDIN => println!("{accepted}"),
                LISTENER => accepted += accept(&poll, &listener, &mut connections)?,
                number => {
                    let slot = &mut connections[number as usize];
                    let Some(connection) = slot else { continue };
                    // Closing is all an origin can do about a broken connection: the load
                    // generator sees it and reports it.
                    if !connection.turn(&mut buffer, &mut answers).unwrap_or(false) {
                        *slot = None;
                    }
                }
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    head: KnownHead<Request>,
    /// The beginning of a head whose end has not come yet.
    partial: Vec<u8>,
    /// The request whose body is being read, and how much of it is missing.
    reading: Option<(Request, usize)>,
    /// What the socket did not take.
    backlog: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            head: KnownHead::default(),
            partial: Vec::new(),
            reading: None,
            backlog: Vec::new(),
        }
    }

    /// Writes and reads what is possible; false when the connection is over. Events are edge
    /// triggered, so a read that filled the buffer must be followed by another.
    fn turn(&mut self, buffer: &mut [u8], answers: &mut Answers) -> Outcome<bool> {
        self.drain_backlog()?;
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            };
            self.take(&buffer[..count], answers)?;
            if count < buffer.len() {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, mut data: &[u8], answers: &mut Answers) -> Outcome<()> {
        while !data.is_empty() {
            let (request, missing) = if let Some(reading) = self.reading.take() {
                reading
            } else if self.partial.is_empty() {
                let Some((length, request)) = self.head.read(data, Request::parse)? else {
                    self.partial.extend_from_slice(data);
                    return Ok(());
                };
                data = &data[length..];
                (request, request.body_bytes)
            } else {
                let before = self.partial.len();
                self.partial.extend_from_slice(&data[..data.len().min(HEAD_BYTES_MAX)]);
                let Some((length, request)) = self.head.read(&self.partial, Request::parse)? else {
                    return Ok(());
                };
                self.partial.clear();
                data = &data[length - before..];
                (request, request.body_bytes)
            };
            let taken = missing.min(data.len());
            data = &data[taken..];
            if taken < missing {
                self.reading = Some((request, missing - taken));
            } else {
                self.send(answers.of(request.answer_bytes))?;
            }
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while self.backlog.is_empty() && sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.backlog.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    fn drain_backlog(&mut self) -> io::Result<()> {
        if self.backlog.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.backlog);
        self.send(&waiting)
    }
}

/// What the head of a request asks for, in bytes.
#[derive(Clone, Copy, Default)]
struct Request {
    body_bytes: usize,
    answer_bytes: usize,
}

impl Request {
    fn parse(head: &[u8]) -> Result<Self, String> {
        let answer_bytes = wire::size_asked(head).unwrap_or(BULK_ANSWER_BYTES);
        if answer_bytes > ANSWER_BYTES_MAX {
            return Err(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"));
        }
        Ok(Self { body_bytes: wire::content_length(head).unwrap_or(0), answer_bytes })
    }
}

/// Whole answers, head and body, made once for each size.
#[derive(Default)]
struct Answers(HashMap<usize, Vec<u8>>);

impl Answers {
    fn of(&mut self, body_bytes: usize) -> &[u8] {
        self.0.entry(body_bytes).or_insert_with(|| {
            let mut answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                 Content-Length: {body_bytes}\r\n\r\n"
            )
            .into_bytes();
            let end = answer.len() + body_bytes;
            // For a bulk as well as for a GET, to whoever looks into it.
            if body_bytes >= BODY.len() {
                answer.extend_from_slice(BODY);
            }
            answer.resize(end, b' ');
            answer
        })
    }
}

/// Takes all waiting connections; returns how many there were.
fn accept(
    poll: &impl std::os::fd::AsFd,
    listener: &TcpListener,
    connections: &mut Vec<Option<Connection>>,
) -> Outcome<u64> {
    let mut count = 0;
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
            // The peer gave up while it waited in the queue.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error.into()),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let number = stream.as_raw_fd() as usize;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(poll, &stream, EventData::new_u64(number as u64), flags)?;
        if connections.len() <= number {
            connections.resize_with(number + 1, || None);
        }
        connections[number] = Some(Connection::new(stream));
        count += 1;
    }
}

fn listen() -> Outcome<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

const BODY: &[u8] = b"{\"took\":1,\"errors\":false,\"items\":[]}";
const STDIN: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;
const READ_BYTES: usize = 256 << 10;
const EVENTS: usize = 256;
const ANSWER_BYTES_MAX: usize = 64 << 20;
