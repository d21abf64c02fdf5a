//! Tuple and quarantine files: what is in them, and what a kill leaves.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::*;
use crate::outcome::quarantine::INLINE_BYTES_MAX;
use crate::outcome::recovery::Recovered;
use crate::outcome::{Misfit, OutcomeError, Quarantine, Raw, TupleFiles, TupleLimits};

const SECOND: u64 = 1_000_000_000;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| name != ".lock")
        .collect();
    names.sort();
    names
}

fn tuple(index: u64) -> Tuple {
    Tuple { index, ..sample() }
}

/// The indices of the tuples that can be read from the front of a file, as `zcat` would.
fn indices(bytes: &[u8]) -> Vec<u64> {
    let mut text = Vec::new();
    // Like zcat: an unexpected end comes after everything before it.
    let _ = flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut text);
    let lines = text.split(|&byte| byte == b'\n').filter_map(|line| {
        let tuple: Value = serde_json::from_slice(line).ok()?;
        let id = tuple["connectionId"].as_str()?;
        id.rsplit('.').next()?.parse().ok()
    });
    lines.collect()
}

fn open(dir: &Path, limits: &TupleLimits) -> (TupleFiles, Recovered) {
    TupleFiles::open(dir, limits.clone()).expect("opened")
}

fn append(files: &mut TupleFiles, index: u64, now_ns: u64) {
    files.append(&tuple(index), now_ns, || 1_795_253_357).expect("appended");
}

#[test]
fn files_are_closed_by_size_and_age_and_hold_every_tuple_once() {
    let dir = tempfile::tempdir().expect("temp dir");
    let limits = TupleLimits { file_bytes: 5_000, member_bytes: 1, ..TupleLimits::default() };
    let (mut files, _) = open(dir.path(), &limits);
    assert!(files.due_ns().is_none());
    for index in 0..20 {
        append(&mut files, index, SECOND);
        if files.is_due(SECOND) {
            files.close().expect("closed");
        }
    }
    files.close().expect("closed");
    append(&mut files, 20, 2 * SECOND);
    assert!(!files.is_due(61 * SECOND));
    assert!(files.is_due(62 * SECOND));
    assert_eq!(files.due_ns(), Some(62 * SECOND));
    files.close().expect("closed");
    files.close().expect("nothing to close");
    let names = names(dir.path());
    assert!(names.len() > 4, "{names:?}");
    let mut read = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let parts: Vec<&str> = name.split('-').collect();
        assert_eq!((parts[0], parts[1].len(), parts[2].len()), ("tuples", 16, 8), "{name}");
        assert_eq!(parts[1], "20261121T092917Z");
        assert_eq!(parts[3], format!("{:06}.log.gz", at + 1));
        read.extend(indices(&fs::read(dir.path().join(name)).expect("read")));
    }
    assert_eq!(read, (0..=20).collect::<Vec<u64>>());
}

#[test]
fn what_a_sync_covered_is_readable_after_a_kill_at_any_byte() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (mut files, _) = open(dir.path(), &TupleLimits::default());
    let growing = || -> PathBuf {
        let names = names(dir.path());
        assert!(names.len() == 1 && names[0].ends_with(".log.gz.tmp"), "{names:?}");
        dir.path().join(&names[0])
    };
    let mut synced = vec![(0, 0)];
    for index in 0..6 {
        append(&mut files, index, 0);
        if index % 2 == 1 {
            files.sync().expect("synced");
            let bytes = fs::read(growing()).expect("read");
            assert_eq!(indices(&bytes), (0..=index).collect::<Vec<u64>>());
            synced.push((bytes.len(), index + 1));
        }
    }
    let name = growing().file_name().expect("a name").to_owned();
    let bytes = fs::read(growing()).expect("read");
    // Around each sync point, and here and there between them: each cut costs several fsyncs.
    let near =
        |cut: &usize| cut.is_multiple_of(53) || synced.iter().any(|sync| sync.0.abs_diff(*cut) < 2);
    for cut in (0..=bytes.len()).filter(near) {
        let (good, covered) = *synced.iter().rfind(|sync| sync.0 <= cut).expect("0 at least");
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join(&name), &bytes[..cut]).expect("written");
        let (_, recovered) = open(dir.path(), &TupleLimits::default());
        let cut_bytes = (cut - good) as u64;
        if good == 0 {
            assert_eq!(recovered, Recovered { files: 0, empty: 1, cut_bytes }, "cut at {cut}");
            assert!(names(dir.path()).is_empty());
            continue;
        }
        assert_eq!(recovered, Recovered { files: 1, empty: 0, cut_bytes }, "cut at {cut}");
        let closed = names(dir.path());
        assert!(closed.len() == 1 && closed[0].ends_with(".log.gz"), "{closed:?}");
        let bytes = fs::read(dir.path().join(&closed[0])).expect("read");
        assert_eq!(bytes.len(), good);
        assert_eq!(indices(&bytes), (0..covered).collect::<Vec<u64>>());
    }
}

#[test]
fn a_living_writer_keeps_its_file() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (mut first, _) = open(dir.path(), &TupleLimits::default());
    append(&mut first, 1, 0);
    first.sync().expect("synced");
    let (mut second, recovered) = open(dir.path(), &TupleLimits::default());
    assert_eq!(recovered, Recovered::default());
    append(&mut second, 2, 0);
    second.close().expect("closed");
    first.close().expect("closed");
    let names = names(dir.path());
    assert!(names.len() == 2 && names.iter().all(|name| name.ends_with(".log.gz")), "{names:?}");
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().expect("temp dir");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let error = TupleFiles::open(&file.join("tuples"), TupleLimits::default()).expect_err("no");
    assert!(matches!(error, OutcomeError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("file/tuples: creating the directory failed"), "{error}");
}

fn entries(dir: &Path) -> Vec<Value> {
    let lines = names(dir).into_iter().filter(|name| name.contains(".jsonl"));
    let text: String =
        lines.map(|name| fs::read_to_string(dir.join(name)).expect("read")).collect();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn quarantine_entries_are_readable_at_once_and_can_be_sent_again() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut quarantine = Quarantine::open(dir.path()).expect("opened");
    assert!(names(dir.path()).is_empty());
    let small = Misfit {
        place: "topic:3:1042".into(),
        node: Some("n".into()),
        connection: Some("c".into()),
        index: Some(7),
        reason: "target-refused",
        detail: "400 on every try".into(),
        raw: Raw::Request(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        answers: vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), vec![0xff; 70_000]],
    };
    quarantine.append(&small, 1_795_253_357).expect("appended");
    let entry = &entries(dir.path())[0];
    assert_eq!(entry["at"], "2026-11-21T09:29:17Z");
    assert_eq!((&entry["place"], &entry["index"]), (&"topic:3:1042".into(), &7.into()));
    assert_eq!(entry["reason"], "target-refused");
    let bytes = STANDARD.decode(entry["request_base64"].as_str().expect("text")).expect("base64");
    assert_eq!(bytes, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(entry["answers"][0]["text"], "HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(entry["answers"][1]["bytes"], 70_000);
    let shown = entry["answers"][1]["base64"].as_str().expect("bytes");
    assert_eq!(STANDARD.decode(shown).expect("base64").len(), 64 << 10);

    for fill in [1_u8, 2] {
        let raw = Raw::Record(vec![fill; INLINE_BYTES_MAX + 1]);
        let large = Misfit { raw, reason: "undecodable", ..Misfit::default() };
        quarantine.append(&large, 1_795_253_357).expect("appended");
    }
    quarantine.sync().expect("synced");
    assert_eq!(quarantine.entries(), 3);
    let entries = entries(dir.path());
    let aside = &entries[2]["record_file"];
    assert!(entries[2].get("record_base64").is_none());
    assert_eq!(aside["offset"], INLINE_BYTES_MAX + 1);
    let bin = fs::read(dir.path().join(aside["name"].as_str().expect("a name"))).expect("read");
    let bytes = &bin[INLINE_BYTES_MAX + 1..];
    assert_eq!(bytes, vec![2; INLINE_BYTES_MAX + 1]);
    assert_eq!(aside["crc32c"], format!("{:08x}", crc32c::crc32c(bytes)));
}
