//! The core as a whole: what it sends in which order, what it keeps, and how far its position may move.

use prost::Message;

use super::{
    amend, assembly,
    conductor::{Conductor, Now, Only, Settings},
    exchange::Mark,
    job::{Broken, BrokenKind, Job, Reply, Response},
    limiter::Bounds,
    order::Order,
    outcome::{Fate, Sent, What},
    pace::Speed,
    retry,
};
use crate::{
    feed::Place,
    http::Limits,
    proto::{Capture, Data, EndOfMessage, Index, Timestamp, TrafficObservation, TrafficStream},
    rewrite::{Host, Rewriter, Settings as Rewriting},
};

const PLACE: Place = Place::Log { incarnation: 1, sequence: 2 };

#[allow(clippy::struct_field_names, reason = "it is the core; the rest is around it")]
struct Core {
    core: Conductor,
    now: Now,
    number: u64,
    /// How long before the others the next records were made.
    behind_s: i64,
}

impl Core {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with(change, &Rewriting::default())
    }

    fn with(change: impl FnOnce(&mut Settings), rewriting: &Rewriting) -> Self {
        let mut settings = Settings {
            assembly: assembly::Limits {
                http: Limits::default(),
                request_bytes_max: 1 << 20,
                answer_bytes_max: 1 << 20,
                keep_answers: assembly::KeepAnswers::All,
                connection_timeout_ns: 360_000_000_000,
                duplicates_window: 1024,
            },
            order: Order::Document,
            speed: Speed::Max,
            only: Only::All,
            amend: amend::Settings::default(),
            retry: retry::Policy::default(),
            bounds: Bounds { in_flight_max: 64, requests_per_second: None, bytes_per_second: None },
            read_ahead_bytes: 1 << 20,
            lookahead_ns: 400_000_000_000,
            tuples: false,
            reply_bytes_max: 1 << 20,
        };
        change(&mut settings);
        let rewriter = Rewriter::new(rewriting).unwrap();
        Self {
            core: Conductor::new(settings, rewriter),
            now: Now::default(),
            number: 0,
            behind_s: 0,
        }
    }

    /// One record with a request and its answer.
    fn record(&mut self, connection: &str, request: &str, answer: &str) {
        self.piece(connection, 1, request, answer);
    }

    /// One record, of that number in its connection, with a piece of a request, and its answer if it ends there.
    fn piece(&mut self, connection: &str, number: i32, request: &str, answer: &str) {
        let seen = |capture| TrafficObservation {
            ts: Some(Timestamp {
                seconds: 1_700_000_000 + self.number as i64 - self.behind_s,
                nanos: 0,
            }),
            capture: Some(capture),
        };
        let ended = EndOfMessage { first_line_byte_length: None, headers_byte_length: None };
        let mut sub_stream = vec![seen(Capture::Read(Data { data: request.as_bytes().to_vec() }))];
        if number == 1 || !answer.is_empty() {
            sub_stream.push(seen(Capture::EndOfMessage(ended)));
        }
        if !answer.is_empty() {
            sub_stream.push(seen(Capture::Write(Data { data: answer.as_bytes().to_vec() })));
        }
        let stream = TrafficStream {
            connection_id: connection.into(),
            node_id: "node".into(),
            sub_stream,
            index: Some(Index::Number(number)),
            ..TrafficStream::default()
        };
        let mark = Mark { lane: 7, number: self.number };
        self.number += 1;
        self.core.record(mark, &PLACE, &stream.encode_to_vec());
    }

    fn job(&mut self) -> Option<(u64, String)> {
        let Job { id, head, bytes, .. } = self.core.next_job(self.now)?;
        assert!(head.is_empty(), "nothing is edited here");
        Some((id, String::from_utf8(bytes).unwrap()))
    }

    fn reply(&mut self, (id, bytes): (u64, String), result: Result<&str, BrokenKind>) {
        let result = match result {
            Ok(answer) => Ok(Response {
                status: answer[9..12].parse().unwrap(),
                bytes: answer.as_bytes().to_vec(),
                head_bytes: answer.find("\r\n\r\n").unwrap() + 4,
                whole: true,
                wire_bytes: answer.len() as u64,
            }),
            Err(kind) => Err(Broken { kind, text: "it broke".into() }),
        };
        let bytes = bytes.into_bytes();
        let reply = Reply { id, head: Vec::new(), bytes, result, took_ns: 1000 };
        self.core.reply(reply, self.now);
    }

    /// Where the position may stand.
    fn done(&mut self) -> u64 {
        let mut at = u64::MAX;
        self.core.done(|lane, number| {
            assert_eq!(lane, 7);
            at = number;
        });
        at
    }
}

fn put(id: &str) -> String {
    format!("PUT /i/_doc/{id} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}")
}

const CREATED: &str = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
const MISSING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
const CONFLICT: &str = "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn the_position_moves_with_outcomes_and_not_before() {
    let mut core = Core::new(|_| ());
    for (connection, id) in [("a", "1"), ("b", "2"), ("c", "3")] {
        core.record(connection, &put(id), CREATED);
    }
    let jobs: Vec<_> = std::iter::from_fn(|| core.job()).collect();
    assert_eq!(jobs.len(), 3);
    assert_eq!(jobs[0].1, put("1"), "a request that nothing touches goes out as it came");
    assert_eq!(core.done(), 0);
    let mut jobs = jobs.into_iter();
    let first = jobs.next().unwrap();
    core.reply(jobs.next().unwrap(), Ok(CREATED));
    assert_eq!(core.done(), 0);
    core.reply(first, Ok(CREATED));
    assert_eq!(core.done(), 2);
    core.reply(jobs.next().unwrap(), Ok(CREATED));
    assert_eq!(core.done(), 3);
    assert_eq!(core.core.totals().done, 3);
}

#[test]
fn what_a_closing_lane_hands_back_is_not_passed_by_its_position() {
    let mut core = Core::new(|settings| settings.bounds.in_flight_max = 1);
    for (connection, id) in [("a", "1"), ("b", "2"), ("c", "3")] {
        core.record(connection, &put(id), CREATED);
    }
    let job = core.job().unwrap();
    assert!(core.job().is_none());
    core.core.close_lane(7);
    assert!(!core.core.lane_is_quiet(7), "one is on its way");
    core.reply(job, Ok(CREATED));
    assert!(core.core.lane_is_quiet(7));
    assert_eq!(core.done(), 1, "the first is done, the others are somebody else's");
    assert_eq!(core.core.totals().handed_back, 2);
    assert!(core.job().is_none());
    core.core.drop_lane(7);
    core.core.done(|_, _| panic!("there is no lane"));
}

#[test]
fn a_tuple_that_is_not_written_holds_the_position() {
    let mut core = Core::new(|settings| settings.tuples = true);
    core.record("a", &put("1"), CREATED);
    let job = core.job().unwrap();
    core.reply(job, Ok(CREATED));
    assert_eq!(core.done(), 0);
    let outcomes: Vec<_> = core.core.take_outcomes().collect();
    assert!(matches!(&outcomes[0].what, What::Finished(finished) if finished.fate == Fate::Done));
    assert!(!core.core.take_journal()[0].written, "it must not be sent again all the same");
    core.core.written(outcomes[0].number);
    assert_eq!(core.done(), 1);
}

#[test]
fn what_earlier_runs_sent_and_what_the_source_refused_is_left_out() {
    let mut core = Core::new(|_| ());
    core.record("a", &put("1"), CREATED);
    let job = core.job().unwrap();
    core.reply(job, Ok(CREATED));
    let sent = core.core.take_journal()[0].fingerprint;

    let mut again = Core::new(|_| ());
    again.core.recall([sent]);
    again.record("a", &put("1"), CREATED);
    again.record("b", &put("2"), CONFLICT);
    assert!(again.job().is_none());
    let totals = again.core.totals();
    assert_eq!((totals.duplicates_skipped, totals.skipped_refused, totals.sent), (1, 1, 0));
    assert_eq!(totals.requests, totals.ended());
    assert_eq!(again.done(), 2);
}

#[test]
fn a_write_that_fails_for_good_is_put_aside_and_a_lost_one_goes_again() {
    let mut core = Core::new(|_| ());
    core.record("a", &put("1"), CREATED);
    let job = core.job().unwrap();
    core.reply(job, Err(BrokenKind::Lost));
    assert!(core.job().is_none(), "not at once");
    for _ in 0..4 {
        core.now.monotonic_ns = core.core.next_due_ns().unwrap();
        let job = core.job().unwrap();
        core.reply(job, Ok(MISSING));
    }
    let totals = core.core.totals();
    assert_eq!((totals.sent, totals.retries, totals.failed, totals.quarantined), (5, 4, 1, 1));
    assert_eq!(core.done(), 0, "until it is in the quarantine");
    let number = core.core.take_outcomes().next().unwrap().number;
    core.core.written(number);
    assert_eq!(core.done(), 1);
}

/// What goes over the wire for a job.
fn wire(job: &Job) -> String {
    String::from_utf8([&job.head, &job.bytes[job.from..]].concat()).unwrap()
}

fn answered(job: Job, answer: &str) -> Reply {
    let head_bytes = answer.find("\r\n\r\n").unwrap() + 4;
    let wire_bytes = answer.len() as u64;
    let response =
        Response { status: 200, bytes: answer.into(), head_bytes, whole: true, wire_bytes };
    Reply { id: job.id, head: job.head, bytes: job.bytes, result: Ok(response), took_ns: 1000 }
}

#[test]
fn a_request_for_another_host_goes_with_another_head_and_is_kept_as_it_was() {
    let rewriting = Rewriting { host: Host::Target("target:9200".into()), ..Rewriting::default() };
    let mut core = Core::with(|settings| settings.tuples = true, &rewriting);
    core.record("a", &put("1"), CREATED);
    let job = core.core.next_job(core.now).unwrap();
    assert_eq!(wire(&job), put("1").replace("Host: a", "Host: target:9200"));
    assert_eq!(job.bytes, put("1").as_bytes(), "the captured request is lent, not copied");
    core.core.reply(answered(job, CREATED), core.now);
    let outcome = core.core.take_outcomes().next().unwrap();
    let What::Finished(finished) = outcome.what else { panic!("a request") };
    assert_eq!(finished.request.bytes, put("1").as_bytes());
    let Some(Sent::Head(head)) = finished.sent else { panic!("another head") };
    assert!(String::from_utf8(head).unwrap().contains("Host: target:9200"));
}

#[test]
fn the_rest_of_a_bulk_goes_again_with_headers_before_its_body() {
    let item =
        |id: u32| format!("{{\"index\":{{\"_index\":\"i\",\"_id\":\"{id}\"}}}}\n{{\"n\":{id}}}\n");
    let body: String = (0..40).map(item).collect();
    // Without a Host, so that one is added behind the last field.
    let bulk = |body: &str, more: &str| {
        let length = body.len();
        format!("POST /_bulk HTTP/1.1\r\nContent-Length: {length}\r\n{more}\r\n{body}")
    };
    let host = "Host: target:9200\r\n";
    let rewriting = Rewriting { host: Host::Target("target:9200".into()), ..Rewriting::default() };
    let mut core = Core::with(|settings| settings.tuples = true, &rewriting);
    let answer = |errors: bool, items: &[&str]| {
        let body = format!("{{\"errors\":{errors},\"items\":[{}]}}", items.join(","));
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let good = "{\"index\":{\"_index\":\"i\",\"status\":201}}";
    let full =
        "{\"index\":{\"status\":429,\"error\":{\"type\":\"es_rejected_execution_exception\"}}}";
    core.record("a", &bulk(&body, ""), &answer(false, &[good; 40]));
    let job = core.core.next_job(core.now).unwrap();
    assert_eq!(wire(&job), bulk(&body, host));
    let mut items = [good; 40];
    items[7] = full;
    core.core.reply(answered(job, &answer(true, &items)), core.now);
    core.now.monotonic_ns = core.core.next_due_ns().unwrap();
    let job = core.core.next_job(core.now).unwrap();
    // Its length has two digits less.
    assert_eq!(wire(&job), bulk(&item(7), host));
    core.core.reply(answered(job, &answer(false, &[good])), core.now);
    let outcome = core.core.take_outcomes().next().unwrap();
    let What::Finished(finished) = outcome.what else { panic!("a request") };
    assert_eq!(finished.fate, Fate::Done);
    let Some(Sent::Whole(sent)) = finished.sent else { panic!("another message") };
    assert_eq!(sent, bulk(&item(7), host).as_bytes());
}

#[test]
fn refused_credentials_are_waited_for_and_nothing_is_put_aside() {
    const DENIED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    let mut core = Core::new(|_| ());
    for number in 0..20 {
        core.record(&format!("c{number}"), &put(&number.to_string()), CREATED);
    }
    let jobs: Vec<_> = std::iter::from_fn(|| core.job()).collect();
    assert!(jobs.len() > 8);
    let first = jobs.len() as u64;
    for job in jobs {
        core.reply(job, Ok(DENIED));
    }
    while core.core.totals().sent < first + 4 {
        core.now.monotonic_ns = core.core.next_due_ns().unwrap_or(core.now.monotonic_ns);
        let Some(job) = core.job() else { continue };
        assert!(core.job().is_none(), "one tries");
        core.reply(job, Ok(DENIED));
    }
    assert_eq!(core.now.monotonic_ns / 1_000_000_000, 7, "at once, and after 1, 2 and 4 s");
    let why = core.core.look(core.now).why;
    assert!(why.contains("401") && why.contains("--auth"), "{why}");
    while core.core.totals().done < 20 {
        core.now.monotonic_ns = core.core.next_due_ns().unwrap_or(core.now.monotonic_ns);
        while let Some(job) = core.job() {
            core.reply(job, Ok(CREATED));
        }
    }
    let totals = core.core.totals();
    assert_eq!((totals.failed, totals.quarantined, core.done()), (0, 0, 20));
}

#[test]
fn memory_that_is_used_up_by_what_waits_is_freed_by_waiting_no_longer() {
    let mut core = Core::new(|settings| settings.read_ahead_bytes = 1);
    core.record("a", &put("1"), "");
    assert!(!core.core.wants_records(core.now));
    assert!(core.job().is_none(), "its answer may tell its place");
    core.core.unblock();
    let job = core.job().expect("it waits no longer");
    core.reply(job, Ok(CREATED));
    assert!(core.core.wants_records(core.now));
}

/// The source may apply the front of a large bulk before its end is there: a write that is answered meanwhile waits
/// until the bulk is known, and then the numbers tell.
#[test]
fn a_write_answered_while_a_bulk_arrives_goes_where_its_number_says() {
    let created = |number: u32| {
        let body = format!(
            "{{\"_index\":\"i\",\"_id\":\"d\",\"result\":\"updated\",\"_seq_no\":{number},\"status\":200}}"
        );
        let head =
            |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let bulk = format!("{{\"errors\":false,\"items\":[{{\"index\":{body}}}]}}");
        (head(&body) + &body, head(&bulk) + &bulk)
    };
    let body = format!(
        "{{\"index\":{{\"_index\":\"i\",\"_id\":\"d\"}}}}\n{{\"t\":\"{}\"}}\n",
        "x".repeat(100_000)
    );
    let bulk =
        format!("POST /_bulk HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (front, rest) = bulk.split_at(90_000);
    for (of_bulk, of_write, first) in [(5, 7, "POST /_bulk"), (9, 7, "PUT /i/_doc/d")] {
        let mut core = Core::new(|_| ());
        core.piece("b", 2, front, "");
        core.record("a", &put("d"), &created(of_write).0);
        core.record("c", &put("other"), &created(1).0);
        assert!(core.job().is_none(), "the bulk may have written what they wrote");
        assert!(core.core.look(core.now).why.contains("large bulk"));
        core.piece("b", 3, rest, &created(of_bulk).1);
        let mut order = Vec::new();
        while let Some(job) = core.job() {
            order.push(job.1.clone());
            core.reply(job, Ok(CREATED));
        }
        order.retain(|request| !request.contains("other"));
        assert_eq!(order.len(), 2);
        assert!(order[0].starts_with(first), "{of_bulk} {of_write}: {}", &order[0][..20]);
    }
}

#[test]
fn a_bulk_that_goes_or_is_not_worth_the_memory_is_not_waited_for() {
    let front = format!(
        "POST /_bulk HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    let mut core = Core::new(|_| ());
    core.piece("b", 2, &front, "");
    core.record("a", &put("1"), CREATED);
    assert!(core.job().is_none());
    core.core.close_lane(7);
    core.record("a", &put("2"), CREATED);
    assert!(core.job().is_some(), "somebody else reads the bulk");

    let mut core = Core::new(|_| ());
    core.piece("b", 2, &front, "");
    core.record("a", &put("1"), CREATED);
    assert!(core.job().is_none());
    core.now.monotonic_ns += 61_000_000_000;
    assert!(core.job().is_some(), "no record comes for a minute");

    let mut core = Core::new(|settings| settings.read_ahead_bytes = 1);
    core.piece("b", 2, &front, "");
    core.record("a", &put("1"), CREATED);
    assert!(core.job().is_none());
    core.core.unblock();
    assert!(core.job().is_some());

    let mut core = Core::new(|_| ());
    core.piece("b", 2, &front, "");
    core.record("a", &put("1"), CREATED);
    core.core.end();
    assert!(core.job().is_some(), "there are no more records");
}

#[test]
fn writes_that_come_late_are_counted_and_reads_are_not() {
    let mut core = Core::new(|_| ());
    core.record("a", &put("1"), CREATED);
    core.behind_s = 1;
    core.record("b", &put("2"), CREATED);
    assert_eq!(core.core.totals().late_writes, 0, "no more than a second");
    core.behind_s = 5;
    core.record("c", "GET /i/_doc/1 HTTP/1.1\r\nHost: a\r\n\r\n", MISSING);
    assert_eq!(core.core.totals().late_writes, 0);
    core.record("d", &put("3"), CREATED);
    assert_eq!(core.core.totals().late_writes, 1);
}

#[test]
fn a_record_that_is_none_goes_aside_and_the_next_one_is_read() {
    let mut core = Core::new(|_| ());
    core.core.record(Mark { lane: 7, number: 0 }, &PLACE, b"\xff\xff");
    core.number = 1;
    core.record("a", &put("1"), CREATED);
    assert!(core.job().is_some());
    assert_eq!(core.core.totals().undecodable_records, 1);
    assert_eq!(core.core.take_outcomes().count(), 1);
}
