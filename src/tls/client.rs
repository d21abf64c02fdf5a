//! Our side of a connection to a server: TLS 1.2 and 1.3, the server's name sent (SNI) and verified.

use std::{
    fmt,
    io::Write as _,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{TlsFault, files};

/// Whom connections trust and what they show: made once, used by all.
#[derive(Clone)]
pub struct Trust {
    config: Arc<RwLock<Arc<ClientConfig>>>,
    name: ServerName<'static>,
    insecure: bool,
}

impl Trust {
    /// For the server `host` (a name or an address). `ca`: authorities instead of the system's. `identity`: our
    /// certificate chain and key. `insecure`: any certificate will do.
    pub fn new(
        host: &str,
        ca: Option<&Path>,
        identity: Option<(&Path, &Path)>,
        insecure: bool,
    ) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("'{host}' is neither a host name nor an address"))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let builder = if insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            builder.with_root_certificates(files::roots(ca)?)
        };
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let (chain, secret) = (files::certificates(certificate)?, files::key(key)?);
                builder.with_client_auth_cert(chain, secret).map_err(|error| {
                    format!(
                        "{} and {} do not fit together: {error}",
                        certificate.display(),
                        key.display()
                    )
                })?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.enable_secret_extraction = true;
        let config = Arc::new(RwLock::new(Arc::new(config)));
        Ok(Self { config, name, insecure })
    }

    /// New connections of all clones trust and show what `other` does, for the same server.
    pub fn replace(&self, other: &Self) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = other.config();
    }

    /// Whether any certificate will do.
    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn name(&self) -> &ServerName<'static> {
        &self.name
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({:?})", self.name)
    }
}

/// One connection. Bytes from the peer go into [`ClientTls::received`], bytes for the peer come out of
/// [`ClientTls::outgoing`] and have to be sent in order.
#[derive(Debug)]
pub struct ClientTls {
    connection: ClientConnection,
}

impl ClientTls {
    /// A connection on which nothing was said; [`ClientTls::outgoing`] has the first message.
    pub fn new(trust: &Trust) -> Result<Self, TlsFault> {
        let mut connection = ClientConnection::new(trust.config(), trust.name.clone())?;
        // What waits here is bounded by the one request that is being sent.
        connection.set_buffer_limit(None);
        Ok(Self { connection })
    }

    /// Takes all of `bytes`; what they say in plaintext is appended to `plain`. True when the peer said that nothing
    /// more follows. After a fault, [`ClientTls::outgoing`] still has the alert for the peer.
    pub fn received(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<bool, TlsFault> {
        let mut closed = false;
        while !bytes.is_empty() {
            let taken = self
                .connection
                .read_tls(&mut bytes)
                .map_err(|error| TlsFault::malformed(error.to_string()))?;
            let state = self.connection.process_new_packets()?;
            let waiting = state.plaintext_bytes_to_read();
            if waiting > 0 {
                let start = plain.len();
                plain.resize(start + waiting, 0);
                std::io::Read::read_exact(&mut self.connection.reader(), &mut plain[start..])
                    .map_err(|error| TlsFault::malformed(error.to_string()))?;
            }
            closed |= state.peer_has_closed();
            if taken == 0 {
                break;
            }
        }
        Ok(closed)
    }

    /// Queues plaintext; before the handshake is done it waits for that.
    pub fn send(&mut self, plain: &[u8]) -> Result<(), TlsFault> {
        self.connection
            .writer()
            .write_all(plain)
            .map_err(|error| TlsFault::malformed(error.to_string()))
    }

    /// Says that nothing more follows.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// What is to be sent now; empty when nothing is.
    pub fn outgoing(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut out).is_err() {
                break;
            }
        }
        out
    }

    /// Whether the handshake is still under way.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }
}

/// Verifies signatures, not who made them.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _};

    use rustls::{ServerConfig, ServerConnection};
    use tempfile::TempDir;

    use super::*;

    /// A certificate for `name` as PEM files, and a server that has it.
    fn server(name: &str) -> (TempDir, ServerConnection) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let chain = files::certificates(&dir.path().join("cert.pem")).unwrap();
        let key = files::key(&dir.path().join("key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let server = ServerConnection::new(Arc::new(config)).unwrap();
        (dir, server)
    }

    /// Moves bytes both ways, `step` at a time, until nobody has any; the server echoes what it reads.
    fn talk(
        client: &mut ClientTls,
        server: &mut ServerConnection,
        step: usize,
    ) -> Result<Vec<u8>, TlsFault> {
        let mut plain = Vec::new();
        server.set_buffer_limit(None);
        loop {
            let to_server = client.outgoing();
            for mut part in to_server.chunks(step) {
                while !part.is_empty() {
                    server.read_tls(&mut part).unwrap();
                    let Ok(state) = server.process_new_packets() else { break };
                    let mut said = vec![0; state.plaintext_bytes_to_read()];
                    server.reader().read_exact(&mut said).unwrap();
                    server.writer().write_all(&said).unwrap();
                }
            }
            let mut to_client = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut to_client).unwrap();
            }
            if to_server.is_empty() && to_client.is_empty() {
                return Ok(plain);
            }
            for part in to_client.chunks(step) {
                client.received(part, &mut plain)?;
            }
        }
    }

    #[test]
    fn plaintext_comes_through_whole_however_it_is_cut() {
        let said: Vec<u8> = (0..300_000_u32).map(|n| (n * 31) as u8).collect();
        for step in [1 << 20, 16_384, 1000] {
            let (dir, mut server) = server("es.example");
            let trust =
                Trust::new("es.example", Some(&dir.path().join("cert.pem")), None, false).unwrap();
            let mut client = ClientTls::new(&trust).unwrap();
            client.send(&said).unwrap();
            assert!(client.is_handshaking());
            assert!(talk(&mut client, &mut server, step).unwrap() == said, "cut at {step}");
            assert!(!client.is_handshaking());
        }
    }

    #[test]
    fn a_stranger_and_a_wrong_name_are_refused_with_advice() {
        let (dir, mut named_other) = server("other.example");
        let ca = dir.path().join("cert.pem");
        let mut client =
            ClientTls::new(&Trust::new("es.example", Some(&ca), None, false).unwrap()).unwrap();
        let error = talk(&mut client, &mut named_other, 4096).unwrap_err();
        assert!(error.to_string().contains("host name"), "{error}");
        assert!(!client.outgoing().is_empty(), "the peer is told");

        let (_stranger_dir, mut stranger) = server("es.example");
        let mut client =
            ClientTls::new(&Trust::new("es.example", Some(&ca), None, false).unwrap()).unwrap();
        assert!(talk(&mut client, &mut stranger, 4096).is_err());
        let (_insecure_dir, mut insecure) = server("anything.example");
        let mut client =
            ClientTls::new(&Trust::new("es.example", None, None, true).unwrap()).unwrap();
        client.send(b"hello").unwrap();
        assert_eq!(talk(&mut client, &mut insecure, 4096).unwrap(), b"hello");
    }

    #[test]
    fn what_is_no_tls_is_named() {
        let mut client =
            ClientTls::new(&Trust::new("10.0.0.1", None, None, true).unwrap()).unwrap();
        let error =
            client.received(b"HTTP/1.1 400 Bad Request\r\n\r\n", &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("speak TLS"), "{error}");
    }

    #[test]
    fn bad_files_are_named() {
        let dir = TempDir::new().unwrap();
        let empty = dir.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        let error = Trust::new("es", Some(&empty), None, false).unwrap_err();
        assert!(error.contains("empty.pem"), "{error}");
        let error = Trust::new("es", None, Some((&empty, &empty)), true).unwrap_err();
        assert!(error.contains("empty.pem"), "{error}");
        assert!(Trust::new("not a name", None, None, true).is_err());
    }
}
