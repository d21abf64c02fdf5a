//! What heartbeats prove: that a run is whole to its end, what is lost and what was only not stored, and whether a node
//! captured without a gap since a time.

use super::{Author, START, feed, gap, reported};
use crate::{
    capture::{ConnectionId, Context, Gap, Heartbeat, Stamp, Told},
    inspect::{report::Report, since::Question, verify::Check},
};

const SECOND: u64 = 1_000_000_000;

/// A worker of one of a node's runs, which counts as the real one does.
struct Voice {
    author: Author,
    started_s: u64,
    told: Told,
    serial: u32,
    records: Vec<Vec<u8>>,
}

impl Voice {
    fn new(incarnation: u64, worker: u16, started_s: u64) -> Self {
        let mut author = Author::new(worker);
        author.identity.incarnation = incarnation;
        let serial = u32::from(worker) << 16;
        Self { author, started_s, told: Told::default(), serial, records: Vec::new() }
    }

    /// Connections of three requests in four records each.
    fn connections(&mut self, number: u32) -> &mut Self {
        for _ in 0..number {
            self.serial += 1;
            let records = self.author.connection(self.serial, 3);
            self.told.captured += 3;
            self.records.extend(records);
        }
        self
    }

    fn beat(&mut self, at_s: u64, change: impl FnOnce(&mut Heartbeat)) -> &mut Self {
        let mut heartbeat = Heartbeat {
            interval_ms: 10_000,
            workers: 1,
            started_unix_ns: START + self.started_s * SECOND,
            told: self.told,
            stored: self.author.sequence,
            ..Heartbeat::default()
        };
        change(&mut heartbeat);
        self.author.sequence += 1;
        self.serial += 1;
        let Author { identity, pool, sequence } = &mut self.author;
        let id = ConnectionId::new(identity, self.serial, START);
        let stamp = Stamp::new(START + at_s * SECOND);
        let record = heartbeat.record(&mut Context { identity, pool }, &stamp, id, *sequence);
        self.records.push(record.bytes);
        self
    }

    fn farewell(&mut self, at_s: u64) -> &mut Self {
        self.beat(at_s, |heartbeat| heartbeat.last = true)
    }
}

/// Asks about the time `since_s` at the time `now_s`.
fn asked(records: &[Vec<u8>], since_s: u64, now_s: u64) -> Report {
    let mut check = Check::new(false);
    feed(records, &mut check);
    let at = |seconds: u64| i128::from(START + seconds * SECOND);
    check.report(Some(Question { since_ns: at(since_s), now_ns: at(now_s) }))
}

fn judged(records: &[Vec<u8>]) -> Report {
    super::verified(records, false)
}

/// Yes or no, with what is said of it.
fn answered(records: &[Vec<u8>], since_s: u64, now_s: u64) -> (bool, String) {
    let report = asked(records, since_s, now_s);
    (report.passes(), reported(&report)["since"].to_string())
}

fn run_of_a_minute() -> Voice {
    let mut voice = Voice::new(0xA, 0, 0);
    for at in [0, 10, 20, 30, 40, 50] {
        voice.beat(at, |_| ()).connections(2);
    }
    voice.farewell(60);
    voice
}

#[test]
fn a_run_with_a_farewell_is_whole_in_whatever_order_it_is_read() {
    let records = run_of_a_minute().records;
    let report = judged(&records);
    assert!(report.whole(), "{}", report.verdict());
    let said = reported(&report);
    assert_eq!(said["workers"][0]["heartbeats"], 7);
    assert_eq!(said["workers"][0]["ended"], "in order");
    assert_eq!(said["connections"], 12, "heartbeats are no connections");
    // Connections to and fro, as partitions are read, each in its order.
    let mut halves: Vec<_> = records.chunks(5).collect();
    halves.reverse();
    let turned: Vec<_> = halves.into_iter().flatten().cloned().collect();
    let report = judged(&turned);
    assert_eq!(reported(&report)["heartbeats"]["total"], 0, "{}", report.verdict());
}

#[test]
fn a_heartbeat_that_counts_more_than_the_records_is_named() {
    let mut voice = Voice::new(0xA, 0, 0);
    voice.beat(0, |_| ()).connections(1);
    voice.told.captured += 1;
    voice.farewell(10);
    let report = judged(&voice.records);
    assert_eq!(report.verdict(), "heartbeats that differ: 1");
    let text = reported(&report)["heartbeats"]["named"][0].to_string();
    assert!(text.contains("sequences 2 to 5"), "{text}");
    assert!(text.contains("counts 4 requests captured"), "{text}");
    let mut late = Voice::new(0xA, 0, 0);
    late.beat(0, |_| ()).farewell(10).connections(1);
    let text = reported(&judged(&late.records))["heartbeats"]["named"][0].to_string();
    assert!(text.contains("behind its farewell, which is 2"), "{text}");
}

#[test]
fn what_a_killed_run_had_not_stored_is_told_from_what_is_lost() {
    let killed = |stored: u64, gone: usize| {
        let mut voice = Voice::new(0xA, 0, 0);
        voice.beat(0, |_| ()).connections(2).beat(10, |beat| beat.stored = stored).connections(2);
        // A whole connection, as when its partition did not answer.
        let at = if gone == 0 { 1 } else { voice.records.len() - 8 };
        voice.records.drain(at..at + 4);
        voice.records
    };
    let report = judged(&killed(9, 1));
    assert!(report.whole(), "{}", report.verdict());
    let said = reported(&report);
    assert_eq!(said["workers"][0]["unfinished"], serde_json::json!([[11, 14]]));
    assert_eq!(said["workers"][0]["ended"], "not in order, or not yet");
    assert_eq!(judged(&killed(9, 0)).verdict(), "sequences missing: 4");
    // One heartbeat says less, another more: what was stored stays stored.
    assert!(judged(&killed(1, 0)).whole(), "nobody said that it was stored");
}

#[test]
fn since_is_yes_for_a_node_that_runs_and_for_one_that_was_restarted() {
    let records = run_of_a_minute().records;
    let (yes, said) = answered(&records, 5, 600);
    assert!(yes && said.contains("stopped in order"), "{said}");
    assert!(answered(&records[..records.len() - 1], 5, 70).0, "it lives");
    let mut both = records[..records.len() - 1].to_vec();
    let mut next = Voice::new(0xB, 0, 75);
    next.beat(75, |_| ()).connections(1).beat(85, |_| ());
    both.extend(next.records);
    let (yes, said) = answered(&both, 5, 90);
    assert!(yes && said.contains("broken off") && said.contains("not running between"), "{said}");
}

#[test]
fn since_is_no_with_the_reason() {
    let whole = run_of_a_minute().records;
    let no = |records: &[Vec<u8>], since: u64, now: u64, expected: &str| {
        let (yes, said) = answered(records, since, now);
        assert!(!yes && said.contains(expected), "{expected}: {said}");
    };
    let mut late = Voice::new(0xA, 0, 30);
    late.beat(30, |_| ()).connections(1).farewell(40);
    no(&late.records, 5, 50, "it took connections from");
    no(&whole[..whole.len() - 1], 5, 600, "nothing is heard of it after 2026-11-21T03:20:50Z");
    let mut holed = whole.clone();
    holed.remove(11);
    no(&holed, 5, 600, "1 records missing: sequences 12, before 2026-11-21T03:20:20Z");
    assert!(answered(&holed, 25, 600).0, "the hole is of before");
    let mut broken = whole.clone();
    broken.push(vec![0xFF]);
    no(&broken, 5, 600, "records that cannot be read: 1");
    let mut alone = Voice::new(0xA, 0, 0);
    alone.beat(0, |_| ()).beat(60, |beat| (beat.workers, beat.last) = (2, true));
    no(&alone.records, 5, 70, "of its 2 workers only 1");
    let mut silent = Voice::new(0xA, 0, 0);
    silent.connections(1);
    no(&silent.records, 5, 70, "gives no heartbeats");
    no(&whole, 70, 600, "no run of it is known at or after");
    let mut passing = Voice::new(0xA, 0, 0);
    passing.beat(0, |_| ()).beat(10, |beat| beat.untold = 4).beat(20, |beat| beat.untold = 4);
    no(&passing.records, 5, 25, "4 requests passed uncaptured of which no record says when");
    assert!(!asked(&[], 0, 10).passes(), "nothing is proved of nothing");
}

/// Under pass what is not stored may have got through, so that nothing of it is proved.
#[test]
fn since_is_no_for_a_run_that_broke_off_or_has_holes_while_writes_could_pass() {
    let run = |passes: bool, hole: bool| {
        let mut voice = Voice::new(0xA, 0, 0);
        voice.beat(0, |beat| beat.passes = passes).connections(2);
        voice.beat(10, |beat| (beat.passes, beat.stored, beat.early) = (passes, 1, 3));
        if hole {
            voice.records.drain(1..5);
        }
        voice
    };
    let with_next = |mut voice: Voice| {
        let mut next = Voice::new(0xB, 0, 75);
        next.beat(75, |_| ()).beat(85, |_| ());
        voice.records.extend(next.records);
        voice.records
    };
    let (yes, said) = answered(&with_next(run(false, false)), 5, 90);
    assert!(yes && said.contains("no write got through"), "{said}");
    let (yes, said) = answered(&with_next(run(true, false)), 5, 90);
    assert!(!yes && said.contains("broken off after") && said.contains("pass"), "{said}");
    assert!(!said.contains("no write"), "{said}");
    let (yes, said) = answered(&run(false, true).records, 5, 20);
    assert!(yes && said.contains("no write in them got through"), "{said}");
    let (yes, said) = answered(&run(true, true).records, 5, 20);
    assert!(!yes && said.contains("writes in them may have got through"), "{said}");
    assert!(!said.contains("no write"), "{said}");
    // It lives and nothing is missing: what went early is here.
    let (yes, said) = answered(&run(true, false).records, 5, 20);
    assert!(yes && said.contains("3 writes since its start were let through before"), "{said}");
    let mut healed = run(true, false);
    healed.beat(20, |beat| (beat.passes, beat.last) = (true, true));
    assert!(answered(&healed.records, 5, 600).0, "a farewell says that all is there");
}

#[test]
fn a_marker_of_a_worker_is_a_gap_and_no_connection() {
    let mut voice = Voice::new(0xA, 0, 0);
    voice.beat(0, |_| ()).connections(1);
    let marker = Gap { connections: 4, ..gap(3, 2, 99) };
    voice.author.sequence += 1;
    let Author { identity, pool, sequence } = &mut voice.author;
    let id = ConnectionId::new(identity, 77, START);
    let stamp = Stamp::new(START + 3 * SECOND);
    let record = marker.marker(&mut Context { identity, pool }, &stamp, id, *sequence);
    voice.records.push(record.bytes);
    voice.told.uncaptured += 3;
    voice.farewell(20);
    let report = judged(&voice.records);
    assert_eq!(report.verdict(), "stretches uncaptured: 1");
    let said = reported(&report);
    assert_eq!(said["connections"], 1);
    let text = said["uncaptured"]["named"][0].to_string();
    let expected =
        "worker 0 of run 000000000000000a, 4 connections: 3 requests (2 writes) and 99 bytes";
    assert!(text.contains(expected), "{text}");
    assert!(!answered(&voice.records, 1, 30).0);
    assert!(answered(&voice.records, 5, 30).0, "it was over before");
}

#[test]
fn since_is_no_where_traffic_passed_after_that_and_yes_where_it_was_before() {
    let mut voice = Voice::new(0xA, 0, 0);
    voice.beat(0, |_| ());
    let mut stream = voice.author.stream(99);
    voice.author.at(&mut stream, 2000, |stream, to, stamp| {
        stream.close(to, stamp);
        stream.note(|notes| notes.gap = Some(gap(3, 2, 99)));
    });
    let record = voice.author.finish(&mut stream, true);
    voice.records.push(record);
    voice.told.uncaptured += 3;
    voice.beat(10, |_| ()).farewell(20);
    let (yes, said) = answered(&voice.records, 1, 30);
    assert!(!yes, "{said}");
    let when = "between 2026-11-21T03:20:00Z and 2026-11-21T03:20:02Z";
    assert!(said.contains("3 requests (2 writes) and 99 bytes") && said.contains(when), "{said}");
    assert!(answered(&voice.records, 5, 30).0);
    let report = judged(&voice.records);
    assert_eq!(report.verdict(), "stretches uncaptured: 1");
}
