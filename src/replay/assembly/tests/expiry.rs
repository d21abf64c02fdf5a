//! Captured time, and who is over by it.

use crate::replay::exchange::ConnectionName;

use super::{Op::*, *};

fn short() -> Limits {
    Limits { connection_timeout_ns: 10 * SECOND, ..limits() }
}

/// A record of another connection at a captured time.
fn tick(run: &mut Run, seconds: i64) {
    let mut writer = Writer::new(&format!("tick {seconds} {}", run.events.len()));
    writer.at_ns = seconds * SECOND;
    run.feed_all(&writer.records(&[Close]));
}

#[test]
fn a_silent_connection_expires_and_comes_back_in_order() {
    let mut run = Run::with(short());
    let mut writer = Writer::new("c");
    run.feed_all(&writer.records(&[R(put("/a", "1")), Eom, R(b"PUT".to_vec())]));
    tick(&mut run, 1009);
    assert_eq!(run.told(), ["request 0 /a"]);
    tick(&mut run, 1012);
    let expected = ["request 0 /a", "request_truncated", "unanswered 0 Expired", "ended 0"];
    assert_eq!(run.told(), expected);
    assert_eq!((run.assembly.bytes(), run.assembly.conversations()), (0, 0));
    writer.at_ns = 1013 * SECOND;
    let rest = b" /b HTTP/1.1\r\n\r\n".to_vec();
    run.feed_all(&writer.records(&[R(rest), Eom, W(ok("")), R(get("/c")), Eom, W(ok("")), Close]));
    run.end();
    let ended = format!("ended {}", run.requests()[1].connection.0);
    assert_eq!(run.told()[4..], ["request 1 /c", "answer 1 200", &ended]);
    assert_eq!(run.requests()[1].index, 2);
}

#[test]
fn its_own_next_record_may_be_the_one_that_tells() {
    let mut run = Run::with(short());
    let mut writer = Writer::new("c");
    run.feed_all(&writer.records(&[R(get("/1")), Eom, W(ok(""))]));
    writer.at_ns += 11 * SECOND;
    run.feed_all(&writer.records(&[R(get("/2")), Eom, W(ok(""))]));
    writer.at_ns += 9 * SECOND;
    run.feed_all(&writer.records(&[R(get("/3")), Eom, W(ok("")), Close])).end();
    let expected = [
        "request 0 /1",
        "answer 0 200",
        "ended 0",
        "request 1 /2",
        "answer 1 200",
        "request 2 /3",
        "answer 2 200",
        "ended 1",
    ];
    assert_eq!(run.told(), expected);
    let indexes: Vec<u64> = run.requests().iter().map(|request| request.index).collect();
    assert_eq!(indexes, [0, 1, 2]);
}

#[test]
fn time_that_runs_backwards_stands_still() {
    let mut run = Run::with(short());
    tick(&mut run, 2000);
    let mut writer = Writer::new("c");
    run.feed_all(&writer.records(&[R(put("/a", "1")), Eom]));
    tick(&mut run, 1500);
    tick(&mut run, 2009);
    assert_eq!(run.assembly.newest_ns(), 2009 * SECOND + 1_000_000);
    assert_eq!(run.told(), ["request 0 /a"]);
    tick(&mut run, 2011);
    assert_eq!(run.told()[1..], ["unanswered 0 Expired", "ended 1"]);
    run.end();
}

#[test]
fn a_connection_that_was_touched_is_no_orphan() {
    let mut run = Run::with(short());
    let (mut a, mut b) = (Writer::new("a"), Writer::new("b"));
    run.feed_all(&a.records(&[R(get("/a")), Eom, W(ok(""))]));
    run.feed_all(&b.records(&[R(get("/b")), Eom, W(ok(""))]));
    for seconds in 1..30 {
        (a.at_ns, b.at_ns) = ((1000 + seconds) * SECOND, (1000 + seconds) * SECOND);
        run.feed_all(&a.records(&[R(get("/a")), Eom, W(ok(""))]));
    }
    assert_eq!(run.assembly.conversations(), 1);
    tick(&mut run, 1050);
    assert_eq!((run.assembly.conversations(), run.assembly.counters().expired), (0, 2));
    run.end();
}

#[test]
fn connections_of_a_run_that_was_replaced_go_sooner() {
    let limits = Limits { connection_timeout_ns: 1000 * SECOND, ..limits() };
    let mut run = Run::with(limits);
    let mut old = Writer::new("old").of(9, 1);
    let mut drains = Writer::new("drains").of(9, 100);
    run.feed_all(&old.records(&[R(put("/old", "1")), Eom]));
    run.feed_all(&drains.records(&[R(put("/drains", "1")), Eom]));
    let mut elsewhere = Writer::new("elsewhere").of(9, 200);
    run.feed_to(1, &elsewhere.records(&[R(put("/elsewhere", "1")), Eom])[0]);
    let mut new = Writer::new("new").of(4, 1);
    run.feed_all(&new.records(&[R(put("/new", "1")), Eom]));
    drains.at_ns += 20 * SECOND;
    run.feed_all(&drains.records(&[W(ok(""))]));
    new.at_ns += 40 * SECOND;
    run.feed_all(&new.records(&[W(ok(""))]));
    let told = run.told();
    assert_eq!(told[4..], ["answer 1 200", "unanswered 0 Expired", "ended 0", "answer 3 200"]);
    assert_eq!(run.assembly.conversations(), 3);
    run.end();
}

#[test]
fn an_idle_conversation_is_small() {
    let node = "12200a50-4997-452d-aee7-f9617fdc27e7".len();
    let name = size_of::<ConnectionName>() + 2 * size_of::<usize>() + node + 60;
    let cost = name + table::SLOT_BYTES;
    assert!(cost < 300, "{cost}");
}
