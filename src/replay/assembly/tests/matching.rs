//! Whose answer is whose, and what the notes of the capture change.

use super::{Op::*, *};
use crate::proto::{Gap, LeftOut, Refused, Undelivered};

fn ours() -> Writer {
    Writer::new("c").of(7, 1)
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let two = [get("/a"), get("/b")].concat();
    let answers = [ok("1"), status(404, "")].concat();
    // The reference makes one end-of-message of the two.
    let expected = ["request 0 /a", "request 1 /b", "answer 0 200", "answer 1 404", "ended 0"];
    assert_eq!(told(&[R(two.clone()), Eom, W(answers.clone()), Close]), expected);
    assert_eq!(told(&[R(two), Eom, Eom, W(answers), Close]), expected);
}

#[test]
fn interim_responses_are_no_answers_and_an_early_one_is() {
    let request = b"PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n".to_vec();
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let ops = [
        R(request.clone()),
        W(interim.clone()),
        R(b"abc".to_vec()),
        Eom,
        W(status(201, "x")),
        Close,
    ];
    let mut run = Run::new();
    run.feed_all(&Writer::new("c").records(&ops)).end();
    assert_eq!(run.told(), ["request 0 /a", "answer 0 201", "ended 0"]);
    let Event::Answer { answer, .. } = &run.events[1] else { panic!() };
    assert_eq!(answer.bytes, status(201, "x"));
    let ops = [
        R(request),
        W(status(413, "no")),
        R(b"abc".to_vec()),
        Eom,
        R(get("/b")),
        Eom,
        W(ok("")),
        Close,
    ];
    let expected = ["request 0 /a", "answer 0 413", "request 1 /b", "answer 1 200", "ended 0"];
    assert_eq!(told(&ops), expected);
}

#[test]
fn head_and_bodies_that_end_with_the_connection() {
    let head = b"HEAD /a HTTP/1.1\r\n\r\n".to_vec();
    let length = b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n".to_vec();
    let open = b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec();
    let ops =
        [R(head), Eom, W(length), R(get("/b")), Eom, W(open.clone()), W(b".".to_vec()), Close];
    let mut run = Run::new();
    run.feed_all(&Writer::new("c").records(&ops)).end();
    let expected = ["request 0 /a", "answer 0 200", "request 1 /b", "answer 1 200", "ended 0"];
    assert_eq!(run.told(), expected);
    let Event::Answer { answer, .. } = &run.events[3] else { panic!() };
    assert_eq!(answer.bytes, [&open[..], b"."].concat());
    let expected = ["request 0 /b", "answer 0 200", "ended 0"];
    assert_eq!(told(&[R(get("/b")), Eom, W(open.clone()), Exc, Close]), expected);
    let expected = ["request 0 /b", "unanswered 0 EndOfRecords", "ended 0"];
    assert_eq!(told(&[R(get("/b")), Eom, W(open)]), expected);
}

#[test]
fn a_response_that_is_cut_off_is_no_answer() {
    let cut = ok("0123456789")[..40].to_vec();
    let expected = ["request 0 /b", "response_cut_off", "unanswered 0 ConnectionEnded", "ended 0"];
    assert_eq!(told(&[R(get("/b")), Eom, W(cut), Close]), expected);
}

#[test]
fn behind_a_101_there_are_no_requests() {
    let ask = b"GET /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_vec();
    let switch = b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n".to_vec();
    let answer = [&switch[..], b"bytes"].concat();
    let ops = [R(ask.clone()), Eom, W(answer), R(get("/b")), Eom, W(ok("")), Close];
    assert_eq!(told(&ops), ["request 0 /a", "answer 0 101", "ended 0"]);
    // What was read before the 101 came is of the other protocol too.
    let ops = [R([&ask[..], b"PU"].concat()), W(switch), R(b"T".to_vec()), Close];
    assert_eq!(told(&ops), ["request 0 /a", "answer 0 101", "ended 0"]);
}

#[test]
fn what_is_no_response_leaves_requests_unanswered_until_the_next_begins() {
    let ops = [
        R(get("/a")),
        Eom,
        W(b"tail of another".to_vec()),
        W(ok("")),
        R(get("/b")),
        Eom,
        W(ok("")),
        Close,
    ];
    let expected = [
        "request 0 /a",
        "response_unreadable",
        "unanswered 0 Unreadable",
        "request 1 /b",
        "answer 1 200",
        "ended 0",
    ];
    assert_eq!(told(&ops), expected);
    // One that pipelines may have more answers under way.
    let ops = [
        R([get("/a"), get("/b")].concat()),
        Eom,
        W(b"nonsense".to_vec()),
        R(get("/c")),
        Eom,
        W(ok("")),
        Close,
    ];
    let expected = [
        "request 0 /a",
        "request 1 /b",
        "response_unreadable",
        "unanswered 0 Unreadable",
        "unanswered 1 Unreadable",
        "request 2 /c",
        "unanswered 2 Unreadable",
        "ended 0",
    ];
    assert_eq!(told(&ops), expected);
}

#[test]
fn a_missing_record_truncates_what_it_was_part_of() {
    let body = "x".repeat(50);
    let long = put("/long", &body);
    let ops = [
        R(get("/a")),
        Eom,
        Flush,
        W(ok("")),
        R(long[..40].to_vec()),
        Flush,
        R(long[40..60].to_vec()),
        Flush,
        R(long[60..].to_vec()),
        Eom,
        W(ok("")),
        R(get("/b")),
        Eom,
        W(ok("")),
        Close,
    ];
    for writer in [Writer::new("c"), ours()] {
        let mut writer = writer;
        let records = writer.records(&ops);
        let mut run = Run::new();
        run.feed(&records[0]).feed(&records[1]).feed(&records[3]).end();
        let expected = [
            "request 0 /a",
            "answer 0 200",
            "records_missing",
            "request_truncated",
            "request 1 /b",
            "answer 1 200",
            "ended 0",
        ];
        assert_eq!(run.told(), expected);
        assert_eq!(run.requests()[1].index, 2);
        let mut run = Run::new();
        run.feed(&records[0]).feed(&records[2]).feed(&records[3]).end();
        let expected = [
            "request 0 /a",
            "records_missing",
            "unanswered 0 Gap",
            "request 1 /b",
            "answer 1 200",
            "ended 0",
        ];
        assert_eq!(run.told(), expected);
        assert_eq!(run.assembly.counters().missing_records, 1);
        // Late, and again: of no use.
        let mut run = Run::new();
        run.feed(&records[0]).feed(&records[1]).feed(&records[1]).feed(&records[0]);
        run.feed(&records[2]).feed(&records[3]).end();
        assert_eq!(run.requests().len(), 3);
        assert_eq!(run.assembly.counters().duplicates, 2);
    }
}

#[test]
fn an_end_that_the_framing_does_not_see() {
    let ops =
        [R(put("/a", "12345")[..50].to_vec()), Eom, W(ok("")), R(get("/b")), Eom, W(ok("")), Close];
    let expected = ["request_truncated", "request 0 /b", "answer 0 200", "ended 0"];
    assert_eq!(told(&ops), expected);
    let ops = [R(b"GET /lf HTTP/1.1\nHost: s\n\n".to_vec()), Eom, W(ok("")), Close];
    assert_eq!(told(&ops), ["request 0 /lf", "answer 0 200", "ended 0"]);
    let ops = [
        R(b"GET /nothing\r\n\r\n".to_vec()),
        Eom,
        W(status(400, "")),
        R(get("/b")),
        Eom,
        W(ok("")),
        Close,
    ];
    let expected = ["not_a_request", "request 0 /b", "answer 0 200", "ended 0"];
    assert_eq!(told(&ops), expected);
}

#[test]
fn requests_beyond_the_limit_are_followed_and_not_kept() {
    let mut limits = limits();
    limits.request_bytes_max = 200;
    let big = put("/big", &"x".repeat(500));
    let chunked = b"PUT /chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [&b"64\r\n"[..], &[b'y'; 100], b"\r\n"].concat();
    let ops = [
        R(big[..100].to_vec()),
        R(big[100..].to_vec()),
        Eom,
        W(ok("")),
        R([&chunked[..], &chunk].concat()),
        R(chunk),
        R(b"0\r\n\r\n".to_vec()),
        Eom,
        W(ok("")),
        R(get("/b")),
        Eom,
        W(status(404, "")),
        Close,
    ];
    let mut run = Run::with(limits);
    run.feed_all(&Writer::new("c").records(&ops)).end();
    let expected =
        ["request_too_large", "request_too_large", "request 0 /b", "answer 0 404", "ended 0"];
    assert_eq!(run.told(), expected);
    assert_eq!(run.requests()[0].index, 2);
    let Event::Trouble(trouble) = &run.events[0] else { panic!() };
    assert!(trouble.bytes.starts_with(b"PUT /big"));
}

#[test]
fn memory_is_made_by_giving_up_the_largest() {
    let mut run = Run::new();
    for (name, len) in [("a", 300), ("b", 900), ("c", 600)] {
        let request = put("/x", &"x".repeat(len));
        run.feed_all(&Writer::new(name).records(&[R(request[..100].to_vec())]));
    }
    let before = run.assembly.bytes();
    assert!(before >= 1800, "{before}");
    for name in ["b", "c", "a"] {
        assert!(run.with_events(Assembly::refuse_largest));
        let Some(Event::Trouble(trouble)) = run.events.last() else { panic!() };
        assert_eq!((trouble.kind, &*trouble.connection.id), (TroubleKind::TooLarge, name));
    }
    assert!(!run.with_events(Assembly::refuse_largest));
    assert_eq!(run.assembly.bytes(), 0);
    run.end();
}

#[test]
fn answers_are_kept_as_far_as_they_are_wanted() {
    let mut limits = limits();
    limits.keep_answers = KeepAnswers::Writes;
    limits.answer_bytes_max = 60;
    let long = ok(&"x".repeat(100));
    let ops = [R(get("/a")), Eom, W(long.clone()), R(put("/b", "")), Eom, W(long.clone()), Close];
    let mut run = Run::with(limits);
    run.feed_all(&Writer::new("c").records(&ops)).end();
    let answers: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Answer { answer, .. } => {
                Some((answer.status, answer.bytes.len(), answer.whole, answer.wire_bytes))
            }
            _ => None,
        })
        .collect();
    let wire = long.len() as u64;
    assert_eq!(answers, [(200, 0, false, wire), (200, 60, false, wire)]);
}

#[test]
fn undelivered_requests_are_the_last_ones() {
    let mut writer = ours();
    let mut run = Run::new();
    run.feed_all(&writer.records(&[R(put("/a", "1")), Eom]));
    run.feed_all(&writer.records(&[R(put("/b", "1")), Eom]));
    run.feed_all(&writer.records(&[R(put("/c", "1")), Eom]));
    let note = |notes: &mut Provenance| {
        notes.undelivered = Some(Undelivered { requests: 2, cause: 1 });
    };
    run.feed(&writer.noted(&[Exc, Close], note)).end();
    let expected = [
        "request 0 /a",
        "request 1 /b",
        "request 2 /c",
        "undelivered 2",
        "undelivered 1",
        "unanswered 0 ConnectionEnded",
        "ended 0",
    ];
    assert_eq!(run.told(), expected);
}

#[test]
fn what_tapline_answered_itself_is_no_answer_of_the_source() {
    let mut writer = ours();
    let mut run = Run::new();
    run.feed_all(&writer.records(&[R(put("/a", "1")), Eom]));
    run.feed_all(&writer.records(&[R(put("/b", "1")), Eom]));
    let note = |notes: &mut Provenance| {
        notes.undelivered = Some(Undelivered { requests: 2, cause: 2 });
    };
    run.feed(&writer.noted(&[W(status(502, "")), Exc, Close], note)).end();
    let expected = ["request 0 /a", "request 1 /b", "undelivered 0", "undelivered 1", "ended 0"];
    assert_eq!(run.told(), expected);
    // The one that was being read counts, from its head on.
    let mut writer = ours();
    let mut run = Run::new();
    run.feed_all(&writer.records(&[R(put("/a", "1")), Eom]));
    let part = R(put("/b", "12345")[..50].to_vec());
    let note = |notes: &mut Provenance| {
        notes.undelivered = Some(Undelivered { requests: 1, cause: 1 });
    };
    run.feed(&writer.noted(&[part, Exc, Close], note)).end();
    let expected = ["request 0 /a", "request_truncated", "unanswered 0 ConnectionEnded", "ended 0"];
    assert_eq!(run.told(), expected);
}

#[test]
fn earlier_requests_are_answered_behind_a_refused_one() {
    let mut writer = ours();
    let mut run = Run::new();
    run.feed_all(&writer.records(&[R(put("/a", "1")), Eom]));
    let note = |notes: &mut Provenance| {
        notes.refused = Some(Refused { reason: "bare_lf".into(), bytes: 9, crc32c: 1 });
    };
    run.feed(&writer.noted(&[Exc], note));
    run.feed_all(&writer.records(&[W(ok("")), Close])).end();
    assert_eq!(run.told(), ["request 0 /a", "answer 0 200", "ended 0"]);
    assert_eq!(run.assembly.counters().refused, 1);
}

#[test]
fn around_uncaptured_traffic_no_answer_is_believed() {
    let mut writer = ours();
    let mut run = Run::new();
    run.feed_all(&writer.records(&[R(get("/a")), Eom, W(ok("long")[..30].to_vec())]));
    let note = |notes: &mut Provenance| {
        notes.gap = Some(Gap { cause: 1, requests: 1, bytes: 99, ..Gap::default() });
    };
    run.feed(&writer.noted(&[R(put("/b", "1")), Eom], note));
    run.feed_all(&writer.records(&[W(ok("")), R(get("/c")), Eom, W(ok("")), Close])).end();
    let expected = [
        "request 0 /a",
        "uncaptured",
        "unanswered 0 Gap",
        "request 1 /b",
        "unanswered 1 Gap",
        "request 2 /c",
        "answer 2 200",
        "ended 0",
    ];
    assert_eq!(run.told(), expected);
    assert_eq!(run.assembly.counters().uncaptured_bytes, 99);
}

/// A whole request that was left out went with its whole answer: its neighbours in a pipeline keep theirs.
#[test]
fn around_requests_left_out_on_purpose_answers_still_match() {
    let mut writer = ours();
    let mut run = Run::new();
    run.feed_all(&writer.records(&[R(put("/a", "1")), Eom, W(ok("long")[..30].to_vec())]));
    let note = |notes: &mut Provenance| {
        notes.left_out = vec![LeftOut { cause: 1, requests: 1, bytes: 99 }];
    };
    run.feed(&writer.noted(&[R(put("/c", "1")), Eom, W(ok("long")[30..].to_vec())], note));
    run.feed_all(&writer.records(&[W(ok("")), Close])).end();
    let expected = ["request 0 /a", "request 1 /c", "answer 0 200", "answer 1 200", "ended 0"];
    assert_eq!(run.told(), expected);
    assert_eq!(run.assembly.counters().left_out, 1);
}

#[test]
fn a_lane_that_goes_to_somebody_else_is_forgotten_and_read_anew() {
    let mut writer = ours();
    let first = writer.records(&[R(put("/a", "1")), Eom, R(b"PUT".to_vec())]);
    let second =
        writer.records(&[R(b" /b HTTP/1.1\r\n\r\n".to_vec()), Eom, W(ok("")), W(ok("")), Close]);
    let mut run = Run::new();
    run.feed_to(1, &first[0]);
    run.drop_lane(1);
    assert_eq!(run.told(), ["request 0 /a", "forgotten 0", "ended 0"]);
    run.feed_to(2, &first[0]).feed_to(2, &second[0]).end();
    let expected = ["request 1 /a", "request 2 /b", "answer 1 200", "answer 2 200", "ended 1"];
    assert_eq!(run.told()[3..], expected);
    assert_eq!(run.assembly.counters().duplicates, 0);
}
