//! What is counted, and where there is nothing to count.

use super::{Author, Loss, Origin, Scratch, Span, Visit, described, quietly, read};
use crate::{
    capture::{Undelivered, UndeliveredCause},
    inspect::describe::Description,
    observe::ExitCode,
};

#[test]
fn everything_in_a_log_is_counted() {
    let mut author = Author::new(2);
    let mut records = author.connection(1, 2);
    let mut stream = author.stream(2);
    author.at(&mut stream, 90_000, |stream, to, stamp| {
        stream.read(to, stamp, b"PUT");
        stream.request_dropped(to, stamp);
        stream.close(to, stamp);
        stream.note(|notes| {
            let cause = UndeliveredCause::SourceClosed;
            notes.undelivered = Some(Undelivered { requests: 3, cause });
            notes.refused = Some(("bare_lf", 70, 1));
            notes.gap = Some(super::gap(4, 0, 500));
        });
    });
    // A number that nobody wrote: one is missing.
    author.sequence += 1;
    records.push(author.finish(&mut stream, true));
    records.push(records[0].clone());
    records.push(b"\xff\xff not a record".to_vec());
    let scratch = Scratch::of(&records);
    let mut description = scratch.describe();
    description.loss(&Loss { text: "frames 5 to 6".into(), records: Some(2) }).unwrap();
    let said = described(&description, &scratch.origin());
    let bytes: usize = records.iter().map(Vec::len).sum();
    for (name, expected) in [
        ("records", 6),
        ("bytes", bytes as u64),
        ("undecodable", 1),
        ("connections", 2),
        ("requests", 3),
        ("requests_dropped", 1),
        ("requests_undelivered", 3),
        ("requests_refused", 1),
        ("gap_notes", 1),
        ("gap_requests", 4),
        ("gap_bytes", 500),
        ("sequences_missing", 1),
        ("sequences_duplicate", 1),
    ] {
        assert_eq!(said[name], expected, "{name}");
    }
    assert_eq!(said["first_observation"], "2026-11-21T03:20:00Z");
    assert_eq!(said["last_observation"], "2026-11-21T03:21:30Z");
    assert_eq!(said["nodes"], serde_json::json!(["node-1"]));
    assert_eq!(said["incarnations"], serde_json::json!(["00000000000000ab"]));
    assert_eq!(said["losses"], serde_json::json!({ "reported": 1, "records": 2 }));
    assert_eq!(
        said["rows"],
        serde_json::json!([{
            "incarnation": "00000000000000ab", "node": "node-1", "records": 6, "bytes": bytes,
            "first": 0, "last": 5,
        }])
    );
    let worker = &said["workers"][0];
    assert_eq!((&worker["worker"], &worker["last_sequence"]), (&2.into(), &5.into()));

    let mut text = Vec::new();
    quietly(description.print(&mut text, &scratch.origin(), false)).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("\nrequests           3 (84 bytes, responses 120 bytes)"), "{text}");
    assert!(text.contains("\n  sequences        1 missing\n"), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("00000000000000ab      2")));
}

#[test]
fn a_place_without_a_log_is_named_with_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let failure = |dir| {
        let failure =
            read(&Origin::Log(dir), Span::default(), &mut Description::default()).unwrap_err();
        assert_eq!(failure.code(), ExitCode::Configuration);
        failure.to_string()
    };
    let absent = failure(root.path().join("absent"));
    assert!(absent.contains("absent") && absent.contains("--log"), "{absent}");
    let empty = failure(root.path().to_path_buf());
    assert!(empty.contains("holds no capture log"), "{empty}");
    let scratch = Scratch::of(&[]);
    let above = failure(scratch.root.path().to_path_buf());
    assert!(above.contains(&scratch.dir().display().to_string()), "{above}");
    // Begun and without a record is a log all the same.
    assert_eq!(described(&scratch.describe(), &scratch.origin())["records"], 0);
}
