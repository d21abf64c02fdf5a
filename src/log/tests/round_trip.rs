//! What goes in comes out, across segments, reopening and every position.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::{Scratch, numbered, read_all, start};
use crate::log::{LogError, Position, Reader, Writer};

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn batches_come_back_and_positions_resume(
        batches in prop::collection::vec(
            prop::collection::vec(
                prop_oneof![
                    4 => 0_usize..40, 2 => 4040_usize..4100, 1 => 16_380_usize..16_390,
                    1 => 30_000_usize..30_010,
                ],
                0..6,
            ),
            0..12,
        ),
        cut in 0_usize..60,
        segment_bytes in prop_oneof![Just(0_u64), Just(4096 + 24 + 40), Just(20_000), Just(1 << 20)],
        close in any::<bool>(),
    ) {
        let scratch = Scratch::new();
        let mut writer = scratch.writer(7, segment_bytes);
        let mut expected = Vec::new();
        for sizes in &batches {
            let payloads: Vec<Vec<u8>> = sizes
                .iter()
                .enumerate()
                .map(|(index, size)| (0..*size).map(|at| (at + index) as u8).collect())
                .collect();
            let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let range = writer.append(&slices).unwrap();
            prop_assert_eq!(range.start, expected.len() as u64);
            prop_assert_eq!(range.end - range.start, slices.len() as u64);
            for payload in payloads {
                expected.push((7, expected.len() as u64, payload));
            }
            writer.sync().unwrap();
        }
        prop_assert_eq!(writer.next_sequence(), expected.len() as u64);
        let behind = writer.position();
        if close { writer.close().unwrap() } else { drop(writer) }
        prop_assert_eq!(&read_all(&scratch.dir(), &Position::start()), &expected);
        prop_assert_eq!(read_all(&scratch.dir(), &behind), vec![]);

        let cut = cut.min(expected.len());
        let mut reader = Reader::open(&scratch.dir(), &Position::start()).unwrap();
        let mut after = Position::start();
        for _ in 0..cut {
            after = reader.next().unwrap().unwrap().after.clone();
        }
        prop_assert_eq!(&after, &reader.position());
        let line = after.to_line();
        let again = Position::from_line(&line, &scratch.dir()).unwrap();
        prop_assert_eq!(read_all(&scratch.dir(), &again), expected[cut..].to_vec());
    }
}

#[test]
fn large_batch_is_written_in_several_flushes() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer(1, 1 << 20);
    let payloads = numbered(700, 15_000);
    let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    writer.append(&slices).unwrap();
    let large = vec![9; 3 << 20];
    let many: Vec<&[u8]> = (0..3000).map(|_| &large[..20_000]).collect();
    writer.append(&many).unwrap();
    writer.append(&[&large, &large, b""]).unwrap();
    writer.close().unwrap();
    let frames = read_all(&scratch.dir(), &Position::start());
    assert_eq!(frames.len(), 3703);
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(frame.1, index as u64);
        let expected = match index {
            0..700 => &payloads[index][..],
            700..3700 => &large[..20_000],
            3702 => &[],
            _ => &large[..],
        };
        assert!(frame.2 == expected, "frame {index}");
    }
}

#[test]
fn too_large_a_payload_is_refused_and_the_writer_goes_on() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer(1, 1 << 16);
    let large = vec![0; crate::log::PAYLOAD_BYTES_MAX + 1];
    assert!(matches!(writer.append(&[b"a", &large]), Err(LogError::TooLarge { .. })));
    assert_eq!(writer.append(&[b"b"]).unwrap(), 0..1);
    writer.close().unwrap();
    assert_eq!(read_all(&scratch.dir(), &Position::start()), [(1, 0, b"b".to_vec())]);
}

#[test]
fn files_are_private_and_open_directories_are_refused() {
    let scratch = Scratch::new();
    let writer = scratch.writer(1, 1 << 16);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&scratch.dir()), 0o700);
    assert_eq!(mode(writer.directory()), 0o700);
    for entry in std::fs::read_dir(writer.directory()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    drop(writer);
    for bits in [0o720, 0o702, 0o777] {
        let rights = std::fs::Permissions::from_mode(bits);
        std::fs::set_permissions(scratch.dir(), rights).unwrap();
        let error = Writer::create(scratch.settings(1 << 16), "n", 2, start()).unwrap_err();
        assert!(matches!(error, LogError::OpenToOthers { mode, .. } if mode == bits), "{error}");
        assert!(error.to_string().contains("chmod 0700"));
        assert!(Reader::open(&scratch.dir(), &Position::start()).is_err());
        assert!(crate::log::recover(&scratch.dir()).is_err());
    }
}

#[test]
fn another_users_directory_is_refused() {
    let scratch = Scratch::new();
    drop(scratch.writer(1, 1 << 16));
    // Only the superuser can give a directory away; elsewhere a directory of the superuser serves.
    let foreign = match std::os::unix::fs::chown(scratch.dir(), Some(12_345), None) {
        Ok(()) => scratch.dir(),
        Err(_) => "/usr".into(),
    };
    let settings = crate::log::Settings { dir: foreign, ..scratch.settings(1 << 16) };
    let error = Writer::create(settings, "n", 2, start()).unwrap_err();
    assert!(matches!(error, LogError::WrongOwner { .. }), "{error}");
}

#[test]
fn a_link_in_the_place_of_a_segment_is_not_followed() {
    let scratch = Scratch::new();
    let writer = scratch.writer(1, 1 << 16);
    let segment = super::only_segment(writer.directory());
    let moved = scratch.root.path().join("elsewhere");
    std::fs::rename(&segment, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &segment).unwrap();
    assert!(Reader::open(&scratch.dir(), &Position::start()).is_err());
}
