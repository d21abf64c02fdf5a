//! The checker: compares what clients sent, what the source saw and what the records say, after the run. It knows the
//! requests from the scripts and asks nothing of the code under test but its counters.

use std::collections::BTreeMap;

use prost::Message;

use super::{
    answers::{self, check_told, heard, mask_answers},
    client::{Client, End, Outcome},
    heartbeats::Beats,
    origin::Origin,
    passed::{Passed, stuck_before},
    script::{self, Malformed, Request},
    wire::find,
    world::{NODE, World},
};
use crate::{
    observe::{Counter, Gauge},
    proto::{Capture, TrafficStream},
};

/// What the records of one connection say.
#[derive(Default)]
pub(super) struct Tale {
    reads: Vec<u8>,
    pub(super) writes: Vec<u8>,
    /// Where in the reads each request ended, with its lengths.
    ends: Vec<(usize, i32, i32)>,
    /// Up to where in the reads each record goes, and when it became durable.
    durable: Vec<(usize, Option<u64>)>,
    /// Where in the reads a request was given up.
    drops: Vec<usize>,
    /// Writes may pass: only then, and only as far as gaps and counters say, may they leave before they are durable.
    pass: bool,
    undelivered: u32,
    refused: bool,
    gap: (u64, u64),
    /// Some gaps of the run stand in no connection's records, and may be of this one.
    marked: bool,
    left_out: (u64, u64),
    records: usize,
}

impl Tale {
    /// What passed uncaptured on a connection of which there is no tale.
    fn untold(world: &World, marked: bool) -> Self {
        let pass = world.setup.settings.pass;
        Self { gap: (1, 1), marked, pass, ..Self::default() }
    }

    fn has_gap(&self) -> bool {
        self.gap != (0, 0) || self.marked
    }
}

/// What the records say of a run.
struct Told {
    tales: Vec<Tale>,
    /// Requests, and writes of them, that passed uncaptured.
    gaps: (u64, u64),
    marked: bool,
}

/// A tale as it is being put together.
#[derive(Default)]
struct Telling {
    tale: Tale,
    /// Record numbers, and which are marked as the last.
    numbers: Vec<(i32, bool)>,
    in_request: bool,
    ended: i32,
}

/// Fails with the invariant that does not hold.
pub(super) fn check(world: &World) {
    assert!(world.ledger.dropped);
    assert_eq!((world.ledger.open_fds, world.ledger.buffers_out), (0, 0), "I5: not given back");
    let Told { tales, gaps, marked } = read_records(world);
    check_memory(world);
    let (mut told, mut passed) = (0, Passed::default());
    for client in &world.clients {
        let origin = origin_of(world, client);
        let tale = tales.iter().find(|tale| is_of(&tale.reads, client));
        told += usize::from(tale.is_some());
        check_bytes(world, client, origin);
        let heard = heard(client, origin);
        if let Some(tale) = tale {
            check_tale(client, tale);
            if !tale.has_gap() {
                check_told(client, origin, tale, &heard, world.setup.kinds.redacts);
            }
        }
        if let (Some(tale), Some(origin)) = (tale, origin) {
            check_held(world, client, origin, tale, &mut passed);
        } else if let (Some(origin), true) = (origin, world.setup.settings.capture) {
            check_held(world, client, origin, &Tale::untold(world, marked), &mut passed);
        } else {
            passed.unwhole += client.requests.iter().filter(|request| request.held).count() as u64;
        }
        check_end(world, client, origin, tale);
    }
    passed.check(world, gaps);
    let is_nameless = |tale: &&Tale| !world.clients.iter().any(|client| is_of(&tale.reads, client));
    let nameless = tales.iter().filter(is_nameless).inspect(|tale| {
        assert!(tale.reads.len() < NAME_AT, "I2: records of a connection that nobody made");
    });
    let nameless = nameless.count();
    assert_eq!(told + nameless, tales.len(), "I2: two stories of one connection");
}

/// Bytes after which a stream names its client: `POST /_security/user/c000r`.
const NAME_AT: usize = 26;

fn is_of(bytes: &[u8], client: &Client) -> bool {
    let name = script::name(client.number, 0);
    let name = format!("/{}", &name[..name.len() - 3]);
    find(&bytes[..bytes.len().min(NAME_AT)], name.as_bytes()).is_some()
}

fn origin_of<'a>(world: &'a World, client: &Client) -> Option<&'a Origin> {
    let net = world.net.borrow();
    let mut all = world
        .origins
        .iter()
        .filter(|origin| is_of(origin.line.departed(&net, origin.link), client));
    let origin = all.next();
    assert!(all.next().is_none(), "client {} has two source connections", client.number);
    origin
}

/// I2: what the source read is what the client sent.
fn check_bytes(world: &World, client: &Client, origin: Option<&Origin>) {
    let number = client.number;
    let Some(origin) = origin else { return };
    let due = &client.forward[..client.forwardable()];
    let net = world.net.borrow();
    let departed = origin.line.departed(&net, origin.link);
    assert!(due.starts_with(departed), "I2: client {number}: the source read other bytes");
    assert!(departed.starts_with(&origin.received));
    if let Some(bad) = client.requests.iter().position(|r| r.malformed == Malformed::Head) {
        let begin = client.forward_ends[bad];
        assert!(departed.len() <= begin, "T1: client {number}: a refused request got through");
    }
    if client.refused.is_some_and(|status| !matches!(status, 502 | 503)) {
        let refused = client.answers.min(client.requests.len() - 1);
        let begin = client.forward_ends[refused] - client.requests[refused].forwarded.len();
        assert!(departed.len() <= begin, "T3: client {number}: refused, yet sent");
    }
}

fn read_records(world: &World) -> Told {
    let nothing = Told { tales: Vec::new(), gaps: (0, 0), marked: false };
    let Some(sink) = &world.sink else { return nothing };
    let settings = &world.setup.settings;
    let mut tales: BTreeMap<&[u8], Telling> = BTreeMap::new();
    let (mut beats, mut marks, mut writes) = (Beats::default(), (0, 0), 0);
    let pass = world.setup.settings.pass;
    for (n, stored) in sink.stored.iter().enumerate() {
        assert!(stored.bytes.len() <= settings.record_bytes_max, "a record is too long");
        let record = TrafficStream::decode(&stored.bytes[..]).expect("a record decodes");
        assert_eq!(record.connection_id.as_bytes(), stored.key);
        assert_eq!(record.node_id, NODE);
        assert!(!record.sub_stream.is_empty(), "a record without observations");
        let provenance = record.provenance.clone().expect("always there");
        assert_eq!(provenance.sequence, n as u64 + 1, "I3: sequence numbers have no hole");
        if let Some(said) = provenance.heartbeat {
            beats.heard(&said, n, n + 1 == sink.stored.len());
            continue;
        }
        beats.record(&record, &provenance);
        writes += provenance.gap.map_or(0, |gap| gap.writes);
        if let Some(gap) = provenance.gap.filter(|gap| gap.connections > 0) {
            assert!(pass && record.number() == (1, true), "a marker is a record of its own");
            marks = (marks.0 + gap.requests, marks.1 + gap.bytes);
            continue;
        }
        let telling = tales.entry(&stored.key).or_default();
        let Telling { tale, numbers, in_request, ended } = telling;
        let prior = (*ended > 0).then_some(*ended);
        assert_eq!(record.prior_requests_received, prior, "prior requests");
        let unterminated = record.last_observation_was_unterminated_read;
        assert_eq!(unterminated, in_request.then_some(true), "unterminated read");
        numbers.push(record.number());
        for observation in record.sub_stream {
            assert!(observation.ts.is_some());
            match observation.capture.expect("something was observed") {
                Capture::Read(data) => {
                    tale.reads.extend_from_slice(&data.data);
                    *in_request = true;
                }
                Capture::Write(data) => tale.writes.extend_from_slice(&data.data),
                Capture::EndOfMessage(end) => {
                    let lengths = (end.first_line_byte_length, end.headers_byte_length);
                    let (line, headers) = (lengths.0.unwrap_or(-1), lengths.1.unwrap_or(-1));
                    tale.ends.push((tale.reads.len(), line, headers));
                    *in_request = false;
                    *ended += 1;
                }
                Capture::RequestDropped(_) => {
                    tale.drops.push(tale.reads.len());
                    *in_request = false;
                }
                Capture::Close(_) | Capture::ConnectionException(_) => {}
                other => panic!("an observation of kind {}", other.kind()),
            }
        }
        tale.durable.push((tale.reads.len(), stored.durable));
        tale.records += 1;
        tale.undelivered += provenance.undelivered.map_or(0, |u| u.requests);
        tale.refused |= provenance.refused.is_some();
        if let Some(gap) = provenance.gap {
            tale.gap = (tale.gap.0 + gap.requests, tale.gap.1 + gap.bytes);
        }
        for left_out in provenance.left_out {
            let (requests, bytes) = tale.left_out;
            tale.left_out = (requests + left_out.requests, bytes + left_out.bytes);
        }
    }
    beats.end(world);
    let mut gaps = marks;
    let marked = marks != (0, 0);
    let mut all = Vec::new();
    for Telling { mut tale, numbers, .. } in tales.into_values() {
        if world.setup.kinds.redacts {
            for secret in script::SECRETS {
                let there = [&tale.reads, &tale.writes].map(|b| find(b, secret.as_bytes()));
                assert_eq!(there, [None, None], "I10: a secret is in the records");
            }
            script::mask(&mut tale.reads);
            mask_answers(&mut tale.writes);
        }
        for (n, (number, last)) in numbers.iter().enumerate() {
            assert_eq!(*number as usize, n + 1, "I3: record numbers have no hole");
            assert_eq!(*last, n + 1 == numbers.len(), "only the last record is marked as the last");
        }
        gaps = (gaps.0 + tale.gap.0, gaps.1 + tale.gap.1);
        (tale.marked, tale.pass) = (marked, pass);
        all.push(tale);
    }
    // Connections of which all was left out have no record to say it in.
    let left_out: u64 = all.iter().map(|tale| tale.left_out.0).sum();
    assert!(left_out <= world.counters.get(Counter::Suppressed), "I4: left out and not counted");
    let undelivered: u32 = all.iter().map(|tale| tale.undelivered).sum();
    assert_eq!(u64::from(undelivered), world.counters.get(Counter::Undelivered), "undelivered");
    let counted = [Counter::Uncaptured, Counter::UncapturedBytes].map(|c| world.counters.get(c));
    assert_eq!([gaps.0, gaps.1], counted, "I4: gap notes and counters differ");
    assert_eq!(world.counters.gauge(Gauge::Waiting), 0, "no connection is left that waits");
    // The end of a drain does not wait for ever for a sink that gives nothing back.
    let [records, returned] =
        [Counter::Records, Counter::RecordsReturned].map(|c| world.counters.get(c));
    if records == returned {
        let bytes =
            [Counter::RecordBytes, Counter::RecordBytesReturned].map(|c| world.counters.get(c));
        assert_eq!(bytes[0], bytes[1], "what came back is counted");
        assert_eq!(world.counters.gauge(Gauge::OldestUnixNs), 0, "nothing is with the sink");
        assert_eq!(world.counters.gauge(Gauge::Passing), 0, "nothing passes any more");
    }
    Told { tales: all, gaps: (gaps.0, writes), marked }
}

/// I5: the budget may be exceeded by what was under way on each connection when it was used up.
fn check_memory(world: &World) {
    let budget = world.setup.settings.unacknowledged_bytes_max;
    let bound = budget + budget / 4 + (world.clients.len() as u64 + 1) * EXCESS_BYTES_MAX;
    let most = world.outstanding_bytes_max;
    assert!(most <= bound, "I5: {most} bytes unacknowledged, budget {budget}");
}

/// The most that one connection adds after the budget is used up: an open record, and a turn's receives.
const EXCESS_BYTES_MAX: u64 = 512 << 10;

/// The records hold what the client sent, request by request.
fn check_tale(client: &Client, tale: &Tale) {
    let number = client.number;
    if !tale.has_gap() {
        let readable = readable(client, tale);
        assert!(readable.starts_with(&tale.reads), "I2: client {number}: other reads");
    }
    let mut ends = tale.ends.iter();
    for (end, captured) in captured(client, tale) {
        let request = &client.requests[captured];
        let lengths = (end, request.first_line_bytes, request.headers_bytes);
        assert_eq!(ends.next(), Some(&lengths), "I2: client {number}: the end of {captured}");
    }
    assert!(ends.next().is_none(), "I2: client {number}: an end of nothing");
}

/// What the records may have of what was sent. A head that never got complete is told whatever it asks.
fn readable(client: &Client, tale: &Tale) -> Vec<u8> {
    let mut out = Vec::new();
    for (request, end) in client.requests.iter().zip(&client.ends) {
        let begin = end - request.bytes.len();
        let sent = (*end).min(client.sent).saturating_sub(begin);
        if !request.left_out {
            out.extend_from_slice(&request.recorded[..sent]);
        } else if let Some(rest) = tale.reads.get(out.len()..).filter(|rest| !rest.is_empty())
            && rest.len() < request.head_len
            && request.recorded[..sent].starts_with(rest)
        {
            out.extend_from_slice(rest);
            break;
        }
    }
    out
}

/// The complete requests in the reads: where each ends there, and its number.
fn captured(client: &Client, tale: &Tale) -> Vec<(usize, usize)> {
    let (mut at, mut all) = (0, Vec::new());
    for (number, request) in client.requests.iter().enumerate() {
        let len = extent(tale, at, request);
        at += len;
        let nothing = len == 0 && (at == tale.reads.len() || request.left_out);
        if request.malformed != Malformed::No || nothing {
            continue;
        }
        if len == request.bytes.len() {
            all.push((at, number));
        } else if at < tale.reads.len() {
            // Dropped from the records, as a whole or from some byte on, for want of memory.
            let may_break = !request.held || tale.pass;
            assert!(may_break, "I4: held request {} was not captured", request.name);
            assert!(tale.has_gap(), "I4: {} breaks off without a gap", request.name);
        }
    }
    assert_eq!(at, tale.reads.len(), "I2: client {}: reads of nothing", client.number);
    all
}

/// How much of `request` stands in the reads from `at` on; 0 when none of it was captured.
pub(super) fn extent(tale: &Tale, at: usize, request: &Request) -> usize {
    let reads = &tale.reads[at..];
    if request.left_out {
        // Only as a head that never got complete, the last thing that is told.
        let is_last = reads.len() < request.head_len && request.recorded.starts_with(reads);
        return if is_last { reads.len() } else { 0 };
    }
    let len = reads.iter().zip(&request.recorded).take_while(|(a, b)| a == b).count();
    let dropped = tale.drops.iter().map(|drop| drop.saturating_sub(at)).find(|len| *len > 0);
    if len >= request.first_line_bytes as usize {
        // What follows where it was given up may begin as it would have gone on.
        return dropped.map_or(len, |dropped| len.min(dropped));
    }
    // Given up within its head, where it is not told apart from others.
    if (!request.held || tale.pass) && dropped.is_some_and(|dropped| dropped <= len) {
        return dropped.unwrap_or(0);
    }
    if len == reads.len() { len } else { 0 }
}

/// I1: bytes of held requests leave after the records that hold them are durable.
fn check_held(world: &World, client: &Client, origin: &Origin, tale: &Tale, passed: &mut Passed) {
    let number = client.number;
    let net = world.net.borrow();
    let departures = &origin.line.departures(&net, origin.link)[..];
    let departed = departures.last().map_or(0, |(total, _)| *total as usize);
    let (mut reads_at, mut most) = (0, 0);
    for (request, end) in client.requests.iter().zip(&client.forward_ends) {
        let begin = end - request.forwarded.len();
        let len = extent(tale, reads_at, request);
        most += if request.left_out { request.forwarded.len() } else { request.forwardable(len) };
        passed.unwhole += u64::from(request.held && len < request.bytes.len());
        if len == 0 {
            if tale.pass && request.held && departed > begin {
                passed.uncaptured += 1;
                continue;
            }
            assert!(
                !request.held || departed <= begin,
                "I1: {} left uncaptured: {departed} bytes departed, it begins at {begin}; {} reads, \
                 {reads_at} read so far, gap {:?}",
                request.name,
                tale.reads.len(),
                tale.gap
            );
            continue;
        }
        let reads_begin = reads_at;
        reads_at += len;
        if !request.held {
            continue;
        }
        let may_leave = begin + request.forwardable(len);
        if tale.pass && departed.min(*end) > may_leave {
            passed.uncaptured += 1;
            continue;
        }
        assert!(departed.min(*end) <= may_leave, "I1: {}: unrecorded bytes left", request.name);
        let (mut from, mut early) = (0, false);
        for &(total, event) in departures {
            let (a, b) = (from.max(begin), (total as usize).min(*end));
            from = total as usize;
            if a >= b {
                continue;
            }
            // The whole of a changed head has to be durable before any of it goes.
            let a = if request.forwarded == request.bytes { a - begin } else { 0 };
            let (a, b) = (reads_begin + a, reads_begin + request.needed(b - begin));
            let mut record_from = 0;
            for &(record_to, durable) in &tale.durable {
                if record_from < b && a < record_to {
                    let good = durable.is_some_and(|durable| durable < event);
                    early |= !good;
                    let good = good || (tale.pass && stuck_before(world, event));
                    assert!(good, "I1: bytes of {} left before they were durable", request.name);
                }
                record_from = record_to;
            }
        }
        passed.early += u64::from(early);
    }
    if !tale.has_gap() {
        assert!(departed <= most, "I1: client {number}: unrecorded bytes left");
    }
    if !tale.pass && !tale.has_gap() {
        check_stuck(client, tale);
    }
    if tale.undelivered > 0 && !tale.has_gap() {
        let mut recorded: Vec<usize> = captured(client, tale).iter().map(|(_, n)| *n).collect();
        if tale.ends.last().map_or(0, |end| end.0) < tale.reads.len() {
            let next = recorded.last().map_or(0, |n| n + 1);
            recorded.extend((next..client.requests.len()).find(|n| !client.requests[*n].left_out));
        }
        let named = recorded.len().saturating_sub(tale.undelivered as usize);
        let named = recorded.get(named).map(|n| (client.forward_ends[*n], &client.requests[*n]));
        let begin = named.map_or(0, |(end, request)| end - request.forwarded.len());
        assert!(departed <= begin, "client {number}: an undelivered request was delivered");
    }
}

/// I4: what waited for a record that never became durable was never sent, nor what came behind it. The records say so.
fn check_stuck(client: &Client, tale: &Tale) {
    let all = captured(client, tale);
    let is_stuck = |(end, number): &(usize, usize)| {
        let request = &client.requests[*number];
        let (begin, mut from) = (end - request.bytes.len(), 0);
        let mut records = tale.durable.iter().map(|(to, durable)| {
            (std::mem::replace(&mut from, *to) <= begin && begin < *to, durable)
        });
        request.held && records.any(|(has, durable)| has && durable.is_none())
    };
    let Some(first) = all.iter().position(is_stuck) else { return };
    let (stuck, noted) = (all.len() - first, tale.undelivered as usize);
    assert!(noted >= stuck, "I4: client {}: {stuck} requests stuck, {noted} noted", client.number);
}

/// What everyone is due in the end.
fn check_end(world: &World, client: &Client, origin: Option<&Origin>, tale: Option<&Tale>) {
    let number = client.number;
    if client.link.is_none() {
        assert!(!world.setup.calm);
        return;
    }
    let knows = client.outcome;
    assert!(knows.is_some(), "liveness: client {number} still waits: {:?}", client.plan);
    // A connection that nothing was sent on could be anybody's.
    let net = world.net.borrow();
    let unnamed = world.origins.iter().any(|o| o.line.departed(&net, o.link).len() < NAME_AT);
    if let (Some(tale), None) = (tale, origin)
        && !unnamed
        && !tale.has_gap()
    {
        let whole = tale.ends.len() as u32;
        assert!(tale.undelivered >= whole, "client {number}: {whole} requests got nowhere unnoted");
    }
    if !world.setup.calm {
        return;
    }
    let all = client.requests.len();
    if let Some(Malformed::Head) = client.requests.last().map(|request| request.malformed) {
        let good = (client.answers, client.refused.is_some());
        assert_eq!(good, (all - 1, true), "liveness: client {number}: {:?}", client.plan);
    }
    if client.requests.iter().any(|request| request.malformed != Malformed::No) {
        return;
    }
    assert_eq!(client.answers, all, "liveness: client {number}: {:?}", client.plan);
    let received = origin.map_or(&[][..], |origin| &origin.received);
    let sent = origin.map_or(&[][..], |origin| &origin.sent);
    assert_eq!(received, client.forward, "I2: client {number}");
    assert_eq!(sent, client.received_from_source(), "I2: client {number}");
    if client.requests.iter().all(|request| request.left_out) {
        assert!(tale.is_none(), "client {number}: nothing of it was to be told");
    }
    let expected = if client.plan.end == End::Close { Outcome::Closed } else { Outcome::Eof };
    assert_eq!(knows, Some(expected), "client {number}");
    let cut = [client.line.is_truncated(), origin.is_some_and(|origin| origin.line.is_truncated())];
    assert_eq!(cut, [false; 2], "client {number}: an end without a farewell");
    if let Some(tale) = tale
        && !tale.has_gap()
    {
        let requests = client.requests.iter();
        let reads: Vec<&[u8]> = requests.filter(|r| !r.left_out).map(|r| &r.recorded[..]).collect();
        assert_eq!(tale.reads, reads.concat(), "I2: client {number}");
        assert_eq!(
            tale.writes,
            answers::told(client, origin, sent.len(), world.setup.kinds.redacts).bytes,
            "I2: client {number}"
        );
        assert_eq!(tale.undelivered, 0);
        let left_out = client.requests.iter().filter(|r| r.left_out && !r.own).count() as u64;
        assert_eq!(tale.left_out.0, left_out, "I4: client {number}: left out and not noted");
    }
}
