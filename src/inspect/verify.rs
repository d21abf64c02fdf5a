//! Whether the records are whole: no number missing in any worker's sequence, no record missing or
//! out of order on any connection, nothing that cannot be read, nothing that passed uncaptured, and
//! nothing that heartbeats know better.
//!
//! A duplicate is named and forgiven unless told otherwise: a sink that got no answer sends again.

use super::{
    chains::{Chains, Findings},
    ledger::{Account, End, Passed, shown},
    report::{Report, WorkerRow},
    sequences::Sequences,
    since::{Accounts, Question, answer},
    source::{Loss, Raw, Stop, Visit},
    text::printable,
};
use crate::{
    capture::GapCause,
    proto::{Gap, Provenance, TrafficStream},
};

/// Gathers what a report needs.
#[derive(Debug, Default)]
pub(super) struct Check {
    strict: bool,
    records: u64,
    bytes: u64,
    without_sequence: u64,
    sequences: Sequences,
    accounts: Accounts,
    chains: Chains,
    undecodable: Findings,
    losses: Findings,
    uncaptured: Findings,
}

impl Check {
    /// Nothing seen yet. `strict`: duplicates count as faults.
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    /// The verdict over everything seen.
    pub(super) fn report(mut self, question: Option<Question>) -> Report {
        self.chains.finish();
        let since = question
            .map(|question| answer(question, &self.sequences, &self.accounts, &self.unreadable()));
        let (connections, connections_finished) = self.chains.totals();
        let mut rows = Vec::new();
        let mut heartbeats = Findings::default();
        for (node, incarnation, worker, line) in self.sequences.lines() {
            let nobody = Account::default();
            let lines = self.accounts.get(node);
            let account =
                lines.and_then(|lines| lines.get(&(incarnation, worker))).unwrap_or(&nobody);
            let (missing, unfinished) = account.sort(line.holes());
            let name = format!("worker {worker} of run {incarnation:016x}");
            for (text, _) in account.differences() {
                heartbeats.push(format!("{name}: {text}"));
            }
            let untold = account.untold();
            if untold > 0 {
                self.uncaptured.push(format!(
                    "{name}: {untold} requests passed that no record tells of, by its last heartbeat"
                ));
            }
            let mut beats = account.beats().map(|(_, beat)| shown(beat.at_ns));
            let first_heartbeat = beats.next();
            rows.push(WorkerRow {
                node: node.to_owned(),
                incarnation: format!("{incarnation:016x}"),
                worker,
                records: line.records,
                first_sequence: line.first(),
                last_sequence: line.last(),
                missing,
                unfinished,
                duplicate: line.repeated().collect(),
                duplicate_records: line.duplicates,
                heartbeats: account.beats().count() as u64,
                last_heartbeat: beats.next_back().or_else(|| first_heartbeat.clone()),
                first_heartbeat,
                ended: match account.end() {
                    End::Unknown => "unknown",
                    End::InOrder => "in order",
                    End::Open => "not in order, or not yet",
                },
            });
        }
        Report {
            strict: self.strict,
            records: self.records,
            bytes: self.bytes,
            records_without_sequence: self.without_sequence,
            connections,
            connections_finished,
            workers: rows,
            repeated_without_sequence: self.chains.repeated,
            faults: self.chains.faults,
            undecodable: self.undecodable,
            losses: self.losses,
            uncaptured: self.uncaptured,
            heartbeats,
            since,
        }
    }

    /// Why nothing is proved of any node: what cannot be read may be anybody's.
    fn unreadable(&self) -> Vec<String> {
        let parts = [
            ("records that cannot be read", &self.undecodable),
            ("losses of the log", &self.losses),
        ];
        let found = parts.iter().filter(|(_, findings)| findings.total > 0);
        found.map(|(what, findings)| format!("{what}: {}", findings.total)).collect()
    }

    /// A record of tapline that was not there before.
    fn fresh(&mut self, stream: &TrafficStream, origin: &Provenance) {
        if !self.accounts.contains_key(&stream.node_id) {
            self.accounts.insert(stream.node_id.clone(), std::collections::BTreeMap::new());
        }
        let lines = self.accounts.get_mut(&stream.node_id).expect("invariant: it was put there");
        let account = lines.entry((origin.incarnation, origin.worker)).or_default();
        account.record(stream, origin);
        if origin.heartbeat.is_some() {
            return;
        }
        let marker = origin.gap.is_some_and(|gap| gap.connections > 0);
        if !marker {
            self.chains.record(stream);
        }
        if let Some(gap) = &origin.gap {
            let text = passed(stream, origin, gap);
            let until_ns = (gap.until_unix_ns > 0).then(|| i128::from(gap.until_unix_ns));
            account.gaps.push(Passed { text: text.clone(), until_ns });
            self.uncaptured.push(text);
        }
    }
}

/// What a note of a gap says.
fn passed(stream: &TrafficStream, origin: &Provenance, gap: &Gap) -> String {
    let when = if gap.until_unix_ns > 0 {
        let [since, until] = [gap.since_unix_ns, gap.until_unix_ns].map(|ns| shown(i128::from(ns)));
        format!(" between {since} and {until}")
    } else {
        String::new()
    };
    let who = match gap.connections {
        0 => format!("connection {}", printable(stream.connection_id.as_bytes())),
        many => format!(
            "worker {} of run {:016x}, {many} connections",
            origin.worker, origin.incarnation
        ),
    };
    let before = match gap.connections {
        0 => format!(" before record {}", stream.number().0),
        _ => String::new(),
    };
    format!(
        "{who}: {} requests ({} writes) and {} bytes passed{before} without being captured{when}: {}",
        gap.requests,
        gap.writes,
        gap.bytes,
        GapCause::describe(gap.cause)
    )
}

impl Visit for Check {
    fn record(&mut self, raw: &Raw<'_>) -> Result<(), Stop> {
        self.records += 1;
        self.bytes += raw.bytes();
        let stream = match raw.decode() {
            Ok(stream) => stream,
            Err(error) => {
                self.undecodable.push(format!("{}: {error}", raw.place));
                return Ok(());
            }
        };
        let Some(origin) = &stream.provenance else {
            self.without_sequence += 1;
            self.chains.record(&stream);
            return Ok(());
        };
        if !self.sequences.insert(&stream.node_id, origin) {
            return Ok(());
        }
        self.fresh(&stream, origin);
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<(), Stop> {
        self.losses.push(loss.text.clone());
        Ok(())
    }
}
