//! Retention: what may go, what stays for a group, what a reader is told.

use std::time::{Duration, SystemTime};

use super::{Scratch, read_all, read_with_losses};
use crate::log::{Groups, Limits, LogError, Position, Reader, Unread, retain};

fn limits(bytes: Option<u64>, unread: Unread) -> Limits {
    Limits { bytes, age: None, now: SystemTime::now(), unread }
}

/// Two incarnations, closed, of four segments with one record each.
fn filled(scratch: &Scratch) {
    for id in [1, 2] {
        let mut writer = scratch.writer(id, 8192);
        for _ in 0..4 {
            writer.append(&[&[id as u8; 4000]]).unwrap();
        }
        writer.close().unwrap();
    }
}

fn position_after(scratch: &Scratch, frames: usize) -> Position {
    let mut reader = Reader::open(&scratch.dir(), &Position::start()).unwrap();
    for _ in 0..frames {
        reader.next().unwrap().unwrap();
    }
    reader.position()
}

#[test]
fn never_past_an_unread_group() {
    let scratch = Scratch::new();
    filled(&scratch);
    let groups = Groups::open(&scratch.dir()).unwrap();
    groups.save("new", &Position::start()).unwrap();
    assert_eq!(retain(&scratch.dir(), &limits(Some(0), Unread::Keep)).unwrap(), []);
    groups.remove("new").unwrap();
    groups.save("slow", &position_after(&scratch, 3)).unwrap();
    groups.save("fast", &position_after(&scratch, 7)).unwrap();
    let gone = retain(&scratch.dir(), &limits(Some(0), Unread::Keep)).unwrap();
    let gone: Vec<_> = gone.iter().map(|gone| (gone.incarnation, gone.first)).collect();
    assert_eq!(gone, [(1, 0), (1, 1)]);
    let slow = groups.load("slow").unwrap().unwrap();
    assert_eq!(read_all(&scratch.dir(), &slow).len(), 5);
}

#[test]
fn size_and_age_delete_the_oldest_first() {
    let scratch = Scratch::new();
    filled(&scratch);
    let all = retain(&scratch.dir(), &limits(Some(u64::MAX), Unread::Keep)).unwrap();
    assert_eq!(all, []);
    let later = SystemTime::now() + Duration::from_secs(1000);
    let young =
        Limits { age: Some(Duration::from_secs(2000)), now: later, ..limits(None, Unread::Keep) };
    assert_eq!(retain(&scratch.dir(), &young).unwrap(), []);
    let gone = retain(&scratch.dir(), &limits(Some(3 * 8192 + 4096), Unread::Keep)).unwrap();
    assert_eq!(gone.last().map(|gone| (gone.incarnation, gone.first)), Some((2, 0)));
    let left = read_all(&scratch.dir(), &Position::start());
    assert_eq!(left.iter().map(|frame| frame.1).collect::<Vec<_>>(), [1, 2, 3]);
    let old =
        Limits { age: Some(Duration::from_secs(100)), now: later, ..limits(None, Unread::Keep) };
    assert_eq!(retain(&scratch.dir(), &old).unwrap().len(), 3);
    assert_eq!(read_all(&scratch.dir(), &Position::start()), []);
}

#[test]
fn forced_deletion_is_told_to_the_reader() {
    let scratch = Scratch::new();
    filled(&scratch);
    let groups = Groups::open(&scratch.dir()).unwrap();
    let within = position_after(&scratch, 1);
    groups.save("slow", &within).unwrap();
    let gone = retain(&scratch.dir(), &limits(Some(6 * 8192), Unread::Delete)).unwrap();
    assert!(gone.len() < 4 && gone.len() > 1, "{gone:?}");
    let (frames, losses) = read_with_losses(&scratch.dir(), &within);
    let first = gone.last().unwrap().first + 1;
    assert_eq!(frames[0].1, first);
    assert!(
        matches!(&losses[..], [LogError::Missing { first: 1, end: Some(end), .. }] if *end == first),
        "{losses:?}"
    );
    retain(&scratch.dir(), &limits(Some(0), Unread::Delete)).unwrap();
    let (frames, losses) = read_with_losses(&scratch.dir(), &within);
    assert_eq!(frames, []);
    assert!(matches!(&losses[..], [LogError::Missing { end: None, .. }]), "{losses:?}");
}

#[test]
fn segment_in_use_stays() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer(1, 8192);
    for _ in 0..3 {
        writer.append(&[&[1; 4000]]).unwrap();
    }
    let gone = retain(&scratch.dir(), &limits(Some(0), Unread::Keep)).unwrap();
    assert_eq!(gone.len(), 2);
    writer.append(&[b"still works"]).unwrap();
    writer.close().unwrap();
    assert_eq!(read_all(&scratch.dir(), &Position::start()).len(), 2);
}
