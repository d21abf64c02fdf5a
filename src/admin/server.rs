//! The listener of the admin endpoint, and its bounds.

use std::{fmt, io, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, sync::Semaphore};

use super::{Subject, pages};

/// Connections at a time; more wait in the backlog.
const CONNECTIONS_MAX: usize = 64;
/// A head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Fields of a head.
const FIELDS_MAX: usize = 64;
/// A head must be complete within this time, which also ends idle connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long accepting rests after the process ran out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long an address in use is left alone before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Where it is answered.
#[derive(Debug)]
pub enum Door {
    /// Nowhere.
    Off,
    /// Here; who connects before anybody answers waits.
    Open(Server),
    /// Here, as soon as nobody else listens there any more.
    Busy(SocketAddr),
}

impl Door {
    /// Listens on `address`. In use by another, it is an error if one insists on it; else it is waited for.
    pub fn open(address: Option<SocketAddr>, insist: bool) -> io::Result<Self> {
        let Some(address) = address else { return Ok(Self::Off) };
        match Server::bind(address) {
            Ok(server) => Ok(Self::Open(server)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && !insist => {
                tracing::warn!(
                    event = "admin.busy", %address,
                    "another process listens where the admin endpoint is to be; it is there as soon as that one ends. \
                     --admin names another address"
                );
                Ok(Self::Busy(address))
            }
            Err(error) => Err(error),
        }
    }

    /// Where another process was answering until now, with its socket: nobody who connects notices.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        Server::adopt(socket).map(Self::Open)
    }

    /// Another descriptor of its socket, for a process that takes over.
    pub fn descriptor(&self) -> Option<OwnedFd> {
        match self {
            Self::Open(server) => Some(server.0.try_clone().ok()?.into()),
            Self::Off | Self::Busy(_) => None,
        }
    }

    /// There is none.
    pub fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Answers for `subject` until the runtime ends; must run on a tokio runtime.
    pub async fn answer(self, subject: Arc<dyn Subject>) {
        match self {
            Self::Off => {}
            Self::Open(server) => serve(server, subject).await,
            Self::Busy(address) => loop {
                tokio::time::sleep(RETRY).await;
                if let Ok(server) = Server::bind(address) {
                    tracing::info!(event = "admin.open", %address, "the admin endpoint is there now");
                    return serve(server, subject).await;
                }
            },
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Open(server) => match server.address() {
                Ok(address) => address.fmt(f),
                Err(error) => error.fmt(f),
            },
            Self::Busy(address) => write!(f, "{address} (in use)"),
        }
    }
}

/// A bound address that nobody serves yet: whoever connects waits.
#[derive(Debug)]
pub struct Server(Socket);

impl Server {
    /// Binds and listens. Warns when others than this host can connect.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(CONNECTIONS_MAX as i32)?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                event = "admin.exposed", %address,
                "the admin endpoint can be reached from other hosts, and it asks nobody who they are: \
                 it shows addresses, settings and rates, but no secrets and nothing of the traffic"
            );
        }
        Ok(Self(socket))
    }

    /// Takes a socket that listens already.
    fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(socket);
        if !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        let address = self.0.local_addr()?;
        address.as_socket().ok_or_else(|| io::Error::other("no address of the internet"))
    }
}

/// Answers for `subject` until the runtime ends; must run on a tokio runtime.
async fn serve(server: Server, subject: Arc<dyn Subject>) {
    let listener = match TcpListener::from_std(server.0.into()) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(event = "admin.failed", %error, "the admin endpoint cannot be served");
            return;
        }
    };
    let router = pages::router(subject);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Never closed, so a place can always be had.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(event = "admin.accept_failed", %error, "accepting failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(FIELDS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // Whatever is wrong with it concerns the one who asks.
            let _ = connection.await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::{Value, json};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::admin::{Exposition, Kind, Loop, Verdict};

    /// One loop turns when it is nudged, the other one as well unless it is stuck.
    #[derive(Default)]
    struct Toy {
        turns: AtomicU64,
        stuck: bool,
        unready: bool,
    }

    impl Subject for Toy {
        fn loops(&self) -> Vec<Loop> {
            let turns = self.turns.load(Ordering::Relaxed);
            let one = |name: &str, turns| Loop { name: name.into(), turns, ended: false };
            vec![one("worker-0", turns), one("worker-1", if self.stuck { 7 } else { turns })]
        }
        fn nudge(&self) {
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
        fn readiness(&self) -> (Verdict, Value) {
            let verdict = if self.unready { Verdict::Unready } else { Verdict::Degraded };
            (verdict, json!({"status": verdict.name()}))
        }
        fn measure(&self) -> Exposition {
            let mut out = Exposition::default();
            out.single("up", Kind::Gauge, "Up.", 1.0);
            out
        }
        fn status(&self) -> Value {
            json!({"open": 3})
        }
        fn config(&self) -> Value {
            json!({})
        }
    }

    fn ask(toy: Toy, requests: &[&str]) -> Vec<String> {
        let server = Server::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = server.address().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::spawn(serve(server, Arc::new(toy)));
            let mut answers = Vec::new();
            for request in requests {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                // A refusal may come with a reset behind it.
                let _ = stream.read_to_end(&mut answer).await;
                answers.push(String::from_utf8(answer).unwrap());
            }
            answers
        })
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    }

    #[test]
    fn pages_are_answered_and_nothing_else() {
        let paths = ["/livez", "/readyz", "/startupz", "/metrics", "/status", "/version", "/no"];
        let mut requests: Vec<String> = paths.iter().map(|path| get(path)).collect();
        requests.push(
            "POST /status HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .into(),
        );
        requests.push(format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "x".repeat(20 << 10)));
        let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
        let answers = ask(Toy::default(), &requests);
        let statuses: Vec<&str> =
            answers.iter().map(|answer| answer.get(9..12).unwrap_or("")).collect();
        assert_eq!(statuses, ["200", "200", "200", "200", "200", "200", "404", "405", "431"]);
        assert!(answers[1].ends_with("{\n  \"status\": \"degraded\"\n}\n"), "{}", answers[1]);
        assert!(answers[3].contains("version=0.0.4") && answers[3].ends_with("tapline_up 1\n"));
        assert!(answers[5].contains(env!("CARGO_PKG_VERSION")));
        assert!(answers[6].contains("/metrics"), "says what there is");
    }

    #[test]
    fn a_loop_that_does_not_turn_is_named() {
        let answers = ask(
            Toy { stuck: true, unready: true, ..Toy::default() },
            &[&get("/livez"), &get("/readyz")],
        );
        assert!(answers[0].starts_with("HTTP/1.1 503") && answers[0].contains("worker-1"));
        assert!(!answers[0].contains("worker-0"));
        assert!(answers[1].starts_with("HTTP/1.1 503"), "{}", answers[1]);
    }
}
