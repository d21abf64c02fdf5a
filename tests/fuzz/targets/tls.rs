//! TLS: whoever has no keys gets nothing opened, and what is opened is what was sealed, in its order, from its start.

use std::sync::OnceLock;

use tapline::tls::{Acceptor, Identity, Opened, Session, TlsFault, Trust};

/// Any bytes at a new session of either side, in the pieces that the first byte asks for.
pub(crate) fn tls_handshake(data: &[u8]) {
    let (acceptor, trust) = sides();
    let Some((step, bytes)) = data.split_first() else { return };
    for server in [true, false] {
        let session = if server { Session::accept(acceptor) } else { Session::connect(trust) };
        let mut session = session.expect("invariant: there is a configuration");
        let (mut failed, mut said) = (false, 0);
        for piece in bytes.chunks(usize::from(*step).max(1)) {
            let (plain, result) = open(&mut session, piece);
            assert_eq!(plain, b"", "nobody has shaken hands");
            assert!(!session.is_open());
            assert!(!(failed && result.is_err()), "a fault is told once");
            failed |= result.is_err();
            said += session.outgoing().map_or(0, |bytes| bytes.len());
        }
        assert!(said <= 64 << 10, "{said} bytes for {}", bytes.len());
    }
}

/// Messages of an honest client, and what somebody in between makes of their records. The first byte says how many
/// messages there are, the following ones their lengths; each two of the rest are one change.
pub(crate) fn tls_records(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let (lengths, changes) = rest.split_at(rest.len().min(usize::from(count % 8)));
    let (mut client, mut server) = shaken();
    let mut sent = Vec::new();
    let mut records = Vec::new();
    for (number, length) in lengths.iter().enumerate() {
        let message = vec![number as u8; usize::from(*length) * 97];
        client.seal(&[&message], |record| records.push(record)).expect("sealed");
        sent.extend_from_slice(&message);
    }
    let mut honest = true;
    for change in changes.chunks_exact(2).take(16) {
        if records.is_empty() {
            break;
        }
        let (number, at) = (usize::from(change[0]) % records.len(), usize::from(change[1]));
        honest = false;
        match change[0] >> 5 {
            0 => drop(records.remove(number)),
            1 => records.insert(number, records[number].clone()),
            2 => records.swap(number, 0),
            3 => records[number].truncate(at),
            4 => records[number].extend_from_slice(&change[..1]),
            _ => {
                let at = at % records[number].len().max(1);
                if let Some(byte) = records[number].get_mut(at) {
                    *byte ^= change[0] | 1;
                }
            }
        }
    }
    let mut opened = Vec::new();
    for piece in records.concat().chunks(1 + usize::from(*count)) {
        let (plain, result) = open(&mut server, piece);
        opened.extend_from_slice(&plain);
        if result.is_err() {
            assert!(!honest, "{result:?}");
            assert!(!server.is_open());
        }
    }
    assert!(
        sent.starts_with(&opened),
        "{} bytes are not the first of {}",
        opened.len(),
        sent.len()
    );
    assert!(!honest || opened == sent);
}

/// The plaintext in `bytes`.
fn open(session: &mut Session, bytes: &[u8]) -> (Vec<u8>, Result<(), TlsFault>) {
    let (mut bytes, mut opened) = (bytes.to_vec(), Opened::default());
    let result = session.open(&mut bytes, &mut opened).map(|_| ());
    let gathered = opened.gathered_ranges.iter().map(|range| &opened.gathered[range.clone()]);
    let in_place = opened.ranges.iter().map(|range| &bytes[range.clone()]);
    (gathered.chain(in_place).collect::<Vec<_>>().concat(), result)
}

/// Two that trust each other.
fn shaken() -> (Session, Session) {
    let (acceptor, trust) = sides();
    let mut client = Session::connect(trust).expect("a client");
    let mut server = Session::accept(acceptor).expect("a server");
    while let Some(said) = client.outgoing() {
        open(&mut server, &said).1.expect("an honest client");
        if let Some(answer) = server.outgoing() {
            open(&mut client, &answer).1.expect("an honest server");
        }
    }
    assert!(client.is_open() && server.is_open());
    (client, server)
}

fn sides() -> &'static (Acceptor, Trust) {
    static SIDES: OnceLock<(Acceptor, Trust)> = OnceLock::new();
    SIDES.get_or_init(|| {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let names = vec!["es.example".to_owned()];
        let identity = Identity::SelfSigned { dir: dir.path().to_path_buf(), names };
        let acceptor = Acceptor::new(identity, None).expect("a certificate");
        let authority = acceptor.certificate();
        let trust = Trust::new("es.example", Some(&authority), None, false).expect("trust");
        (acceptor, trust)
    })
}
