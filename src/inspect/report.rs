//! What [`super::verify`] and [`super::since`] found, for people and for programs.

use std::io::Write;

use serde::Serialize;

use super::{
    chains::Findings,
    intervals::{Range, count, list},
    since::Answer,
    source::{Origin, Stop},
    text::printable,
};

/// What was found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) strict: bool,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) records_without_sequence: u64,
    pub(super) connections: u64,
    pub(super) connections_finished: u64,
    pub(super) workers: Vec<WorkerRow>,
    pub(super) repeated_without_sequence: u64,
    pub(super) faults: Findings,
    pub(super) undecodable: Findings,
    pub(super) losses: Findings,
    pub(super) uncaptured: Findings,
    /// Where heartbeats and records differ.
    pub(super) heartbeats: Findings,
    /// The answers to `--since`, if that was asked.
    pub(super) since: Option<Vec<Answer>>,
}

/// The sequence of one worker of one run.
#[derive(Debug, Serialize)]
pub(super) struct WorkerRow {
    pub(super) node: String,
    pub(super) incarnation: String,
    pub(super) worker: u32,
    pub(super) records: u64,
    pub(super) first_sequence: u64,
    pub(super) last_sequence: u64,
    pub(super) missing: Vec<Range>,
    /// Missing, but not known to have been stored: the run broke off, or goes on.
    pub(super) unfinished: Vec<Range>,
    pub(super) duplicate: Vec<Range>,
    pub(super) duplicate_records: u64,
    pub(super) heartbeats: u64,
    pub(super) first_heartbeat: Option<String>,
    pub(super) last_heartbeat: Option<String>,
    pub(super) ended: &'static str,
}

impl Report {
    /// The question that was asked is answered with yes.
    pub(super) fn passes(&self) -> bool {
        match &self.since {
            Some(nodes) => !nodes.is_empty() && nodes.iter().all(|node| node.without_a_gap),
            None => self.whole(),
        }
    }

    /// Why not, in one line.
    pub(super) fn failure(&self) -> String {
        let Some(nodes) = &self.since else { return format!("is not whole: {}", self.verdict()) };
        if nodes.is_empty() {
            return "has no record of any node, so that nothing is proved".into();
        }
        let not = nodes.iter().filter(|node| !node.without_a_gap).count();
        format!("is not proved to be without a gap since then on {not} of {} nodes", nodes.len())
    }

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

    fn counts(&self) -> [(u64, &'static str); 7] {
        [
            (self.missing(), "sequences missing"),
            (self.faults.total, "faults of connections"),
            (self.undecodable.total, "undecodable records"),
            (self.losses.total, "losses of the log"),
            (self.uncaptured.total, "stretches uncaptured"),
            (self.heartbeats.total, "heartbeats that differ"),
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
            ("heartbeat", &self.heartbeats),
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
        for node in self.since.iter().flatten() {
            node.print(out)?;
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
            heartbeats: Named::of(&self.heartbeats),
            since: self.since.as_deref(),
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
        if !self.unfinished.is_empty() {
            let list = list(self.unfinished.iter().copied());
            writeln!(out, "             not stored, or not yet: {list}")?;
        }
        if let (Some(first), Some(last)) = (&self.first_heartbeat, &self.last_heartbeat) {
            let (count, ended) = (self.heartbeats, self.ended);
            writeln!(out, "             {count} heartbeats, {first} to {last}; ended {ended}")?;
        }
        if !self.duplicate.is_empty() {
            writeln!(out, "             duplicate: {}", list(self.duplicate.iter().copied()))?;
        }
        Ok(())
    }
}

impl Answer {
    fn print(&self, out: &mut dyn Write) -> Result<(), Stop> {
        let (node, said) = (printable(self.node.as_bytes()), self.without_a_gap);
        writeln!(out, "node         {node}: {}", if said { "yes, without a gap" } else { "NO" })?;
        for reason in &self.reasons {
            writeln!(out, "             because {reason}")?;
        }
        for note in &self.notes {
            writeln!(out, "             {note}")?;
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
    heartbeats: Named<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<&'a [Answer]>,
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
