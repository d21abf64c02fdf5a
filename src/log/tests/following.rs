//! A reader on a log that grows: across segments, writers and threads.

use super::{Scratch, read_all, start};
use crate::log::{LogError, Position, Reader, recover};

/// The payload of the next record as text, or nothing.
fn take(reader: &mut Reader) -> Option<String> {
    reader.next().unwrap().map(|frame| String::from_utf8(frame.payload.to_vec()).unwrap())
}

#[test]
fn frames_are_seen_as_they_come_across_rolls_and_writers() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer(1, 4096 + 96);
    let mut reader = Reader::open(&scratch.dir(), &Position::start()).unwrap();
    assert_eq!(take(&mut reader), None);
    for number in 0..12 {
        let text = format!("record {number}");
        writer.append(&[text.as_bytes()]).unwrap();
        assert_eq!(take(&mut reader), Some(text));
        assert_eq!(take(&mut reader), None);
        assert!(reader.at_live_end());
    }
    assert!(std::fs::read_dir(writer.directory()).unwrap().count() > 4, "it rolled");
    drop(writer);
    assert!(!reader.at_live_end());
    assert_eq!(take(&mut reader), None);
    // The dead one is passed when there is another, recovered or not.
    let mut second = scratch.writer(2, 1 << 16);
    second.append(&[b"second"]).unwrap();
    assert_eq!(take(&mut reader), Some("second".into()));
    assert!(reader.at_live_end());
    recover(&scratch.dir()).unwrap();
    second.close().unwrap();
    assert_eq!(take(&mut reader), None);
    let mut third = scratch.writer(3, 1 << 16);
    assert_eq!(take(&mut reader), None);
    third.append(&[b"third"]).unwrap();
    assert_eq!(take(&mut reader), Some("third".into()));
}

#[test]
fn of_two_live_writers_the_earlier_is_read_to_its_end_first() {
    let scratch = Scratch::new();
    let mut first = scratch.writer(0xf0, 1 << 16);
    let mut second = scratch.writer(0x01, 1 << 16);
    second.append(&[b"second 0"]).unwrap();
    first.append(&[b"first 0"]).unwrap();
    let mut reader = Reader::open(&scratch.dir(), &Position::start()).unwrap();
    assert_eq!(take(&mut reader), Some("first 0".into()));
    assert_eq!(take(&mut reader), None);
    assert!(!reader.at_live_end());
    first.append(&[b"first 1"]).unwrap();
    first.close().unwrap();
    assert_eq!(take(&mut reader), Some("first 1".into()));
    assert_eq!(take(&mut reader), Some("second 0".into()));
    assert_eq!(take(&mut reader), None);
    assert!(reader.at_live_end());
    second.append(&[b"second 1"]).unwrap();
    assert_eq!(take(&mut reader), Some("second 1".into()));
}

#[test]
fn concurrent_reader_sees_each_record_once_and_whole() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer(1, 1 << 18);
    let total = 4000_u64;
    let writing = std::thread::spawn(move || {
        let large = vec![0x5a; 40_000];
        let mut next = 0;
        while next < total {
            let size = next as usize * 37 % 3000;
            let batch = [&large[..size], &large[..size * 9], &large[..0], &large[..1]];
            next = writer.append(&batch).unwrap().end;
        }
        writer.close().unwrap();
    });
    let mut reader = Reader::open(&scratch.dir(), &Position::start()).unwrap();
    let mut next = 0;
    while next < total {
        match reader.next().unwrap() {
            Some(frame) => {
                assert_eq!(frame.sequence, next);
                assert!(frame.payload.iter().all(|byte| *byte == 0x5a));
                next += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    writing.join().unwrap();
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn position_behind_a_cut_tail_goes_on_with_the_next_incarnation() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer(1, 1 << 16);
    writer.append(&[b"durable", b"seen but lost"]).unwrap();
    let behind = writer.position();
    let directory = writer.directory().to_path_buf();
    drop(writer);
    // What a loss of power leaves of the second frame.
    let file =
        std::fs::OpenOptions::new().write(true).open(super::only_segment(&directory)).unwrap();
    file.set_len(4096 + 32 + 10).unwrap();
    recover(&scratch.dir()).unwrap();
    let mut writer = scratch.writer(2, 1 << 16);
    writer.append(&[b"after"]).unwrap();
    assert_eq!(read_all(&scratch.dir(), &behind), [(2, 0, b"after".to_vec())]);
}

#[test]
fn clock_that_goes_back_does_not_hide_a_writer() {
    let scratch = Scratch::new();
    let mut first = scratch.writer(9, 1 << 16);
    first.append(&[b"a"]).unwrap();
    first.close().unwrap();
    let mut reader = Reader::open(&scratch.dir(), &Position::start()).unwrap();
    assert_eq!(take(&mut reader), Some("a".into()));
    let earlier = start() - std::time::Duration::from_secs(100);
    let settings = scratch.settings(1 << 16);
    let mut second = crate::log::Writer::create(settings, "n", 1, earlier).unwrap();
    second.append(&[b"b"]).unwrap();
    assert_eq!(take(&mut reader), Some("b".into()));
}

#[test]
fn positions_that_cannot_be_are_refused() {
    let scratch = Scratch::new();
    drop(scratch.writer(1, 1 << 16));
    let good = Reader::open(&scratch.dir(), &Position::start()).map(|mut reader| {
        assert!(reader.next().unwrap().is_none());
        reader.position()
    });
    let good = good.unwrap();
    assert!(Reader::open(&scratch.dir(), &good).is_ok());
    for bad in [
        Position { incarnation: "../../etc".into(), ..good.clone() },
        Position { offset: 8, ..good.clone() },
        Position { offset: 4097, ..good.clone() },
    ] {
        let error = Reader::open(&scratch.dir(), &bad).unwrap_err();
        assert!(matches!(error, LogError::BadPosition { .. }), "{error}");
    }
}
