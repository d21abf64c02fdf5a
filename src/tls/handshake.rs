//! The handshake, by rustls' unbuffered connections, up to the moment at which both sides have keys.
//!
//! It is fed one record at a time, so that rustls never opens a record that belongs to the traffic behind it.

use std::sync::Arc;

use rustls::{
    ClientConfig, HandshakeKind, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::ServerName,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, InsufficientSizeError},
};

use super::{
    fault::TlsFault,
    record::record_bytes,
    traffic::{Keys, Traffic},
};

/// One side of a handshake under way.
pub(super) struct Handshake {
    side: Side,
    /// How much of what was not consumed rustls has seen. It remembers where parts of a message lie in there, so that
    /// it must never be shown less.
    shown: usize,
}

enum Side {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// Where a handshake stands.
enum Step {
    /// It has more to say or do without input.
    Again,
    /// It waits for the peer.
    Blocked,
    Done,
    Failed(TlsFault),
}

macro_rules! step {
    ($connection:expr, $incoming:expr, $outgoing:expr) => {{
        let status = $connection.process_tls_records($incoming);
        let step = match status.state {
            Err(error) => Step::Failed(error.into()),
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                let start = $outgoing.len();
                if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) =
                    data.encode(&mut [])
                {
                    $outgoing.resize(start + required_size, 0);
                    let _ = data.encode(&mut $outgoing[start..]);
                }
                Step::Again
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Step::Again
            }
            Ok(ConnectionState::WriteTraffic(_)) => Step::Done,
            Ok(ConnectionState::BlockedHandshake) => Step::Blocked,
            Ok(_) => Step::Failed(TlsFault::malformed("the peer ended TLS within the handshake")),
        };
        (status.discard, step)
    }};
}

impl Handshake {
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: &ServerName<'static>,
    ) -> Result<Self, TlsFault> {
        let connection = UnbufferedClientConnection::new(config, name.clone())?;
        Ok(Self { side: Side::Client(Box::new(connection)), shown: 0 })
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, TlsFault> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self { side: Side::Server(Box::new(connection)), shown: 0 })
    }

    pub(super) fn is_server(&self) -> bool {
        matches!(self.side, Side::Server(_))
    }

    /// Goes on with `incoming`, which begins where the last call stopped consuming, and puts what is to be sent into
    /// `outgoing`. Returns how much was consumed, and whether the handshake is over. After a fault `outgoing` has the
    /// alert.
    pub(super) fn advance(
        &mut self,
        incoming: &mut [u8],
        outgoing: &mut Vec<u8>,
    ) -> Result<(usize, bool), TlsFault> {
        let (mut used, mut shown) = (0, self.shown);
        let mut failed = None;
        loop {
            // What is left to say after a fault is the alert. Then rustls must not see the bytes again: it would fail
            // once more.
            if let Some(fault) = failed.take_if(|_| !self.wants_write()) {
                return Err(fault);
            }
            // Also after a fault: rustls may have marked part of it as a message.
            let (discard, step) = self.step(&mut incoming[used..shown], outgoing);
            used += discard;
            match (step, failed.take()) {
                (Step::Again, fault) => failed = fault,
                (_, Some(fault)) => return Err(fault),
                (Step::Failed(fault), None) => failed = Some(fault),
                (Step::Done, None) => return Ok((used, true)),
                (Step::Blocked, None) => match record_bytes(&incoming[shown..])? {
                    Some(len) if shown + len <= incoming.len() => shown += len,
                    _ => {
                        self.shown = shown - used;
                        return Ok((used, false));
                    }
                },
            }
        }
    }

    fn wants_write(&self) -> bool {
        match &self.side {
            Side::Client(connection) => connection.wants_write(),
            Side::Server(connection) => connection.wants_write(),
        }
    }

    fn step(&mut self, incoming: &mut [u8], outgoing: &mut Vec<u8>) -> (usize, Step) {
        let (discard, step) = match &mut self.side {
            Side::Client(connection) => step!(connection, incoming, outgoing),
            Side::Server(connection) => step!(connection, incoming, outgoing),
        };
        let handshaking = match &self.side {
            Side::Client(connection) => connection.is_handshaking(),
            Side::Server(connection) => connection.is_handshaking(),
        };
        // Whoever may send already has to wait all the same for what the peer has to say.
        let early = handshaking && matches!(step, Step::Done);
        (discard, if early { Step::Blocked } else { step })
    }

    /// Whether an earlier session was taken up again.
    pub(super) fn is_resumed(&self) -> bool {
        let kind = match &self.side {
            Side::Client(connection) => connection.handshake_kind(),
            Side::Server(connection) => connection.handshake_kind(),
        };
        kind == Some(HandshakeKind::Resumed)
    }

    /// The keys that the handshake ended with. Everything else that it needed is freed.
    pub(super) fn into_traffic(self) -> Result<Traffic, TlsFault> {
        let (secrets, keys) = match self.side {
            Side::Client(connection) => {
                let (secrets, keys) = connection.dangerous_into_kernel_connection()?;
                (secrets, Keys::Client(keys))
            }
            Side::Server(connection) => {
                let (secrets, keys) = connection.dangerous_into_kernel_connection()?;
                (secrets, Keys::Server(keys))
            }
        };
        Traffic::new(keys, secrets)
    }
}
