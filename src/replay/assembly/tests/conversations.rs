//! Random conversations, written by tapline's own encoder, cut into records anywhere.

use proptest::prelude::*;

use super::*;
use crate::capture::{self, BlockPool, Context, Identity, Stamp, Stream};

/// A request and what the source writes for it.
#[derive(Clone, Debug)]
struct Exchange {
    request: Vec<u8>,
    /// After this many bytes of the request the source says 100.
    interim: Option<usize>,
    answer: Vec<u8>,
    /// Requests that are read before it is answered.
    behind: u8,
    parts: usize,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let body = proptest::collection::vec(any::<u8>(), 0..60);
    let answer = proptest::collection::vec(any::<u8>(), 0..60);
    (0_u8..5, body, 0_u8..4, answer, prop_oneof![3 => Just(0_u8), 1 => 1_u8..4], 1_usize..50)
        .prop_map(|(kind, body, form, content, behind, parts)| {
            let chunks = |content: &[u8]| {
                let mut out = Vec::new();
                for part in content.chunks(7) {
                    out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                    out.extend_from_slice(part);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\n\r\n");
                out
            };
            let len = body.len();
            let (head, body, interim) = match kind {
                0 => ("GET /g HTTP/1.1\r\n\r\n".to_owned(), vec![], None),
                1 => ("HEAD /h HTTP/1.1\r\n\r\n".to_owned(), vec![], None),
                2 => (format!("PUT /p HTTP/1.1\r\nContent-Length: {len}\r\n\r\n"), body, None),
                3 => {
                    let head = "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
                    (head.to_owned(), chunks(&body), None)
                }
                _ => {
                    let head = format!(
                        "POST /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
                    );
                    let at = head.len();
                    (head, body, Some(at))
                }
            };
            let len = content.len();
            let answer = match (kind, form) {
                (1, _) => format!("HTTP/1.1 200 O\r\nContent-Length: {len}\r\n\r\n").into_bytes(),
                (_, 0) => b"HTTP/1.1 204 N\r\n\r\n".to_vec(),
                (_, 1) => {
                    let head = b"HTTP/1.1 201 C\r\nTransfer-Encoding: chunked\r\n\r\n";
                    [&head[..], &chunks(&content)].concat()
                }
                _ => {
                    let head = format!("HTTP/1.1 200 O\r\nContent-Length: {len}\r\n\r\n");
                    [head.as_bytes(), &content].concat()
                }
            };
            let request = [head.as_bytes(), &body].concat();
            Exchange { request, interim, answer, behind, parts }
        })
}

/// What a connection sees, in order.
#[derive(Clone, Debug)]
enum Seen {
    Read(Vec<u8>),
    End,
    Write(Vec<u8>),
}

fn script(exchanges: &[Exchange]) -> Vec<Seen> {
    let (mut seen, mut answered) = (Vec::new(), 0);
    let mut patience = 0;
    for (at, exchange) in exchanges.iter().enumerate() {
        let cut = exchange.interim.unwrap_or(0);
        // Whoever waits for a 100 is alone on the connection.
        if exchange.interim.is_some() {
            answer(&exchanges[answered..at], &mut seen);
            answered = at;
        }
        let (early, late) = exchange.request.split_at(cut);
        seen.extend(early.chunks(exchange.parts).map(|part| Seen::Read(part.to_vec())));
        if exchange.interim.is_some() {
            seen.push(Seen::Write(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()));
        }
        seen.extend(late.chunks(exchange.parts).map(|part| Seen::Read(part.to_vec())));
        seen.push(Seen::End);
        if patience > 0 {
            patience -= 1;
        } else {
            patience = exchange.behind;
        }
        if patience == 0 {
            answer(&exchanges[answered..=at], &mut seen);
            answered = at + 1;
        }
    }
    answer(&exchanges[answered..], &mut seen);
    seen
}

fn answer(exchanges: &[Exchange], seen: &mut Vec<Seen>) {
    let bytes: Vec<u8> = exchanges.iter().flat_map(|e| e.answer.clone()).collect();
    let parts = exchanges.first().map_or(1, |exchange| exchange.parts);
    seen.extend(bytes.chunks(parts).map(|part| Seen::Write(part.to_vec())));
}

/// The records of one connection; `cut(n)`: one ends behind the nth thing that was seen.
fn records(script: &[Seen], serial: u32, cut: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
    let identity = Identity { node: "node".into(), incarnation: 77, worker: 2 };
    let mut stream = Stream::new(capture::ConnectionId::new(&identity, serial, 5));
    let mut pool = BlockPool::default();
    let mut sequence = u64::from(serial) * 1000;
    let mut out = Vec::new();
    for (at, seen) in script.iter().enumerate() {
        let mut to = Context { identity: &identity, pool: &mut pool };
        let stamp = Stamp::new(1_000_000_000_000 + at as u64);
        match seen {
            Seen::Read(bytes) => drop(stream.read(&mut to, &stamp, bytes)),
            Seen::End => stream.end_of_request(&mut to, &stamp, 1, 1),
            Seen::Write(bytes) => drop(stream.write(&mut to, &stamp, bytes)),
        }
        if cut(at) {
            sequence += 1;
            out.push(stream.finish(&identity, sequence, false, 0, false).bytes);
        }
    }
    let mut to = Context { identity: &identity, pool: &mut pool };
    stream.close(&mut to, &Stamp::new(1_000_000_100_000));
    out.push(stream.finish(&identity, sequence + 1, true, 0, false).bytes);
    out
}

fn answers(run: &Run) -> HashMap<u64, Vec<u8>> {
    let index: HashMap<ExchangeId, u64> =
        run.requests().iter().map(|request| (request.id, request.index)).collect();
    let answers = run.events.iter().filter_map(|event| match event {
        Event::Answer { id, answer } => Some((index[id], answer.bytes.clone())),
        _ => None,
    });
    answers.collect()
}

proptest! {
    #[test]
    fn what_went_in_comes_out(
        mut exchanges in proptest::collection::vec(exchange(), 1..8),
        cuts in proptest::collection::vec(any::<bool>(), 1..64),
        until_eof in any::<bool>(),
    ) {
        let with_body = |exchange: &&mut Exchange| !exchange.request.starts_with(b"HEAD");
        if until_eof && let Some(last) = exchanges.last_mut().filter(with_body) {
            last.answer = b"HTTP/1.1 200 O\r\n\r\nup to the end".to_vec();
        }
        let script = script(&exchanges);
        let mut run = Run::new();
        run.feed_all(&records(&script, 1, |at| cuts[at % cuts.len()])).end();
        let requests = run.requests();
        prop_assert_eq!(requests.len(), exchanges.len());
        let answers = answers(&run);
        for (at, (request, exchange)) in requests.iter().zip(&exchanges).enumerate() {
            prop_assert_eq!(&request.bytes, &exchange.request);
            prop_assert_eq!(request.index, at as u64);
            prop_assert!(request.first_ns <= request.last_ns);
            prop_assert_eq!(&answers[&(at as u64)], &exchange.answer);
        }
        prop_assert!(run.told().iter().all(|told| !told.contains('_')), "{:?}", run.told());
    }

    /// Whatever is lost, repeated or moved: no request that was not sent, none twice, and no answer of another one.
    #[test]
    fn damage_invents_nothing(
        exchanges in proptest::collection::vec(exchange(), 1..8),
        cuts in proptest::collection::vec(any::<bool>(), 1..64),
        damage in proptest::collection::vec((any::<u8>(), 0_u8..3), 0..6),
        origin in any::<bool>(),
    ) {
        let mut exchanges = exchanges;
        // Each is told by its bytes.
        for (at, exchange) in exchanges.iter_mut().enumerate() {
            exchange.behind = 0;
            exchange.request = put(&format!("/{at}"), "some body");
            exchange.interim = None;
            exchange.answer = ok(&format!("answer to {at}"));
        }
        let script = script(&exchanges);
        let mut records = records(&script, 1, |at| cuts[at % cuts.len()]);
        if !origin {
            for record in &mut records {
                let mut stream = TrafficStream::decode(&record[..]).unwrap();
                stream.provenance = None;
                *record = stream.encode_to_vec();
            }
        }
        // Without provenance the last record closes, and nothing tells its copy from a new connection.
        for (at, kind) in damage {
            let last = records.len() - 1;
            let at = usize::from(at) % records.len();
            match kind {
                0 => drop(records.remove(at)),
                1 if origin || at != last => {
                    let copy = records[at].clone();
                    records.insert(at, copy);
                }
                _ if origin => {
                    let copy = records[at].clone();
                    records.push(copy);
                }
                _ => {}
            }
            if records.is_empty() {
                return Ok(());
            }
        }
        let mut run = Run::new();
        run.feed_all(&records).end();
        let mut met = std::collections::HashSet::new();
        let answers = answers(&run);
        for request in run.requests() {
            let sent = &exchanges[request.index as usize];
            prop_assert_eq!(&request.bytes, &sent.request);
            prop_assert!(met.insert(request.index), "twice: {:?}", run.told());
            if let Some(answer) = answers.get(&request.index) {
                prop_assert_eq!(answer, &sent.answer);
            }
        }
    }
}
