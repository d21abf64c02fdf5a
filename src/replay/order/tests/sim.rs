//! Runs over many seeds. `TAPLINE_SIM_SEEDS` for more of them.

use super::Dice;
use super::checker::faults;
use super::source::{Habits, World};
use super::target::{Run, Use, replay};
use crate::replay::order::{Counters, Order};

const BY_DOCUMENT: Use = Use { order: Order::Document, blind: false };

fn seeds() -> u64 {
    std::env::var("TAPLINE_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// Seeds beyond the first ones that have found something.
const FOUND: [u64; 1] = [1282];

/// A few clients on very few documents: most writes overlap another.
fn crowd(seed: u64) -> Habits {
    let mut dice = Dice::new(seed ^ 0xc0);
    Habits {
        clients: 2 + dice.below(8),
        requests: 40 + dice.below(80),
        indices: 1 + dice.below(3),
        documents: 2 + dice.below(6),
        items: 1 + dice.below(6),
        lost: 0,
        refused: [0, 0, 8][dice.below(3) as usize],
        barriers: 0,
        deletions: 0,
        aliases: 0,
        reads: 0,
        versions_only: 0,
        late: 0,
        late_reads: 0,
        made: false,
    }
}

/// All that the source does not tell for certain.
fn mess(seed: u64) -> Habits {
    let mut dice = Dice::new(seed ^ 0x3e55);
    Habits {
        lost: [0, 10][dice.below(2) as usize],
        barriers: 12,
        deletions: [0, 25][dice.below(2) as usize],
        reads: 5,
        ..crowd(seed)
    }
}

/// Runs all seeds and adds up what was counted.
fn run_all(habits: fn(u64) -> Habits, how: Use) -> (Vec<String>, Counters, Vec<Run>) {
    let (mut found, mut total, mut runs) = (Vec::new(), Counters::default(), Vec::new());
    for seed in (0..seeds()).chain(FOUND) {
        let world = World::play(seed, &habits(seed));
        let run = replay(seed, &world, how);
        // Where a guess contradicts another, one is given up, and counted: documents are not compared then.
        let by_document = how.order == Order::Document && run.counters.cycles == 0;
        let faults = faults(&world, &run, by_document);
        found.extend(faults.into_iter().map(|fault| format!("seed {seed}: {fault}")));
        total.by_seq_no += run.counters.by_seq_no;
        total.by_version += run.counters.by_version;
        total.by_capture += run.counters.by_capture;
        total.left_out += run.counters.left_out;
        total.barriers += run.counters.barriers;
        total.aliases += run.counters.aliases;
        total.parts += run.counters.parts;
        total.reads_let_go += run.counters.reads_let_go;
        total.stepped_back += run.counters.stepped_back;
        total.cycles += run.counters.cycles;
        runs.push(run);
    }
    println!("{total:?}");
    (found, total, runs)
}

fn none(found: &[String]) {
    let shown = &found[..found.len().min(10)];
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), shown.join("\n"));
}

#[test]
fn documents_end_as_on_the_source() {
    let (found, total, runs) = run_all(crowd, BY_DOCUMENT);
    none(&found);
    assert!(total.by_seq_no > 1000 && total.parts > 20 && total.left_out > 20, "{total:?}");
    assert_eq!((total.by_capture, total.cycles), (0, 0), "{total:?}");
    assert!(runs.iter().any(|run| run.most_in_flight > 4));
}

#[test]
fn versions_tell_where_sequence_numbers_do_not() {
    let habits = |seed| Habits { versions_only: 1, ..crowd(seed) };
    let (found, total, _) = run_all(habits, BY_DOCUMENT);
    none(&found);
    assert!(total.by_version > 1000 && total.by_seq_no + total.cycles == 0, "{total:?}");
}

#[test]
fn barriers_reads_and_deletions_keep_their_place() {
    let habits = |seed| Habits { lost: 0, ..mess(seed) };
    let (found, total, _) = run_all(habits, BY_DOCUMENT);
    none(&found);
    assert!(total.barriers > 1000 && total.stepped_back > 10, "{total:?}");
    assert!(total.cycles <= seeds() / 200, "{total:?}");
}

#[test]
fn lost_answers_leave_the_rest_in_order() {
    let (found, total, _) = run_all(mess, BY_DOCUMENT);
    none(&found);
    assert!(total.by_capture > 100 && total.cycles <= seeds() / 100, "{total:?}");
}

#[test]
fn aliases_are_the_indices_they_stand_for() {
    let habits = |seed| Habits { aliases: 3, ..crowd(seed) };
    let (found, total, _) = run_all(habits, BY_DOCUMENT);
    none(&found);
    assert!(total.aliases > 100 && total.cycles == 0, "{total:?}");
    let habits = |seed| Habits { aliases: 3, deletions: 0, lost: 0, ..mess(seed) };
    let (found, total, _) = run_all(habits, BY_DOCUMENT);
    none(&found);
    assert!(total.cycles <= seeds() / 200, "{total:?}");
}

/// Answers that are recorded late do not hide what they tell, not even those to the making of the indices.
#[test]
fn late_records_tell_all_the_same() {
    let habits = |seed| Habits { late: 3, made: true, ..crowd(seed) };
    let (found, total, _) = run_all(habits, BY_DOCUMENT);
    none(&found);
    assert_eq!((total.by_capture, total.cycles), (0, 0), "{total:?}");
}

/// A read is sent before its record is written, and seems to have come after writes that it has not seen.
#[test]
fn reads_that_are_recorded_late_do_not_change_the_order_of_writes() {
    let habits = |seed| Habits { reads: 3, late_reads: 2, ..crowd(seed) };
    let (found, total, _) = run_all(habits, BY_DOCUMENT);
    none(&found);
    assert!(total.by_seq_no > 1000, "{total:?}");
    assert_eq!((total.by_capture, total.cycles), (0, 0), "{total:?}");
    let habits = |seed| Habits { late: 5, late_reads: 2, reads: 3, ..mess(seed) };
    let (found, total, _) = run_all(habits, BY_DOCUMENT);
    none(&found);
    assert!(total.reads_let_go > seeds() / 10 && total.cycles <= seeds() / 50, "{total:?}");
}

/// Indices that are deleted and made again while others write to them, by their names and by aliases.
#[test]
fn late_records_of_deletions_tell_which_life_it_was() {
    let habits = |seed| Habits { late: 3, deletions: 12, lost: 0, aliases: 4, ..mess(seed) };
    let (found, total, _) = run_all(habits, BY_DOCUMENT);
    none(&found);
    assert!(total.barriers > 1000 && total.cycles <= seeds() / 100, "{total:?}");
}

#[test]
fn connections_keep_their_order_when_nothing_else_does() {
    let (found, _, runs) = run_all(mess, Use { order: Order::Connection, blind: false });
    none(&found);
    assert!(runs.iter().any(|run| run.most_in_flight > 4));
}

/// The checker can tell: a schedule that does not look at the answers, and one that does not look at documents.
#[test]
fn wrong_schedules_are_found_out() {
    let blind = Use { order: Order::Document, blind: true };
    let (found, ..) = run_all(crowd, blind);
    let states = found.iter().filter(|fault| fault.contains("was made by")).count();
    assert!(states > 100, "{} faults, {states} of them of states", found.len());
    for seed in 0..10 {
        let world = World::play(seed, &crowd(seed));
        let run = replay(seed, &world, Use { order: Order::Connection, blind: false });
        assert!(!faults(&world, &run, true).is_empty(), "seed {seed}");
    }
}
