//! A TCP relay whose network can be made bad: a black hole that goes on accepting connections and bytes of which nothing
//! comes back, a slow and sliced one, or one that resets what it carries.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// A listening relay. Dropping it stops listening.
#[derive(Debug)]
pub(crate) struct Hole {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    port: AtomicU16,
    black: AtomicBool,
    slow: AtomicBool,
    /// Counts the cuts; a connection that was made before the newest one is reset.
    cuts: AtomicU32,
    closing: AtomicBool,
}

impl Hole {
    /// A relay whose other end is named later.
    pub(crate) fn open() -> Self {
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
                let state = Arc::clone(&accepting);
                thread::spawn(move || relay(&client, &state));
            }
        });
        Self { address, state }
    }

    /// Port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Relays to this port of 127.0.0.1.
    pub(crate) fn lead_to(&self, port: u16) {
        self.state.port.store(port, Ordering::Release);
    }

    /// Swallows everything from now on, or relays again: what was swallowed is lost with its connections.
    pub(crate) fn turn(&self, black: bool) {
        self.state.black.store(black, Ordering::Release);
    }

    /// Carries slices of a few bytes from now on, each of them late, or is quick again.
    pub(crate) fn drag(&self, slow: bool) {
        self.state.slow.store(slow, Ordering::Release);
    }

    /// Resets every connection. New ones are carried.
    pub(crate) fn cut(&self) {
        self.state.cuts.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Hole {
    fn drop(&mut self) {
        self.state.closing.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(client: &TcpStream, state: &State) {
    let cuts = state.cuts.load(Ordering::Acquire);
    let server = TcpStream::connect(("127.0.0.1", state.port.load(Ordering::Acquire)));
    let Ok(server) = server else { return };
    for socket in [client, &server] {
        let _ = socket.set_read_timeout(Some(Duration::from_millis(20)));
        let _ = socket.set_nodelay(true);
    }
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server, state, cuts));
        copy(&server, client, state, cuts);
    });
    if state.cuts.load(Ordering::Acquire) != cuts {
        for socket in [client, &server] {
            let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Copies one direction. A connection that lost bytes in the hole never carries any again.
fn copy(mut from: &TcpStream, mut to: &TcpStream, state: &State, cuts: u32) {
    let (mut buffer, mut lost) = (vec![0; 256 << 10], false);
    loop {
        if state.closing.load(Ordering::Acquire) {
            break;
        }
        if state.cuts.load(Ordering::Acquire) != cuts {
            // The caller closes with a reset, which a shutdown would forestall.
            return;
        }
        let slow = state.slow.load(Ordering::Acquire);
        let room = if slow { SLICE } else { buffer.len() };
        let count = match from.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                continue;
            }
            Err(_) => break,
        };
        if slow {
            thread::sleep(DELAY);
        }
        lost |= state.black.load(Ordering::Acquire);
        if !lost && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// About half a megabyte per second.
const SLICE: usize = 5000;
const DELAY: Duration = Duration::from_millis(10);
