//! The capture log: whatever happens to a segment, no reader is given a record that was not written.

use std::{fs, path::PathBuf, time::SystemTime};

use tapline::log::{Position, Reader, Settings, Writer, recover};

/// Records of the log that is damaged; their sizes straddle an alignment, a page and a window.
const SIZES: [usize; 6] = [0, 1, 63, 700, 5000, 20_000];

/// Triples of bytes: where to write what into the one segment of a log whose writer died; a last odd byte cuts it.
pub(crate) fn log_recovery(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let records: Vec<Vec<u8>> =
        SIZES.iter().enumerate().map(|(n, size)| vec![n as u8 + 1; *size]).collect();
    let segment = written(dir.path(), &records);
    let mut bytes = fs::read(&segment).expect("it was just written");
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let mut changes = data.chunks_exact(3);
    for change in changes.by_ref().take(64) {
        let at = (usize::from(change[0]) << 8 | usize::from(change[1])) * (used + 64) / 65_536;
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= change[2];
    }
    if let Some(cut) = changes.remainder().first() {
        bytes.truncate(usize::from(*cut) * bytes.len() / 256);
    }
    fs::write(&segment, &bytes).expect("written");
    // An error is an answer, too: the operator is told. What counts is what is read afterwards.
    let _ = recover(dir.path());
    let Ok(mut reader) = Reader::open(dir.path(), &Position::start()) else { return };
    let mut last = None;
    for _ in 0..10 * SIZES.len() {
        match reader.next() {
            Ok(Some(frame)) => {
                let written = records.get(frame.sequence as usize);
                assert_eq!(written.map(|record| &record[..]), Some(frame.payload), "{frame:?}");
                assert!(last.is_none_or(|last| last < frame.sequence), "sequences rise");
                last = Some(frame.sequence);
            }
            Err(error) if error.is_loss() => {}
            Ok(None) | Err(_) => return,
        }
    }
    panic!("the reader does not come to an end");
}

/// The segment of a writer that died without closing its log.
fn written(dir: &std::path::Path, records: &[Vec<u8>]) -> PathBuf {
    let mut settings = Settings::new(dir);
    (settings.segment_bytes, settings.reserve_bytes) = (64 << 10, 0);
    let mut writer = Writer::create(settings, "node", 7, SystemTime::UNIX_EPOCH).expect("created");
    let payloads: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
    writer.append(&payloads).expect("appended");
    writer.sync().expect("synced");
    let directory = writer.directory().to_path_buf();
    drop(writer);
    let mut entries = fs::read_dir(directory).expect("it is there").filter_map(Result::ok);
    entries
        .find(|entry| entry.file_name().to_string_lossy().ends_with(".seg"))
        .map(|entry| entry.path())
        .expect("a segment was written")
}
