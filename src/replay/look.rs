//! What the core says about itself: how much is under way, how far behind it is, and why it does not go faster.

use super::{
    conductor::{Conductor, Now},
    order::Wait,
    pace,
    table::Stage,
    totals::Totals,
};

/// One look at the core.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// What was done so far.
    pub totals: Totals,
    /// Requests on their way.
    pub in_flight: usize,
    /// How many may be.
    pub in_flight_limit: usize,
    /// Requests read and not finished.
    pub open: usize,
    /// Memory of everything read and not finished, bytes.
    pub open_bytes: u64,
    /// How far the oldest unfinished request lies behind now, captured seconds.
    pub lag_s: Option<f64>,
    /// Why it does not go faster; empty when there is nothing to do.
    pub why: String,
    /// The target does not answer at all, and why.
    pub unreachable: Option<String>,
}

impl Conductor {
    /// A look; about twice a second, since reasons are gathered in between.
    pub fn look(&mut self, now: Now) -> Look {
        let lag_ns = self
            .table
            .first()
            .map(|exchange| pace::behind_ns(exchange.request.first_ns, now.unix_ns));
        Look {
            totals: self.totals(),
            in_flight: self.in_flight,
            in_flight_limit: self.limiter.limit() as usize,
            open: self.table.len(),
            open_bytes: self.held_bytes(),
            lag_s: lag_ns.map(|ns| ns as f64 / 1e9),
            why: self.why(now),
            unreachable: self.unreachable.as_ref().map(|(why, _)| why.clone()),
        }
    }

    fn why(&mut self, now: Now) -> String {
        let limited = self.limiter.limited_by();
        if let Some((why, since_ns)) = &self.unreachable {
            let seconds = now.monotonic_ns.saturating_sub(*since_ns) / 1_000_000_000;
            return format!("no answer of the target for {seconds} s: {why}");
        }
        if self.draining {
            return "stopping".into();
        }
        if let Some(why) = self.denial.why(now.monotonic_ns) {
            return why;
        }
        if let (Some(reason), false) = (limited, self.queue.is_empty()) {
            return reason.text().into();
        }
        let delayed =
            self.table.iter().take(LOOKED_AT_MAX).find(|exchange| exchange.stage == Stage::Delayed);
        if let Some(exchange) = delayed {
            let last = exchange.attempts.last().map(|attempt| match &attempt.result {
                Ok(answer) => format!("answered {}", answer.status),
                Err(why) => why.clone(),
            });
            return format!(
                "requests are sent again: {}",
                last.unwrap_or_else(|| "an attempt failed".into())
            );
        }
        if !self.later.is_empty() && self.queue.is_empty() {
            return "keeping the captured timing; --speedup max does not".into();
        }
        let full = self.held_bytes() >= self.settings.read_ahead_bytes;
        let Some(blocked) = self.schedule.why_blocked() else { return String::new() };
        let what = match blocked.root_wait {
            Wait::Answer if self.arrivals.holds() => "the rest of a large bulk, not read yet",
            Wait::Answer | Wait::Name => "the source's answer to an earlier request, not read yet",
            Wait::Connection(_) => "an earlier request of the same connection",
            Wait::Document(_) => "an earlier write to the same document",
            Wait::Index(_) => "an operation on a whole index",
            Wait::Target => "the target's answer to an earlier request",
        };
        let room = if full { ", and --read-ahead is used up" } else { "" };
        format!("order: requests wait for {what}{room}")
    }
}

/// Requests that are looked at for a reason.
const LOOKED_AT_MAX: usize = 256;
