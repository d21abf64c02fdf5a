//! Compares what the target did with what the source did, pair by pair. Quadratic, and shares no code with the
//! schedule.

use std::collections::BTreeMap;

use super::source::{Op, Request, What, World};
use super::target::Run;

/// What is wrong with a run.
pub(super) fn faults(world: &World, run: &Run, documents_too: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (b, later) in world.requests.iter().enumerate() {
        for (a, earlier) in world.requests[..b].iter().enumerate() {
            if earlier.connection == later.connection {
                one_connection(a, b, run, &mut faults);
            }
            if documents_too {
                for (i, left) in earlier.ops.iter().enumerate() {
                    for (j, right) in later.ops.iter().enumerate() {
                        let places = (run.items[a][i], run.items[b][j]);
                        if let (Some(one), Some(other)) = places
                            && conflict(left, right)
                            && counts(run, left)
                            && counts(run, right)
                            && !in_order(first(world, (earlier, left), (later, right)), one, other)
                        {
                            faults.push(format!(
                                "{a}.{i} {left:?} at {one:?} and {b}.{j} {right:?} at {other:?}"
                            ));
                        }
                    }
                }
            }
        }
        for (item, op) in later.ops.iter().enumerate() {
            let left_out = run.left_out[b].contains(&(item as u32));
            if run.items[b][item].is_none() != left_out {
                faults.push(format!("{b}.{item} was not sent though not left out"));
            }
            if left_out && !op.refused {
                faults.push(format!("{b}.{item} was left out though the source took it"));
            }
            if matches!(op.what, What::Write(..))
                && !left_out
                && !later.lost
                && documents_too
                && op.refused
                && is_overlapped(world, b, op)
            {
                faults.push(format!("{b}.{item} was refused at an unknown place, and sent"));
            }
        }
    }
    if documents_too {
        states(world, run, &mut faults);
    }
    faults
}

/// A read that was let go so that others could go on is where it is, and counted.
fn counts(run: &Run, op: &Op) -> bool {
    run.counters.reads_let_go == 0 || !matches!(op.what, What::Read(..))
}

fn one_connection(a: usize, b: usize, run: &Run, faults: &mut Vec<String>) {
    let end = run.items[a].iter().flatten().map(|sent| sent.1).max();
    let start = run.items[b].iter().flatten().map(|sent| sent.0).min();
    if let (Some(end), Some(start)) = (end, start)
        && start < end
    {
        faults.push(format!("{b} went before {a} of its connection was done"));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Earlier,
    Later,
    /// Nothing tells: but not side by side.
    Either,
}

fn first(
    world: &World,
    (earlier, left): (&Request, &Op),
    (later, right): (&Request, &Op),
) -> First {
    if earlier.late || later.late {
        return First::Either;
    }
    if earlier.answered < later.received {
        return First::Earlier;
    }
    let unsure = |request, op: &Op| match op.what {
        What::Write(index, _) => deletions(world, index).any(|gone| at_once(gone, request)),
        _ => false,
    };
    if earlier.lost || later.lost || unsure(earlier, left) || unsure(later, right) {
        return First::Either;
    }
    let told = matches!((left.what, right.what), (What::Write(..), What::Write(..)));
    match (left.version, right.version) {
        (Some(one), Some(other)) if told && (left.life, one) < (right.life, other) => {
            First::Earlier
        }
        (Some(_), Some(_)) if told => First::Later,
        _ => First::Either,
    }
}

fn in_order(first: First, one: (u64, u64), other: (u64, u64)) -> bool {
    let (straight, reversed) = (one.1 <= other.0, other.1 <= one.0);
    match first {
        First::Earlier => straight,
        First::Later => reversed,
        First::Either => straight || reversed,
    }
}

fn conflict(left: &Op, right: &Op) -> bool {
    use What::{Delete, Everything, Generated, Index, Make, Nothing, Read, Write};
    match (left.what, right.what) {
        (Nothing, _) | (_, Nothing) | (Read(..), Read(..)) => false,
        (Everything, _) | (_, Everything) => true,
        (Write(a, x) | Read(a, x), Write(b, y) | Read(b, y)) => (a, x) == (b, y),
        (
            Index(a) | Delete(a) | Make(a),
            Index(b) | Delete(b) | Make(b) | Generated(b) | Read(b, _) | Write(b, _),
        )
        | (Generated(b) | Read(b, _) | Write(b, _), Index(a) | Delete(a) | Make(a)) => a == b,
        (Generated(_), _) | (_, Generated(_)) => false,
    }
}

/// Another request for the document was at the source at the same time.
fn is_overlapped(world: &World, number: usize, op: &Op) -> bool {
    let mine = &world.requests[number];
    world.requests.iter().enumerate().any(|(other, request)| {
        let apart = request.answered < mine.received || mine.answered < request.received;
        // What was refused itself is gone before it can be seen.
        let touches = |theirs: &Op| theirs.what == op.what && !theirs.refused;
        other != number && !apart && request.ops.iter().any(touches)
    })
}

/// When it went, its request and its item.
type Write = (u64, usize, usize);

/// The writes that made each document are the same, in the same order, wherever the source's records tell it.
fn states(world: &World, run: &Run, faults: &mut Vec<String>) {
    let mut writes: BTreeMap<(usize, usize), Vec<Write>> = BTreeMap::new();
    let mut deletions: BTreeMap<usize, u64> = BTreeMap::new();
    for (number, request) in world.requests.iter().enumerate() {
        for (item, op) in request.ops.iter().enumerate() {
            let Some((start, _)) = run.items[number][item] else { continue };
            match op.what {
                What::Write(index, document) if !op.refused => {
                    writes.entry((index, document)).or_default().push((start, number, item));
                }
                What::Delete(index) if !op.refused => {
                    let last = deletions.entry(index).or_default();
                    *last = start.max(*last);
                }
                _ => {}
            }
        }
    }
    for (place, mut made) in writes {
        if !is_told(world, place) {
            continue;
        }
        made.retain(|(start, ..)| deletions.get(&place.0).is_none_or(|gone| start >= gone));
        made.sort_unstable();
        let made: Vec<_> = made.into_iter().map(|(_, number, item)| (number, item)).collect();
        let expected = world.documents.get(&place).cloned().unwrap_or_default();
        if made != expected {
            faults.push(format!("document {place:?} was made by {made:?} and not by {expected:?}"));
        }
    }
}

/// The records tell in which order the document was written: no answer that matters was lost, and no deletion of the
/// index was under way with a write.
fn is_told(world: &World, (index, document): (usize, usize)) -> bool {
    let writes = || {
        let touches = |op: &Op| op.what == What::Write(index, document);
        world.requests.iter().filter(move |request| request.ops.iter().any(touches))
    };
    writes()
        .filter(|request| request.lost)
        .all(|lost| writes().filter(|other| overlap(lost, other)).count() <= 1)
        && deletions(world, index).all(|gone| !writes().any(|one| at_once(gone, one)))
}

fn overlap(a: &Request, b: &Request) -> bool {
    a.received < b.answered && b.received < a.answered
}

/// The same by the source's clock, as far as the records have it.
fn at_once(a: &Request, b: &Request) -> bool {
    let clocked = a.received_at <= b.answered_at && b.received_at <= a.answered_at;
    overlap(a, b) && (a.lost || b.lost || clocked)
}

fn deletions(world: &World, index: usize) -> impl Iterator<Item = &Request> {
    world.requests.iter().filter(move |request| request.replaced() == Some(index))
}
