//! A scripted origin: an HTTP/1.1 server that does exactly what a test says and records every byte.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::message::{Message, Reader};
use super::tape::{Ending, Tape};
use super::wait;

/// A listening origin. Dropping it stops listening and ends its connections.
#[derive(Debug)]
pub(crate) struct Origin {
    address: SocketAddr,
    state: Arc<State>,
}

/// Both directions of one connection as the origin saw them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conversation {
    /// What the origin received.
    pub(crate) received: Tape,
    /// What the origin sent.
    pub(crate) sent: Tape,
}

/// One connection in the hands of a script.
pub(crate) struct Visit {
    number: usize,
    stream: TcpStream,
    reader: Reader<Recorder>,
    conversation: Conversation,
}

#[derive(Debug, Default)]
struct State {
    conversations: Mutex<Vec<Conversation>>,
    streams: Mutex<Vec<TcpStream>>,
    closing: AtomicBool,
}

struct Recorder {
    stream: TcpStream,
    tape: Tape,
    /// Who is told instead of the tape, and the number of the connection.
    observe: Option<(Arc<Observe>, usize)>,
}

type Observe = dyn Fn(usize, &[u8]) + Send + Sync;
type Script = dyn Fn(&mut Visit) -> io::Result<()> + Send + Sync;

impl Origin {
    /// An origin that runs `script` for every connection, each in a thread of its own. When a
    /// script returns or fails, its connection is closed.
    pub(crate) fn start<S>(script: S) -> Self
    where
        S: Fn(&mut Visit) -> io::Result<()> + Send + Sync + 'static,
    {
        Self::start_at(0, script)
    }

    /// As [`Self::start`], on this port; 0 for any.
    pub(crate) fn start_at<S>(port: u16, script: S) -> Self
    where
        S: Fn(&mut Visit) -> io::Result<()> + Send + Sync + 'static,
    {
        Self::listen(port, None, Arc::new(script))
    }

    /// As [`Self::start`]; `observe` is given the number of the connection and each piece of bytes
    /// the moment it was received, before anything else is done with it. Nothing is recorded.
    pub(crate) fn observing<O, S>(observe: O, script: S) -> Self
    where
        O: Fn(usize, &[u8]) + Send + Sync + 'static,
        S: Fn(&mut Visit) -> io::Result<()> + Send + Sync + 'static,
    {
        Self::listen(0, Some(Arc::new(observe)), Arc::new(script))
    }

    /// An origin that reads each request to its end and answers with what `answer` gives.
    pub(crate) fn answering<A>(answer: A) -> Self
    where
        A: Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    {
        Self::start(move |visit| {
            while let Some(request) = visit.request()? {
                visit.send(&answer(&request))?;
            }
            Ok(())
        })
    }

    /// Port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All connections so far, in the order they came.
    pub(crate) fn conversations(&self) -> Vec<Conversation> {
        lock(&self.state.conversations).clone()
    }

    /// The connection with the given number, waited for.
    pub(crate) fn conversation(&self, number: usize) -> Conversation {
        wait::for_some(PATIENCE, || self.conversations().get(number).cloned())
            .unwrap_or_else(|| panic!("the origin has no connection {number} after {PATIENCE:?}"))
    }

    /// Bytes received over all connections.
    pub(crate) fn received_bytes(&self) -> usize {
        self.conversations().iter().map(|conversation| conversation.received.len()).sum()
    }

    fn listen(port: u16, observe: Option<Arc<Observe>>, script: Arc<Script>) -> Self {
        let listener =
            TcpListener::bind(("127.0.0.1", port)).expect("the loopback has that port free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State::default());
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if accepting.closing.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let observe = observe.clone().map(|observe| (observe, number));
                let Ok(mut visit) = Visit::new(number, stream, observe) else { continue };
                lock(&accepting.conversations).push(visit.conversation.clone());
                if let Ok(stream) = visit.stream.try_clone() {
                    lock(&accepting.streams).push(stream);
                }
                let script = Arc::clone(&script);
                thread::spawn(move || {
                    // A script that fails has met the end of its connection; the tape tells which.
                    let _ = script(&mut visit);
                    let _ = visit.stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, state }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.state.closing.store(true, Ordering::Release);
        for stream in lock(&self.state.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Visit {
    fn new(
        number: usize,
        stream: TcpStream,
        observe: Option<(Arc<Observe>, usize)>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let conversation = Conversation::default();
        let tape = conversation.received.clone();
        let recorder = Recorder { stream: stream.try_clone()?, tape, observe };
        Ok(Self { number, stream, reader: Reader::new(recorder), conversation })
    }

    /// How many connections came before this one.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// So many bytes, whatever they are.
    pub(crate) fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.reader.exactly(count)
    }

    /// The next request with its body; `None` when the peer has finished.
    pub(crate) fn request(&mut self) -> io::Result<Option<Message>> {
        self.reader.request()
    }

    /// The head of the next request; its body stays unread.
    pub(crate) fn head(&mut self) -> io::Result<Message> {
        self.reader.head()?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The body that belongs to a head.
    pub(crate) fn body(&mut self, mut head: Message) -> io::Result<Message> {
        self.reader.body(&mut head, false)?;
        Ok(head)
    }

    /// Reads until the peer finishes or resets.
    pub(crate) fn until_end(&mut self) -> io::Result<Vec<u8>> {
        self.reader.rest()
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.reader.stream().observe.is_none() {
            self.conversation.sent.record(bytes);
        }
        self.stream.write_all(bytes)
    }

    /// Sends a FIN and keeps on reading.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.conversation.sent.end(Ending::Finished);
        self.stream.shutdown(Shutdown::Write)
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        self.conversation.sent.end(Ending::Reset);
        reset(&self.stream)
    }
}

impl Read for Recorder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let outcome = self.stream.read(buffer);
        match &outcome {
            Ok(0) => self.tape.end(Ending::Finished),
            Ok(count) => match &self.observe {
                Some((observe, number)) => observe(*number, &buffer[..*count]),
                None => self.tape.record(&buffer[..*count]),
            },
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                self.tape.end(Ending::Reset);
            }
            Err(_) => {}
        }
        outcome
    }
}

/// A response with a `Content-Length`.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    response(200, "OK", &[], body)
}

/// A response with a `Content-Length` and further fields.
pub(crate) fn response(status: u16, reason: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\n", body.len());
    for field in fields {
        head.push_str(field);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Resets a connection: nothing unsent is sent, the peer gets RST. A shutdown of a socket that
/// other handles share does not do it; connecting it to nowhere does.
pub(crate) fn reset(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_linger(Some(Duration::ZERO))?;
    disconnect(stream)
}

/// `connect` to an unspecified address dissolves the association; with a linger time of zero or
/// unread data the kernel sends RST (tcp(7), `tcp_disconnect`).
fn disconnect(stream: &TcpStream) -> io::Result<()> {
    rustix::net::connect_unspec(stream).map_err(io::Error::from)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_script_has_the_last_word() {
    use super::client::{Client, bare, chunked};
    let origin = Origin::start(|visit| {
        let head = visit.head()?;
        visit.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        let request = visit.body(head)?;
        visit.send(&response(201, "Created", &["X: 1"], &request.body))?;
        visit.request()?;
        visit.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")?;
        visit.reset()
    });
    let mut client = Client::connect(origin.port());
    client.send_in_pieces(&chunked("PUT", "/", &[b"ab", b"c"]), 7, Duration::from_millis(1));
    assert_eq!(client.head().status(), 100);
    let created = client.response("PUT");
    assert_eq!((created.status(), created.text()), (201, "abc".to_owned()));
    assert_eq!(created.field("x").as_deref(), Some("1"));
    assert!(client.is_silent(Duration::from_millis(20)));
    client.send(&bare("GET", "/"));
    let broken = client.until_end();
    assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(origin.conversations().len(), 1);
    assert_eq!(origin.conversation(0).sent.ending(), Some(Ending::Reset));
    assert_eq!(origin.received_bytes(), origin.conversation(0).received.len());

    let silent = Origin::start(|visit| {
        visit.finish()?;
        visit.until_end().map(drop)
    });
    let mut client = Client::connect(silent.port());
    assert_eq!(client.until_end().unwrap(), b"");
    client.send(b"late");
    client.finish();
    let received = silent.conversation(0).received;
    assert_eq!(received.ending_within(Duration::from_secs(5)), Some(Ending::Finished));
    assert_eq!(received.bytes(), b"late");
}
