use super::*;

const MS: u64 = 1_000_000;
const BULK: Asked = Asked { kind: Kind::Bulk, writes: true, filtered: false, pinned: false };
const READ: Asked = Asked { kind: Kind::Get, writes: false, ..BULK };
const WRITE: Asked = Asked { kind: Kind::Index, ..BULK };

fn decide(
    asked: Asked,
    progress: &mut Progress,
    status: u16,
    source: Option<u16>,
    body: &str,
) -> Decided {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
    let bytes = format!("{head}{body}").into_bytes();
    let reply =
        Reply { status, bytes: &bytes, head_bytes: head.len(), chunked: false, accepted: 0 };
    Policy::default().decide(asked, progress, Attempt::Answered(reply), source, 0)
}

/// Attempts until the end when every attempt is answered like this, and the end. 0 when there is none.
fn attempts(asked: Asked, status: u16, source: Option<u16>, body: &str) -> (u32, Option<Verdict>) {
    let mut progress = Progress::default();
    for attempt in 1..100 {
        let decided = decide(asked, &mut progress, status, source, body);
        if let Decision::Done(verdict) = decided.decision {
            return (attempt, Some(verdict));
        }
    }
    (0, None)
}

fn error(kind: &str) -> String {
    format!(r#"{{"index":{{"_id":"1","status":400,"error":{{"type":"{kind}","reason":"r"}}}}}}"#)
}

const OK: &str = r#"{"index":{"_id":"2","status":201}}"#;

#[test]
fn statuses_against_the_sources() {
    for (asked, source, target, expected, verdict) in [
        (READ, Some(200), 200, 1, Verdict::Same),
        (READ, Some(200), 404, 1, Verdict::TargetFailed),
        (READ, Some(404), 200, 1, Verdict::SourceFailed),
        (READ, Some(404), 404, 1, Verdict::BothFailed),
        (READ, Some(200), 401, 1, Verdict::TargetFailed),
        (READ, Some(200), 403, 1, Verdict::TargetFailed),
        (READ, Some(200), 301, 1, Verdict::Same),
        (READ, Some(200), 500, 4, Verdict::TargetFailed),
        (READ, Some(200), 429, 4, Verdict::TargetFailed),
        (READ, Some(200), 503, 4, Verdict::TargetFailed),
        (READ, None, 500, 4, Verdict::TargetFailed),
        (READ, None, 200, 1, Verdict::Unpaired),
        (WRITE, Some(201), 400, 4, Verdict::TargetFailed),
        (WRITE, Some(429), 429, 1, Verdict::BothFailed),
        (BULK, Some(200), 500, 4, Verdict::TargetFailed),
        (BULK, Some(200), 400, 4, Verdict::TargetFailed),
        (BULK, Some(429), 429, 4, Verdict::BothFailed),
    ] {
        let found = attempts(asked, target, source, "{}");
        assert_eq!(found, (expected, Some(verdict)), "{source:?}/{target}");
    }
    for (asked, status) in [(WRITE, 429), (WRITE, 503), (WRITE, 502), (BULK, 429), (BULK, 503)] {
        assert_eq!(attempts(asked, status, Some(200), ""), (0, None), "{status}");
        assert_eq!(attempts(asked, status, None, ""), (0, None), "{status}");
    }
    assert!(decide(WRITE, &mut Progress::default(), 429, None, "").refused);
    assert!(decide(READ, &mut Progress::default(), 503, None, "").refused);
    assert!(!decide(WRITE, &mut Progress::default(), 500, None, "").refused);
}

#[test]
fn refused_credentials_are_final_only_while_others_are_accepted() {
    let mut progress = Progress::default();
    let bytes = b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n";
    let mut attempt = |asked, source, accepted| {
        let (status, head_bytes) = (401, bytes.len());
        let reply = Reply { status, bytes, head_bytes, chunked: false, accepted };
        let attempt = Attempt::Answered(reply);
        Policy::default().decide(asked, &mut progress, attempt, source, 0).decision
    };
    for accepted in [5, 5, 5, 5, 5, 5, 6, 7, 8] {
        let again = attempt(WRITE, Some(200), accepted);
        assert!(matches!(again, Decision::Again { .. }), "{accepted}");
    }
    assert_eq!(attempt(WRITE, Some(200), 9), Decision::Done(Verdict::TargetFailed));
    // What the source did not take, and reads, are not worth it.
    assert_eq!(attempt(WRITE, Some(401), 9), Decision::Done(Verdict::BothFailed));
    assert_eq!(attempt(READ, Some(200), 9), Decision::Done(Verdict::TargetFailed));
}

#[test]
fn three_failures_and_then_success() {
    let mut progress = Progress::default();
    for _ in 0..3 {
        let decided = decide(WRITE, &mut progress, 404, Some(200), "");
        assert!(matches!(decided.decision, Decision::Again { body: Body::All, .. }));
    }
    let decided = decide(WRITE, &mut progress, 200, Some(200), "");
    assert_eq!(decided.decision, Decision::Done(Verdict::Same));
    assert_eq!(progress.attempts_counted(), 4);
}

#[test]
fn errors_of_items() {
    let final_ones = [
        "version_conflict_engine_exception",
        "mapper_parsing_exception",
        "strict_dynamic_mapping_exception",
        "document_missing_exception",
    ];
    for kind in final_ones {
        let body = format!(r#"{{"errors":true,"items":[{OK},{}]}}"#, error(kind));
        let (count, verdict) = attempts(BULK, 200, Some(200), &body);
        let failed = FailedItem { number: 1, status: 400, kind: kind.into() };
        assert_eq!((count, verdict), (1, Some(Verdict::PartlyFailed(vec![failed]))));
    }
    for kind in ["es_rejected_execution_exception", "unavailable_shards_exception"] {
        let body = format!(r#"{{"errors":true,"items":[{}]}}"#, error(kind));
        assert_eq!(attempts(BULK, 200, Some(200), &body), (0, None), "{kind}");
    }
    for kind in ["cluster_block_exception", "some_exception"] {
        let body = format!(r#"{{"errors":true,"items":[{OK},{}]}}"#, error(kind));
        let (count, verdict) = attempts(BULK, 200, Some(200), &body);
        assert_eq!(count, 4, "{kind}");
        assert!(matches!(verdict, Some(Verdict::PartlyFailed(failed)) if failed.len() == 1));
    }
    // A type below the error's own does not count.
    let nested = r#"{"errors":true,"items":[{"index":{"status":400,"error":{
        "caused_by":{"type":"date_time_parse_exception"},"type":"mapper_parsing_exception"}}}]}"#;
    assert_eq!(attempts(BULK, 200, Some(200), nested).0, 1);
}

#[test]
fn answers_of_bulks() {
    for (body, expected) in [
        (r#"{"took":1,"errors":false,"items":[]}"#, 1),
        (r#"{"items":[],"errors":false}"#, 1),
        ("not valid {{", 1),
        ("{}", 1),
        (r#"{"errors":false}"#, 1),
        (r#"{"errors":true}"#, 4),
        (r#"{"errors":true,"items":[{"index":{"status":201}}]}"#, 4),
        (r#"{"errors":true,"items":[{"index":{"status":400,"error":"text"}}]}"#, 4),
        (r#"{"errors":true,"items":[{"index":{"status":400,"error":{"reason":"r"}}}]}"#, 4),
        (r#"{"items":[{"index":{"status":400,"error":{"reason":"r"}}}],"errors":true}"#, 4),
        (
            r#"{"errors":true,"items":[{"delete":{"status":404}},{"index":{"status":400,
            "error":{"type":"mapper_parsing_exception"}}}]}"#,
            1,
        ),
    ] {
        assert_eq!(attempts(BULK, 200, Some(200), body).0, expected, "{body}");
    }
}

#[test]
fn only_the_failed_items_go_again() {
    let mut progress = Progress::default();
    let full = error("es_rejected_execution_exception");
    let odd = error("odd_exception");
    let bad = error("mapper_parsing_exception");
    let answer = |items: &[&str]| format!(r#"{{"errors":true,"items":[{}]}}"#, items.join(","));

    let first = answer(&[OK, &full, &bad, &odd, OK, &full]);
    let decided = decide(BULK, &mut progress, 200, Some(200), &first);
    let Decision::Again { body, after_ns } = decided.decision else { panic!("to go again") };
    assert_eq!((body, after_ns, decided.refused), (Body::Items(vec![1, 3, 5]), 100 * MS, true));

    let decided = decide(BULK, &mut progress, 200, Some(200), &answer(&[OK, &odd, &full]));
    let Decision::Again { body, after_ns } = decided.decision else { panic!("to go again") };
    assert_eq!((body, after_ns), (Body::Items(vec![3, 5]), 200 * MS));

    // A whole refusal in between keeps what is to go.
    let decided = decide(BULK, &mut progress, 429, Some(200), "");
    let Decision::Again { body, .. } = decided.decision else { panic!("to go again") };
    assert_eq!(body, Body::Items(vec![3, 5]));

    for _ in 0..2 {
        let decided = decide(BULK, &mut progress, 200, Some(200), &answer(&[&odd, &full]));
        assert!(matches!(decided.decision, Decision::Again { .. }));
    }
    // The odd one has had its four attempts; the refused one waits on.
    let decided = decide(BULK, &mut progress, 200, Some(200), &answer(&[&full]));
    let Decision::Again { body, .. } = decided.decision else { panic!("to go again") };
    assert_eq!(body, Body::Items(vec![5]));

    let done = r#"{"errors":false,"items":[]}"#;
    let decided = decide(BULK, &mut progress, 200, Some(200), done);
    let Decision::Done(Verdict::PartlyFailed(failed)) = decided.decision else { panic!("done") };
    let numbers: Vec<_> = failed.iter().map(|item| (item.number, item.kind.as_str())).collect();
    assert_eq!(numbers, [(2, "mapper_parsing_exception"), (3, "odd_exception")]);
}

#[test]
fn a_filtered_answer_has_no_places() {
    let body = format!(r#"{{"errors":true,"items":[{}]}}"#, error("odd_exception"));
    let asked = Asked { filtered: true, ..BULK };
    let mut progress = Progress::default();
    for _ in 0..3 {
        let decided = decide(asked, &mut progress, 200, Some(200), &body);
        assert!(matches!(decided.decision, Decision::Again { body: Body::All, .. }));
    }
    let decided = decide(asked, &mut progress, 200, Some(200), &body);
    assert!(matches!(decided.decision, Decision::Done(Verdict::PartlyFailed(_))));
}

#[test]
fn attempts_without_an_answer() {
    let policy = Policy::default();
    let mut progress = Progress::default();
    let mut last = 0;
    for attempt in 0..40 {
        let decided = policy.decide(WRITE, &mut progress, Attempt::Unconnected, None, 0);
        let Decision::Again { after_ns, body: Body::All } = decided.decision else {
            panic!("again")
        };
        assert!(after_ns >= last && (attempt > 0 || after_ns == MS));
        last = after_ns;
    }
    assert_eq!(
        (last, progress.attempts_counted(), progress.is_uncertain()),
        (30_000 * MS, 0, false)
    );

    for (asked, attempt, ends) in [
        (READ, Attempt::Lost, true),
        (WRITE, Attempt::Lost, false),
        (WRITE, Attempt::TimedOut, true),
        (WRITE, Attempt::Malformed, true),
        (READ, Attempt::Stale, true),
        (WRITE, Attempt::Stale, false),
    ] {
        let mut progress = Progress::default();
        let mut delays = Vec::new();
        for _ in 0..50 {
            match policy.decide(asked, &mut progress, attempt, Some(200), 0).decision {
                Decision::Again { after_ns, .. } => delays.push(after_ns / MS),
                Decision::Done(verdict) => {
                    assert_eq!(verdict, Verdict::NoAnswer);
                    break;
                }
            }
        }
        assert_eq!(delays.len() < 50, ends, "{attempt:?}");
        assert!(progress.is_uncertain());
        let free = usize::from(matches!(attempt, Attempt::Stale));
        assert_eq!(delays[free..free + 3], [100, 200, 400], "{attempt:?}");
        assert!(free == 0 || delays[0] == 0);
        assert!(ends || delays.last() == Some(&30_000));
    }
}

#[test]
fn what_an_earlier_attempt_did_is_no_failure() {
    let policy = Policy::default();
    let create = Asked { kind: Kind::Create, ..WRITE };
    let delete = Asked { kind: Kind::Delete, ..WRITE };
    for (asked, status) in [(create, 409), (delete, 404)] {
        let mut progress = Progress::default();
        let decided = decide(asked, &mut progress, status, Some(200), "");
        assert!(matches!(decided.decision, Decision::Again { .. }), "{status}");
        policy.decide(asked, &mut progress, Attempt::Lost, Some(200), 0);
        let decided = decide(asked, &mut progress, status, Some(200), "");
        assert_eq!(decided.decision, Decision::Done(Verdict::AlreadyDone), "{status}");
    }
    let pinned = Asked { pinned: true, ..WRITE };
    let decided = decide(pinned, &mut Progress::default(), 409, Some(201), "");
    assert_eq!(decided.decision, Decision::Done(Verdict::AlreadyDone));
    let body = r#"{"errors":true,"items":[{"create":{"status":409,
        "error":{"type":"version_conflict_engine_exception"}}}]}"#;
    let pinned = Asked { pinned: true, ..BULK };
    assert_eq!(attempts(pinned, 200, Some(200), body), (1, Some(Verdict::Same)));
    assert!(matches!(attempts(BULK, 200, Some(200), body), (1, Some(Verdict::PartlyFailed(_)))));
}

#[test]
fn the_target_says_when() {
    let policy = Policy::default();
    let wait = |value: &str, seed: u64| {
        let head = format!("HTTP/1.1 429 X\r\nRetry-After: {value}\r\n\r\n");
        let bytes = head.as_bytes();
        let reply =
            Reply { status: 429, bytes, head_bytes: bytes.len(), chunked: false, accepted: 0 };
        let mut progress = Progress::default();
        match policy.decide(WRITE, &mut progress, Attempt::Answered(reply), None, seed).decision {
            Decision::Again { after_ns, .. } => after_ns / MS,
            Decision::Done(_) => panic!("to go again"),
        }
    };
    assert_eq!(wait("2", 0), 2_000);
    assert!((2_000..=2_250).contains(&wait("2", u64::MAX)));
    assert_eq!(wait("0", 0), 100);
    assert!((75..100).contains(&wait("0", 24 * MS)));
    assert_eq!(wait("99999", 0), 300_000);
    for odd in ["99999999999999999999", "Wed, 21 Oct 2015 07:28:00 GMT", "-1"] {
        assert_eq!(wait(odd, 0), 100, "{odd}");
    }
}

#[test]
fn a_bulk_with_some_of_its_items() {
    let body =
        "{\"index\":{}}\n{\"a\":1}\n{\"delete\":{\"_id\":\"2\"}}\n{\"index\":{}}\n{\"a\":3}\n";
    let head = format!("POST /_bulk?x=y HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let message = format!("{head}{body}").into_bytes();
    let found = subset(&message, head.len(), false, &[1, 2]).unwrap();
    let expected = "{\"delete\":{\"_id\":\"2\"}}\n{\"index\":{}}\n{\"a\":3}\n";
    let found = String::from_utf8(found).unwrap();
    assert!(found.ends_with(expected) && found.contains("Length: 44\r\n"), "{found}");
    assert!(subset(&message, head.len(), false, &[1, 3]).is_err());
}
