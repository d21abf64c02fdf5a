//! Whether the records are whole: no number missing in any worker's sequence, no record missing or
//! out of order on any connection, nothing that cannot be read, nothing that passed uncaptured.
//!
//! A duplicate is named and forgiven unless told otherwise: a sink that got no answer sends again.

use std::io::Write;

use serde::Serialize;

use super::{
    chains::{Chains, Findings},
    intervals::{Range, count, list},
    sequences::Sequences,
    source::{Loss, Origin, Raw, Stop, Visit},
    text::printable,
};

/// Gathers what a report needs.
#[derive(Debug, Default)]
pub(super) struct Check {
    strict: bool,
    records: u64,
    bytes: u64,
    without_sequence: u64,
    sequences: Sequences,
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
    pub(super) fn report(mut self) -> Report {
        self.chains.finish();
        let (connections, connections_finished) = self.chains.totals();
        let lines = self.sequences.lines();
        let workers = lines.map(|(node, incarnation, worker, line)| WorkerRow {
            node: node.to_owned(),
            incarnation: format!("{incarnation:016x}"),
            worker,
            records: line.records,
            first_sequence: line.first(),
            last_sequence: line.last(),
            missing: line.holes(),
            duplicate: line.repeated().collect(),
            duplicate_records: line.duplicates,
        });
        Report {
            strict: self.strict,
            records: self.records,
            bytes: self.bytes,
            records_without_sequence: self.without_sequence,
            connections,
            connections_finished,
            workers: workers.collect(),
            repeated_without_sequence: self.chains.repeated,
            faults: self.chains.faults,
            undecodable: self.undecodable,
            losses: self.losses,
            uncaptured: self.uncaptured,
        }
    }
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
        self.chains.record(&stream);
        if let Some(gap) = &origin.gap {
            self.uncaptured.push(format!(
                "connection {}: {} requests and {} bytes passed before record {} without being captured",
                printable(stream.connection_id.as_bytes()),
                gap.requests,
                gap.bytes,
                stream.number().0
            ));
        }
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<(), Stop> {
        self.losses.push(loss.text.clone());
        Ok(())
    }
}

/// What was found.
#[derive(Debug)]
pub(super) struct Report {
    strict: bool,
    records: u64,
    bytes: u64,
    records_without_sequence: u64,
    connections: u64,
    connections_finished: u64,
    workers: Vec<WorkerRow>,
    repeated_without_sequence: u64,
    faults: Findings,
    undecodable: Findings,
    losses: Findings,
    uncaptured: Findings,
}

/// The sequence of one worker of one run.
#[derive(Debug, Serialize)]
struct WorkerRow {
    node: String,
    incarnation: String,
    worker: u32,
    records: u64,
    first_sequence: u64,
    last_sequence: u64,
    missing: Vec<Range>,
    duplicate: Vec<Range>,
    duplicate_records: u64,
}

impl Report {
    /// Nothing is missing or wrong.
    pub(super) fn whole(&self) -> bool {
        self.counts().iter().all(|(number, _)| *number == 0)
    }

    /// What is wrong, in one line.
    pub(super) fn verdict(&self) -> String {
        let wrong: Vec<_> = self
            .counts()
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{what}: {number}"))
            .collect();
        wrong.join(", ")
    }

    fn counts(&self) -> [(u64, &'static str); 6] {
        [
            (self.missing(), "sequences missing"),
            (self.faults.total, "faults of connections"),
            (self.undecodable.total, "undecodable records"),
            (self.losses.total, "losses of the log"),
            (self.uncaptured.total, "stretches uncaptured"),
            (if self.strict { self.duplicates() } else { 0 }, "duplicates"),
        ]
    }

    fn missing(&self) -> u64 {
        self.workers.iter().map(|worker| count(worker.missing.iter().copied())).sum()
    }

    fn duplicates(&self) -> u64 {
        let numbered: u64 = self.workers.iter().map(|worker| worker.duplicate_records).sum();
        numbered + self.repeated_without_sequence
    }

    /// Writes the report for a person, or as one JSON object.
    pub(super) fn print(
        &self,
        out: &mut dyn Write,
        origin: &Origin,
        json: bool,
    ) -> Result<(), Stop> {
        if json {
            let shown = self.shown(origin);
            serde_json::to_writer_pretty(&mut *out, &shown).map_err(std::io::Error::from)?;
            writeln!(out)?;
            return Ok(());
        }
        writeln!(out, "source       {origin}")?;
        writeln!(out, "records      {} ({} bytes)", self.records, self.bytes)?;
        if self.records_without_sequence > 0 {
            writeln!(
                out,
                "             {} without a sequence: of another proxy, judged by connection alone",
                self.records_without_sequence
            )?;
        }
        writeln!(
            out,
            "connections  {}, {} still open at the end",
            self.connections,
            self.connections - self.connections_finished
        )?;
        writeln!(out, "duplicates   {}", self.duplicates())?;
        for worker in &self.workers {
            worker.print(out)?;
        }
        let parts = [
            ("undecodable", &self.undecodable),
            ("lost", &self.losses),
            ("uncaptured", &self.uncaptured),
            ("fault", &self.faults),
        ];
        for (name, findings) in parts {
            for text in &findings.named {
                writeln!(out, "{name}: {text}")?;
            }
            let more = findings.total - findings.named.len() as u64;
            if more > 0 {
                writeln!(out, "{name}: {more} more")?;
            }
        }
        let verdict =
            if self.whole() { "whole".into() } else { format!("NOT WHOLE: {}", self.verdict()) };
        writeln!(out, "{verdict}")?;
        Ok(())
    }

    fn shown(&self, origin: &Origin) -> Shown<'_> {
        Shown {
            source: origin.to_string(),
            whole: self.whole(),
            records: self.records,
            bytes: self.bytes,
            records_without_sequence: self.records_without_sequence,
            connections: self.connections,
            connections_open: self.connections - self.connections_finished,
            sequences_missing: self.missing(),
            duplicates: self.duplicates(),
            workers: &self.workers,
            undecodable: Named::of(&self.undecodable),
            losses: Named::of(&self.losses),
            uncaptured: Named::of(&self.uncaptured),
            faults: Named::of(&self.faults),
        }
    }
}

impl WorkerRow {
    fn print(&self, out: &mut dyn Write) -> Result<(), Stop> {
        let node = printable(self.node.as_bytes());
        writeln!(
            out,
            "worker       node {node} incarnation {} worker {}: {} records, sequences {} to {}",
            self.incarnation, self.worker, self.records, self.first_sequence, self.last_sequence
        )?;
        if !self.missing.is_empty() {
            writeln!(out, "             missing: {}", list(self.missing.iter().copied()))?;
        }
        if !self.duplicate.is_empty() {
            writeln!(out, "             duplicate: {}", list(self.duplicate.iter().copied()))?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    source: String,
    whole: bool,
    records: u64,
    bytes: u64,
    records_without_sequence: u64,
    connections: u64,
    connections_open: u64,
    sequences_missing: u64,
    duplicates: u64,
    workers: &'a [WorkerRow],
    undecodable: Named<'a>,
    losses: Named<'a>,
    uncaptured: Named<'a>,
    faults: Named<'a>,
}

#[derive(Serialize)]
struct Named<'a> {
    total: u64,
    named: &'a [String],
}

impl<'a> Named<'a> {
    fn of(findings: &'a Findings) -> Self {
        Self { total: findings.total, named: &findings.named }
    }
}
