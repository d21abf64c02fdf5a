//! Decoding and reassembly alone: records in memory, the replayer's core on them, one thread.
//!
//! It owns the loop and its clock. No log is read and nothing is sent; a request is let go as soon
//! as its answer is known.

use crate::Outcome;
use crate::host;
use crate::report::median;
use crate::tape::{Mix, Traffic};
use crate::usage::CpuReading;
use serde::Serialize;
use std::collections::VecDeque;
use tapline::http;
use tapline::proto::RecordView;
use tapline::replay::assembly::{Assembly, Event, KeepAnswers, Limits};
use tapline::replay::exchange::{ExchangeId, Mark, Request};
use tapline::replay::order::{Facts, Order, Schedule, facts, footprint};
use tapline::replay::pins::Pins;

/// How far the core goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Depth {
    /// The record is parsed and its observations are walked.
    Parse,
    /// And put together to requests and answers.
    Assembly,
    /// And footprint, source's facts and schedule of each request.
    Order,
}

/// One pass over all records.
#[derive(Serialize)]
pub(crate) struct Pass {
    records: &'static str,
    depth: Depth,
    megabytes_per_second: f64,
    ns_per_request: f64,
}

/// Runs every pass and prints medians, by CPU time.
pub(crate) fn run(rounds: u32) -> Outcome<Vec<Pass>> {
    println!("\nthe core alone, on one thread; MB/s are of record bytes per CPU second");
    println!(
        "{:<14} {:<9} {:>9} {:>9} {:>10}",
        "records", "depth", "records", "MB/s", "ns/request"
    );
    let mut passes = Vec::new();
    for (name, mix) in [("bulks 5 KiB", Mix::Bulks(BULKS)), ("mixed", Mix::Mixed(3 * BULKS))] {
        let mut records = Vec::new();
        let traffic = Traffic { connections: CONNECTIONS, mix };
        let made = traffic.records(|record| {
            records.push(record.to_vec());
            Ok(())
        })?;
        for depth in [Depth::Parse, Depth::Assembly, Depth::Order] {
            let (mut speeds, mut costs) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                host::check_interrupted()?;
                let own = [std::process::id()];
                let before = CpuReading::take(&own)?;
                let requests = pass(&records, depth)?;
                let ns = CpuReading::take(&own)?.ns_since(&before) as f64;
                if depth != Depth::Parse && requests != made.requests {
                    return Err(format!("{requests} of {} requests", made.requests).into());
                }
                speeds.push(made.bytes as f64 * 1e3 / ns);
                costs.push(ns / made.requests as f64);
            }
            let (speed, cost) = (median(speeds), median(costs));
            let label = format!("{depth:?}").to_lowercase();
            println!("{name:<14} {label:<9} {:>9} {speed:>9.0} {cost:>10.0}", made.records);
            passes.push(Pass {
                records: name,
                depth,
                megabytes_per_second: speed,
                ns_per_request: cost,
            });
        }
    }
    Ok(passes)
}

/// Returns the requests that went through.
fn pass(records: &[Vec<u8>], depth: Depth) -> Outcome<u64> {
    let mut core = Core {
        pins: Pins::default(),
        schedule: Schedule::new(Order::Document),
        waiting: VecDeque::new(),
        base: 0,
        through: 0,
        depth,
    };
    let mut assembly = Assembly::new(limits());
    let mut events = Vec::new();
    let mut seen = 0_u64;
    for (number, bytes) in records.iter().enumerate() {
        let view = RecordView::parse(bytes)?;
        if depth == Depth::Parse {
            seen += view.observations().map(|seen| seen.at_ns as u64 & 1).sum::<u64>();
            continue;
        }
        let mark = Mark { lane: 0, number: number as u64 };
        core.pins.read(mark);
        assembly.record(mark, &view, &mut core.pins, &mut events);
        for event in events.drain(..) {
            core.take(event)?;
        }
        if number % 64 == 0 {
            core.pins.done(|_, _| {});
        }
    }
    std::hint::black_box(seen);
    Ok(core.through)
}

/// What the conductor keeps of requests, as little as is needed here.
struct Core {
    pins: Pins,
    schedule: Schedule,
    /// Requests without an answer or not let go yet; the first one has the number `base`.
    waiting: VecDeque<Option<Request>>,
    base: u64,
    through: u64,
    depth: Depth,
}

impl Core {
    fn take(&mut self, event: Event) -> Outcome<()> {
        match event {
            Event::Request(request) if self.depth == Depth::Assembly => {
                self.pins.release(request.mark);
                self.through += 1;
            }
            Event::Request(request) => {
                let (id, seen) = (request.id, request.seen());
                self.schedule.admit(id, request.connection, seen, footprint(&request));
                if self.waiting.is_empty() {
                    self.base = request.id.0;
                }
                self.waiting.push_back(Some(request));
            }
            Event::Answer { id, answer } => {
                if let Some(request) = waiting(&mut self.waiting, self.base, id) {
                    self.schedule.answered(id, Some(answer.last_ns), || {
                        request.as_ref().map_or_else(Facts::none, |r| facts(r, &answer))
                    });
                }
                self.let_go();
            }
            Event::ConnectionEnded { .. } | Event::Arriving { .. } | Event::Arrived { .. } => {}
            other => return Err(format!("made records give {other:?}").into()),
        }
        Ok(())
    }

    fn let_go(&mut self) {
        while let Some(ready) = self.schedule.ready() {
            self.schedule.finished(ready.id);
            let slot = waiting(&mut self.waiting, self.base, ready.id);
            if let Some(request) = slot.and_then(Option::take) {
                self.pins.release(request.mark);
                self.through += 1;
            }
        }
        while let Some(None) = self.waiting.front() {
            self.waiting.pop_front();
            self.base += 1;
        }
    }
}

fn waiting(
    requests: &mut VecDeque<Option<Request>>,
    base: u64,
    id: ExchangeId,
) -> Option<&mut Option<Request>> {
    requests.get_mut(id.0.checked_sub(base)? as usize)
}

/// Those of a replay without tuples.
fn limits() -> Limits {
    Limits {
        http: http::Limits::default(),
        request_bytes_max: 1 << 30,
        answer_bytes_max: 64 << 20,
        keep_answers: KeepAnswers::Writes,
        connection_timeout_ns: 360_000_000_000,
        duplicates_window: 1 << 16,
    }
}

const CONNECTIONS: u32 = 64;
const BULKS: u64 = 40_000;
