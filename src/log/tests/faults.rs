//! A disk that writes short, is interrupted, full or broken.

use super::{Scratch, read_all, start};
use crate::log::disk::faults::{Fault, Faulty};
use crate::log::{LogError, Position, Writer, recover};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn faulty(scratch: &Scratch, segment_bytes: u64) -> (Faulty, Writer) {
    let disk = Faulty::default();
    let settings = scratch.settings(segment_bytes);
    let writer = Writer::create_on(Box::new(disk.clone()), settings, "n", 5, start()).unwrap();
    (disk, writer)
}

fn payloads_of(scratch: &Scratch) -> Vec<Vec<u8>> {
    read_all(&scratch.dir(), &Position::start()).into_iter().map(|frame| frame.2).collect()
}

#[test]
fn short_and_interrupted_writes_are_completed() {
    let scratch = Scratch::new();
    let (disk, mut writer) = faulty(&scratch, 1 << 20);
    let large = vec![7; 50_000];
    for bytes in [1, 7, 23, 24, 25, 100, 49_999] {
        disk.push(Fault::Short(bytes));
        disk.push(Fault::Interrupted);
        disk.push(Fault::Short(1));
    }
    for _ in 0..7 {
        writer.append(&[b"small", &large, b""]).unwrap();
    }
    assert_eq!(disk.pending(), 0);
    writer.close().unwrap();
    let payloads = payloads_of(&scratch);
    assert_eq!(payloads.len(), 21);
    assert!(payloads.chunks(3).all(|batch| batch == [b"small".to_vec(), large.clone(), vec![]]));
}

#[test]
fn full_disk_undoes_the_batch_and_the_writer_goes_on() {
    let scratch = Scratch::new();
    let (disk, mut writer) = faulty(&scratch, 1 << 20);
    writer.append(&[b"kept"]).unwrap();
    for part in [1, 24, 30, 33] {
        disk.push(Fault::Short(part));
        disk.push(Fault::WriteFails(ENOSPC));
        let error = writer.append(&[b"never acknowledged", b"nor this"]).unwrap_err();
        assert!(error.is_disk_full(), "{error}");
        assert!(error.to_string().contains("nothing of the batch was kept"), "{error}");
        assert_eq!(writer.next_sequence(), 1);
        assert_eq!(payloads_of(&scratch), [b"kept".to_vec()]);
    }
    writer.sync().unwrap();
    assert_eq!(writer.append(&[b"later"]).unwrap(), 1..2);
    writer.sync().unwrap();
    drop(writer);
    recover(&scratch.dir()).unwrap();
    assert_eq!(payloads_of(&scratch), [b"kept".to_vec(), b"later".to_vec()]);
}

#[test]
fn full_disk_at_a_roll_keeps_the_old_segment_in_use() {
    let scratch = Scratch::new();
    let (disk, mut writer) = faulty(&scratch, 4096 + 64);
    writer.append(&[&[1; 30]]).unwrap();
    for fault in [Fault::AllocateFails(ENOSPC), Fault::WriteFails(ENOSPC)] {
        disk.push(fault);
        assert!(writer.append(&[&[2; 30]]).unwrap_err().is_disk_full());
        assert_eq!(disk.pending(), 0);
        assert_eq!(payloads_of(&scratch), [vec![1; 30]]);
    }
    assert_eq!(writer.append(&[&[3; 30]]).unwrap(), 1..2);
    writer.close().unwrap();
    assert_eq!(payloads_of(&scratch), [vec![1; 30], vec![3; 30]]);
}

#[test]
fn reserve_counts_as_full() {
    let scratch = Scratch::new();
    let settings =
        crate::log::Settings { reserve_bytes: u64::MAX / 2, ..scratch.settings(1 << 16) };
    assert!(Writer::create(settings, "n", 1, start()).unwrap_err().is_disk_full());
}

#[test]
fn failed_sync_poisons_for_good() {
    let scratch = Scratch::new();
    let (disk, mut writer) = faulty(&scratch, 1 << 20);
    writer.append(&[b"a"]).unwrap();
    // Even when the error is lack of space: the pages may be gone.
    disk.push(Fault::SyncFails(ENOSPC));
    let error = writer.sync().unwrap_err();
    assert!(!error.is_disk_full() && error.to_string().contains("check the disk"), "{error}");
    for _ in 0..2 {
        let error = writer.sync().unwrap_err();
        assert!(matches!(error, LogError::Poisoned { .. }), "{error}");
        assert!(error.to_string().contains("fdatasync"), "{error}");
        assert!(matches!(writer.append(&[b"b"]), Err(LogError::Poisoned { .. })));
    }
    assert!(matches!(writer.close(), Err(LogError::Poisoned { .. })));
}

#[test]
fn failed_sync_at_a_roll_poisons() {
    let scratch = Scratch::new();
    let (disk, mut writer) = faulty(&scratch, 4096 + 64);
    writer.append(&[&[1; 30]]).unwrap();
    disk.push(Fault::SyncFails(EIO));
    assert!(writer.append(&[&[2; 30]]).is_err());
    assert!(matches!(writer.sync(), Err(LogError::Poisoned { .. })));
}

#[test]
fn an_undone_batch_is_gone_durably_and_a_closing_frame_comes_after_what_it_closes() {
    let scratch = Scratch::new();
    let (disk, mut writer) = faulty(&scratch, 1 << 20);
    for fault in [Fault::Short(10), Fault::WriteFails(ENOSPC), Fault::SyncFails(EIO)] {
        disk.push(fault);
    }
    assert!(writer.append(&[b"a"]).is_err());
    assert_eq!(disk.pending(), 0, "the undoing is synced");
    assert!(matches!(writer.append(&[b"a"]), Err(LogError::Poisoned { .. })));

    let other = Scratch::new();
    let (disk, mut writer) = faulty(&other, 1 << 20);
    let directory = writer.directory().to_path_buf();
    writer.append(&[b"a"]).unwrap();
    disk.push(Fault::SyncFails(EIO));
    assert!(writer.close().is_err());
    let bytes = std::fs::read(super::only_segment(&directory)).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    assert_eq!(written, 4096 + 24, "the record's one byte is the last");
}

#[test]
fn broken_write_and_undo_that_fails_poison() {
    let scratch = Scratch::new();
    let (disk, mut writer) = faulty(&scratch, 1 << 20);
    disk.push(Fault::WriteFails(EIO));
    assert!(matches!(writer.append(&[b"a"]), Err(LogError::Io { .. })));
    assert!(matches!(writer.append(&[b"a"]), Err(LogError::Poisoned { .. })));

    let other = Scratch::new();
    let (disk, mut writer) = faulty(&other, 1 << 20);
    disk.push(Fault::Short(10));
    disk.push(Fault::WriteFails(ENOSPC));
    disk.push(Fault::TruncateFails(EIO));
    assert!(writer.append(&[b"a"]).is_err());
    assert!(matches!(writer.append(&[b"a"]), Err(LogError::Poisoned { .. })));
}
