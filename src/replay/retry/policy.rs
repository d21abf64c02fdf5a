//! The numbers of retrying: attempts, delays, and the errors that are final.
//!
//! Owns the defaults. Judges nothing.

use std::collections::BTreeSet;

use super::Progress;
use crate::es::body;

/// How often and how soon a request goes again.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Attempts in all of what is not retried without limit.
    pub attempts_max: u32,
    /// Before the second attempt, in nanoseconds; doubled before each further one.
    pub first_delay_ns: u64,
    /// No delay of our own is longer, in nanoseconds.
    pub delay_max_ns: u64,
    /// The `type`s of item errors that no attempt mends.
    pub final_types: BTreeSet<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts_max: 4,
            first_delay_ns: 100_000_000,
            delay_max_ns: 30_000_000_000,
            final_types: FINAL_TYPES.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

impl Policy {
    /// 1 ms, doubling.
    pub(super) fn connect_delay_ns(&self, failed: u32, seed: u64) -> u64 {
        jittered(doubled(CONNECT_DELAY_NS, failed, self.delay_max_ns), seed)
    }

    /// The next delay of a request, not shorter than the target asked for.
    pub(super) fn next_delay_ns(
        &self,
        progress: &mut Progress,
        asked_ns: Option<u64>,
        seed: u64,
    ) -> u64 {
        let delay_ns = doubled(self.first_delay_ns, progress.delays, self.delay_max_ns);
        progress.delays = progress.delays.saturating_add(1);
        let own_ns = jittered(delay_ns, seed);
        asked_ns.map_or(own_ns, |asked_ns| {
            // Not all at once when the time is over.
            let asked_ns = asked_ns.min(RETRY_AFTER_MAX_NS);
            own_ns.max(asked_ns + seed % (asked_ns / 8 + 1))
        })
    }
}

/// What `Retry-After` asks for, when it is a number of seconds: a date would need a clock.
pub(super) fn retry_after_ns(head: &[u8]) -> Option<u64> {
    let value = std::str::from_utf8(body::field(head, b"retry-after")?).ok()?;
    value.parse::<u64>().ok()?.checked_mul(1_000_000_000)
}

fn doubled(first_ns: u64, times: u32, max_ns: u64) -> u64 {
    first_ns.saturating_mul(1_u64.checked_shl(times).unwrap_or(u64::MAX)).min(max_ns)
}

/// Between three quarters of the delay and all of it, so that what failed together does not come back together.
fn jittered(delay_ns: u64, seed: u64) -> u64 {
    delay_ns - seed % (delay_ns / 4 + 1)
}

const CONNECT_DELAY_NS: u64 = 1_000_000;
const RETRY_AFTER_MAX_NS: u64 = 300_000_000_000;

const FINAL_TYPES: [&str; 9] = [
    "action_request_validation_exception",
    "document_missing_exception",
    "illegal_argument_exception",
    "invalid_index_name_exception",
    "mapper_parsing_exception",
    "resource_already_exists_exception",
    "routing_missing_exception",
    "strict_dynamic_mapping_exception",
    "version_conflict_engine_exception",
];
