//! What a simulated peer reads and writes through: the bare link, or TLS on it.
//!
//! Keeps what the checker needs of the sealed bytes: their plaintext, and which record each part of it came in.

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use crate::{
    ring::sim::{LinkId, Net, Receipt},
    tls::{Acceptor, Identity, PemPair, Trust},
};

/// One certificate for all: what tapline is given, and what its peers are.
pub(super) struct Stage {
    _dir: tempfile::TempDir,
    pub(super) acceptor: Acceptor,
    pub(super) trust: Trust,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// The same key in every process, so that a seed replays byte for byte: Ed25519 signs without chance.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
const NAME: &str = "es.example";

impl Stage {
    pub(super) fn get() -> &'static Self {
        static ONE: OnceLock<Stage> = OnceLock::new();
        ONE.get_or_init(Self::new)
    }

    fn new() -> Self {
        let key = rcgen::KeyPair::from_pem(KEY).expect("a key");
        let mut params = rcgen::CertificateParams::new([NAME.to_owned()]).expect("a good name");
        params.serial_number = Some(7_u64.into());
        let made = params.self_signed(&key).expect("a certificate");
        let dir = tempfile::TempDir::new().expect("a directory");
        let pair = PemPair { certificate: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        fs::write(&pair.certificate, made.pem()).expect("written");
        fs::write(&pair.key, KEY).expect("written");
        let trust = Trust::new(NAME, Some(&pair.certificate), None, false).expect("a trust");
        let chain: Vec<CertificateDer<'static>> = vec![made.der().clone()];
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).expect("an authority");
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key"))
            .expect("a server");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let acceptor = Acceptor::new(Identity::Files(pair), None).expect("an acceptor");
        Self { _dir: dir, acceptor, trust, server: Arc::new(server), client: Arc::new(client) }
    }
}

pub(super) enum Line {
    Bare,
    Sealed(Box<Sealed>),
}

#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; they combine freely")]
pub(super) struct Sealed {
    tls: Connection,
    /// Sealed and not yet taken by the network.
    wire: Vec<u8>,
    said_farewell: bool,
    /// Sealed bytes of whole records read from the network.
    taken: u64,
    /// The beginning of a record.
    torn: Vec<u8>,
    /// Everything opened.
    plain: Vec<u8>,
    /// For each record with plaintext: where its sealed bytes began, and how much was opened with it.
    records: Vec<(u64, u64)>,
    broken: bool,
    /// The end came without a farewell, after a handshake.
    pub(super) truncated: bool,
    /// Nobody takes what it sends any more.
    deaf: bool,
}

impl Line {
    /// For a client.
    pub(super) fn client(sealed: bool) -> Self {
        let name = ServerName::try_from(NAME).expect("a name");
        let config = || Arc::clone(&Stage::get().client);
        Self::new(sealed, || ClientConnection::new(config(), name).expect("a client").into())
    }

    /// For a source.
    pub(super) fn server(sealed: bool) -> Self {
        let config = || Arc::clone(&Stage::get().server);
        Self::new(sealed, || ServerConnection::new(config()).expect("a server").into())
    }

    fn new(sealed: bool, tls: impl FnOnce() -> Connection) -> Self {
        if !sealed {
            return Self::Bare;
        }
        let mut tls = tls();
        tls.set_buffer_limit(None);
        Self::Sealed(Box::new(Sealed {
            tls,
            wire: Vec::new(),
            said_farewell: false,
            taken: 0,
            torn: Vec::new(),
            plain: Vec::new(),
            records: Vec::new(),
            broken: false,
            truncated: false,
            deaf: false,
        }))
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
        let mut raw = Vec::new();
        let receipt = net.peer_receive(link, max, &mut raw);
        let start = it.plain.len();
        let good = it.open(&raw);
        to.extend_from_slice(&it.plain[start..]);
        it.flush(net, link);
        if !good {
            net.peer_close(link);
            return Receipt::Reset;
        }
        if matches!(receipt, Receipt::Eof) {
            let state = it.tls.process_new_packets().expect("nothing new");
            it.truncated |= !state.peer_has_closed() && !it.tls.is_handshaking();
        }
        receipt
    }

    /// As [`Net::peer_send`].
    pub(super) fn send(&mut self, net: &mut Net, link: LinkId, bytes: &[u8]) -> Option<usize> {
        let Self::Sealed(it) = self else { return net.peer_send(link, bytes) };
        if !it.flush(net, link)? {
            return Some(0);
        }
        it.tls.writer().write_all(bytes).expect("no limit");
        it.flush(net, link)?;
        Some(bytes.len())
    }

    /// All that was said is on its way; with `farewell` also that it was all. `None`: nobody takes it.
    pub(super) fn finish(&mut self, net: &mut Net, link: LinkId, farewell: bool) -> Option<bool> {
        let Self::Sealed(it) = self else { return Some(true) };
        if it.tls.is_handshaking() {
            it.flush(net, link)?;
            return Some(false);
        }
        if farewell && !std::mem::replace(&mut it.said_farewell, true) {
            it.tls.send_close_notify();
        }
        it.flush(net, link)
    }

    /// The run is over: what left the worker and was never read is opened too.
    pub(super) fn read_to_the_end(&mut self, departed: &[u8]) {
        if let Self::Sealed(it) = self {
            let read = it.taken as usize + it.torn.len();
            it.open(&departed[read..]);
        }
    }

    /// The plaintext of everything that the worker sent.
    pub(super) fn departed<'a>(&'a self, net: &'a Net, link: LinkId) -> &'a [u8] {
        match self {
            Self::Bare => net.departed(link),
            Self::Sealed(it) => &it.plain,
        }
    }

    /// As [`Net::departures`], of plaintext: a record has left when its first byte did.
    pub(super) fn departures(&self, net: &Net, link: LinkId) -> Vec<(u64, u64)> {
        let sealed = net.departures(link);
        let Self::Sealed(it) = self else { return sealed.to_vec() };
        let of_record = |(begin, plain): &(u64, u64)| {
            let left = sealed.iter().find(|(total, _)| total > begin).expect("it was read");
            (*plain, left.1)
        };
        it.records.iter().map(of_record).collect()
    }

    pub(super) fn is_truncated(&self) -> bool {
        matches!(self, Self::Sealed(it) if it.truncated)
    }
}

impl Sealed {
    /// False after a fault.
    fn open(&mut self, raw: &[u8]) -> bool {
        self.torn.extend_from_slice(raw);
        let mut at = 0;
        while let Some(header) = self.torn[at..].first_chunk::<5>() {
            let end = at + 5 + usize::from(u16::from_be_bytes([header[3], header[4]]));
            let Some(mut record) = self.torn.get(at..end) else { break };
            let begin = self.taken;
            while !record.is_empty() && !self.broken {
                if self.tls.read_tls(&mut record).expect("room") == 0 {
                    break;
                }
                let Ok(state) = self.tls.process_new_packets() else {
                    self.broken = true;
                    break;
                };
                let start = self.plain.len();
                self.plain.resize(start + state.plaintext_bytes_to_read(), 0);
                self.tls.reader().read_exact(&mut self.plain[start..]).expect("as many");
                if self.plain.len() > start {
                    self.records.push((begin, self.plain.len() as u64));
                }
            }
            self.taken += (end - at) as u64;
            at = end;
        }
        self.torn.drain(..at);
        !self.broken
    }

    fn flush(&mut self, net: &mut Net, link: LinkId) -> Option<bool> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.wire).expect("memory");
        }
        if self.wire.is_empty() {
            return Some(true);
        }
        let n = if self.deaf { None } else { net.peer_send(link, &self.wire) };
        let Some(n) = n else {
            // Nobody takes it; behind the FIN that follows nothing may be tried again.
            self.deaf = true;
            self.wire.clear();
            return None;
        };
        self.wire.drain(..n);
        Some(self.wire.is_empty())
    }
}
