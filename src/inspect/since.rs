//! "Captured without a gap since T?", for each node: yes, or no and why.
//!
//! Only what is proved counts as captured: a node of which nothing is known at T, or from some time on, is a no.

use std::collections::BTreeMap;

use super::{
    intervals::{Range, count, list},
    ledger::{Account, End, shown},
    sequences::{Line, Sequences},
};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// Since when, Unix nanoseconds.
    pub(super) since_ns: i128,
    /// Now.
    pub(super) now_ns: i128,
}

/// What is answered about one node.
#[derive(Debug, serde::Serialize)]
pub(super) struct Answer {
    pub(super) node: String,
    pub(super) without_a_gap: bool,
    /// Why not.
    pub(super) reasons: Vec<String>,
    /// What an operator should know all the same.
    pub(super) notes: Vec<String>,
}

/// Accounts by node, then incarnation and worker.
pub(super) type Accounts = BTreeMap<String, BTreeMap<(u64, u32), Account>>;

/// One run of a node.
struct Run<'a> {
    incarnation: u64,
    workers: Vec<(u32, &'a Account, Vec<Range>)>,
    /// When it began to take connections; `None`: nobody says.
    started_ns: Option<i128>,
    /// The last that is known of it.
    known_ns: i128,
    end: End,
    interval_ns: i128,
    /// Writes may have got through whose records were not stored.
    passes: bool,
}

/// The answers. `unreadable`: why nothing is proved of any node.
pub(super) fn answer(
    question: Question,
    sequences: &Sequences,
    accounts: &Accounts,
    unreadable: &[String],
) -> Vec<Answer> {
    accounts
        .iter()
        .map(|(node, lines)| {
            let (mut reasons, mut notes) = (unreadable.to_vec(), Vec::new());
            let runs = runs(node, lines, sequences);
            judge(question, &runs, &mut reasons, &mut notes);
            reasons.dedup();
            let without_a_gap = reasons.is_empty();
            Answer { node: node.clone(), without_a_gap, reasons, notes }
        })
        .collect()
}

fn runs<'a>(
    node: &str,
    lines: &'a BTreeMap<(u64, u32), Account>,
    sequences: &Sequences,
) -> Vec<Run<'a>> {
    let mut runs: BTreeMap<u64, Run<'a>> = BTreeMap::new();
    for ((incarnation, worker), account) in lines {
        let run = runs.entry(*incarnation).or_insert_with(|| Run {
            incarnation: *incarnation,
            workers: Vec::new(),
            started_ns: None,
            known_ns: i128::MAX,
            end: End::InOrder,
            interval_ns: 0,
            passes: false,
        });
        let holes = sequences.line(node, *incarnation, *worker).map_or_else(Vec::new, Line::holes);
        run.workers.push((*worker, account, holes));
        run.started_ns = run.started_ns.max(account.started_ns());
        let Some(beat) = account.last_beat() else {
            run.end = End::Unknown;
            continue;
        };
        run.known_ns = run.known_ns.min(beat.at_ns);
        run.interval_ns = run.interval_ns.max(i128::from(beat.said.interval_ms) * 1_000_000);
        run.passes |= beat.said.passes;
        if account.end() == End::Open && run.end != End::Unknown {
            run.end = End::Open;
        }
    }
    let mut runs: Vec<_> = runs.into_values().collect();
    runs.sort_by_key(|run| run.started_ns.unwrap_or(i128::MIN));
    runs
}

fn judge(
    Question { since_ns, now_ns }: Question,
    runs: &[Run<'_>],
    reasons: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    let mut covered_ns = None;
    for (at, run) in runs.iter().enumerate() {
        let name = format!("run {:016x}", run.incarnation);
        let newest = at + 1 == runs.len();
        if run.end == End::Unknown
            || run.workers.iter().all(|(_, account, _)| account.last_beat().is_none())
        {
            reasons.push(format!(
                "{name}: a worker of it gives no heartbeats, so that nothing is proved of it"
            ));
            continue;
        }
        // A run that is over before T proves nothing and spoils nothing.
        if run.known_ns < since_ns && !(newest && run.end == End::Open) {
            continue;
        }
        let (started, known) = (run.started_ns.unwrap_or(i128::MAX), run.known_ns);
        holes(run, &name, since_ns, reasons, notes);
        passed(run, &name, since_ns, reasons, notes);
        match covered_ns {
            None if started > since_ns => reasons.push(format!(
                "{name}: it took connections from {} on only; capture before that is not proved",
                shown(started)
            )),
            Some((before, end)) if started > before => {
                let how = if end == End::InOrder { "stopped in order" } else { "broken off" };
                notes.push(format!(
                    "not running between {} ({how}) and {}; what clients sent elsewhere meanwhile is not here",
                    shown(before),
                    shown(started)
                ));
            }
            _ => {}
        }
        if covered_ns.is_none_or(|(before, _)| before < known) {
            covered_ns = Some((known, run.end));
        }
        let late = now_ns - known > SILENT_INTERVALS * run.interval_ns;
        match run.end {
            End::Open if newest && late => reasons.push(format!(
                "{name}: nothing is heard of it after {}, and it took no leave: it was killed, its records do not \
                 arrive yet, or they are lost",
                shown(known)
            )),
            End::Open if late && run.passes => reasons.push(format!(
                "{name}: broken off after {} with --on-capture-unavailable pass: what got through to the source then \
                 need not have been stored, and nobody is left to say so",
                shown(known)
            )),
            End::Open if late => notes.push(format!(
                "{name}: broken off after {}; no write got through to the source whose record was not stored then",
                shown(known)
            )),
            End::InOrder if newest => {
                notes.push(format!("{name}: stopped in order at {}", shown(known)));
            }
            _ => {}
        }
    }
    if covered_ns.is_none() && reasons.is_empty() {
        reasons.push(format!("no run of it is known at or after {}", shown(since_ns)));
    }
}

/// Sequences that are missing and not known to be of before T.
fn holes(
    run: &Run<'_>,
    name: &str,
    since_ns: i128,
    reasons: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    let workers = run.workers.iter().filter_map(|(_, account, _)| account.last_beat());
    let workers = workers.map(|beat| beat.said.workers).max().unwrap_or(0);
    let there = run.workers.len() as u64;
    if there < workers {
        reasons.push(format!("{name}: of its {workers} workers only {there} are in the records"));
    }
    for (worker, account, holes) in &run.workers {
        let late = |(_, last): &Range| account.over_ns(*last).is_none_or(|over| over >= since_ns);
        let (lost, unfinished) = account.sort(holes.iter().copied().filter(late));
        if !lost.is_empty() {
            let when = match lost.last().and_then(|(_, last)| account.over_ns(*last)) {
                Some(over) => format!(", before {}", shown(over)),
                None => String::new(),
            };
            reasons.push(format!(
                "{name}, worker {worker}: {} records missing: sequences {}{when}",
                count(lost.iter().copied()),
                list(lost)
            ));
        }
        if !unfinished.is_empty() {
            let what = format!(
                "{name}, worker {worker}: sequences {} are not stored yet, or were not when it broke off",
                list(unfinished)
            );
            if run.passes {
                reasons.push(format!(
                    "{what}; with --on-capture-unavailable pass writes in them may have got through to the source"
                ));
            } else {
                notes.push(format!("{what}; no write in them got through to the source"));
            }
        }
        for (text, at_ns) in account.differences() {
            if at_ns >= since_ns {
                reasons.push(format!("{name}, worker {worker}: {text}"));
            }
        }
    }
}

/// Traffic that passed uncaptured after T.
fn passed(
    run: &Run<'_>,
    name: &str,
    since_ns: i128,
    reasons: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    for (worker, account, _) in &run.workers {
        let late = account.gaps.iter().filter(|gap| gap.until_ns.is_none_or(|at| at >= since_ns));
        reasons.extend(late.map(|gap| gap.text.clone()));
        let early = account.early();
        if early > 0 {
            notes.push(format!(
                "{name}, worker {worker}: {early} writes since its start were let through before their records were \
                 stored; they are captured where no sequence is missing"
            ));
        }
        let untold = account.untold();
        if untold > 0 {
            reasons.push(format!(
                "{name}, worker {worker}: {untold} requests passed uncaptured of which no record says when"
            ));
        }
    }
}

/// A node that is silent for longer is not taken for a living one: a beat, the flush, the way through the log.
const SILENT_INTERVALS: i128 = 3;
