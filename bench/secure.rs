//! TLS of the bench: one certificate for every proxy, and clients that all agree on TLS 1.3 with
//! AES-128-GCM and X25519, so that the proxies are compared at the same work.
//!
//! It owns the client's TLS and the full handshakes one after the other. It never resumes a
//! session.

use crate::Outcome;
use crate::idle::exchange;
use crate::plan::RoleArguments;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A connection of a client.
pub(crate) enum Stream {
    Plain(TcpStream),
    Sealed(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// On a connected socket; with TLS, the handshake is done when this returns.
    pub(crate) fn new(socket: TcpStream, tls: bool) -> Outcome<Self> {
        if !tls {
            return Ok(Self::Plain(socket));
        }
        socket.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        let name = ServerName::try_from("localhost")?;
        let client = ClientConnection::new(config(), name)?;
        let mut stream = StreamOwned::new(client, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::Sealed(Box::new(stream)))
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Sealed(stream) => &stream.sock,
        }
    }

    /// Whether a short read means that the socket has nothing more.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Sealed(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(buffer),
            Self::Sealed(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Sealed(stream) => stream.flush(),
        }
    }
}

/// Connects, shakes hands in full, sends one request and closes, over and over; how many times.
pub(crate) fn shake_hands(arguments: &RoleArguments, length: Duration) -> Outcome<u64> {
    let request = arguments.workload.request();
    let until = Instant::now() + length;
    let mut count = 0;
    while Instant::now() < until {
        let mut stream = Stream::new(connect(arguments.target)?, true)?;
        exchange(&mut stream, &request, arguments.workload.answer_bytes())?;
        count += 1;
    }
    Ok(count)
}

fn connect(target: SocketAddr) -> Outcome<TcpStream> {
    let socket = TcpStream::connect_timeout(&target, ANSWER_TIME_MAX)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Certificate, key, and both in one file as `HAProxy` wants them: ECDSA with P-256.
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) both: PathBuf,
}

impl Files {
    /// Makes them in a directory.
    pub(crate) fn make(directory: &Path) -> Outcome<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let place = |name: &str| directory.join(name);
        let files =
            Self { certificate: place("cert.pem"), key: place("key.pem"), both: place("both.pem") };
        std::fs::write(&files.certificate, &certificate)?;
        std::fs::write(&files.key, &key)?;
        std::fs::write(&files.both, certificate + &key)?;
        Ok(files)
    }
}

fn config() -> Arc<ClientConfig> {
    static ONE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    Arc::clone(ONE.get_or_init(|| {
        let provider = CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![ring::kx_group::X25519],
            ..ring::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the suite is one of TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }))
}

/// The client's work is not what is measured: it believes everything.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
