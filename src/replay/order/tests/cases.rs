//! Hand-made cases: one rule each.

use super::super::footprint::hash;
use crate::replay::exchange::{ConnectionId, ExchangeId, Seen};
use crate::replay::order::{
    Change, Document, Fact, Facts, Footprint, Item, Order, Ready, Schedule, Wait,
};

fn id(number: u64) -> ExchangeId {
    ExchangeId(number)
}

fn write(document: &str) -> Footprint {
    Footprint::Write(Document::new(b"logs", document.as_bytes()))
}

fn bulk(documents: &[&str]) -> Footprint {
    let item = |document: &&str| Item {
        index: hash(b"logs"),
        id: Some(hash(document.as_bytes())).filter(|_| !document.is_empty()),
    };
    Footprint::Bulk(documents.iter().map(item).collect())
}

fn fact(seq_no: u64) -> Fact {
    let index = Some(hash(b"logs"));
    Fact { status: 200, seq_no: Some(seq_no), version: None, index, unchanged: false }
}

fn told(numbers: &[u64]) -> Facts {
    Facts { items: numbers.iter().map(|&number| fact(number)).collect(), all: None }
}

/// A schedule in which the names are known, and requests 1, 2, … each on a connection of its own.
fn schedule(footprints: Vec<Footprint>) -> Schedule {
    let mut schedule = Schedule::new(Order::Document);
    schedule.admit(id(0), ConnectionId(0), Seen::default(), write("first"));
    schedule.answered(id(0), None, || Facts::one(fact(0)));
    assert_eq!(all(&mut schedule), [0]);
    schedule.finished(id(0));
    for (number, footprint) in (1..).zip(footprints) {
        schedule.admit(id(number), ConnectionId(number), Seen::default(), footprint);
    }
    schedule
}

/// All that may go now.
fn all(schedule: &mut Schedule) -> Vec<u64> {
    std::iter::from_fn(|| schedule.ready()).map(|ready| ready.id.0).collect()
}

#[test]
fn nothing_goes_before_its_answer_or_its_connection() {
    for order in [Order::Document, Order::Connection] {
        let mut schedule = Schedule::new(order);
        for number in 0..3 {
            schedule.admit(id(number), ConnectionId(number / 2), Seen::default(), Footprint::Free);
        }
        assert!(all(&mut schedule).is_empty());
        assert_eq!((schedule.waiting_for_answers(), schedule.blocked()), (3, 0));
        schedule.answered(id(1), None, || unreachable!("nothing is to be known of a search"));
        schedule.answered(id(2), None, Facts::none);
        assert_eq!(all(&mut schedule), [2]);
        assert_eq!((schedule.waiting_for_answers(), schedule.blocked()), (1, 1));
        schedule.answered(id(0), None, Facts::none);
        assert_eq!(all(&mut schedule), [0]);
        schedule.finished(id(0));
        assert_eq!(all(&mut schedule), [1]);
        schedule.finished(id(1));
        schedule.finished(id(2));
        assert!(schedule.holds_nothing());
    }
}

#[test]
fn what_did_not_overlap_is_not_asked_for() {
    let mut schedule = schedule(vec![write("a"), write("b")]);
    schedule.answered(id(1), None, || unreachable!("nobody else writes a"));
    schedule.answered(id(2), None, || unreachable!("nobody else writes b"));
    schedule.admit(id(3), ConnectionId(3), Seen::default(), write("a"));
    schedule.answered(id(3), None, || unreachable!("a was answered before"));
    assert_eq!(all(&mut schedule), [1, 2]);
    schedule.finished(id(1));
    assert_eq!(all(&mut schedule), [3]);
}

#[test]
fn the_lower_number_goes_first() {
    let mut schedule = schedule(vec![write("a"), write("a"), write("a")]);
    schedule.answered(id(3), None, || told(&[8]));
    schedule.answered(id(2), None, || told(&[7]));
    assert!(all(&mut schedule).is_empty());
    schedule.answered(id(1), None, || told(&[9]));
    for number in [2, 3, 1] {
        assert_eq!(all(&mut schedule), [number]);
        schedule.finished(id(number));
    }
    assert_eq!(schedule.counters().by_seq_no, 3);
    assert!(schedule.holds_nothing());
}

/// A read is sent before it is recorded: it can have been answered before a write that the records have before it.
#[test]
fn a_read_that_was_recorded_late_moves_no_write() {
    let mut schedule = schedule(vec![write("a"), write("a")]);
    schedule.answered(id(2), None, || told(&[8]));
    let read = Footprint::Read(Document::new(b"logs", b"a"));
    schedule.admit(id(3), ConnectionId(3), Seen::default(), read);
    schedule.answered(id(3), None, || told(&[5]));
    schedule.answered(id(1), None, || told(&[7]));
    for number in [1, 2, 3] {
        assert_eq!(all(&mut schedule), [number]);
        schedule.finished(id(number));
    }
    assert!(schedule.holds_nothing());
}

/// The answer to the making of an index can be recorded after writes to it: they have their numbers all the same.
#[test]
fn the_making_of_an_index_hides_no_numbers() {
    let make = Footprint::Indices { names: vec![hash(b"logs")], change: Change::Names };
    let mut schedule = schedule(vec![make, write("a"), write("a")]);
    schedule.answered(id(3), None, || told(&[7]));
    schedule.answered(id(2), None, || told(&[9]));
    schedule.answered(id(1), None, Facts::none);
    for number in [1, 3, 2] {
        assert_eq!(all(&mut schedule), [number]);
        schedule.finished(id(number));
    }
    assert_eq!((schedule.counters().by_seq_no, schedule.counters().by_capture), (2, 0));
}

/// Numbers of before and after the deletion of an index are not compared; which of them they are, its answer tells.
#[test]
fn a_deletion_parts_the_numbers_of_an_index() {
    let delete = Footprint::Indices { names: vec![hash(b"logs")], change: Change::Indices };
    let gone = |status| Facts { items: Vec::new(), all: Some(Fact { status, ..Fact::default() }) };
    let at = |ns| Seen { clock: 1, ns };
    for (status, deleted, expected) in
        [(200, 40, [1, 3, 2]), (404, 70, [1, 3, 2]), (200, 70, [1, 2, 3])]
    {
        let mut schedule = schedule(vec![]);
        schedule.admit(id(1), ConnectionId(1), at(10), delete.clone());
        schedule.admit(id(2), ConnectionId(2), at(50), write("a"));
        schedule.admit(id(3), ConnectionId(3), at(60), write("a"));
        schedule.answered(id(3), Some(90), || told(&[7]));
        schedule.answered(id(2), Some(91), || told(&[9]));
        assert!(all(&mut schedule).is_empty(), "the answer to the deletion is awaited");
        schedule.answered(id(1), Some(deleted), || gone(status));
        let order: Vec<u64> = std::iter::from_fn(|| {
            let ready = all(&mut schedule);
            for &number in &ready {
                schedule.finished(id(number));
            }
            (!ready.is_empty()).then_some(ready)
        })
        .flatten()
        .collect();
        // Within a life numbers tell; what met the deletion goes in the order of the records.
        assert_eq!(order, expected, "{status} {deleted}");
        assert!(schedule.holds_nothing());
    }
}

#[test]
fn bulks_that_were_each_first_on_one_document_go_in_parts() {
    let mut schedule = schedule(vec![bulk(&["x", "", "y"]), bulk(&["x", "y"])]);
    schedule.answered(id(1), None, || told(&[5, 6, 9]));
    schedule.answered(id(2), None, || told(&[7, 8]));
    // The first wrote x first, the second y.
    let part = |number, items: &[u32], last| Ready {
        id: id(number),
        items: Some(items.to_vec()),
        last,
        left_out: Vec::new(),
    };
    assert_eq!(schedule.ready(), Some(part(1, &[0, 1], false)));
    assert_eq!(schedule.ready(), None);
    schedule.finished(id(1));
    let second = schedule.ready().filter(|ready| ready.id == id(2));
    assert_eq!(second.and_then(|ready| ready.items), None);
    schedule.finished(id(2));
    assert_eq!(schedule.ready(), Some(part(1, &[2], true)));
    schedule.finished(id(1));
    assert!(schedule.holds_nothing());
}

#[test]
fn what_was_refused_among_others_is_left_out() {
    let mut schedule = schedule(vec![bulk(&["x", "y"]), write("x")]);
    let refused = Fact { status: 409, seq_no: None, ..fact(0) };
    schedule.answered(id(1), None, || Facts { items: vec![refused, refused], all: None });
    schedule.answered(id(2), None, || told(&[4]));
    let first = schedule.ready().map(|ready| (ready.id.0, ready.items, ready.left_out));
    assert_eq!(first, Some((1, None, vec![0])));
    assert_eq!(all(&mut schedule), [2]);
}

#[test]
fn barriers_let_nothing_pass() {
    let names = vec![hash(b"logs")];
    let refresh = Footprint::Indices { names, change: Change::Nothing };
    let other = Footprint::Generated(hash(b"other"));
    let mut schedule = schedule(vec![write("a"), refresh, write("b"), other, Footprint::Free]);
    for number in [1, 2, 3, 5] {
        schedule.answered(id(number), None, || told(&[number]));
    }
    // Until the answer says so, the other name could be one of the same index.
    assert_eq!(all(&mut schedule), [5]);
    let known = Fact { index: Some(hash(b"other")), ..fact(4) };
    schedule.answered(id(4), None, || Facts::one(known));
    assert_eq!(all(&mut schedule), [1, 4]);
    let why = schedule.why_blocked().map(|why| (why.id, why.root));
    assert_eq!(why, Some((id(2), id(2))));
    schedule.finished(id(1));
    assert_eq!(all(&mut schedule), [2]);
    let why = schedule.why_blocked().map(|why| (why.id, why.wait, why.root_wait));
    assert_eq!(why, Some((id(3), Wait::Index(Some(id(2))), Wait::Target)));
    schedule.finished(id(2));
    assert_eq!(all(&mut schedule), [3]);
}

#[test]
fn answers_are_given_up_where_others_wait_for_them() {
    let mut schedule = schedule(vec![write("x"), write("a"), write("a")]);
    schedule.answered(id(3), None, || told(&[1]));
    assert_eq!(schedule.stop_waiting(), Some(id(2)));
    assert_eq!(all(&mut schedule), [2]);
    // It comes after all, and changes nothing.
    schedule.answered(id(2), None, || unreachable!("it was given up"));
    assert_eq!(schedule.stop_waiting(), Some(id(1)));
    assert_eq!(schedule.stop_waiting(), None);
    assert_eq!((schedule.counters().given_up, schedule.counters().by_capture), (2, 1));
}

#[test]
fn who_is_cancelled_was_never_there() {
    let everything = Footprint::Everything { change: Change::Indices };
    let mut schedule = schedule(vec![write("a"), everything, write("a"), bulk(&["a", "b"])]);
    for number in 1..=4 {
        schedule
            .answered(id(number), None, || told(&[number, number][..=usize::from(number == 4)]));
    }
    assert_eq!(all(&mut schedule), [1]);
    schedule.cancel(id(2));
    schedule.cancel(id(1));
    assert_eq!(all(&mut schedule), [3]);
    schedule.cancel(id(3));
    schedule.cancel(id(3));
    assert_eq!(all(&mut schedule), [4]);
    schedule.cancel(id(4));
    assert!(schedule.holds_nothing());
}
