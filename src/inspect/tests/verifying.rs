//! Each fault that is planted is found and named; what is legal is forgiven.

use prost::Message;

use super::{Author, Loss, Scratch, Span, Visit, gap, read, reported, verified};
use crate::{
    inspect::verify::Check,
    proto::{Index, TrafficStream},
};

/// Two connections of one worker, five and three records, sequences 1 to 8.
fn records() -> Vec<Vec<u8>> {
    let mut author = Author::new(2);
    let mut records = author.connection(1, 4);
    records.extend(author.connection(2, 2));
    records
}

type Change = fn(&mut TrafficStream);

fn changed(record: &[u8], change: impl FnOnce(&mut TrafficStream)) -> Vec<u8> {
    let mut stream = TrafficStream::decode(record).unwrap();
    change(&mut stream);
    stream.encode_to_vec()
}

#[test]
fn a_whole_log_is_whole() {
    let scratch = Scratch::of(&records());
    let mut check = Check::new(true);
    read(&scratch.origin(), Span::default(), &mut check).unwrap();
    let report = check.report(None);
    assert!(report.whole(), "{}", report.verdict());
    let said = reported(&report);
    assert_eq!((&said["connections"], &said["connections_open"]), (&2.into(), &0.into()));
    assert_eq!(said["workers"][0]["last_sequence"], 8);
}

#[test]
fn holes_are_named_as_ranges_and_by_connection() {
    let mut records = records();
    records.drain(1..3);
    records.remove(0);
    let report = verified(&records, false);
    assert!(!report.whole());
    let said = reported(&report);
    assert_eq!(said["workers"][0]["missing"], serde_json::json!([[1, 3]]));
    assert_eq!(said["sequences_missing"], 3);
    let fault = said["faults"]["named"][0].as_str().unwrap();
    assert!(fault.ends_with("of node node-1: records 1-3 missing"), "{fault}");
    assert_eq!(said["faults"]["total"], 1);
}

#[test]
fn a_lost_end_is_a_connection_that_is_still_open() {
    let mut records = records();
    records.pop();
    let report = verified(&records, false);
    assert!(report.whole(), "{}", report.verdict());
    assert_eq!(reported(&report)["connections_open"], 1);
}

#[test]
fn duplicates_are_named_and_forgiven_unless_strict() {
    let mut records = records();
    records.splice(3..3, records[1..3].to_vec());
    records.push(records[0].clone());
    let said = reported(&verified(&records, false));
    assert_eq!(said["whole"], true);
    assert_eq!(said["duplicates"], 3);
    assert_eq!(said["workers"][0]["duplicate"], serde_json::json!([[1, 3]]));
    let strict = verified(&records, true);
    assert!(!strict.whole());
    assert_eq!(strict.verdict(), "duplicates: 3");
}

#[test]
fn workers_may_interleave_but_a_connection_keeps_its_order() {
    let all = records();
    // As partitions are read: the later connection first.
    let other_first: Vec<_> = all[5..].iter().chain(&all[..5]).cloned().collect();
    assert!(verified(&other_first, true).whole());

    let mut swapped = all;
    swapped.swap(1, 2);
    let said = reported(&verified(&swapped, false));
    assert_eq!(said["sequences_missing"], 0);
    let fault = said["faults"]["named"][0].as_str().unwrap();
    assert!(fault.ends_with("record 2 comes after record 3"), "{fault}");
    assert_eq!((&said["faults"]["total"], &said["connections_open"]), (&1.into(), &0.into()));
}

#[test]
fn what_a_record_says_of_itself_is_checked() {
    let cases: [(usize, &str, Change); 5] = [
        (2, "record 3 says that 7 requests came before it, but there were 2", |stream| {
            stream.prior_requests_received = Some(7);
        }),
        (4, "it closes in record 5, which does not say that it is the last", |stream| {
            stream.index = Some(Index::Number(5));
        }),
        (1, "a record without a number", |stream| stream.index = None),
        (1, "record 3 comes after 2, which was the last", |stream| {
            stream.index = Some(Index::NumberOfThisLastChunk(2));
        }),
        (4, "record 5 missing", |stream| stream.index = Some(Index::NumberOfThisLastChunk(6))),
    ];
    for (index, expected, change) in cases {
        let mut records = records();
        records[index] = changed(&records[index], change);
        let report = verified(&records, false);
        assert!(!report.whole(), "{expected}");
        let said = reported(&report)["faults"]["named"].to_string();
        assert!(said.contains(expected), "{said} lacks {expected}");
    }
}

#[test]
fn undecodable_lost_and_uncaptured_are_not_whole() {
    let mut broken = records();
    broken.push(vec![0xFF]);
    assert_eq!(verified(&broken, false).verdict(), "undecodable records: 1");

    let mut check = Check::new(false);
    check.loss(&Loss { text: "frames 3 to 4 are damaged".into(), records: Some(2) }).unwrap();
    assert_eq!(check.report(None).verdict(), "losses of the log: 1");

    let mut author = Author::new(2);
    let mut stream = author.stream(1);
    author.at(&mut stream, 0, |stream, to, stamp| {
        stream.close(to, stamp);
        stream.note(|notes| notes.gap = Some(gap(3, 2, 99)));
    });
    let report = verified(&[author.finish(&mut stream, true)], false);
    assert_eq!(report.verdict(), "stretches uncaptured: 1");
    let said = reported(&report)["uncaptured"]["named"].to_string();
    assert!(said.contains("3 requests (2 writes) and 99 bytes passed before record 1"), "{said}");
}

#[test]
fn records_without_a_sequence_are_judged_by_connection() {
    let foreign = |records: Vec<Vec<u8>>| -> Vec<_> {
        records.iter().map(|record| changed(record, |stream| stream.provenance = None)).collect()
    };
    let mut records = foreign(records());
    let said = reported(&verified(&records, false));
    assert_eq!((&said["whole"], &said["records_without_sequence"]), (&true.into(), &8.into()));
    records.push(records[4].clone());
    assert_eq!(verified(&records, true).verdict(), "duplicates: 1");
    records.remove(2);
    let said = reported(&verified(&records, false))["faults"]["named"].to_string();
    assert!(said.contains("record 3 missing"), "{said}");
}
