//! Torn tails, flipped bytes, newer versions: recovered, reported, never taken for a record.

use std::fs;
use std::os::unix::fs::FileExt;

use super::{Scratch, numbered, only_segment, read_all, read_with_losses};
use crate::log::format::{HEADER_BYTES, stride};
use crate::log::{LogError, Outcome, Position, Reader, Writer, recover};

/// Bytes of the frames of `numbered(count, bytes)`.
fn ends(count: usize, bytes: usize) -> Vec<u64> {
    let mut end = HEADER_BYTES as u64;
    let frames = numbered(count, bytes);
    frames.iter().map(|payload| (end += stride(payload.len()), end).1).collect()
}

#[test]
fn tail_torn_at_every_byte_is_cut_to_the_last_whole_frame() {
    let payloads = numbered(6, 20);
    let ends = ends(6, 20);
    let scratch = Scratch::new();
    let directory = scratch.abandon(3, &payloads);
    let segment = only_segment(&directory);
    let whole = fs::read(&segment).unwrap();
    for zero_filled in [false, true] {
        for cut in ends[2]..=ends[5] {
            let mut bytes = whole[..cut as usize].to_vec();
            if zero_filled {
                bytes.resize(whole.len(), 0);
            }
            fs::write(&segment, &bytes).unwrap();
            // Padding holds nothing: a frame is whole once its payload is.
            let left = (0..6)
                .filter(|index| {
                    let padding =
                        ends[*index] - ends.get(index.wrapping_sub(1)).copied().unwrap_or(4096);
                    let unpadded = 24 + payloads[*index].len() as u64;
                    cut >= ends[*index] - (padding - unpadded)
                })
                .count();
            let before = read_all(&scratch.dir(), &Position::start());
            assert_eq!(before.len(), left, "cut at {cut}");
            let report = recover(&scratch.dir()).unwrap();
            assert_eq!(report.len(), 1);
            let torn = !ends.contains(&cut) && left < 6 && cut != ends[left - 1];
            match &report[0].outcome {
                Outcome::Closed { next, torn: said } => {
                    assert_eq!(*next, left as u64);
                    if cut > ends[left - 1] {
                        assert_eq!(*said, torn, "cut at {cut}");
                    }
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(recover(&scratch.dir()).unwrap(), []);
            assert_eq!(read_all(&scratch.dir(), &Position::start()), before);
            for (frame, payload) in before.iter().zip(&payloads) {
                assert_eq!(&frame.2, payload);
            }
        }
    }
}

#[test]
fn no_flipped_byte_yields_another_record() {
    let payloads = numbered(5, 10);
    let scratch = Scratch::new();
    let mut writer = scratch.writer(0x11_2233_4455, 1 << 13);
    for payload in &payloads {
        writer.append(&[payload]).unwrap();
    }
    let directory = writer.directory().to_path_buf();
    writer.close().unwrap();
    let segment = only_segment(&directory);
    let whole = fs::read(&segment).unwrap();
    for at in 0..whole.len() {
        // Of the header's blank part one byte in 64 says as much as all.
        if (128..HEADER_BYTES - 4).contains(&at) && at % 64 != 0 {
            continue;
        }
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            fs::write(&segment, &bytes).unwrap();
            check_flipped(&scratch, &payloads, at);
            recover(&scratch.dir()).unwrap();
            check_flipped(&scratch, &payloads, at);
            let kept = segment.with_extension("seg.corrupt");
            if kept.exists() {
                assert_eq!(fs::read(&kept).unwrap(), bytes, "kept as it was");
                fs::remove_file(kept).unwrap();
            }
        }
    }
}

fn check_flipped(scratch: &Scratch, payloads: &[Vec<u8>], at: usize) {
    let (frames, losses) = read_with_losses(&scratch.dir(), &Position::start());
    let mut seen = vec![false; payloads.len()];
    for (incarnation, sequence, payload) in frames {
        assert_eq!(incarnation, 0x11_2233_4455);
        assert_eq!(payload, payloads[sequence as usize], "flipped at {at}");
        assert!(!std::mem::replace(&mut seen[sequence as usize], true), "twice, flipped at {at}");
    }
    // With the closing frame behind them, no record is lost in silence.
    for loss in losses {
        if let LogError::Corrupt { sequences, .. } = loss {
            sequences.for_each(|sequence| seen[sequence as usize] = true);
        }
    }
    assert!(seen.iter().all(|seen| *seen), "silent loss, flipped at {at}");
}

#[test]
fn damage_in_the_middle_is_kept_aside_and_named() {
    let payloads = numbered(9, 100);
    let ends = ends(9, 100);
    let scratch = Scratch::new();
    let directory = scratch.abandon(3, &payloads);
    let segment = only_segment(&directory);
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    // Frames 2 and 3, and frame 6.
    file.write_all_at(&[0; 200], ends[1] + 30).unwrap();
    file.write_all_at(b"x", ends[5] + 40).unwrap();
    let report = recover(&scratch.dir()).unwrap();
    let Outcome::Corrupt { kept, lost, next } = &report[0].outcome else { panic!("{report:?}") };
    assert_eq!(lost, &[2..4, 6..7]);
    assert_eq!(*next, 9);
    assert!(kept.exists() && !segment.exists());
    assert_eq!(recover(&scratch.dir()).unwrap(), [], "reported once");
    let (frames, losses) = read_with_losses(&scratch.dir(), &Position::start());
    let sequences: Vec<_> = frames.iter().map(|frame| frame.1).collect();
    assert_eq!(sequences, [0, 1, 4, 5, 7, 8]);
    let texts: Vec<_> = losses.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].contains("frames 2 to 3 are damaged"), "{}", texts[0]);
    assert!(texts[1].contains("frames 6 to 6 are damaged"), "{}", texts[1]);
}

#[test]
fn a_lost_sector_is_a_torn_tail_until_a_later_frame_says_that_it_was_synced() {
    for (sync_after, outcome) in [(4, "torn"), (5, "damaged"), (8, "damaged"), (9, "torn")] {
        let scratch = Scratch::new();
        let mut writer = scratch.writer(3, 1 << 16);
        for (index, payload) in numbered(9, 600).iter().enumerate() {
            writer.append(&[payload]).unwrap();
            if index + 1 == sync_after || index == 1 {
                writer.sync().unwrap();
            }
        }
        let segment = only_segment(writer.directory());
        drop(writer);
        // The sector in which frame 4 begins; it ends there too.
        let lost = ends(9, 600)[3].next_multiple_of(512);
        let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
        file.write_all_at(&[0; 512], lost).unwrap();
        let (before, losses) = read_with_losses(&scratch.dir(), &Position::start());
        let report = recover(&scratch.dir()).unwrap();
        let (frames, _) = read_with_losses(&scratch.dir(), &Position::start());
        assert_eq!(frames, before, "the reader sees what recovery sees");
        match (&report[0].outcome, outcome) {
            (Outcome::Closed { next: 4, torn: true }, "torn") => assert!(losses.is_empty()),
            (Outcome::Corrupt { lost, next: 9, .. }, "damaged") => {
                assert!(matches!(&lost[..], [lost] if *lost == (4..5)), "{lost:?}");
            }
            (other, _) => panic!("synced after {sync_after}: {other:?}"),
        }
    }
}

#[test]
fn damage_at_the_end_of_an_earlier_segment_is_reported_too() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer(3, 4096 + 3 * 48);
    for payload in numbered(7, 10) {
        writer.append(&[&payload]).unwrap();
    }
    let first = writer.directory().join(format!("{:020}.seg", 0));
    writer.close().unwrap();
    let length = fs::metadata(&first).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&first).unwrap();
    file.write_all_at(b"x", length - 20).unwrap();
    let (frames, losses) = read_with_losses(&scratch.dir(), &Position::start());
    assert_eq!(frames.len(), 6);
    assert!(
        matches!(&losses[..], [LogError::Corrupt { sequences, .. }] if *sequences == (2..3)),
        "{losses:?}"
    );
}

#[test]
fn frames_of_another_log_inside_a_payload_are_not_frames() {
    let other = Scratch::new();
    let inside = fs::read(only_segment(&other.abandon(99, &numbered(3, 10)))).unwrap();
    let scratch = Scratch::new();
    let payloads = vec![b"first".to_vec(), inside[4096..4400].to_vec()];
    let segment = only_segment(&scratch.abandon(3, &payloads));
    // Tear the second frame behind its head: its payload still holds whole frames of another log.
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(b"????", 4096 + stride(5)).unwrap();
    let report = recover(&scratch.dir()).unwrap();
    assert_eq!(report[0].outcome, Outcome::Closed { next: 1, torn: true });
}

#[test]
fn newer_version_is_refused_by_all() {
    let scratch = Scratch::new();
    let segment = only_segment(&scratch.abandon(3, &numbered(2, 10)));
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]).to_le_bytes();
    bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc);
    fs::write(&segment, &bytes).unwrap();
    let errors = [
        Writer::create(scratch.settings(1 << 16), "n", 4, super::start()).unwrap_err(),
        Reader::open(&scratch.dir(), &Position::start()).unwrap_err(),
        recover(&scratch.dir()).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, LogError::NewerVersion { found: 2, supported: 1, .. }), "{error}");
        assert!(error.to_string().contains("use a newer tapline"), "{error}");
    }
    assert_eq!(fs::read(&segment).unwrap(), bytes, "left alone");
}

#[test]
fn segment_whose_creation_was_cut_short_is_removed() {
    for left in [0_usize, 100, 8192] {
        let scratch = Scratch::new();
        let directory = scratch.abandon(3, &numbered(2, 10));
        let torn = directory.join(format!("{:020}.seg", 2));
        fs::write(&torn, vec![0; left]).unwrap();
        assert_eq!(read_all(&scratch.dir(), &Position::start()).len(), 2);
        let report = recover(&scratch.dir()).unwrap();
        assert_eq!(report[0].outcome, Outcome::Closed { next: 2, torn: false });
        assert!(!torn.exists());
        assert_eq!(read_all(&scratch.dir(), &Position::start()).len(), 2);
    }
}

#[test]
fn incarnation_without_segments_is_removed() {
    let scratch = Scratch::new();
    let directory = scratch.abandon(3, &[]);
    fs::remove_file(only_segment(&directory)).unwrap();
    assert_eq!(recover(&scratch.dir()).unwrap()[0].outcome, Outcome::Empty);
    assert!(!directory.exists());
}

#[test]
fn live_incarnation_is_left_alone() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer(3, 1 << 16);
    writer.append(&[b"a"]).unwrap();
    assert_eq!(recover(&scratch.dir()).unwrap(), []);
    writer.append(&[b"b"]).unwrap();
    drop(writer);
    assert_eq!(recover(&scratch.dir()).unwrap().len(), 1);
    assert_eq!(read_all(&scratch.dir(), &Position::start()).len(), 2);
}
