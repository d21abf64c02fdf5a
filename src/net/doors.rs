//! The listening sockets of a process, wherever they came from, and how they are shared out to its workers.
//!
//! Sockets of our own are one per worker and address (`SO_REUSEPORT`: the kernel spreads connections over them).
//! Sockets that were passed to the process are taken as they come, be it one for all workers: several workers then
//! accept on the same socket and take turns. No socket is ever closed while another process goes on with it, so that
//! nothing in its queue is lost.

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::listen::{Bind, KEEPALIVE, ListenError};

/// The listening sockets of this process.
#[derive(Debug)]
pub struct Doors {
    sockets: Vec<Door>,
}

#[derive(Debug)]
struct Door {
    socket: Socket,
    address: SocketAddr,
}

/// A listening socket for one worker.
#[derive(Debug)]
pub struct Share {
    /// A descriptor of its own for the socket.
    pub socket: OwnedFd,
    /// Other workers accept on the same socket.
    pub shared: bool,
}

/// Why a socket that was passed to the process cannot be used.
#[derive(Debug)]
pub struct AdoptError {
    number: i32,
    what: String,
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, what } = self;
        write!(
            f,
            "descriptor {number} that was passed to tapline {what}; it must be a listening TCP socket, as \
             ListenStream=9200 in the socket unit makes it (with Accept=no)"
        )
    }
}

impl std::error::Error for AdoptError {}

impl Doors {
    /// Binds `workers` sockets to each address; nobody is let in before [`Doors::open`].
    pub fn bind(addresses: &[SocketAddr], workers: usize) -> Result<Self, ListenError> {
        let mut sockets = Vec::new();
        for address in addresses {
            for socket in Bind(*address).bind(workers)? {
                let address = address_of(&socket).unwrap_or(*address);
                sockets.push(Door { socket, address });
            }
        }
        Ok(Self { sockets })
    }

    /// Takes sockets over that listen already. Each is checked, and set up as one of ours would be: accepted sockets
    /// inherit that. `first` is the number of the first one, for messages.
    pub fn adopt(descriptors: Vec<OwnedFd>, first: i32) -> Result<Self, AdoptError> {
        let adopt = |(at, descriptor)| {
            adopt(descriptor).map_err(|what| AdoptError { number: first + at as i32, what })
        };
        let sockets = descriptors.into_iter().enumerate().map(adopt).collect::<Result<_, _>>()?;
        Ok(Self { sockets })
    }

    /// Listens on those that do not yet.
    pub fn open(&self) -> Result<(), ListenError> {
        for door in &self.sockets {
            if !door.socket.is_listener().unwrap_or(false) {
                Bind(door.address).listen(&door.socket)?;
            }
        }
        Ok(())
    }

    /// The sockets of each of `workers`. An address with fewer sockets than workers is shared; with more, some workers
    /// have several. None is left out.
    pub fn share_out(&self, workers: usize) -> io::Result<Vec<Vec<Share>>> {
        let mut shares: Vec<Vec<Share>> = (0..workers).map(|_| Vec::new()).collect();
        for address in self.addresses() {
            let here: Vec<&Door> = self.sockets.iter().filter(|d| d.address == address).collect();
            for turn in 0..here.len().max(workers) {
                let (at, worker) = (turn % here.len(), turn % workers);
                let shared = at + here.len() < workers;
                let socket = here[at].socket.try_clone()?.into();
                shares[worker].push(Share { socket, shared });
            }
        }
        Ok(shares)
    }

    /// The addresses, each once, in order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = self.sockets.iter().map(|door| door.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// The sockets, to hand them over.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.sockets.iter().map(|door| door.socket.as_fd()).collect()
    }
}

fn adopt(descriptor: OwnedFd) -> Result<Door, String> {
    let socket = Socket::from(descriptor);
    let not_a_socket = |error: io::Error| format!("is not usable as a socket ({error})");
    let (domain, kind) =
        (socket.domain().map_err(not_a_socket)?, socket.r#type().map_err(not_a_socket)?);
    let protocol = socket.protocol().map_err(not_a_socket)?;
    if !matches!(domain, Domain::IPV4 | Domain::IPV6)
        || kind != Type::STREAM
        || protocol != Some(Protocol::TCP)
    {
        return Err("is not a TCP socket".into());
    }
    if !socket.is_listener().map_err(not_a_socket)? {
        return Err("does not listen".into());
    }
    let prepared = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&KEEPALIVE))
        // The ring's accept would give up at once instead of waiting.
        .and_then(|()| socket.set_nonblocking(false));
    prepared.map_err(|error| format!("cannot be set up ({error})"))?;
    let address = address_of(&socket).ok_or("has no address")?;
    Ok(Door { socket, address })
}

fn address_of(socket: &Socket) -> Option<SocketAddr> {
    socket.local_addr().ok()?.as_socket()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn passed(count: usize) -> Doors {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("address");
        let sockets = Bind(any).bind(count).expect("free");
        for socket in &sockets {
            Bind(any).listen(socket).expect("free");
        }
        Doors::adopt(sockets.into_iter().map(Into::into).collect(), 3).expect("they listen")
    }

    #[test]
    fn every_worker_has_a_socket_and_every_socket_a_worker() {
        for (sockets, workers, expected) in
            [(1, 1, 1), (1, 4, 0), (4, 4, 4), (2, 3, 1), (5, 2, 5), (3, 4, 2), (2, 6, 0)]
        {
            let doors = passed(sockets);
            let shares = doors.share_out(workers).expect("descriptors are left");
            assert!(shares.iter().all(|of_worker| !of_worker.is_empty()), "{sockets} {workers}");
            let given: Vec<&Share> = shares.iter().flatten().collect();
            assert_eq!(given.len(), sockets.max(workers));
            let alone = given.iter().filter(|share| !share.shared).count();
            assert_eq!(alone, expected, "{sockets} sockets, {workers} workers");
        }
    }

    #[test]
    fn what_was_passed_by_mistake_is_named() {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let file = std::fs::File::open("/dev/null").expect("it is there");
        for (descriptor, word) in [
            (OwnedFd::from(udp), "not a TCP socket"),
            (OwnedFd::from(stream), "does not listen"),
            (OwnedFd::from(file), "not usable"),
        ] {
            let error = Doors::adopt(vec![descriptor], 3).expect_err(word).to_string();
            assert!(error.contains(word) && error.contains("descriptor 3"), "{error}");
        }
    }

    #[test]
    fn a_socket_that_does_not_block_is_made_to() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        listener.set_nonblocking(true).expect("set");
        let doors = Doors::adopt(vec![listener.into()], 3).expect("it listens");
        let flags = rustix::fs::fcntl_getfl(doors.descriptors()[0]).expect("open");
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
        assert!(doors.sockets[0].socket.tcp_nodelay().expect("a TCP socket"));
    }
}
