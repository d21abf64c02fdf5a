//! What the records of a source come to, counted.
//!
//! Works on records of the reference, which name no sequence, as well as on tapline's.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{BuildHasher, RandomState},
    io::Write,
};

use serde::Serialize;

use super::{
    sequences::Sequences,
    source::{Loss, Origin, Place, Raw, Stop, Visit},
    text::{Extent, printable},
};
use crate::proto::{Capture, Provenance, TrafficStream};

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Description {
    records: u64,
    bytes: u64,
    undecodable: u64,
    time: Extent,
    nodes: BTreeSet<String>,
    incarnations: BTreeSet<u64>,
    /// Hashes of (node, connection): eight bytes for each; among ten million connections two share
    /// one with a probability of some millionths.
    connections: HashSet<u64>,
    hasher: RandomState,
    totals: Totals,
    losses: Losses,
    sequences: Sequences,
    rows: BTreeMap<Row, Stretch>,
}

/// Sums over all records.
#[derive(Debug, Default, Serialize)]
struct Totals {
    heartbeats: u64,
    requests: u64,
    requests_dropped: u64,
    requests_undelivered: u64,
    requests_refused: u64,
    gap_notes: u64,
    gap_requests: u64,
    gap_bytes: u64,
    left_out_requests: u64,
    left_out_bytes: u64,
    request_bytes: u64,
    response_bytes: u64,
}

/// What the source said it lost.
#[derive(Debug, Default, Serialize)]
struct Losses {
    reported: u64,
    records: u64,
}

/// A stretch of the source with numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Incarnation(u64),
    Partition(i32),
}

#[derive(Debug)]
struct Stretch {
    node: String,
    records: u64,
    bytes: u64,
    first: u64,
    last: u64,
}

impl Visit for Description {
    fn record(&mut self, raw: &Raw<'_>) -> Result<(), Stop> {
        self.records += 1;
        self.bytes += raw.bytes();
        self.place(raw);
        match raw.decode() {
            Ok(stream) => self.stream(&stream),
            Err(_) => self.undecodable += 1,
        }
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<(), Stop> {
        self.losses.reported += 1;
        self.losses.records += loss.records.unwrap_or(0);
        Ok(())
    }
}

impl Description {
    fn place(&mut self, raw: &Raw<'_>) {
        let row = match raw.place {
            Place::Log { incarnation, .. } => Row::Incarnation(incarnation),
            Place::Kafka { partition, .. } => Row::Partition(partition),
        };
        let number = raw.place.number();
        let stretch = self.rows.entry(row).or_insert_with(|| Stretch {
            node: raw.node.to_owned(),
            records: 0,
            bytes: 0,
            first: number,
            last: number,
        });
        stretch.records += 1;
        stretch.bytes += raw.bytes();
        stretch.first = stretch.first.min(number);
        stretch.last = stretch.last.max(number);
    }

    fn stream(&mut self, stream: &TrafficStream) {
        self.time.widen(&stream.sub_stream);
        if !self.nodes.contains(&stream.node_id) {
            self.nodes.insert(stream.node_id.clone());
        }
        let origin = stream.provenance.as_ref();
        let heartbeat = origin.is_some_and(|origin| origin.heartbeat.is_some());
        let marker = origin.and_then(|origin| origin.gap).is_some_and(|gap| gap.connections > 0);
        if heartbeat {
            self.totals.heartbeats += 1;
        } else if !marker {
            let connection = self.hasher.hash_one((&stream.node_id, &stream.connection_id));
            self.connections.insert(connection);
        }
        for capture in stream.sub_stream.iter().filter_map(|seen| seen.capture.as_ref()) {
            match capture {
                Capture::EndOfMessage(_) => self.totals.requests += 1,
                Capture::RequestDropped(_) => self.totals.requests_dropped += 1,
                other => match super::text::data(other) {
                    Some((true, data)) => self.totals.request_bytes += data.len() as u64,
                    Some((false, data)) => self.totals.response_bytes += data.len() as u64,
                    None => {}
                },
            }
        }
        if let Some(origin) = &stream.provenance {
            self.provenance(&stream.node_id, origin);
        }
    }

    fn provenance(&mut self, node: &str, origin: &Provenance) {
        self.incarnations.insert(origin.incarnation);
        self.sequences.insert(node, origin);
        if let Some(undelivered) = &origin.undelivered {
            self.totals.requests_undelivered += u64::from(undelivered.requests);
        }
        self.totals.requests_refused += u64::from(origin.refused.is_some());
        if let Some(gap) = &origin.gap {
            self.totals.gap_notes += 1;
            self.totals.gap_requests += gap.requests;
            self.totals.gap_bytes += gap.bytes;
        }
        for left_out in &origin.left_out {
            self.totals.left_out_requests += left_out.requests;
            self.totals.left_out_bytes += left_out.bytes;
        }
    }

    /// Writes the counts for a person, or as one JSON object.
    pub(super) fn print(
        &self,
        out: &mut dyn Write,
        origin: &Origin,
        json: bool,
    ) -> Result<(), Stop> {
        let summary = self.summary(origin);
        if json {
            serde_json::to_writer_pretty(&mut *out, &summary).map_err(std::io::Error::from)?;
            writeln!(out)?;
            return Ok(());
        }
        summary.print(out)
    }

    fn summary(&self, origin: &Origin) -> Summary<'_> {
        let workers: Vec<_> = self
            .sequences
            .lines()
            .map(|(node, incarnation, worker, line)| WorkerRow {
                node: node.to_owned(),
                incarnation: format!("{incarnation:016x}"),
                worker,
                records: line.records,
                first_sequence: line.first(),
                last_sequence: line.last(),
                missing: line.missing(),
                duplicates: line.duplicates,
            })
            .collect();
        let time = |pick: fn((super::text::Moment, super::text::Moment)) -> super::text::Moment| {
            self.time.ends.map(pick).map(|moment| moment.to_string())
        };
        Summary {
            source: origin.to_string(),
            records: self.records,
            bytes: self.bytes,
            undecodable: self.undecodable,
            first_observation: time(|ends| ends.0),
            last_observation: time(|ends| ends.1),
            nodes: self.nodes.iter().cloned().collect(),
            incarnations: self.incarnations.iter().map(|id| format!("{id:016x}")).collect(),
            connections: self.connections.len() as u64,
            totals: &self.totals,
            sequences_missing: workers.iter().map(|row| row.missing).sum(),
            sequences_duplicate: workers.iter().map(|row| row.duplicates).sum(),
            losses: &self.losses,
            rows: self.rows.iter().map(|(row, stretch)| stretch.show(*row)).collect(),
            workers,
        }
    }
}

impl Stretch {
    fn show(&self, row: Row) -> StretchRow {
        let (incarnation, partition) = match row {
            Row::Incarnation(id) => (Some(format!("{id:016x}")), None),
            Row::Partition(number) => (None, Some(number)),
        };
        StretchRow {
            node: incarnation.is_some().then(|| self.node.clone()),
            incarnation,
            partition,
            records: self.records,
            bytes: self.bytes,
            first: self.first,
            last: self.last,
        }
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    source: String,
    records: u64,
    bytes: u64,
    undecodable: u64,
    first_observation: Option<String>,
    last_observation: Option<String>,
    nodes: Vec<String>,
    incarnations: Vec<String>,
    connections: u64,
    #[serde(flatten)]
    totals: &'a Totals,
    sequences_missing: u64,
    sequences_duplicate: u64,
    losses: &'a Losses,
    rows: Vec<StretchRow>,
    workers: Vec<WorkerRow>,
}

#[derive(Serialize)]
struct StretchRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    records: u64,
    bytes: u64,
    first: u64,
    last: u64,
}

#[derive(Serialize)]
struct WorkerRow {
    node: String,
    incarnation: String,
    worker: u32,
    records: u64,
    first_sequence: u64,
    last_sequence: u64,
    missing: u64,
    duplicates: u64,
}

impl Summary<'_> {
    fn print(&self, out: &mut dyn Write) -> Result<(), Stop> {
        let totals = self.totals;
        let none = || "-".to_owned();
        writeln!(out, "source             {}", self.source)?;
        writeln!(out, "records            {}", self.records)?;
        writeln!(out, "bytes              {}", self.bytes)?;
        writeln!(out, "undecodable        {}", self.undecodable)?;
        let first = self.first_observation.clone().unwrap_or_else(none);
        let last = self.last_observation.clone().unwrap_or_else(none);
        writeln!(out, "first observation  {first}")?;
        writeln!(out, "last observation   {last}")?;
        writeln!(out, "nodes              {}", self.nodes.len())?;
        for node in &self.nodes {
            writeln!(out, "                   {}", printable(node.as_bytes()))?;
        }
        writeln!(out, "incarnations       {}", self.incarnations.len())?;
        writeln!(out, "connections        {}", self.connections)?;
        writeln!(out, "heartbeats         {}", totals.heartbeats)?;
        writeln!(
            out,
            "requests           {} ({} bytes, responses {} bytes)",
            totals.requests, totals.request_bytes, totals.response_bytes
        )?;
        writeln!(out, "  dropped          {}", totals.requests_dropped)?;
        writeln!(out, "  undelivered      {}", totals.requests_undelivered)?;
        writeln!(out, "  refused          {}", totals.requests_refused)?;
        writeln!(
            out,
            "  left out         {} on purpose ({} bytes)",
            totals.left_out_requests, totals.left_out_bytes
        )?;
        writeln!(out, "gaps")?;
        writeln!(out, "  sequences        {} missing", self.sequences_missing)?;
        writeln!(
            out,
            "  losses           {} reported, {} records known of",
            self.losses.reported, self.losses.records
        )?;
        writeln!(
            out,
            "  uncaptured       {} notes: {} requests, {} bytes",
            totals.gap_notes, totals.gap_requests, totals.gap_bytes
        )?;
        writeln!(out, "duplicates         {}", self.sequences_duplicate)?;
        if !self.rows.is_empty() {
            self.print_rows(out)?;
        }
        if !self.workers.is_empty() {
            self.print_workers(out)?;
        }
        Ok(())
    }

    fn print_rows(&self, out: &mut dyn Write) -> Result<(), Stop> {
        let name = if self.rows[0].partition.is_some() { "PARTITION" } else { "INCARNATION" };
        writeln!(
            out,
            "\n{name:<16} {:>12} {:>16} {:>12} {:>12}  NODE",
            "RECORDS", "BYTES", "FIRST", "LAST"
        )?;
        for row in &self.rows {
            let name = row.partition.map(|number| number.to_string());
            let name = name.or_else(|| row.incarnation.clone()).unwrap_or_default();
            let node = printable(row.node.as_deref().unwrap_or("-").as_bytes());
            writeln!(
                out,
                "{name:<16} {:>12} {:>16} {:>12} {:>12}  {node}",
                row.records, row.bytes, row.first, row.last
            )?;
        }
        Ok(())
    }

    fn print_workers(&self, out: &mut dyn Write) -> Result<(), Stop> {
        writeln!(
            out,
            "\n{:<16} {:>6} {:>12} {:>12} {:>12} {:>8} {:>10}  NODE",
            "INCARNATION", "WORKER", "RECORDS", "FIRST", "LAST", "MISSING", "DUPLICATES"
        )?;
        for row in &self.workers {
            writeln!(
                out,
                "{:<16} {:>6} {:>12} {:>12} {:>12} {:>8} {:>10}  {}",
                row.incarnation,
                row.worker,
                row.records,
                row.first_sequence,
                row.last_sequence,
                row.missing,
                row.duplicates,
                printable(row.node.as_bytes())
            )?;
        }
        Ok(())
    }
}
