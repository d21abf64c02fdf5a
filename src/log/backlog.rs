//! How much of the log lies behind a position.
//!
//! Owns nothing and reads no frame: the names and the lengths of the segments tell, and of the
//! segment being written where the file system has no data yet. Never exact to the byte.

use std::fs::File;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};

use super::directory::{Incarnation, incarnations};
use super::error::LogError;
use super::position::Position;

/// Bytes of segments behind a position, heads and padding included. What is deleted meanwhile is
/// left out. Of the segment being written this can be too much, up to what it was preallocated to:
/// a file system may have no holes, or not call one what was read already.
pub fn bytes_from(dir: &Path, position: &Position) -> Result<u64, LogError> {
    let mut total = 0;
    for incarnation in incarnations(dir)? {
        if incarnation.name < position.incarnation {
            continue;
        }
        total += bytes_of(&incarnation, position);
    }
    Ok(total)
}

/// Bytes of one incarnation behind a position, which may lie before it.
pub(super) fn bytes_of(incarnation: &Incarnation, position: &Position) -> u64 {
    let here = incarnation.name == position.incarnation;
    let Ok(segments) = incarnation.segments() else { return 0 };
    let mut total = 0;
    for segment in segments {
        if here && segment.first < position.segment {
            continue;
        }
        let read = if here && segment.first == position.segment { position.offset } else { 0 };
        total += data_end(&segment.path).unwrap_or(0).saturating_sub(read);
    }
    total
}

/// Where a file has no more data: space that was only allocated is a hole to the file system.
fn data_end(path: &Path) -> std::io::Result<u64> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok(seek(&file, SeekFrom::Hole(0)).map_or(length, |hole| hole.min(length)))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::log::{Reader, Settings, Writer};

    #[test]
    fn what_is_left_falls_as_it_is_read_and_ends_at_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let settings = Settings {
            segment_bytes: 64 << 10,
            reserve_bytes: 0,
            ..Settings::new(scratch.path().join("log"))
        };
        let dir = settings.dir.clone();
        for (id, closed) in [(1, true), (2, false)] {
            let mut writer =
                Writer::create(settings.clone(), "n", id, SystemTime::UNIX_EPOCH).unwrap();
            for _ in 0..40 {
                writer.append(&[&[1; 5000]]).unwrap();
            }
            writer.sync().unwrap();
            if closed {
                writer.close().unwrap();
            }
        }
        let mut reader = Reader::open(&dir, &Position::start()).unwrap();
        let mut left = bytes_from(&dir, &Position::start()).unwrap();
        assert!((400_000..500_000).contains(&left), "{left}");
        while let Some(frame) = reader.next().unwrap() {
            let now = bytes_from(&dir, frame.after).unwrap();
            // The last segment of all was not trimmed.
            let open = frame.incarnation == 2 && frame.after.segment == 36;
            assert!(open || now + 5000 <= left, "{now} after {left} at {:?}", frame.after);
            left = now;
        }
        assert!(left < 64 << 10, "{left}");
    }
}
