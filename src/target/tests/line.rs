//! What a simulated peer reads and writes through: the bare link, or TLS on it.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::PathBuf,
    sync::Arc,
};

use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::ring::sim::{LinkId, Net, Receipt};

/// A server's certificate, and the file that lets others trust it.
pub(super) struct Stage {
    _dir: tempfile::TempDir,
    pub(super) ca: PathBuf,
    pub(super) server: Arc<ServerConfig>,
}

impl Stage {
    pub(super) fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let dir = tempfile::TempDir::new().expect("a directory");
        let ca = dir.path().join("ca.pem");
        fs::write(&ca, made.cert.pem()).expect("written");
        let key = made.signing_key.serialize_pem();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let chain = vec![CertificateDer::from_pem_file(&ca).expect("a certificate")];
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a server");
        Self { _dir: dir, ca, server: Arc::new(server) }
    }
}

pub(super) enum Line {
    Bare,
    Sealed(Box<Sealed>),
}

pub(super) struct Sealed {
    server: ServerConnection,
    wire: Vec<u8>,
    ended: bool,
    raw: Vec<u8>,
}

impl Line {
    pub(super) fn new(server: Option<&Arc<ServerConfig>>) -> Self {
        let Some(config) = server else { return Self::Bare };
        let mut server = ServerConnection::new(Arc::clone(config)).expect("a server");
        server.set_buffer_limit(None);
        let (wire, raw) = (Vec::new(), Vec::new());
        Self::Sealed(Box::new(Sealed { server, wire, ended: false, raw }))
    }

    /// As [`Net::peer_receive`]; a fault of TLS is a reset, as both end the connection.
    pub(super) fn receive(
        &mut self,
        net: &mut Net,
        link: LinkId,
        max: usize,
        to: &mut Vec<u8>,
    ) -> Receipt {
        let Self::Sealed(it) = self else { return net.peer_receive(link, max, to) };
        it.raw.clear();
        let receipt = net.peer_receive(link, max, &mut it.raw);
        let mut bytes = &it.raw[..];
        while !bytes.is_empty() {
            if it.server.read_tls(&mut bytes).expect("room") == 0 {
                break;
            }
            let Ok(state) = it.server.process_new_packets() else {
                it.flush(net, link);
                net.peer_close(link);
                return Receipt::Reset;
            };
            let start = to.len();
            to.resize(start + state.plaintext_bytes_to_read(), 0);
            it.server.reader().read_exact(&mut to[start..]).expect("as many as it says");
        }
        it.flush(net, link);
        receipt
    }

    /// As [`Net::peer_send`].
    pub(super) fn send(&mut self, net: &mut Net, link: LinkId, bytes: &[u8]) -> Option<usize> {
        let Self::Sealed(it) = self else { return net.peer_send(link, bytes) };
        if !it.flush(net, link)? {
            return Some(0);
        }
        it.server.writer().write_all(bytes).expect("no limit");
        it.flush(net, link)?;
        Some(bytes.len())
    }

    /// All that was said is on its way; with `farewell` also that it was all. `None`: nobody takes it.
    pub(super) fn finish(&mut self, net: &mut Net, link: LinkId, farewell: bool) -> Option<bool> {
        let Self::Sealed(it) = self else { return Some(true) };
        if farewell && !std::mem::replace(&mut it.ended, true) {
            it.server.send_close_notify();
        }
        it.flush(net, link)
    }
}

impl Sealed {
    fn flush(&mut self, net: &mut Net, link: LinkId) -> Option<bool> {
        while self.server.wants_write() {
            self.server.write_tls(&mut self.wire).expect("memory");
        }
        if self.wire.is_empty() {
            return Some(true);
        }
        let n = net.peer_send(link, &self.wire)?;
        self.wire.drain(..n);
        Some(self.wire.is_empty())
    }
}
