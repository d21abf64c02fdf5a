//! Large bulks that come in several records.

use super::{Op::*, *};

/// Pieces of a request for `target` with a large body.
fn pieces(method: &str, target: &str) -> Vec<Vec<u8>> {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: s\r\nContent-Length: 150000\r\n\r\n");
    let whole = [head.into_bytes(), vec![b'x'; 150_000]].concat();
    whole.chunks(40_000).map(<[u8]>::to_vec).collect()
}

fn in_pieces(method: &str, target: &str, count: usize) -> Vec<Op> {
    pieces(method, target).into_iter().take(count).flat_map(|piece| [RSeg(piece), Flush]).collect()
}

fn told(ops: &[Op]) -> Vec<String> {
    let mut run = Run::new();
    run.feed_all(&Writer::new("c").records(ops)).end();
    run.told()
}

#[test]
fn a_large_bulk_is_told_of_from_its_second_piece_to_its_end() {
    let whole = [in_pieces("POST", "/logs/_bulk", 4), vec![SegEnd, Eom, W(ok("")), Close]].concat();
    let expected = ["arriving 0", "request 0 /logs/_bulk", "arrived 0", "answer 0 200", "ended 0"];
    assert_eq!(told(&whole), expected);
    let whole = [in_pieces("PUT", "/logs/_doc/1", 4), vec![SegEnd, Eom, W(ok("")), Close]].concat();
    assert_eq!(told(&whole)[0], "request 0 /logs/_doc/1", "one document is written as a whole");
}

#[test]
fn one_that_never_ends_is_told_of_too() {
    for end in [vec![Close], vec![Exc], vec![Drop], vec![]] {
        let ops = [in_pieces("POST", "/_bulk", 3), end].concat();
        let told = told(&ops);
        assert_eq!(told[0], "arriving 0");
        assert!(told.contains(&"arrived 0".to_owned()), "{told:?}");
    }
}

#[test]
fn of_two_that_follow_each_other_each_is_told_of() {
    let (mut first, second) = (pieces("POST", "/_bulk"), pieces("POST", "/_bulk"));
    let last = first.pop().unwrap_or_default();
    let mut ops: Vec<Op> = first.into_iter().flat_map(|piece| [RSeg(piece), Flush]).collect();
    let mut second = second.into_iter();
    let front: Vec<u8> = second.by_ref().take(2).flatten().collect();
    ops.extend([RSeg(last), SegEnd, Eom, RSeg(front), Flush]);
    ops.extend(second.flat_map(|piece| [RSeg(piece), Flush]));
    ops.extend([SegEnd, Eom, W(ok("")), W(ok("")), Close]);
    let told = told(&ops);
    let expected =
        ["arriving 0", "request 0 /_bulk", "arrived 0", "arriving 0", "request 1 /_bulk"];
    assert_eq!(told[..5], expected);
}
