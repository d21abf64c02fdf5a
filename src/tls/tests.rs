//! Sessions against rustls' own connections, cut at every place that matters.

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::Arc,
};

use proptest::prelude::*;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;

use super::{Acceptor, ClientCertificates, FaultKind, Identity, Opened, PemPair, Session, Trust};

/// Files of a certificate for `es.example`.
struct Files {
    dir: TempDir,
    pair: PemPair,
}

fn files() -> Files {
    let dir = TempDir::new().unwrap();
    let pair = PemPair { certificate: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
    write_pair(&pair);
    Files { dir, pair }
}

fn write_pair(pair: &PemPair) {
    let made = rcgen::generate_simple_self_signed(["es.example".to_owned()]).unwrap();
    fs::write(&pair.certificate, made.cert.pem()).unwrap();
    fs::write(&pair.key, made.signing_key.serialize_pem()).unwrap();
}

fn acceptor(files: &Files) -> Acceptor {
    Acceptor::new(Identity::Files(files.pair.clone()), None).unwrap()
}

fn trusting(files: &Files) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.pair.certificate).unwrap()).unwrap();
    roots
}

fn client_config(files: &Files, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(trusting(files))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("es.example").unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    client.set_buffer_limit(None);
    client
}

/// A session and what came out of it.
struct Ours {
    session: Session,
    plain: Vec<u8>,
    farewell: bool,
    resumed: Option<bool>,
    /// Bytes that the peer sent are handed over in steps of these lengths, over and over.
    steps: Vec<usize>,
    turn: usize,
}

impl Ours {
    fn new(session: Session, steps: &[usize]) -> Self {
        let steps = steps.to_vec();
        Self { session, plain: Vec::new(), farewell: false, resumed: None, steps, turn: 0 }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), super::TlsFault> {
        let mut opened = Opened::default();
        while !bytes.is_empty() {
            let step = self.steps[self.turn % self.steps.len()].min(bytes.len());
            self.turn += 1;
            let mut part = bytes[..step].to_vec();
            bytes = &bytes[step..];
            let result = self.session.open(&mut part, &mut opened);
            for range in &opened.gathered_ranges {
                self.plain.extend_from_slice(&opened.gathered[range.clone()]);
            }
            for range in &opened.ranges {
                self.plain.extend_from_slice(&part[range.clone()]);
            }
            self.farewell |= opened.farewell;
            if let Some(established) = result? {
                self.resumed = Some(established.resumed);
            }
        }
        Ok(())
    }

    fn seal(&mut self, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = self.session.outgoing().unwrap_or_default();
        self.session.seal(parts, |record| out.extend_from_slice(&record)).unwrap();
        out
    }
}

/// What our peer is, with the same calls for both sides.
trait Peer {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8>;
    fn say(&mut self, plain: &[u8]);
    fn drain(&mut self) -> Vec<u8>;
}

macro_rules! peer {
    ($type:ty) => {
        impl Peer for $type {
            fn feed(&mut self, mut bytes: &[u8]) -> Vec<u8> {
                let mut plain = Vec::new();
                while !bytes.is_empty() {
                    if self.read_tls(&mut bytes).unwrap() == 0 {
                        break;
                    }
                    let Ok(state) = self.process_new_packets() else { break };
                    let start = plain.len();
                    plain.resize(start + state.plaintext_bytes_to_read(), 0);
                    self.reader().read_exact(&mut plain[start..]).unwrap();
                }
                plain
            }

            fn say(&mut self, plain: &[u8]) {
                self.writer().write_all(plain).unwrap();
            }

            fn drain(&mut self) -> Vec<u8> {
                let mut out = Vec::new();
                while self.wants_write() {
                    self.write_tls(&mut out).unwrap();
                }
                out
            }
        }
    };
}

peer!(ClientConnection);
peer!(ServerConnection);

/// Moves bytes both ways until nobody has any; what the peer read.
fn talk(ours: &mut Ours, peer: &mut impl Peer) -> Result<Vec<u8>, super::TlsFault> {
    let mut plain = Vec::new();
    loop {
        let to_peer = ours.session.outgoing().unwrap_or_default();
        plain.extend(peer.feed(&to_peer));
        let to_us = peer.drain();
        if to_peer.is_empty() && to_us.is_empty() {
            return Ok(plain);
        }
        ours.take(&to_us)?;
    }
}

fn said(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 251) as u8).collect()
}

#[test]
fn plaintext_comes_through_both_ways_however_it_is_cut() {
    let files = files();
    for version in [&TLS12, &TLS13] {
        for steps in [&[usize::MAX][..], &[1], &[16_384], &[1000, 1, 40_000], &[5, 16_411]] {
            let mut ours = Ours::new(Session::accept(&acceptor(&files)).unwrap(), steps);
            let mut peer = client(&Arc::new(client_config(&files, version)));
            let text = said(100_000);
            // Said before the handshake is over: it comes right behind it.
            peer.say(&text);
            talk(&mut ours, &mut peer).unwrap();
            assert!(ours.plain == text, "{version:?} {steps:?}");
            assert_eq!(peer.alpn_protocol(), Some(&b"http/1.1"[..]));
            let sealed = ours.seal(&[&text[..10], &text[10..50_000], &text[50_000..]]);
            assert!(peer.feed(&sealed) == text, "{version:?} {steps:?}");
            assert!(sealed.len() < text.len() + 7 * 40, "as few records as possible");
        }
    }
}

#[test]
fn the_side_of_a_client_does_the_same_and_takes_a_session_up_again() {
    let files = files();
    let trust = Trust::new("es.example", Some(&files.pair.certificate), None, false).unwrap();
    for version in [&TLS12, &TLS13] {
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(&files.pair.certificate).unwrap()],
                PrivateKeyDer::from_pem_file(&files.pair.key).unwrap(),
            )
            .unwrap();
        let server = Arc::new(server);
        for (round, steps) in [&[usize::MAX][..], &[1], &[700]].into_iter().enumerate() {
            let mut ours = Ours::new(Session::connect(&trust).unwrap(), steps);
            let mut peer = ServerConnection::new(Arc::clone(&server)).unwrap();
            peer.set_buffer_limit(None);
            talk(&mut ours, &mut peer).unwrap();
            assert_eq!(ours.resumed, Some(round > 0), "{version:?}");
            let text = said(40_000);
            let sealed = ours.seal(&[&text]);
            assert!(peer.feed(&sealed) == text);
            peer.say(&text);
            peer.send_close_notify();
            talk(&mut ours, &mut peer).unwrap();
            assert!(ours.plain == text && ours.farewell);
        }
    }
}

#[test]
fn a_client_takes_its_session_up_again_also_after_a_change_of_the_certificate() {
    let files = files();
    let acceptor = acceptor(&files);
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client_config(&files, version));
        let mut resumed = Vec::new();
        for round in 0..3 {
            if round == 2 && version.version == TLS13.version {
                let before = acceptor.fingerprint();
                write_pair(&files.pair);
                assert_eq!(acceptor.reload(), Ok(true));
                assert_ne!(acceptor.fingerprint(), before);
            }
            let mut ours = Ours::new(Session::accept(&acceptor).unwrap(), &[usize::MAX]);
            let mut peer = client(&config);
            talk(&mut ours, &mut peer).unwrap();
            resumed.push(ours.resumed.unwrap());
        }
        assert_eq!(resumed, [false, true, true], "{version:?}");
    }
}

/// A handshake message may come in several records, and these in several pieces.
#[test]
fn messages_in_several_records_are_put_together() {
    let files = files();
    let trust = Trust::new("es.example", Some(&files.pair.certificate), None, false).unwrap();
    for version in [&TLS12, &TLS13] {
        for steps in [&[usize::MAX][..], &[1], &[50], &[70, 3]] {
            let mut config = client_config(&files, version);
            config.max_fragment_size = Some(64);
            let mut ours = Ours::new(Session::accept(&acceptor(&files)).unwrap(), steps);
            let mut peer = client(&Arc::new(config));
            peer.say(&said(1000));
            talk(&mut ours, &mut peer).unwrap();
            assert!(ours.plain == said(1000), "{version:?} {steps:?}");

            let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let mut server = builder
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![CertificateDer::from_pem_file(&files.pair.certificate).unwrap()],
                    PrivateKeyDer::from_pem_file(&files.pair.key).unwrap(),
                )
                .unwrap();
            server.max_fragment_size = Some(64);
            let mut ours = Ours::new(Session::connect(&trust).unwrap(), steps);
            let mut peer = ServerConnection::new(Arc::new(server)).unwrap();
            talk(&mut ours, &mut peer).unwrap();
            peer.say(&said(1000));
            talk(&mut ours, &mut peer).unwrap();
            assert!(ours.plain == said(1000), "{version:?} {steps:?}");
        }
    }
}

#[test]
fn keys_change_when_the_peer_asks_for_it() {
    let files = files();
    let mut ours = Ours::new(Session::accept(&acceptor(&files)).unwrap(), &[usize::MAX]);
    let mut peer = client(&Arc::new(client_config(&files, &TLS13)));
    talk(&mut ours, &mut peer).unwrap();
    for round in 0..5_u8 {
        // Asks for ours as well.
        peer.refresh_traffic_keys().unwrap();
        peer.say(&[round; 100]);
        talk(&mut ours, &mut peer).unwrap();
        let sealed = ours.seal(&[&[round; 50]]);
        assert_eq!(peer.feed(&sealed), [round; 50]);
    }
    assert_eq!(ours.plain.len(), 500);
}

#[test]
fn a_farewell_is_said_once_and_heard() {
    let files = files();
    for version in [&TLS12, &TLS13] {
        let mut ours = Ours::new(Session::accept(&acceptor(&files)).unwrap(), &[usize::MAX]);
        let mut peer = client(&Arc::new(client_config(&files, version)));
        talk(&mut ours, &mut peer).unwrap();
        assert!(!ours.farewell);
        peer.say(b"last");
        peer.send_close_notify();
        talk(&mut ours, &mut peer).unwrap();
        assert!(ours.farewell && ours.plain == b"last");
        let sealed = ours.seal(&[b"answer"]);
        assert!(ours.session.say_farewell());
        assert!(!ours.session.say_farewell());
        let mut out = sealed;
        out.extend(ours.session.outgoing().unwrap());
        assert_eq!(peer.feed(&out), b"answer");
        let closed = peer.process_new_packets().unwrap().peer_has_closed();
        assert!(closed, "{version:?}");
    }
}

#[test]
fn a_changed_byte_breaks_the_connection_with_an_alert() {
    let files = files();
    for version in [&TLS12, &TLS13] {
        let mut ours = Ours::new(Session::accept(&acceptor(&files)).unwrap(), &[usize::MAX]);
        let mut peer = client(&Arc::new(client_config(&files, version)));
        talk(&mut ours, &mut peer).unwrap();
        peer.say(b"first");
        let mut bytes = peer.drain();
        peer.say(b"second");
        let second = bytes.len();
        bytes.extend(peer.drain());
        bytes[second + 20] ^= 1;
        assert_eq!(ours.take(&bytes).unwrap_err().kind(), FaultKind::Malformed);
        assert_eq!(ours.plain, b"first", "what preceded is delivered");
        assert!(!ours.session.is_open());
        let alert = ours.session.outgoing().expect("an alert");
        assert_eq!(peer.read_tls(&mut &alert[..]).unwrap(), alert.len());
        let error = peer.process_new_packets().unwrap_err().to_string();
        assert!(error.contains("BadRecordMac"), "{version:?}: {error}");
    }
}

#[test]
fn who_does_not_speak_tls_is_told_apart() {
    let files = files();
    let acceptor = acceptor(&files);
    let kind = |bytes: &[u8]| {
        let mut ours = Ours::new(Session::accept(&acceptor).unwrap(), &[usize::MAX]);
        let fault = ours.take(bytes).unwrap_err();
        (fault.kind(), ours.session.outgoing().is_some())
    };
    assert_eq!(kind(b"GET / HTTP/1.1\r\n\r\n"), (FaultKind::Plaintext, false));
    assert_eq!(kind(b"\x80\x2e\x01\x00\x02"), (FaultKind::Malformed, false));
    assert_eq!(kind(&[22, 3, 1, 0xff, 0xff, 0, 0]).0, FaultKind::Malformed);
    // A ClientHello of TLS 1.1, as openssl writes it.
    let mut hello = vec![1, 0, 0, 65, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0, 0, 22]);
    // Signature algorithms, groups, point formats.
    hello.extend([0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 29, 0, 11, 0, 2, 1, 0]);
    let mut record = vec![22, 3, 1, 0, hello.len() as u8];
    record.extend(hello);
    assert_eq!(kind(&record), (FaultKind::Version, true));
}

#[test]
fn certificates_of_clients_are_asked_for_and_checked() {
    let files = files();
    let clients =
        |required| Some(ClientCertificates { ca: files.pair.certificate.clone(), required });
    let identity = || Identity::Files(files.pair.clone());
    let stranger = self::files();
    let dress = |pair: &PemPair| {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(trusting(&files));
        let chain = vec![CertificateDer::from_pem_file(&pair.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
        Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
    };
    let naked = Arc::new(client_config(&files, &TLS13));
    let comes_in = |required, config: &Arc<ClientConfig>| {
        let acceptor = Acceptor::new(identity(), clients(required)).unwrap();
        let mut ours = Ours::new(Session::accept(&acceptor).unwrap(), &[usize::MAX]);
        talk(&mut ours, &mut client(config)).map(drop).map_err(|fault| fault.kind())
    };
    assert_eq!(comes_in(false, &naked), Ok(()));
    assert_eq!(comes_in(false, &dress(&files.pair)), Ok(()));
    assert_eq!(comes_in(false, &dress(&stranger.pair)), Err(FaultKind::Certificate));
    assert_eq!(comes_in(true, &naked), Err(FaultKind::Certificate));
    assert_eq!(comes_in(true, &dress(&files.pair)), Ok(()));
}

#[test]
fn a_bad_pair_is_refused_and_the_old_one_stays() {
    let files = files();
    let acceptor = acceptor(&files);
    let fingerprint = acceptor.fingerprint();
    assert_eq!(acceptor.reload(), Ok(false));
    let good = fs::read(&files.pair.key).unwrap();
    let other = self::files();
    fs::copy(&other.pair.key, &files.pair.key).unwrap();
    assert!(acceptor.reload().unwrap_err().contains("do not fit together"));
    fs::write(&files.pair.key, "nonsense").unwrap();
    assert!(acceptor.reload().unwrap_err().contains("k.pem"));
    fs::remove_file(&files.pair.key).unwrap();
    assert!(acceptor.reload().unwrap_err().contains("k.pem"));
    fs::write(&files.pair.key, good).unwrap();
    let mut params = rcgen::CertificateParams::new(["es.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let expired = params.self_signed(&key).unwrap();
    let beside = PemPair {
        certificate: files.dir.path().join("expired.pem"),
        key: files.dir.path().join("expired.key"),
    };
    fs::write(&beside.certificate, expired.pem()).unwrap();
    fs::write(&beside.key, key.serialize_pem()).unwrap();
    let refused = acceptor.prepare(Identity::Files(beside), None).map(drop);
    assert!(refused.unwrap_err().contains("expired"));
    assert_eq!((acceptor.fingerprint(), acceptor.reload()), (fingerprint, Ok(false)));
}

proptest! {
    /// Whatever comes instead of a handshake or of records, nothing breaks but the connection.
    #[test]
    fn nothing_that_comes_breaks_more_than_the_connection(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        flip in prop::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        steps in prop::collection::vec(1..600_usize, 1..6),
        established in any::<bool>(),
    ) {
        thread_local! {
            static STAGE: (Files, Acceptor) = {
                let files = files();
                let acceptor = acceptor(&files);
                (files, acceptor)
            };
        }
        STAGE.with(|(files, acceptor)| {
            let mut ours = Ours::new(Session::accept(acceptor).unwrap(), &steps);
            let mut config = client_config(files, &TLS13);
            config.max_fragment_size = (steps.len() % 2 == 0).then_some(64);
            let mut peer = client(&Arc::new(config));
            if established {
                talk(&mut ours, &mut peer).unwrap();
            }
            peer.say(b"text");
            let mut bytes = peer.drain();
            for (at, with) in flip {
                let at = usize::from(at) % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= with;
                }
            }
            bytes.extend(noise);
            let _ = ours.take(&bytes);
            let _ = ours.session.outgoing();
        });
    }
}
