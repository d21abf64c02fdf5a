//! Tests of the room as a whole: writer, reader, recovery and retention against one another.

mod damage;
mod faults;
mod following;
mod keeping;
mod power;
mod round_trip;
mod spooling;
mod volatile;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{LogError, Position, Reader, Settings, Writer};

/// A log directory that goes with the test.
struct Scratch {
    root: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("log")
    }

    fn settings(&self, segment_bytes: u64) -> Settings {
        Settings { segment_bytes, reserve_bytes: 0, ..Settings::new(self.dir()) }
    }

    fn writer(&self, id: u64, segment_bytes: u64) -> Writer {
        Writer::create(self.settings(segment_bytes), "node-1", id, start()).unwrap()
    }

    /// A dead incarnation of these payloads, one append each.
    fn abandon(&self, id: u64, payloads: &[Vec<u8>]) -> PathBuf {
        let mut writer = self.writer(id, 1 << 16);
        for payload in payloads {
            writer.append(&[payload]).unwrap();
        }
        writer.sync().unwrap();
        writer.directory().to_path_buf()
    }
}

/// A frame, owned.
type Owned = (u64, u64, Vec<u8>);

/// Everything from a position on; panics on an error.
fn read_all(dir: &Path, from: &Position) -> Vec<Owned> {
    let (frames, errors) = read_with_losses(dir, from);
    assert!(errors.is_empty(), "{errors:?}");
    frames
}

/// Everything from a position on, and the losses met.
fn read_with_losses(dir: &Path, from: &Position) -> (Vec<Owned>, Vec<LogError>) {
    let mut reader = Reader::open(dir, from).unwrap();
    let (mut frames, mut errors) = (Vec::new(), Vec::new());
    loop {
        match reader.next() {
            Ok(Some(frame)) => {
                frames.push((frame.incarnation, frame.sequence, frame.payload.to_vec()));
            }
            Ok(None) => return (frames, errors),
            Err(error) if error.is_loss() => errors.push(error),
            Err(error) => panic!("{error}"),
        }
        assert!(errors.len() < 1000, "the reader does not get past {:?}", errors.last());
    }
}

fn numbered(count: usize, bytes: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| vec![(index % 250) as u8 + 1; bytes + index]).collect()
}

fn only_segment(directory: &Path) -> PathBuf {
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".seg"))
        .collect();
    assert_eq!(found.len(), 1);
    found.pop().unwrap()
}

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_mins(29_920_520)
}
