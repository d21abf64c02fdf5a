//! Incarnations that are carried elsewhere: what is left, what is deleted when, and what is left alone.

use std::fs;

use super::{Scratch, numbered, read_all};
use crate::log::{LogError, Position, Reader, Spool, Writer, any_leftover};

/// Everything that the reader gives now.
fn rest(reader: &mut Reader) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        found.push(frame.payload.to_vec());
    }
    found
}

fn spooling(scratch: &Scratch, id: u64, segment_bytes: u64) -> (Writer, Spool) {
    let writer = scratch.writer(id, segment_bytes);
    let spool = Spool::of(&writer, &scratch.dir()).unwrap();
    (writer, spool)
}

#[test]
fn what_dead_runs_left_is_taken_over_once_in_order_and_nothing_else() {
    let scratch = Scratch::new();
    // A capture log in the same directory is nobody's spool.
    scratch.abandon(1, &numbered(3, 10));
    let (mut first, _) = spooling(&scratch, 2, 1 << 16);
    let (mut second, kept) = spooling(&scratch, 3, 1 << 16);
    let (mut live, _) = spooling(&scratch, 4, 1 << 16);
    for (writer, byte) in [(&mut first, 1), (&mut second, 2), (&mut live, 3)] {
        writer.append(&[&[byte; 5], &[byte; 6]]).unwrap();
        writer.sync().unwrap();
    }
    assert!(!any_leftover(&scratch.dir()).unwrap(), "all of them live");
    drop(first);
    kept.close(second, false).unwrap();
    assert!(any_leftover(&scratch.dir()).unwrap());
    let found = Spool::leftovers(&scratch.dir()).unwrap();
    let ids: Vec<_> = found.iter().map(|(spool, _)| spool.incarnation()).collect();
    assert_eq!(ids, [2, 3]);
    assert!(found[0].1.is_some() && found[1].1.is_none(), "one was killed, one was closed");
    assert!(Spool::leftovers(&scratch.dir()).unwrap().is_empty(), "they are taken");
    for ((spool, _), byte) in found.into_iter().zip([1, 2]) {
        assert!(spool.is_leftover());
        let position = spool.position().unwrap();
        assert!(spool.bytes_from(&position) > 11);
        let mut reader = spool.reader(&position).unwrap();
        // It ends where the incarnation ends, though there are later ones.
        assert_eq!(rest(&mut reader), [vec![byte; 5], vec![byte; 6]]);
        spool.advance(&reader.position()).unwrap();
        spool.remove().unwrap();
    }
    let left = read_all(&scratch.dir(), &Position::start());
    let ids: Vec<_> = left.iter().map(|frame| frame.0).collect();
    assert_eq!(ids, [1, 1, 1, 4, 4], "the capture log and the live spool");
    drop(live);
}

#[test]
fn a_position_survives_and_segments_before_it_go() {
    let scratch = Scratch::new();
    let (mut writer, spool) = spooling(&scratch, 7, 4096 + 200);
    let payloads = numbered(20, 50);
    for payload in &payloads {
        writer.append(&[payload]).unwrap();
    }
    writer.sync().unwrap();
    let segments = || {
        let entries = fs::read_dir(writer.directory()).unwrap();
        entries
            .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "seg"))
            .count()
    };
    let all = segments();
    assert!(all > 5);
    let mut reader = spool.reader(&spool.position().unwrap()).unwrap();
    for payload in &payloads[..10] {
        assert_eq!(reader.next().unwrap().unwrap().payload, payload);
    }
    let position = reader.position();
    spool.advance(&position).unwrap();
    assert!(segments() < all && segments() > 1);
    drop(writer);
    drop(spool);
    let (spool, _) = Spool::leftovers(&scratch.dir()).unwrap().pop().unwrap();
    assert_eq!(spool.position().unwrap(), position);
    assert_eq!(rest(&mut spool.reader(&position).unwrap()), payloads[10..]);
}

#[test]
fn a_run_that_ends_with_nothing_left_leaves_nothing() {
    let scratch = Scratch::new();
    let (mut writer, spool) = spooling(&scratch, 7, 1 << 16);
    let directory = writer.directory().to_path_buf();
    writer.append(&[b"arrived"]).unwrap();
    spool.close(writer, true).unwrap();
    assert!(!directory.exists());
    assert!(!any_leftover(&scratch.dir()).unwrap());
}

#[test]
fn a_segment_deleted_under_the_writer_is_no_durable_place() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer(7, 1 << 16);
    writer.append(&[b"a"]).unwrap();
    writer.sync().unwrap();
    fs::remove_dir_all(scratch.dir()).unwrap();
    writer.append(&[b"b"]).unwrap();
    let error = writer.sync().unwrap_err();
    assert!(error.to_string().contains("was deleted"), "{error}");
    assert!(matches!(writer.append(&[b"c"]), Err(LogError::Poisoned { .. })));
}
