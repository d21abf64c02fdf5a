//! The records of each connection: numbered 1 to n in order, closed by a final one, each saying how
//! many requests came before it.
//!
//! A connection costs memory while it is open in the records (its name and a few numbers), and
//! sixteen bytes afterwards.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use super::{
    intervals::{Intervals, count, list},
    text::printable,
};
use crate::proto::{Capture, TrafficStream};

/// All connections met.
#[derive(Debug, Default)]
pub(super) struct Chains {
    hasher: RandomState,
    open: HashMap<u64, Chain>,
    /// Finished and whole: hash of (node, connection), number of the last record.
    done: HashMap<u64, u64>,
    /// Records whose number had been there, of writers that give no sequence.
    pub(super) repeated: u64,
    /// What is wrong.
    pub(super) faults: Findings,
}

/// Sentences, of which only so many are kept.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// How many there are.
    pub(super) total: u64,
    /// The first of them.
    pub(super) named: Vec<String>,
}

impl Findings {
    pub(super) fn push(&mut self, text: String) {
        self.total += 1;
        if self.named.len() < FINDINGS_NAMED_MAX {
            self.named.push(text);
        }
    }
}

/// One connection.
#[derive(Debug)]
struct Chain {
    name: String,
    seen: Intervals,
    last: Option<u64>,
    /// Requests before and in the record with the highest number, by what that one says.
    requests: i64,
}

impl Chains {
    /// Notes a record, which must not be one that is known to be a duplicate.
    pub(super) fn record(&mut self, stream: &TrafficStream) {
        let (node, connection) = (&stream.node_id, &stream.connection_id);
        let key = self.hasher.hash_one((node, connection));
        let name = || {
            format!("{} of node {}", printable(connection.as_bytes()), printable(node.as_bytes()))
        };
        let (number, last) = stream.number();
        let number = match u64::try_from(number) {
            Ok(number) if number > 0 => number,
            _ => {
                self.faults.push(format!("connection {}: a record without a number", name()));
                return;
            }
        };
        if let Some(end) = self.done.get(&key) {
            if number <= *end {
                self.repeated += 1;
            } else {
                self.faults.push(format!(
                    "connection {}: record {number} comes after {end}, which was the last",
                    name()
                ));
            }
            return;
        }
        let chain = self.open.entry(key).or_insert_with(|| Chain {
            name: name(),
            seen: Intervals::default(),
            last: None,
            requests: 0,
        });
        let highest = chain.seen.last().unwrap_or(0);
        if !chain.seen.insert(number) {
            self.repeated += 1;
            return;
        }
        if let Some(fault) = chain.follow(stream, highest, number) {
            self.faults.push(fault);
        }
        if last {
            if let Some(earlier) = chain.last.replace(number) {
                self.faults.push(format!(
                    "connection {}: records {earlier} and {number} both say that they are the last",
                    chain.name
                ));
            } else if chain.is_whole() {
                self.open.remove(&key);
                self.done.insert(key, number);
            }
        } else if has_close(stream) {
            self.faults.push(format!(
                "connection {}: it closes in record {number}, which does not say that it is the last",
                chain.name
            ));
        } else if chain.is_whole() {
            // The record that was missing came after the last one.
            let end = chain.last.unwrap_or(number);
            self.open.remove(&key);
            self.done.insert(key, end);
        }
    }

    /// Connections met, and those of them that have their last record.
    pub(super) fn totals(&self) -> (u64, u64) {
        let finished = self.open.values().filter(|chain| chain.last.is_some()).count();
        ((self.open.len() + self.done.len()) as u64, (finished + self.done.len()) as u64)
    }

    /// The end of the records: what is missing now stays missing.
    pub(super) fn finish(&mut self) {
        let mut chains: Vec<_> = self.open.values().collect();
        chains.sort_by(|a, b| a.name.cmp(&b.name));
        for chain in chains {
            let holes = chain.seen.holes(1);
            if !holes.is_empty() {
                let records = if count(holes.iter().copied()) == 1 { "record" } else { "records" };
                let missing = list(holes);
                self.faults.push(format!("connection {}: {records} {missing} missing", chain.name));
            }
            let highest = chain.seen.last().unwrap_or(0);
            if let Some(last) = chain.last.filter(|last| *last < highest) {
                self.faults.push(format!(
                    "connection {}: record {highest} comes after {last}, which was the last",
                    chain.name
                ));
            }
        }
    }
}

impl Chain {
    /// Order and prior requests of a record that is new.
    fn follow(&mut self, stream: &TrafficStream, highest: u64, number: u64) -> Option<String> {
        if number < highest {
            return Some(format!(
                "connection {}: record {number} comes after record {highest}",
                self.name
            ));
        }
        let prior = i64::from(stream.prior_requests_received.unwrap_or(0));
        let expected =
            std::mem::replace(&mut self.requests, prior.saturating_add(ends_of_requests(stream)));
        // Behind a hole there is nothing to compare with.
        (number == highest + 1 && prior != expected).then(|| {
            format!(
                "connection {}: record {number} says that {prior} requests came before it, but there were {expected}",
                self.name
            )
        })
    }

    fn is_whole(&self) -> bool {
        let mut ranges = self.seen.ranges();
        let first = ranges.next();
        self.last.is_some_and(|last| first == Some((1, last))) && ranges.next().is_none()
    }
}

fn ends_of_requests(stream: &TrafficStream) -> i64 {
    let ends = stream
        .sub_stream
        .iter()
        .filter(|seen| matches!(seen.capture, Some(Capture::EndOfMessage(_))));
    ends.count() as i64
}

fn has_close(stream: &TrafficStream) -> bool {
    stream.sub_stream.iter().any(|seen| matches!(seen.capture, Some(Capture::Close(_))))
}

/// Findings of one kind that are named; more are counted.
const FINDINGS_NAMED_MAX: usize = 10_000;
