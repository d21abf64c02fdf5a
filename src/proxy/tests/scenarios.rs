//! Hand-made worlds for what a drawn one seldom meets.

use std::{sync::Arc, time::Duration};

use prost::Message;

use super::{
    check::check,
    client::{Client, End, Outcome, Plan},
    script::{Malformed, Request, name},
    world::{AFTER_NS, START_NS, Setup, World},
};
use crate::{
    filter::{Filter, Suppression},
    observe::Counter,
    proto::TrafficStream,
};

fn request(number: usize, method: &str, path: &str, body: &str, malformed: Malformed) -> Request {
    let name = name(0, number);
    let line = format!("{method} /{name}/{path} HTTP/1.1");
    let chunked = malformed == Malformed::Body;
    let length = match (body.len(), chunked) {
        (_, true) => "Transfer-Encoding: chunked".into(),
        (len, false) => format!("Content-Length: {len}"),
    };
    let fields = [format!("X-Id: {name}"), length];
    let head = format!("{line}\r\n{}\r\n{}\r\n\r\n", fields[0], fields[1]);
    let bytes = format!("{head}{body}").into_bytes();
    Request {
        forwarded: if malformed == Malformed::Head { Vec::new() } else { bytes.clone() },
        recorded: bytes.clone(),
        left_out: false,
        own: false,
        bytes,
        head_len: head.len(),
        first_line_bytes: line.len() as i32,
        headers_bytes: fields.iter().map(String::len).sum::<usize>() as i32,
        hash: crc32c::crc32c(body.as_bytes()),
        is_head: false,
        held: !matches!((method, path), ("GET", _) | ("POST", "_search")),
        expects: false,
        malformed,
        name,
    }
}

fn leaving_out(method_and_path: &str) -> Arc<Filter> {
    let methods_and_paths = vec![method_and_path.parse().expect("a pattern")];
    let suppression = Suppression { methods_and_paths, ..Suppression::default() };
    Filter { suppression, ..Filter::default() }.into()
}

fn client(requests: Vec<Request>, end: End) -> Client {
    let plan = Plan { start_ns: START_NS, depth: 100, piece: usize::MAX, reads: 1000, end };
    Client::new(0, requests, plan)
}

fn run(seed: u64, setup: Setup, client: Client) -> World {
    let mut world = World::build(seed, setup, vec![client]);
    world.run();
    check(&world);
    world
}

fn a_write_between_reads_and_a_dead_sink() -> (Setup, Vec<Request>) {
    let mut setup = Setup::quiet();
    setup.settings.hold_timeout = Some(Duration::from_secs(2));
    setup.temper.dies_ns = 0;
    setup.drain_ns = START_NS + 20_000_000_000;
    setup.settings.drain_timeout = Duration::from_secs(1);
    let requests = vec![
        request(0, "GET", "_doc/1", "", Malformed::No),
        request(1, "PUT", "_doc/1", "held", Malformed::No),
        request(2, "GET", "_doc/2", "", Malformed::No),
    ];
    (setup, requests)
}

/// Nothing of a request that waited for too long reaches the source, and what came before it is answered.
#[test]
fn sim_what_cannot_be_stored_in_time_is_answered_503_and_never_sent() {
    for seed in 0..20 {
        let (setup, requests) = a_write_between_reads_and_a_dead_sink();
        let first = requests[0].bytes.len();
        let world = run(seed, setup, client(requests, End::Stay));
        let client = &world.clients[0];
        assert_eq!((client.answers, client.refused), (1, Some(503)), "seed {seed}");
        assert_eq!(world.origins[0].received.len(), first, "seed {seed}");
        assert_eq!(world.counters.get(Counter::Undelivered), 2, "seed {seed}");
        assert!(client.received.windows(12).any(|bytes| bytes == b"Retry-After:"));
    }
}

/// Memory is used up when a request comes that is left out, so that the answer to the write before it would be in no
/// record. The write itself is: when the source cannot be reached it must be taken back.
#[test]
fn sim_a_write_that_got_nowhere_is_noted_though_its_answer_would_not_be() {
    for seed in 0..100 {
        let mut setup = Setup::quiet();
        setup.settings.unacknowledged_bytes_max = 256;
        setup.temper.delay_ns_max = 1_000_000;
        setup.faults.connect_refused = 1000;
        setup.connect_ns_max = 100_000_000;
        setup.settings.filter = leaving_out("GET /c000r001/.*");
        // The first record of the write is full, and counts, while the rest of what came is still looked at.
        setup.settings.record_bytes_max = 2 << 10;
        let mut requests = vec![
            request(0, "PUT", "_doc/1", &"x".repeat(3000), Malformed::No),
            request(1, "GET", "_doc/1", "", Malformed::No),
        ];
        requests[1].left_out = true;
        let world = run(seed, setup, client(requests, End::Stay));
        assert_eq!(world.counters.get(Counter::Undelivered), 1, "seed {seed}");
    }
}

/// The 503 stands in the records as what the write was answered, whatever came behind it.
#[test]
fn sim_a_503_is_recorded_though_what_came_last_is_left_out() {
    for seed in 0..20 {
        let (mut setup, mut requests) = a_write_between_reads_and_a_dead_sink();
        setup.settings.filter = leaving_out("GET /c000r001/.*");
        requests.truncate(1);
        requests[0] = request(0, "PUT", "_doc/1", "held", Malformed::No);
        requests.push(request(1, "GET", "_doc/1", "", Malformed::No));
        requests[1].left_out = true;
        let world = run(seed, setup, client(requests, End::Stay));
        assert_eq!(world.clients[0].refused, Some(503), "seed {seed}");
    }
}

/// A dead sink, and writes that pass: the client notices nothing, and nothing counts as undelivered.
#[test]
fn sim_what_cannot_be_stored_passes_where_that_was_asked_for() {
    for seed in 0..20 {
        let (mut setup, requests) = a_write_between_reads_and_a_dead_sink();
        setup.settings.pass = true;
        let world = run(seed, setup, client(requests, End::Stay));
        let client = &world.clients[0];
        assert_eq!((client.answers, client.refused), (3, None), "seed {seed}");
        let counted = [Counter::PassedEarly, Counter::PassedUncaptured, Counter::Undelivered];
        assert_eq!(counted.map(|c| world.counters.get(c)), [1, 0, 0], "seed {seed}");
    }
}

/// With memory used up writes pass without a record. When records are stored again one marker says so at once, while
/// the connection is still there, and what comes then is captured.
#[test]
fn sim_what_passes_uncaptured_is_marked_as_soon_as_records_are_stored_again() {
    for seed in 0..20 {
        let mut setup = Setup::quiet();
        setup.settings.hold_timeout = Some(Duration::from_secs(2));
        setup.settings.pass = true;
        // Used up between two requests, not within one.
        setup.settings.unacknowledged_bytes_max = 96 << 10;
        setup.settings.record_bytes_max = 2 << 10;
        setup.temper.dies_ns = 0;
        setup.temper.revives_ns = START_NS + 10_000_000_000;
        setup.drain_ns = START_NS + 20_000_000_000;
        let body = "x".repeat(1000);
        let put = |n| request(n, "PUT", "_doc/1", &body, Malformed::No);
        let mut client = client((0..60).map(put).collect(), End::Stay);
        client.plan.depth = 1;
        let world = run(seed, setup, client);
        assert_eq!(world.clients[0].answers, 60, "seed {seed}");
        let get = |counter| world.counters.get(counter);
        let (early, uncaptured) = (get(Counter::PassedEarly), get(Counter::PassedUncaptured));
        assert_eq!((early + uncaptured, get(Counter::Held)), (60, 1), "seed {seed}");
        assert!(early >= 10 && uncaptured >= 8, "seed {seed}: {early} {uncaptured}");
        let stored = &world.sink.as_ref().expect("it captures").stored;
        let records: Vec<_> = stored
            .iter()
            .map(|one| TrafficStream::decode(&one.bytes[..]).expect("decodes"))
            .collect();
        let gap_of = |record: &TrafficStream| record.provenance.as_ref().and_then(|from| from.gap);
        let gaps: Vec<_> = records.iter().filter_map(gap_of).collect();
        let [gap] = &gaps[..] else { panic!("seed {seed}: {gaps:?}") };
        assert_eq!((gap.connections, gap.writes, gap.requests), (1, uncaptured, uncaptured));
        assert!(gap.since_unix_ns < gap.until_unix_ns && gap.bytes > 8 * 1000);
        let marked = records.iter().position(|record| gap_of(record).is_some());
        let said = records[marked.expect("there is one") + 1].provenance.as_ref();
        let beat = said.and_then(|said| said.heartbeat).expect("a heartbeat follows at once");
        assert_eq!((beat.untold, beat.early, beat.last), (0, early, false), "seed {seed}");
    }
}

/// An answer has no bound, so it must not be recorded without one.
#[test]
fn sim_a_large_answer_does_not_outgrow_the_memory_budget() {
    let mut setup = Setup::quiet();
    setup.settings.unacknowledged_bytes_max = 64 << 10;
    setup.manners.answer_bytes_max = 4 << 20;
    setup.socket_bytes_max = 1 << 20;
    setup.temper.delay_ns_max = 1 << 33;
    setup.drain_ns = START_NS + 20_000_000_000;
    let requests =
        (0..60).map(|n| request(n, "GET", "_doc/1", "", Malformed::No)).collect::<Vec<_>>();
    let world = run(7, setup, client(requests, End::Close));
    assert_eq!(world.clients[0].answers, 60);
    assert!(world.clients[0].received.len() > 4 << 20);
    assert!(world.counters.get(Counter::UncapturedBytes) > 0);
}

/// What is still behind something held can be taken back: the client gets a 400 and the held request goes its way.
#[test]
fn sim_a_refusal_behind_a_held_request_does_not_take_it_along() {
    let mut setup = Setup::quiet();
    setup.temper.delay_ns_max = 1 << 29;
    let requests = vec![
        request(0, "PUT", "_doc/1", "held", Malformed::No),
        request(1, "POST", "_search", "5\r\nhello\r\nzz\r\n", Malformed::Body),
    ];
    let mut client = client(requests, End::Stay);
    client.plan.piece = 30;
    let world = run(3, setup, client);
    let client = &world.clients[0];
    assert_eq!((client.answers, client.refused), (1, Some(400)));
    assert_eq!(client.outcome, Some(Outcome::Eof));
}

/// The first part of a write passed, the next one has to wait again, and then it turns out to be malformed: what passed
/// cannot be taken back, so there is no answer that says it was refused.
#[test]
fn sim_a_write_that_passed_in_part_is_not_refused_as_if_it_had_not() {
    let mut cut = 0;
    for seed in 0..40 {
        let mut setup = Setup::quiet();
        setup.settings.hold_timeout = Some(Duration::from_secs(2));
        setup.settings.pass = true;
        setup.temper.dies_ns = 0;
        setup.temper.revives_ns = START_NS + 2_000_000_000 + seed * 2_000_000;
        setup.drain_ns = START_NS + 20_000_000_000;
        let body = format!("1000\r\n{}\r\nzz\r\n", "x".repeat(0x1000));
        let requests = vec![
            request(0, "PUT", "_doc/1", "held", Malformed::No),
            request(1, "POST", "_bulk", &body, Malformed::Body),
        ];
        let mut client = client(requests, End::Stay);
        client.plan.depth = 1;
        client.plan.piece = 30;
        let world = run(seed, setup, client);
        let client = &world.clients[0];
        assert_eq!(client.answers, 1, "seed {seed}");
        cut += u32::from(client.refused.is_none());
    }
    assert!(cut > 0, "writes that passed in part are cut off");
}

/// A sink that takes nothing any more cannot keep a drained worker.
#[test]
fn sim_a_full_queue_to_a_dead_sink_does_not_hold_up_the_end() {
    let mut setup = Setup::quiet();
    setup.temper.deaf = true;
    setup.blocked_batches = 1024;
    setup.settings.drain_timeout = Duration::from_millis(100);
    let requests = vec![request(0, "GET", "_doc/1", "", Malformed::No)];
    let mut world = World::build(1, setup, vec![client(requests, End::Close)]);
    world.run();
    assert_eq!(world.clients[0].outcome, Some(Outcome::Closed));
    assert!(world.ledger.dropped && world.ledger.buffers_out == 0);
}

/// The client's end is seen although nothing of it is read any more, so that the connection does not linger.
#[test]
fn sim_a_refused_client_that_leaves_is_let_go() {
    for seed in 0..20 {
        let mut setup = Setup::quiet();
        setup.manners.closes = 1000;
        setup.drain_ns = u64::MAX;
        setup.calm = true;
        setup.settings.drain_timeout = Duration::from_mins(5);
        let requests = vec![
            request(0, "GET", "_doc/1", "", Malformed::No),
            request(1, "GET", "_doc/1 HTTP/1.1\r\nA : b", "", Malformed::Head),
        ];
        let mut world = World::build(seed, setup, vec![client(requests, End::Stay)]);
        world.run();
        let took_ns = world.net.borrow().now_ns() - START_NS - AFTER_NS;
        assert!(took_ns < 10_000_000_000, "seed {seed}: {took_ns} ns");
    }
}

/// The source has closed, its FIN is passed on: a request refused then gets no answer, and none is tried.
#[test]
fn sim_a_refusal_after_the_end_of_the_source_is_silent() {
    for seed in 0..20 {
        let mut setup = Setup::quiet();
        setup.manners.until_eof = 1000;
        let requests = vec![
            request(0, "GET", "_doc/1", "", Malformed::No),
            request(1, "GET", "_doc/1 HTTP/1.1\r\nA : b", "", Malformed::Head),
        ];
        let first = requests[0].bytes.len();
        let mut client = client(requests, End::CloseAfter(first + 70));
        client.plan.piece = 1;
        client.plan.reads = 0;
        run(seed, setup, client);
    }
}

/// The answer to the first request ends with the source's connection: what is refused behind it has no place there.
#[test]
fn sim_nothing_stands_behind_an_answer_that_ends_with_its_connection() {
    for seed in 0..20 {
        let mut setup = Setup::quiet();
        setup.manners.until_eof = 1000;
        let requests = vec![
            request(0, "GET", "_doc/1", "", Malformed::No),
            request(1, "GET", "_doc/1 HTTP/1.1\r\nA : b", "", Malformed::Head),
        ];
        let world = run(seed, setup, client(requests, End::Stay));
        assert_eq!(world.clients[0].received, world.origins[0].sent, "seed {seed}");
    }
}

/// The refused request breaks off what was sent before it; nothing was, since the source is not there yet.
#[test]
fn sim_a_refusal_before_the_source_is_there_takes_back_what_waits_for_it() {
    for seed in 0..20 {
        let mut setup = Setup::quiet();
        setup.connect_ns_max = 1 << 40;
        let requests = vec![
            request(0, "PUT", "_doc/1", "held", Malformed::No),
            request(1, "POST", "_search", "5\r\nhello\r\nzz\r\n", Malformed::Body),
        ];
        let mut client = client(requests, End::Stay);
        client.plan.piece = 30;
        let world = run(seed, setup, client);
        assert_eq!(world.counters.get(Counter::Undelivered), 1, "seed {seed}");
    }
}

/// A health check that asks for the end of the connection, and a write behind it whose record is never stored.
#[test]
fn sim_what_is_held_behind_the_last_answer_is_noted() {
    for seed in 0..20 {
        let mut setup = Setup::quiet();
        setup.temper.dies_ns = 0;
        setup.manners.delay_ns_max = 1 << 29;
        let mut health = request(1, "GET", "_doc/1", "", Malformed::No);
        let fields = "Content-Length: 0\r\nConnection: close";
        health.bytes = format!("GET /h?/c000r001 HTTP/1.1\r\n{fields}\r\n\r\n").into_bytes();
        health.recorded.clone_from(&health.bytes);
        (health.own, health.left_out, health.forwarded) = (true, true, Vec::new());
        health.head_len = health.bytes.len();
        setup.settings.filter =
            Filter { health_path: Some("/h".parse().expect("a path")), ..Filter::default() }.into();
        let requests = vec![
            request(0, "GET", "_doc/1", "", Malformed::No),
            health,
            request(2, "PUT", "_doc/1", "held", Malformed::No),
        ];
        let world = run(seed, setup, client(requests, End::Stay));
        assert_eq!(world.clients[0].answers, 2, "seed {seed}");
        assert_eq!(world.counters.get(Counter::Undelivered), 1, "seed {seed}");
    }
}

/// A send fails, and what the source had sent before is still read: what comes then goes nowhere, held or not.
#[test]
fn sim_what_comes_when_the_source_takes_nothing_any_more_is_noted() {
    for seed in 0..20 {
        let mut setup = Setup::quiet();
        setup.faults.send_fails = 1000;
        setup.temper.dies_ns = 0;
        let requests = vec![
            request(0, "GET", "_doc/1", "", Malformed::No),
            request(1, "PUT", "_doc/1", "held", Malformed::No),
            request(2, "GET", "_doc/1", "", Malformed::No),
        ];
        let mut client = client(requests, End::Stay);
        // The first request is on its way when the next one comes.
        client.plan.piece = client.requests[0].bytes.len();
        client.plan.reads = 50;
        let world = run(seed, setup, client);
        let [noted, begun] =
            [Counter::Undelivered, Counter::Requests].map(|c| world.counters.get(c));
        assert_eq!((noted, begun), (2, 3), "seed {seed}");
    }
}

/// The time that one address took is not taken off the next one's.
#[test]
fn sim_each_address_of_the_source_has_its_own_time_to_answer() {
    let mut second = 0;
    for seed in 0..30 {
        let mut setup = Setup::quiet();
        setup.connect_ns_max = 9_900_000_000;
        setup.faults.connect_refused = 400;
        setup.drain_ns = START_NS + 60_000_000_000;
        let mut addresses = setup.settings.source_addresses.current().to_vec();
        addresses.push("10.0.0.2:9200".parse().expect("an address"));
        setup.settings.source_addresses.replace(addresses);
        let requests = vec![request(0, "GET", "_doc/1", "", Malformed::No)];
        let world = run(seed, setup, client(requests, End::Close));
        let text = String::from_utf8_lossy(&world.clients[0].received).into_owned();
        assert!(!text.contains("canceled"), "seed {seed}: {text}");
        second += usize::from(text.contains("refused"));
    }
    assert!(second > 0, "both addresses refused at least once");
}
