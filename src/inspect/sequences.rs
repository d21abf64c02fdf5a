//! The numbers that workers gave their records, per (node, incarnation, worker).
//!
//! A worker's records are spread over the partitions of a topic, so its numbers arrive in any
//! order; order is judged by connection, in [`super::chains`].

use std::collections::BTreeMap;

use super::intervals::{Intervals, Range, count};
use crate::proto::Provenance;

/// All sequences met.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    nodes: BTreeMap<String, BTreeMap<(u64, u32), Line>>,
}

/// The records of one worker of one run.
#[derive(Debug, Default)]
pub(super) struct Line {
    seen: Intervals,
    repeated: Intervals,
    /// Records, duplicates included.
    pub(super) records: u64,
    /// Records whose number had been there.
    pub(super) duplicates: u64,
}

impl Sequences {
    /// Notes a record; false when its number had been there.
    pub(super) fn insert(&mut self, node: &str, origin: &Provenance) -> bool {
        if !self.nodes.contains_key(node) {
            self.nodes.insert(node.to_owned(), BTreeMap::new());
        }
        let lines = self.nodes.get_mut(node).expect("invariant: it was put there");
        let line = lines.entry((origin.incarnation, origin.worker)).or_default();
        line.records += 1;
        let new = line.seen.insert(origin.sequence);
        if !new {
            line.duplicates += 1;
            line.repeated.insert(origin.sequence);
        }
        new
    }

    /// One line.
    pub(super) fn line(&self, node: &str, incarnation: u64, worker: u32) -> Option<&Line> {
        self.nodes.get(node)?.get(&(incarnation, worker))
    }

    /// Every line with its (node, incarnation, worker).
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, u64, u32, &Line)> {
        self.nodes.iter().flat_map(|(node, lines)| {
            lines.iter().map(move |((incarnation, worker), line)| {
                (node.as_str(), *incarnation, *worker, line)
            })
        })
    }
}

impl Line {
    /// Numbers that are missing between the first there should be, 1, and the last there is.
    pub(super) fn holes(&self) -> Vec<Range> {
        self.seen.holes(1)
    }

    /// Numbers that are missing between the first and the last there are.
    pub(super) fn missing(&self) -> u64 {
        count(self.seen.holes(self.first()))
    }

    /// Numbers that were there more than once.
    pub(super) fn repeated(&self) -> impl Iterator<Item = Range> {
        self.repeated.ranges()
    }

    /// The first number.
    pub(super) fn first(&self) -> u64 {
        self.seen.first().unwrap_or(0)
    }

    /// The last number.
    pub(super) fn last(&self) -> u64 {
        self.seen.last().unwrap_or(0)
    }
}
