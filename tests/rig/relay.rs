//! A TCP relay that records every byte of both directions: the ends against which `tapline`'s
//! records and bytes are compared when the client and the source are real programs.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::origin;
use super::tape::{Ending, Tape};
use super::wait;

/// A listening relay. Dropping it stops listening; running connections end by themselves.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

/// Both directions of one relayed connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passage {
    /// From whoever connected to the relay.
    pub(crate) upward: Tape,
    /// From whom the relay connected to.
    pub(crate) downward: Tape,
}

#[derive(Debug, Default)]
struct State {
    passages: Mutex<Vec<Passage>>,
    closing: AtomicBool,
}

impl Relay {
    /// A relay in front of a port on 127.0.0.1.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State::default());
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.closing.load(Ordering::Acquire) {
                    return;
                }
                let Ok(client) = client else { continue };
                let passage = Passage::default();
                lock(&accepting.passages).push(passage.clone());
                thread::spawn(move || relay(&client, port, &passage));
            }
        });
        Self { address, state }
    }

    /// Port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All connections so far, in the order they came.
    pub(crate) fn passages(&self) -> Vec<Passage> {
        lock(&self.state.passages).clone()
    }

    /// Waits until both directions of every connection have ended; whether they did.
    pub(crate) fn is_quiet(&self, limit: Duration) -> bool {
        wait::until(limit, || {
            self.passages().iter().all(|passage| {
                passage.upward.ending().is_some() && passage.downward.ending().is_some()
            })
        })
    }

    /// The digests (upward, downward) of all connections that carried anything, sorted.
    pub(crate) fn digests(&self) -> Vec<(String, String)> {
        let mut digests: Vec<_> = self
            .passages()
            .iter()
            .filter(|passage| passage.upward.len() + passage.downward.len() > 0)
            .map(|passage| (passage.upward.sha256(), passage.downward.sha256()))
            .collect();
        digests.sort();
        digests
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.closing.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(client: &TcpStream, port: u16, passage: &Passage) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
        passage.upward.end(Ending::Reset);
        passage.downward.end(Ending::Reset);
        let _ = origin::reset(client);
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server, &passage.upward));
        copy(&server, client, &passage.downward);
    });
}

/// Copies one direction; a FIN is passed on as a FIN and a reset as a reset.
fn copy(mut from: &TcpStream, mut to: &TcpStream, tape: &Tape) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => {
                tape.end(Ending::Finished);
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => {
                tape.record(&buffer[..count]);
                if to.write_all(&buffer[..count]).is_err() {
                    // Whoever closed is seen by the other direction; what comes now has no taker.
                    tape.end(Ending::Reset);
                    let _ = origin::reset(from);
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                tape.end(Ending::Reset);
                let _ = origin::reset(to);
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const BUFFER_BYTES: usize = 256 * 1024;

#[test]
fn a_relay_records_both_directions_and_passes_endings_on() {
    use super::client::{Client, request};
    use super::origin::{Origin, ok};
    let origin = Origin::answering(|request| ok(&request.body));
    let relay = Relay::to(origin.port());
    let mut client = Client::connect(relay.port());
    let sent = request("POST", "/", b"hello");
    assert_eq!(client.ask(&sent).text(), "hello");
    client.finish();
    assert_eq!(client.until_end().unwrap(), b"");
    assert!(relay.is_quiet(Duration::from_secs(5)));
    let passage = relay.passages().remove(0);
    assert_eq!(passage.upward.bytes(), sent);
    assert_eq!(passage.downward.bytes(), ok(b"hello"));
    assert_eq!(passage.upward.ending(), Some(Ending::Finished));
    let conversation = origin.conversation(0);
    assert_eq!(conversation.received.sha256(), passage.upward.sha256());

    let mut client = Client::connect(relay.port());
    client.send(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
    assert!(origin.conversation(1).received.holds(b"abc", Duration::from_secs(5)));
    client.reset();
    let ending = origin.conversation(1).received.ending_within(Duration::from_secs(5));
    assert_eq!(ending, Some(Ending::Reset));
    assert_eq!(relay.passages()[1].upward.ending(), Some(Ending::Reset));
    assert_eq!(relay.digests().len(), 2);
}
