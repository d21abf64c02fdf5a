//! The worker on the real ring against a scripted server on loopback.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use crate::{
    ring::{Options, Uring},
    sys::{bell::Bell, clock::Clock},
    target::{Broken, ConductorEnd, Counter, Counters, Job, Parts, Reply, Settings, Worker, link},
};

pub(super) struct Running {
    conductor: ConductorEnd,
    bell: Arc<Bell>,
    counters: Arc<Counters>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    fn start(addresses: Vec<SocketAddr>) -> Self {
        let mut settings = Settings::new(addresses);
        settings.response_timeout = Duration::from_mins(1);
        Self::with(settings)
    }

    pub(super) fn with(settings: Settings) -> Self {
        let bells = [(); 2].map(|()| Arc::new(Bell::new().expect("an event descriptor")));
        let [bell, own] = bells.clone();
        let (conductor, end) = link(bell, own);
        let counters = Arc::<Counters>::default();
        let (bell, counts) = (Arc::clone(&bells[0]), Arc::clone(&counters));
        let thread = std::thread::spawn(move || {
            let options =
                Options { entries: 64, completions: 512, buffers: 16, buffer_bytes: 4096 };
            let ring = Uring::new(options).expect("a ring");
            let parts = Parts { ring, settings, counters: counts, bell, link: end };
            let clock = Clock::default();
            let now = || clock.monotonic_ns();
            Worker::new(parts, now()).run(now).expect("a ring that works");
        });
        Self { conductor, bell: Arc::clone(&bells[1]), counters, thread }
    }

    pub(super) fn ask(&mut self, requests: Vec<Vec<u8>>) -> Vec<Reply> {
        let n = requests.len();
        for (id, bytes) in requests.into_iter().enumerate() {
            let id = id as u64;
            self.conductor.send(Job { id, bytes, keep: 1 << 20, ..Job::default() });
        }
        assert!(self.conductor.flush());
        let mut replies = Vec::new();
        while replies.len() < n {
            self.bell.park();
            if self.conductor.is_quiet() {
                let mut fds =
                    [rustix::event::PollFd::new(self.bell.event(), rustix::event::PollFlags::IN)];
                rustix::event::poll(&mut fds, None).expect("poll");
            }
            self.bell.unpark();
            self.bell.hush();
            replies.extend(std::iter::from_fn(|| self.conductor.reply()));
        }
        replies.sort_by_key(|reply| reply.id);
        replies
    }

    pub(super) fn end(mut self) -> Arc<Counters> {
        self.conductor.close();
        assert!(self.conductor.flush());
        self.thread.join().expect("the worker");
        assert!(self.conductor.is_finished());
        self.counters
    }
}

/// Answers each request with the length of its body, in a body of the length that the path names; `/close` is answered
/// and closed, `/early` is answered before its body is read, `/cut` is closed without an answer.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || while turn(&stream) == Some(true) {});
        }
    });
    address
}

fn turn(mut stream: &TcpStream) -> Option<bool> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).expect("a head");
    let path = text.split(' ').nth(1)?.to_owned();
    if path == "/early" {
        stream
            .write_all(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .ok()?;
        // What was not read makes the kernel reset: wait for the other side to close.
        let mut left = vec![0; 1 << 16];
        while stream.read(&mut left).ok()? > 0 {}
        return None;
    }
    if path == "/cut" {
        return None;
    }
    let length = text.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
    let length = length.and_then(|digits| digits.parse::<u64>().ok()).unwrap_or(0);
    let read = std::io::copy(&mut stream.take(length), &mut std::io::sink()).ok()?;
    let pad = path[1..].parse::<usize>().unwrap_or(0);
    let body = format!("{read:.<pad$}");
    let close = path == "/close";
    let field = if close { "Connection: close\r\n" } else { "" };
    let answer = format!("HTTP/1.1 200 OK\r\n{field}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).ok()?;
    Some(!close)
}

pub(super) fn request(path: &str, body: usize) -> Vec<u8> {
    let mut bytes = format!("POST {path} HTTP/1.1\r\nContent-Length: {body}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + body, b'x');
    bytes
}

/// The body of the response, without its padding.
pub(super) fn body(reply: &Reply) -> &str {
    let response = reply.result.as_ref().expect("a response");
    let body = std::str::from_utf8(&response.bytes[response.head_bytes..]).expect("text");
    body.trim_end_matches('.')
}

#[test]
fn jobs_are_answered_over_real_sockets_each_with_its_own_response() {
    let mut running = Running::start(vec![serve()]);
    // More connections than provided buffers, answers of several buffers each.
    for round in 0..3 {
        let bodies: Vec<usize> = (0..40).map(|n| n * 100 + round).collect();
        let replies = running.ask(bodies.iter().map(|n| request("/20000", *n)).collect());
        for (reply, n) in replies.iter().zip(bodies) {
            assert_eq!(body(reply), n.to_string());
            assert_eq!(reply.bytes, request("/20000", n));
        }
    }
    let large = running.ask(vec![request("/0", 200 << 20)]);
    assert_eq!(body(&large[0]), (200 << 20).to_string());
    assert_eq!(large[0].bytes.len(), request("/0", 200 << 20).len());
    let counters = running.end();
    assert_eq!(counters.get(Counter::Jobs), 121);
    assert_eq!(counters.get(Counter::Opened), 40);
    assert_eq!(counters.get(Counter::Closed), 40);
}

#[test]
fn ends_of_connections_are_told_apart_over_real_sockets() {
    // Nobody listens at the first address.
    let closed = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
    let mut running = Running::start(vec![closed, serve()]);
    let paths = ["/close", "/cut", "/early", "/1"];
    let sizes = [0, 0, 64 << 20, 10];
    let requests = paths.iter().zip(sizes).map(|(path, n)| request(path, n)).collect();
    let replies = running.ask(requests);
    assert_eq!(body(&replies[0]), "0");
    let lost = Broken::Lost { reused: false, response_begun: false, error: None };
    assert_eq!(replies[1].result, Err(lost));
    let early = replies[2].result.as_ref().expect("a response");
    assert_eq!((early.status, replies[2].sent_ns), (413, 0));
    assert_eq!(replies[2].bytes.len(), request("/early", 64 << 20).len());
    assert_eq!(body(&replies[3]), "10");
    // The first address is refused each time its turn comes.
    let counters = running.end();
    assert_eq!(counters.get(Counter::ConnectFailures), 2);
    assert_eq!(counters.get(Counter::Early), 1);
    assert_eq!(counters.get(Counter::Opened), counters.get(Counter::Closed));
}

#[test]
fn new_connections_go_where_the_name_leads_now() {
    let nowhere = TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr());
    let settings = Settings::new(vec![nowhere.expect("an address")]);
    let addresses = Arc::clone(&settings.addresses);
    let mut running = Running::with(settings);
    let refused = running.ask(vec![request("/1", 1)]);
    assert!(matches!(refused[0].result, Err(Broken::Connect(_))), "{:?}", refused[0].result);
    assert!(addresses.replace(vec![serve()]));
    assert_eq!(body(&running.ask(vec![request("/1", 7)])[0]), "7");
    running.end();
}
