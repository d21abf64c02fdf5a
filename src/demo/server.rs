//! The server: a listener on the loopback, and a thread for each of its connections.

use std::io::{self, BufReader, BufWriter, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use uuid::Uuid;

use super::store::{State, Store};
use super::{api, wire};

/// A running document server. Dropping it ends its connections and forgets its documents.
pub struct Server {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    store: Mutex<Store>,
    uuid: String,
    streams: Mutex<Vec<(u64, TcpStream)>>,
    requests: AtomicU64,
    closing: AtomicBool,
}

impl Server {
    /// Starts an empty server on a free port of 127.0.0.1.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let uuid = Uuid::new_v4().simple().to_string();
        let shared = Arc::new(Shared {
            // As long as the ids that Elasticsearch gives: 20 characters.
            store: Mutex::new(Store::new(uuid[..10].to_owned())),
            uuid,
            streams: Mutex::default(),
            requests: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::Builder::new()
            .name("demo-accept".to_owned())
            .spawn(move || accept(&listener, &accepting))?;
        Ok(Self { addr, shared })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The name by which this cluster is told from any other.
    pub fn cluster_uuid(&self) -> &str {
        &self.shared.uuid
    }

    /// All its documents now.
    pub fn state(&self) -> State {
        lock(&self.shared.store).state()
    }

    /// Requests answered so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        for (_, stream) in lock(&self.shared.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.addr);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, stream) in (0..).zip(listener.incoming()) {
        if shared.closing.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let mut streams = lock(&shared.streams);
        // Beyond the limit a connection is closed at once, which a client sees and can try again.
        if streams.len() >= CONNECTIONS_MAX {
            continue;
        }
        let Ok(second) = stream.try_clone() else { continue };
        streams.push((number, second));
        drop(streams);
        let serving = Arc::clone(shared);
        let spawned = thread::Builder::new().name("demo-connection".to_owned()).spawn(move || {
            // What ends a connection is the client's affair; there is nobody to tell.
            let _ = converse(&stream, &serving);
            lock(&serving.streams).retain(|(of, _)| *of != number);
        });
        if spawned.is_err() {
            lock(&shared.streams).retain(|(of, _)| *of != number);
        }
    }
}

fn converse(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = BufWriter::new(stream);
    while let Some(request) = wire::read_request(&mut reader, &mut Flushing(stream))? {
        let (status, body) = api::answer(&mut lock(&shared.store), &shared.uuid, &request);
        // Counted first: whoever has the answer finds it counted.
        shared.requests.fetch_add(1, Ordering::Relaxed);
        wire::write_answer(&mut writer, &request, status, body.to_string().as_bytes())?;
        writer.flush()?;
        if request.last {
            break;
        }
    }
    stream.shutdown(Shutdown::Write)
}

/// Interim answers go out at once, past the buffer, which is empty then.
struct Flushing<'a>(&'a TcpStream);

impl Write for Flushing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections at once.
const CONNECTIONS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_server_answers_and_goes_with_its_handle() {
        let server = Server::start().unwrap();
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        stream.write_all(b"PUT /i/_doc/1 HTTP/1.1\r\nContent-Length: 7\r\n\r\n{\"n\":1}").unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        assert_eq!(wire::read_answer(&mut reader).unwrap().0, 201);
        assert_eq!((server.state().len(), server.requests()), (1, 1));
        let other = Server::start().unwrap();
        assert_ne!(server.cluster_uuid(), other.cluster_uuid());
        assert_ne!(server.state(), other.state());
        drop(server);
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = reader.read_to_end(&mut rest);
        assert_eq!(rest, b"");
    }
}
