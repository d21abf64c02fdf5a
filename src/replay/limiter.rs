//! How many requests may be at the target at once, and how fast they may go.
//!
//! Owns the adaptive limit and the two rates the operator may set. Reads no clock, keeps no request.
//!
//! The limit doubles every round trip until the target first objects, and from then on grows by one every round trip.
//! It halves when the target refuses work (429, 503, rejected items): that is its own word for overload. It falls by
//! a tenth when answers take more than twice as long as they used to **and** longer than [`LATENCY_FLOOR_NS`]: below
//! that a doubling is scheduling noise, and a limit that shrinks on noise would never fill a fast target. Each class
//! of request is held against its own past, since a bulk among reads is no sign of overload. What is usual falls at
//! once and rises only while no more than [`LATENCY_LIMIT_MIN`] are in flight, where the latency is the target's own
//! and not that of a queue: so a limit cannot talk itself up, and a target that became slower for good is accepted.
//! One round trip counts once: what was sent before the last decrease says nothing about the limit after it.

#[cfg(test)]
mod tests;

/// The bounds of a limiter.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// At most this many requests in flight, at least 1.
    pub in_flight_max: u32,
    /// Requests per second, if bounded; at least 1.
    pub requests_per_second: Option<u64>,
    /// Bytes per second, if bounded; at least 1.
    pub bytes_per_second: Option<u64>,
}

/// May a request go?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes; it counts as in flight from now on.
    Now,
    /// Not before this time.
    At(u64),
    /// When one that is in flight has finished.
    AfterNext,
}

/// Requests that take about as long as each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One document, read or written.
    Document,
    /// Searches and all other reads.
    Search,
    /// Many writes.
    Bulk,
    /// The rest.
    Other,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// With an answer that says nothing about load.
    Answered,
    /// With a 429, a 503 or rejected items.
    Refused,
    /// Without an answer.
    Broken,
    /// It was never sent, or is taken back.
    Unsent,
}

/// What holds requests back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The limit still grows.
    Growing,
    /// The bound on requests in flight.
    InFlightMax,
    /// The target refused work.
    Refusals,
    /// The target's answers became slow.
    Latency,
    /// The bound on requests per second.
    Requests,
    /// The bound on bytes per second.
    Bytes,
}

impl Reason {
    /// For the progress line.
    pub fn text(self) -> &'static str {
        match self {
            Self::Growing => "limited by the number in flight, which still grows",
            Self::InFlightMax => "limited by --max-in-flight",
            Self::Refusals => "limited by refusals of the target (429, 503, rejected items)",
            Self::Latency => "limited by the latency of the target",
            Self::Requests => "limited by --max-rate",
            Self::Bytes => "limited by --max-bytes-per-second",
        }
    }

    const ALL: [Self; 6] = [
        Self::Growing,
        Self::InFlightMax,
        Self::Refusals,
        Self::Latency,
        Self::Requests,
        Self::Bytes,
    ];
}

/// One limiter for one target.
#[derive(Debug)]
pub struct Limiter {
    in_flight_max: u32,
    limit: f64,
    in_flight: u32,
    /// Why the limit is what it is.
    last_decrease: Option<Reason>,
    last_decrease_ns: u64,
    latencies: [Latency; 4],
    requests: Option<Rate>,
    bytes: Option<Rate>,
    /// How often each reason held a request back since it was last asked.
    held: [u64; 6],
}

impl Limiter {
    /// A limiter that has seen nothing of its target.
    pub fn new(bounds: Bounds) -> Self {
        let in_flight_max = bounds.in_flight_max.max(1);
        Self {
            in_flight_max,
            limit: LIMIT_START.min(f64::from(in_flight_max)),
            in_flight: 0,
            last_decrease: None,
            last_decrease_ns: 0,
            latencies: [Latency::default(); 4],
            requests: bounds.requests_per_second.map(Rate::new),
            bytes: bounds.bytes_per_second.map(Rate::new),
            held: [0; 6],
        }
    }

    /// May an attempt of this many bytes go now? Each attempt of a request asks anew and is in flight until
    /// [`Limiter::finished`].
    pub fn admit(&mut self, now_ns: u64, bytes: u64) -> Admission {
        if f64::from(self.in_flight) + 1.0 > self.limit {
            let reason = self.limit_reason();
            self.held[reason as usize] += 1;
            return Admission::AfterNext;
        }
        let rates = [(&self.requests, Reason::Requests), (&self.bytes, Reason::Bytes)];
        let waits =
            rates.map(|(rate, reason)| (rate.as_ref().map_or(0, |rate| rate.free_ns), reason));
        let (free_ns, reason) = if waits[0].0 >= waits[1].0 { waits[0] } else { waits[1] };
        if free_ns > now_ns {
            self.held[reason as usize] += 1;
            return Admission::At(free_ns);
        }
        if let Some(rate) = &mut self.requests {
            rate.take(now_ns, 1);
        }
        if let Some(rate) = &mut self.bytes {
            rate.take(now_ns, bytes);
        }
        self.in_flight += 1;
        Admission::Now
    }

    /// An admitted attempt ended, `latency_ns` after it was sent.
    pub fn finished(&mut self, now_ns: u64, latency_ns: u64, class: Class, signal: Signal) {
        // Only a limit that is used has been shown to be bearable.
        let used = f64::from(self.in_flight) * 2.0 >= self.limit;
        self.in_flight = self.in_flight.saturating_sub(1);
        let sent_ns = now_ns.saturating_sub(latency_ns);
        let is_news = self.last_decrease.is_none() || sent_ns >= self.last_decrease_ns;
        match signal {
            Signal::Refused if is_news => self.decrease(now_ns, REFUSED_FACTOR, Reason::Refusals),
            Signal::Refused | Signal::Unsent | Signal::Broken => {}
            Signal::Answered => {
                let unloaded = self.limit <= LATENCY_LIMIT_MIN;
                let slow = self.latencies[class as usize].note(latency_ns, unloaded);
                if slow && is_news {
                    self.decrease(now_ns, SLOW_FACTOR, Reason::Latency);
                } else if used && !slow {
                    let step = if self.last_decrease.is_none() { 1.0 } else { 1.0 / self.limit };
                    self.limit = (self.limit + step).min(f64::from(self.in_flight_max));
                }
            }
        }
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How many may be in flight at present.
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// What held requests back most often since this was last asked; `None` when nothing did.
    pub fn limited_by(&mut self) -> Option<Reason> {
        let held = std::mem::take(&mut self.held);
        let most = Reason::ALL.into_iter().max_by_key(|reason| held[*reason as usize])?;
        (held[most as usize] > 0).then_some(most)
    }

    fn limit_reason(&self) -> Reason {
        if self.limit >= f64::from(self.in_flight_max) {
            return Reason::InFlightMax;
        }
        self.last_decrease.unwrap_or(Reason::Growing)
    }

    fn decrease(&mut self, now_ns: u64, factor: f64, reason: Reason) {
        // From what was in flight, should that be less than allowed: the unused part was never borne.
        let borne = self.limit.min(f64::from(self.in_flight) + 1.0);
        let least = if reason == Reason::Latency { LATENCY_LIMIT_MIN } else { 1.0 };
        self.limit = (borne * factor).max(least).min(self.limit);
        self.last_decrease = Some(reason);
        self.last_decrease_ns = now_ns;
        for latency in &mut self.latencies {
            latency.settle();
        }
    }
}

/// The latency of one class, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Latency {
    /// Over the last dozen or so answers.
    smoothed: f64,
    /// What it is without a queue.
    usual: f64,
    /// Answers since the limit last changed for this, as far as they matter.
    answers: u32,
}

impl Latency {
    /// Takes an answer in: have they become slow?
    fn note(&mut self, latency_ns: u64, unloaded: bool) -> bool {
        let latency = latency_ns as f64;
        if self.usual == 0.0 {
            self.smoothed = latency.max(1.0);
            self.usual = self.smoothed;
        }
        self.smoothed += (latency - self.smoothed) / SMOOTHING;
        self.answers = (self.answers + 1).min(ANSWERS_MIN);
        if unloaded || self.smoothed < self.usual {
            self.usual += (self.smoothed - self.usual) / SMOOTHING;
        }
        self.answers >= ANSWERS_MIN
            && self.smoothed > LATENCY_FLOOR_NS
            && self.smoothed > self.usual * SLOW_RATIO
    }

    /// The limit has changed: wait for answers that were given under the new one.
    fn settle(&mut self) {
        self.answers = 0;
    }
}

/// Below this, a latency is never held against the target, in nanoseconds.
pub const LATENCY_FLOOR_NS: f64 = 20e6;
/// A latency never brings the limit below this many in flight.
pub const LATENCY_LIMIT_MIN: f64 = 16.0;
const LIMIT_START: f64 = LATENCY_LIMIT_MIN;
const REFUSED_FACTOR: f64 = 0.5;
const SLOW_FACTOR: f64 = 0.9;
const SLOW_RATIO: f64 = 2.0;
const SMOOTHING: f64 = 16.0;
/// Answers before a latency is judged.
const ANSWERS_MIN: u32 = 16;

/// A rate that may be exceeded by what was not used in the last [`BURST_NS`].
#[derive(Clone, Copy, Debug)]
struct Rate {
    per_second: u64,
    /// When everything taken so far is paid for.
    free_ns: u64,
}

impl Rate {
    fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(1), free_ns: 0 }
    }

    /// Takes more than is free too: a request larger than the rate of a second goes, and those behind it wait longer.
    fn take(&mut self, now_ns: u64, units: u64) {
        let cost_ns = u128::from(units) * 1_000_000_000 / u128::from(self.per_second);
        let from_ns = self.free_ns.max(now_ns.saturating_sub(BURST_NS));
        self.free_ns = from_ns.saturating_add(u64::try_from(cost_ns).unwrap_or(u64::MAX));
    }
}

const BURST_NS: u64 = 50_000_000;
