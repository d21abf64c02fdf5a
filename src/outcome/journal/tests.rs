//! The journal survives a kill at any point, forgets only what the saved position is past, and is shared by nobody.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn entry(fingerprint: u64, lane: u32, number: u64) -> Entry {
    Entry { fingerprint, stage: Stage::Written, lane, number }
}

fn open(dir: &Path) -> (Journal, HashSet<u64>) {
    let (journal, known) = Journal::open(dir, "g", Members::One, NOW).expect("opened");
    (journal, known.into_keys().collect())
}

/// What a process finds that starts with these files.
fn found(files: &[(&str, &[u8])]) -> HashSet<u64> {
    let dir = tempfile::tempdir().expect("temp dir");
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).expect("written");
    }
    open(dir.path()).1
}

#[test]
fn what_was_added_is_known_after_a_kill_at_any_byte() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("g.0.journal");
    let (mut journal, known) = open(dir.path());
    assert!(known.is_empty());
    let mut ends = vec![(fs::metadata(&path).expect("made").len(), HashSet::new())];
    let mut all = HashSet::new();
    for batch in [&[1u64, 2, 3][..], &[4], &[5, 6]] {
        let entries: Vec<Entry> = batch.iter().map(|&f| entry(f, 0, f)).collect();
        journal.add(&entries, NOW).expect("added");
        all.extend(batch);
        ends.push((fs::metadata(&path).expect("there").len(), all.clone()));
    }
    let bytes = fs::read(&path).expect("read");
    for cut in 0..=bytes.len() {
        let expected = ends.iter().rev().find(|end| end.0 <= cut as u64);
        let expected = expected.map(|end| end.1.clone()).unwrap_or_default();
        assert_eq!(found(&[("g.0.journal", &bytes[..cut])]), expected, "cut at {cut}");
    }
    // A damaged batch ends the reading, and nothing is made up.
    for at in 8..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x40;
        assert!(found(&[("g.0.journal", &bytes)]).is_subset(&all), "flipped at {at}");
    }
    // The host crashed before any byte was written.
    assert!(found(&[("g.0.journal", &[0; 4096])]).is_empty());
}

#[test]
fn a_kill_within_forgetting_loses_nothing_that_is_needed() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("g.0.journal");
    let (mut journal, _) = open(dir.path());
    let entries: Vec<Entry> = (0..10_000).map(|f| entry(f, 0, f)).collect();
    journal.add(&entries, NOW).expect("added");
    let before = fs::read(&path).expect("read");
    journal.saved(&[(0, 9_900)]).expect("forgotten");
    let after = fs::read(&path).expect("read");
    assert!(after.len() < before.len() / 50, "the file was replaced: {}", after.len());
    let needed: HashSet<u64> = (9_900..10_000).collect();
    // Killed while the new file was written, after that, and after the rename.
    for cut in [0, 1, 7, 8, 9, after.len() / 2, after.len() - 1, after.len()] {
        let files = [("g.0.journal", &before[..]), ("g.0.journal.new", &after[..cut])];
        assert!(found(&files).is_superset(&needed), "cut at {cut}");
    }
    assert_eq!(found(&[("g.0.journal", &after)]), needed);
    // It goes on in the new file.
    journal.add(&[entry(77_777, 0, 10_001)], NOW).expect("added");
    drop(journal);
    assert!(open(dir.path()).1.contains(&77_777));
    assert!(!dir.path().join("g.0.journal.new").exists());
}

#[test]
fn entries_of_an_earlier_run_are_forgotten_once_they_were_met() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (mut journal, _) = open(dir.path());
    journal.add(&[entry(1, 0, 50), entry(2, 0, 60)], NOW).expect("added");
    drop(journal);
    let (mut journal, known) = open(dir.path());
    assert_eq!(known.len(), 2);
    journal.saved(&[(0, 1_000), (7, 1_000)]).expect("nothing of this run");
    assert_eq!(journal.len(), 2, "where they stand in this run is not known yet");
    journal.add(&[entry(1, 7, 3)], NOW).expect("met again");
    let bytes = journal.bytes();
    journal.add(&[entry(1, 7, 3)], NOW).expect("a second time");
    assert_eq!(journal.bytes(), bytes, "no write for what is there");
    journal.saved(&[(7, 3)]).expect("saved before it");
    assert_eq!(journal.len(), 2);
    journal.saved(&[(7, 4)]).expect("saved past it");
    assert_eq!(journal.len(), 1);
    drop(journal);
    let (mut journal, known) = open(dir.path());
    assert_eq!(known, HashSet::from([2]), "what the position was past is not known any more");
    journal.clear().expect("cleared");
    drop(journal);
    assert!(open(dir.path()).1.is_empty());
}

#[test]
fn a_revoked_lane_keeps_its_entries_and_a_returning_one_places_them_anew() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (mut journal, _) = open(dir.path());
    journal.add(&[entry(1, 0, 50)], NOW).expect("added");
    journal.left(0);
    journal.saved(&[(0, 100)]).expect("a lane that is not ours");
    assert_eq!(journal.len(), 1);
    journal.add(&[entry(1, 1, 5)], NOW).expect("met again");
    journal.saved(&[(1, 6)]).expect("saved");
    assert!(journal.is_empty());
}

#[test]
fn a_higher_stage_replaces_a_lower_one() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (mut journal, _) = open(dir.path());
    let answered = Entry { stage: Stage::Answered, ..entry(1, 0, 1) };
    journal.add(&[answered, entry(2, 0, 2)], NOW).expect("added");
    journal.add(&[entry(1, 0, 1), Entry { fingerprint: 2, ..answered }], NOW).expect("added");
    drop(journal);
    let (journal, known) = Journal::open(dir.path(), "g", Members::One, NOW).expect("opened");
    assert_eq!(known, HashMap::from([(1, Stage::Written), (2, Stage::Written)]));
    drop(journal);
    let later = NOW + i64::from(AGE_S_MAX) + 1;
    let (_, known) = Journal::open(dir.path(), "g", Members::One, later).expect("opened");
    assert!(known.is_empty(), "a week later");
}

#[test]
fn a_group_has_one_replayer_or_as_many_journals_as_members() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (first, _) = open(dir.path());
    let error = Journal::open(dir.path(), "g", Members::One, NOW).expect_err("busy").to_string();
    assert!(error.contains("--group"), "{error}");
    Journal::open(dir.path(), "other", Members::One, NOW).expect("another group");
    drop(first);
    let many = || Journal::open(dir.path(), "g", Members::Many, NOW).expect("opened");
    let (mut zero, _) = many();
    zero.add(&[entry(1, 0, 1)], NOW).expect("added");
    let (mut one, known) = many();
    assert!(known.contains_key(&1), "of a living member");
    one.add(&[entry(2, 0, 1)], NOW).expect("added");
    assert_eq!(zero.others().expect("read"), HashMap::from([(2, Stage::Written)]));
    drop(one);
    drop(zero);
    // Both are dead: the next one is member 0 and adopts the other's journal.
    let (only, known) = many();
    assert_eq!(known.len(), 2);
    assert!(!dir.path().join("g.1.journal").exists());
    drop(only);
    assert_eq!(open(dir.path()).1, HashSet::from([1, 2]));
}

#[test]
fn a_kill_within_adoption_loses_nothing() {
    let mut other = format::HEADER.to_vec();
    let noted =
        |fingerprint| Noted { fingerprint, stage: Stage::Written, at_s: NOW as u32, place: None };
    format::write(&mut other, &[noted(9)]);
    let mut own = format::HEADER.to_vec();
    format::write(&mut own, &[noted(1)]);
    let mut both = format::HEADER.to_vec();
    format::write(&mut both, &[noted(1), noted(9)]);
    let all = HashSet::from([1, 9]);
    assert_eq!(found(&[("g.0.journal", &own), ("g.3.journal", &other)]), all);
    let half = &both[..12];
    let files = [("g.0.journal", &own[..]), ("g.3.journal", &other[..]), ("g.0.journal.new", half)];
    assert_eq!(found(&files), all);
    assert_eq!(found(&[("g.0.journal", &both), ("g.3.journal", &other)]), all);
    assert_eq!(found(&[("g.0.journal", &both)]), all);
    // Of another group, however alike its name.
    assert_eq!(found(&[("g.0.journal", &own), ("g.x.0.journal", &other)]), HashSet::from([1]));
}

#[test]
fn a_foreign_file_is_not_overwritten() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("g.0.journal");
    fs::write(&path, b"TAPJRNL\x02 something newer").expect("written");
    let error = Journal::open(dir.path(), "g", Members::One, NOW).expect_err("foreign");
    assert!(matches!(error, OutcomeError::NotAJournal { .. }), "{error}");
    assert_eq!(fs::read(&path).expect("read"), b"TAPJRNL\x02 something newer");
}

#[test]
fn any_group_name_makes_a_file_name_of_its_own() {
    let dir = tempfile::tempdir().expect("temp dir");
    let names = ["a/b", "..", ".", "", "a b", "ä", "a%2Fb", "a.1", "a"];
    let open: Vec<_> = names
        .iter()
        .map(|name| Journal::open(dir.path(), name, Members::One, NOW).expect("opened"))
        .collect();
    assert!(open.iter().all(|(_, known)| known.is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Against a model: after any run of adds, saves and restarts, all requests at or beyond the saved position
    /// that had an outcome are known.
    #[test]
    fn what_the_saved_position_needs_is_always_known(
        steps in proptest::collection::vec((0..6_u8, 0..40_u64, 0..30_u64), 1..60),
    ) {
        let dir = tempfile::tempdir().expect("temp dir");
        // Fingerprint n is the request in record n of the one lane.
        let (mut journal, _) = open(dir.path());
        let (mut position, mut run) = (0, 0);
        let mut done: BTreeMap<u64, u32> = BTreeMap::new();
        for (kind, at, count) in steps {
            match kind {
                0 => {
                    drop(journal);
                    let known;
                    (journal, known) = open(dir.path());
                    run += 1;
                    let needed: HashSet<u64> =
                        done.range(position..).map(|entry| *entry.0).collect();
                    prop_assert_eq!(&known, &needed);
                    // Reading again meets what was known.
                    let met: Vec<Entry> =
                        done.range(position..).map(|(&n, _)| entry(n, run, n)).collect();
                    journal.add(&met, NOW).expect("added");
                }
                1 => {
                    position += at / 4;
                    journal.saved(&[(run, position)]).expect("saved");
                }
                _ => {
                    let range = position + at..position + at + count;
                    let entries: Vec<Entry> = range.clone().map(|n| entry(n, run, n)).collect();
                    journal.add(&entries, NOW).expect("added");
                    done.extend(range.map(|n| (n, run)));
                }
            }
            prop_assert_eq!(journal.len(), done.range(position..).count());
        }
    }
}
