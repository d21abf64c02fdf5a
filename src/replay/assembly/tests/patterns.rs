//! The reference's tests of its accumulator, as our own: the same patterns, tapline's answers to them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Op::*, *};

#[test]
fn one_exchange_in_one_record_and_in_many() {
    let body = "x".repeat(1024);
    let (request, answer) = (put("/a", &body), ok(&body));
    let expected = ["request 0 /a", "answer 0 200", "ended 0"];
    assert_eq!(told(&[R(request.clone()), Eom, W(answer.clone()), Close]), expected);
    let mut ops: Vec<Op> = request.chunks(100).flat_map(|part| [R(part.to_vec()), Flush]).collect();
    ops.push(Eom);
    ops.extend(answer.chunks(100).flat_map(|part| [W(part.to_vec()), Flush]));
    ops.push(Close);
    assert_eq!(told(&ops), expected);
}

#[test]
fn reading_begins_within_a_request() {
    let first = put("/a", "aaaa");
    let ops = [
        R(first[..20].to_vec()),
        Flush,
        R(first[20..].to_vec()),
        Eom,
        W(ok("1")),
        R(get("/b")),
        Eom,
        W(ok("2")),
        Close,
    ];
    let mut run = Run::new();
    run.feed_all(&Writer::new("c").records(&ops)[1..]).end();
    assert_eq!(run.told(), ["request 0 /b", "answer 0 200", "ended 0"]);
    assert_eq!(run.requests()[0].index, 1);
    let counters = run.assembly.counters();
    assert_eq!(counters.ignored_request_bytes, first.len() as u64 - 20);
    assert_eq!(counters.ignored_response_bytes, ok("1").len() as u64);
    assert_eq!(counters.truncated, 0);
}

#[test]
fn an_exception_drops_the_request_in_progress() {
    let ops = [R(b"PUT /a".to_vec()), Flush, R(b" HT".to_vec()), Flush, Exc];
    assert_eq!(told(&ops), ["request_truncated"]);
    let ops = [
        R(get("/a")),
        Eom,
        W(ok("")),
        Flush,
        R(b"G".to_vec()),
        Flush,
        R(b"E".to_vec()),
        Exc,
        Close,
    ];
    let expected = ["request 0 /a", "answer 0 200", "request_truncated", "ended 0"];
    assert_eq!(told(&ops), expected);
}

#[test]
fn reads_after_an_exception_and_after_a_close() {
    let ops = [
        R(b"GE".to_vec()),
        Exc,
        R(vec![]),
        Exc,
        R(get("/a")[..10].to_vec()),
        R(vec![]),
        R(get("/a")[10..].to_vec()),
        Eom,
        W(ok("")),
        W(vec![]),
    ];
    let mut writer = Writer::new("c");
    let mut records = writer.records(&ops);
    records.extend(writer.records(&[Close]));
    records.extend(writer.records(&ops));
    let mut run = Run::new();
    run.feed_all(&records).end();
    let expected = [
        "request_truncated",
        "request 0 /a",
        "answer 0 200",
        "ended 0",
        "request_truncated",
        "request 1 /a",
        "answer 1 200",
        "ended 1",
    ];
    assert_eq!(run.told(), expected);
    let requests = run.requests();
    assert_ne!(requests[0].fingerprint, requests[1].fingerprint);
    assert_ne!(requests[0].connection, requests[1].connection);
}

#[test]
fn reads_behind_a_close_in_the_same_record() {
    let once = [R(get("/a")), Eom, W(ok("")), Close];
    let told = told(&[&once[..], &once[..]].concat());
    let expected =
        ["request 0 /a", "answer 0 200", "ended 0", "request 1 /a", "answer 1 200", "ended 1"];
    assert_eq!(told, expected);
}

#[test]
fn segments_are_data() {
    let (request, answer) = (put("/a", "0123456789"), ok("abc"));
    let (a, b) = request.split_at(30);
    let (c, d) = answer.split_at(9);
    let ops = [
        RSeg(a.to_vec()),
        Flush,
        RSeg(b.to_vec()),
        SegEnd,
        Eom,
        WSeg(c.to_vec()),
        WSeg(d.to_vec()),
        Flush,
        SegEnd,
        Close,
    ];
    let mut run = Run::new();
    run.feed_all(&Writer::new("c").records(&ops)).end();
    assert_eq!(run.requests()[0].bytes, request);
    let Event::Answer { answer: found, .. } = &run.events[1] else { panic!("{:?}", run.told()) };
    assert_eq!((&found.bytes, found.whole, found.wire_bytes), (&answer, true, answer.len() as u64));
    assert_eq!(found.last_ns - found.first_ns, 1_000_000);
    assert_eq!(told(&[RSeg(a.to_vec()), RSeg(b.to_vec()), Eom, Close])[0], "request 0 /a");
}

#[test]
fn a_record_with_only_a_close_and_one_without_anything() {
    let told_by = |stream: TrafficStream| {
        let mut run = Run::new();
        run.feed(&stream.encode_to_vec()).end();
        run.told()
    };
    assert!(told(&[Close]).is_empty());
    assert!(
        told_by(TrafficStream { connection_id: "c".into(), ..TrafficStream::default() }).is_empty()
    );
}

#[test]
fn a_dropped_request_is_none_and_counts_for_none() {
    let ops = [
        R(get("/a")),
        Eom,
        W(ok("")),
        R(b"PUT /secret".to_vec()),
        Drop,
        R(get("/b")),
        Eom,
        W(ok("")),
        Close,
    ];
    let expected = ["request 0 /a", "answer 0 200", "request 1 /b", "answer 1 200", "ended 0"];
    assert_eq!(told(&ops), expected);
    let records = Writer::new("c").records(&[
        R(b"PUT /secret".to_vec()),
        Flush,
        R(b" HTTP".to_vec()),
        Drop,
        R(get("/b")),
        Eom,
        Close,
    ]);
    let mut run = Run::new();
    run.feed(&records[1]).end();
    assert_eq!(run.told(), ["request 0 /b", "unanswered 0 ConnectionEnded", "ended 0"]);
    assert_eq!(run.requests()[0].index, 0);
}

/// Of what an exchange may consist, so that every kind of observation begins and ends records.
fn exchange() -> impl Strategy<Value = Vec<Op>> {
    let parts = (1_usize..40, 1_usize..40, any::<bool>(), any::<bool>(), 0_u8..8, 0_usize..30);
    parts.prop_map(|(request_part, answer_part, seg_r, seg_w, kind, size)| {
        let body = "b".repeat(size);
        let request = if kind % 2 == 0 { get("/x") } else { put("/x", &body) };
        let answer = ok(&body);
        let mut ops = Vec::new();
        for part in request.chunks(request_part) {
            ops.push(if seg_r { RSeg(part.to_vec()) } else { R(part.to_vec()) });
        }
        if seg_r {
            ops.push(SegEnd);
        }
        if kind == 7 {
            // Given up before its end.
            let at = ops.len() / 2 + 1;
            let cut = ops.len() - usize::from(seg_r);
            ops.truncate(at.min(cut.saturating_sub(1)));
            if ops.is_empty() {
                ops.push(R(b"G".to_vec()));
            }
            ops.push(Drop);
            return ops;
        }
        ops.push(Eom);
        for part in answer.chunks(answer_part) {
            ops.push(if seg_w { WSeg(part.to_vec()) } else { W(part.to_vec()) });
        }
        if seg_w {
            ops.push(SegEnd);
        }
        ops
    })
}

proptest! {
    /// For every split of the records, what two fresh readers find is in union what one finds, each request once.
    #[test]
    fn two_readers_find_each_request_once(
        exchanges in proptest::collection::vec(exchange(), 1..5),
        flushes in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let mut ops = Vec::new();
        for (at, op) in exchanges.into_iter().flatten().chain([Close]).enumerate() {
            ops.push(op);
            if flushes[at % flushes.len()] {
                ops.push(Flush);
            }
        }
        if !matches!(ops.last(), Some(Close)) {
            ops.pop();
        }
        let records = Writer::new("c").records(&ops);
        let mut whole = Run::new();
        whole.feed_all(&records).end();
        let expected: Vec<_> =
            whole.requests().iter().map(|r| (r.index, r.fingerprint, r.bytes.clone())).collect();
        let indexes: BTreeSet<u64> = expected.iter().map(|(index, ..)| *index).collect();
        prop_assert_eq!(indexes.len(), expected.len());
        for split in 0..=records.len() {
            let (before, after) = records.split_at(split);
            let mut found = Vec::new();
            for part in [before, after] {
                let mut run = Run::new();
                run.feed_all(part).end();
                found.extend(
                    run.requests().iter().map(|r| (r.index, r.fingerprint, r.bytes.clone())),
                );
            }
            // A request that is cut by the split is in neither part: its records are read again, from its mark on.
            for request in &found {
                prop_assert!(expected.contains(request), "split {}", split);
            }
            let missing = expected.len() - found.len();
            prop_assert!(missing <= 1, "split {}: {} of {}", split, found.len(), expected.len());
        }
    }

    /// As above, with the records read again from the first mark that was held: nothing is missing.
    #[test]
    fn a_reader_that_goes_on_from_the_position_misses_nothing(
        exchanges in proptest::collection::vec(exchange(), 1..5),
        flushes in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let mut ops = Vec::new();
        for (at, op) in exchanges.into_iter().flatten().enumerate() {
            ops.push(op);
            if flushes[at % flushes.len()] {
                ops.push(Flush);
            }
        }
        ops.push(Close);
        let records = Writer::new("c").records(&ops);
        let mut whole = Run::new();
        whole.feed_all(&records).end();
        let expected: BTreeSet<u64> = whole.requests().iter().map(|r| r.index).collect();
        for split in 0..=records.len() {
            let mut first = Run::new();
            first.feed_all(&records[..split]);
            let mut found: BTreeSet<u64> = first.requests().iter().map(|r| r.index).collect();
            for (_, mark) in first.held.drain() {
                first.pins.release(mark);
            }
            let mut position = split as u64;
            first.pins.done(|_, number| position = number);
            let mut second = Run::new();
            second.feed_all(&records[position as usize..]).end();
            found.extend(second.requests().iter().map(|r| r.index));
            prop_assert_eq!(&found, &expected, "split {}", split);
        }
    }
}
