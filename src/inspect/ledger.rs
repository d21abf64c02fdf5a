//! What heartbeats say, held against what the records say: per worker of a run, stretch by stretch.
//!
//! Between two heartbeats the sums of a worker's records are known exactly, in whatever order they are read: a stretch
//! of sequences never reaches across a heartbeat, because the heartbeat has a sequence of its own.

use std::collections::BTreeMap;

use super::{intervals::Range, text::Moment};
use crate::proto::{Capture, Heartbeat, Provenance, TrafficStream};

/// The account of one worker of one run.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// First sequence of a stretch without a hole to its last one and its sums.
    stretches: BTreeMap<u64, (u64, Sums)>,
    /// By sequence.
    beats: BTreeMap<u64, Beat>,
    /// What passed uncaptured, as notes say.
    pub(super) gaps: Vec<Passed>,
}

/// A heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    /// Unix nanoseconds.
    pub(super) at_ns: i128,
    pub(super) said: Heartbeat,
}

/// A stretch of a connection that passed uncaptured.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    pub(super) text: String,
    /// When it ended, Unix nanoseconds; unknown in records of older versions.
    pub(super) until_ns: Option<i128>,
}

/// How a run of a worker ended, as far as the records tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It gives no heartbeats.
    Unknown,
    /// With a farewell.
    InOrder,
    /// Its last heartbeat says that more would follow.
    Open,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    captured: u64,
    left_out: u64,
    uncaptured: u64,
}

impl Account {
    /// Takes in a record whose sequence was not there before.
    pub(super) fn record(&mut self, stream: &TrafficStream, origin: &Provenance) {
        let sequence = origin.sequence;
        if let Some(said) = origin.heartbeat {
            let at_ns = stream.sub_stream.iter().find_map(|seen| seen.ts).map_or(0, nanos);
            self.beats.insert(sequence, Beat { at_ns, said });
            return;
        }
        let mut sums = Sums {
            captured: ends_of_requests(stream),
            left_out: origin.left_out.iter().map(|all| all.requests).sum(),
            uncaptured: origin.gap.map_or(0, |gap| gap.requests),
        };
        let (mut first, mut last) = (sequence, sequence);
        if let Some((next_last, more)) = self.stretches.remove(&(sequence + 1)) {
            last = next_last;
            sums = sums.plus(more);
        }
        if let Some((before, (end, more))) = self.stretches.range_mut(..sequence).next_back()
            && *end + 1 == sequence
        {
            first = *before;
            sums = sums.plus(*more);
        }
        self.stretches.insert(first, (last, sums));
    }

    /// Heartbeats, oldest first.
    pub(super) fn beats(&self) -> impl DoubleEndedIterator<Item = (u64, &Beat)> {
        self.beats.iter().map(|(sequence, beat)| (*sequence, beat))
    }

    /// The newest heartbeat.
    pub(super) fn last_beat(&self) -> Option<&Beat> {
        self.beats.last_key_value().map(|(_, beat)| beat)
    }

    /// Since when the worker took connections, Unix nanoseconds.
    pub(super) fn started_ns(&self) -> Option<i128> {
        self.last_beat().map(|beat| i128::from(beat.said.started_unix_ns))
    }

    pub(super) fn end(&self) -> End {
        match self.last_beat() {
            None => End::Unknown,
            Some(beat) if beat.said.last => End::InOrder,
            Some(_) => End::Open,
        }
    }

    /// Up to which sequence a record that is missing is lost. Behind it, of a run that has not ended in order, it may
    /// be one that is not stored yet, or was not when the run broke off.
    pub(super) fn owed(&self) -> u64 {
        let stored = self.beats.values().map(|beat| beat.said.stored).max();
        if self.end() == End::Open { stored.unwrap_or(u64::MAX) } else { u64::MAX }
    }

    /// These missing sequences apart: lost, and perhaps only not stored.
    pub(super) fn sort(&self, holes: impl IntoIterator<Item = Range>) -> (Vec<Range>, Vec<Range>) {
        let owed = self.owed();
        holes.into_iter().partition(|(first, _)| *first <= owed)
    }

    /// When all traffic of this sequence was over: at the next heartbeat.
    pub(super) fn over_ns(&self, sequence: u64) -> Option<i128> {
        self.beats.range(sequence..).next().map(|(_, beat)| beat.at_ns)
    }

    /// Where heartbeats and records differ: what, and when the stretch ended.
    pub(super) fn differences(&self) -> Vec<(String, i128)> {
        let mut found = Vec::new();
        let mut before = (0, Sums::default());
        for (sequence, Beat { at_ns, said }) in self.beats() {
            let now = Sums::said(said);
            let (from, to) = (before.0 + 1, sequence - 1);
            if let Some(there) = self.sums(from, to) {
                let there = before.1.plus(there);
                let parts = [
                    ("requests captured", now.captured, there.captured),
                    ("requests left out", now.left_out, there.left_out),
                    ("requests noted as uncaptured", now.uncaptured, there.uncaptured),
                ];
                for (what, said, there) in parts.iter().filter(|(_, said, there)| said != there) {
                    found.push((
                        format!(
                            "sequences {from} to {to}: the heartbeat behind them counts {said} {what} since the \
                             start, the records come to {there}"
                        ),
                        *at_ns,
                    ));
                }
            }
            before = (sequence, now);
        }
        if let Some((sequence, beat)) = self.beats().find(|(_, beat)| beat.said.last) {
            let behind =
                self.stretches.last_key_value().is_some_and(|(_, (last, _))| *last > sequence);
            if behind || self.beats.range(sequence + 1..).next().is_some() {
                let text = format!("there are records behind its farewell, which is {sequence}");
                found.push((text, beat.at_ns));
            }
        }
        found
    }

    /// Requests that passed uncaptured and of which no record says so.
    pub(super) fn untold(&self) -> u64 {
        self.last_beat().map_or(0, |beat| beat.said.untold)
    }

    /// Writes that went to the source before their records were stored.
    pub(super) fn early(&self) -> u64 {
        self.last_beat().map_or(0, |beat| beat.said.early)
    }

    /// The sums of these sequences; `None` when some are missing.
    fn sums(&self, from: u64, to: u64) -> Option<Sums> {
        if from > to {
            return Some(Sums::default());
        }
        self.stretches.get(&from).filter(|(last, _)| *last == to).map(|(_, sums)| *sums)
    }
}

impl Sums {
    fn said(said: &Heartbeat) -> Self {
        let Heartbeat { captured, left_out, uncaptured, .. } = *said;
        Self { captured, left_out, uncaptured }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            captured: self.captured.saturating_add(other.captured),
            left_out: self.left_out.saturating_add(other.left_out),
            uncaptured: self.uncaptured.saturating_add(other.uncaptured),
        }
    }
}

fn ends_of_requests(stream: &TrafficStream) -> u64 {
    let is_end = |capture: &Capture| matches!(capture, Capture::EndOfMessage(_));
    let ends = stream.sub_stream.iter().filter(|seen| seen.capture.as_ref().is_some_and(is_end));
    ends.count() as u64
}

fn nanos(ts: crate::proto::Timestamp) -> i128 {
    i128::from(ts.seconds) * NANOS + i128::from(ts.nanos)
}

/// A time of a note or a heartbeat, for people.
pub(super) fn shown(ns: i128) -> String {
    let (seconds, nanos) = (ns.div_euclid(NANOS) as i64, ns.rem_euclid(NANOS) as i32);
    Moment { seconds, nanos }.to_string()
}

const NANOS: i128 = 1_000_000_000;
