//! Listening sockets: one per worker and address, spread by the kernel through `SO_REUSEPORT`.

use std::{fmt, io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that the kernel queues before they are accepted.
const BACKLOG: i32 = 4096;

/// Below a network load balancer's idle timeout of 350 s, so that a silently dropped connection is found out.
pub(super) const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_mins(1))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    error: io::Error,
}

impl ListenError {
    /// Somebody else listens there.
    pub fn is_in_use(&self) -> bool {
        self.error.kind() == io::ErrorKind::AddrInUse
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, error } = self;
        match error.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "{address} is in use by another process. See which: ss -ltnp 'sport = :{}'. Or \
                 choose another: --listen",
                address.port()
            ),
            io::ErrorKind::PermissionDenied => write!(
                f,
                "not allowed to listen on {address}: ports below {} need CAP_NET_BIND_SERVICE",
                1024
            ),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "{address} is not an address of this host. See: ip address")
            }
            _ => write!(f, "cannot listen on {address}: {error}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// An address to listen on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bind(pub(super) SocketAddr);

impl Bind {
    /// `workers` sockets on the address. With one worker the socket is exclusive; with more, a
    /// first exclusive one finds out whether somebody else has the address, which `SO_REUSEPORT`
    /// would hide.
    ///
    /// They are bound, not listening yet: nobody is let in before everything else is known to work.
    pub(super) fn bind(self, workers: usize) -> Result<Vec<Socket>, ListenError> {
        let fail = |error| ListenError { address: self.0, error };
        let first = self.socket(false).map_err(fail)?;
        if workers == 1 {
            return Ok(vec![first]);
        }
        let address = first.local_addr().map_err(fail)?.as_socket().unwrap_or(self.0);
        drop(first);
        (0..workers).map(|_| Self(address).socket(true).map_err(fail)).collect()
    }

    fn socket(self, shared: bool) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.0), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        if self.0.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // Accepted sockets inherit both.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&KEEPALIVE)?;
        socket.bind(&self.0.into())?;
        Ok(socket)
    }

    /// Lets connections in.
    pub(super) fn listen(self, socket: &Socket) -> Result<(), ListenError> {
        socket.listen(BACKLOG).map_err(|error| ListenError { address: self.0, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_said_to_be_so_with_one_worker_and_with_more() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("address");
        for workers in [1, 3] {
            let sockets = Bind(any).bind(workers).expect("free");
            for socket in &sockets {
                Bind(any).listen(socket).expect("free");
            }
            assert_eq!(sockets.len(), workers);
            let taken = sockets[0].local_addr().expect("bound").as_socket().expect("inet");
            for others in [1, 2] {
                let error = Bind(taken).bind(others).expect_err("taken");
                assert!(error.to_string().contains("in use"), "{error}");
            }
        }
    }
}
