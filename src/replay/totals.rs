//! What replay has done so far, counted.
//!
//! Every request that was read ends in exactly one of the counters that [`Totals::ended`] adds up.

use serde::Serialize;

/// All counters; they only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(
    missing_docs,
    reason = "the names are those of the summary, explained where they are not plain"
)]
pub struct Totals {
    pub read_records: u64,
    pub read_bytes: u64,
    /// Records that cannot be decoded.
    pub undecodable_records: u64,
    /// Places where the source of records lost something.
    pub losses: u64,
    /// Records that had been read before.
    pub duplicate_records: u64,
    /// Records that are no traffic: a worker of the capture says where it stands.
    pub heartbeats: u64,
    /// Records missing within a connection.
    pub missing_records: u64,
    /// Requests of which a part is missing; never sent.
    pub truncated_requests: u64,
    /// Requests that passed uncaptured, as markers in the records say.
    pub uncaptured_requests: u64,
    /// Whole requests.
    pub requests: u64,
    /// Requests without a captured answer.
    pub unanswered: u64,
    /// Attempts.
    pub sent: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// Attempts after the first one.
    pub retries: u64,
    /// Why it was tried again: 429, items of a bulk that was taken, 5xx, another status, no answer.
    pub retries_429: u64,
    pub retries_items: u64,
    pub retries_5xx: u64,
    pub retries_other: u64,
    pub retries_unanswered: u64,
    /// Requests with an answer as good as the source's, or as bad.
    pub done: u64,
    /// Of these, reads that the source answered well and the target did not: what was read is not there (yet).
    pub reads_differing: u64,
    /// Requests that the source answered well and the target in the end did not.
    pub failed: u64,
    /// Items of bulks that the source took and the target in the end did not.
    pub failed_items: u64,
    /// Left out: `--only`.
    pub skipped_only: u64,
    /// Left out: `--request-filter`, or a transform that gave nothing.
    pub skipped_filtered: u64,
    /// Left out: the source refused it, so that nothing changed there.
    pub skipped_refused: u64,
    /// Items of bulks left out for the same reason.
    pub skipped_refused_items: u64,
    /// Left out: it never reached the source.
    pub skipped_undelivered: u64,
    /// Left out: it names a scroll or another context that only the source knows.
    pub skipped_context: u64,
    /// Left out: an earlier run had sent it.
    pub duplicates_skipped: u64,
    /// Requests that were not sent since they could not be made.
    pub unsendable: u64,
    /// Entries in the quarantine.
    pub quarantined: u64,
    /// Ids given by the source that were put into requests.
    pub ids_pinned: u64,
    /// Conditions on sequence numbers that were taken out of requests.
    pub conditions_dropped: u64,
    /// Requests that were sent as captured because a transform failed.
    pub transforms_failed: u64,
    /// Sent, and perhaps sent before: the connection was lost without an answer.
    pub possible_duplicates: u64,
    /// Writes to one document that overlapped on the source, put in order by `_seq_no` or `_version` of its answers.
    pub overlaps_by_answer: u64,
    /// The same, in the order of the records since no answer told: the target may differ there.
    pub overlaps_by_capture: u64,
    /// Times that requests waited for each other and the oldest went: the target may differ there.
    pub order_cycles: u64,
    /// Writes that were read more than a second of captured time after what was seen later: from a partition that
    /// lagged behind, a spool, or a host whose clock is wrong. The target may differ there.
    pub late_writes: u64,
    /// Parts in which bulks went that could not go as a whole.
    pub bulk_parts: u64,
    /// Times that nothing was sent since as many outcomes waited to be written as may.
    pub tuple_waits: u64,
    /// Requests given back because their partition went to another replayer.
    pub handed_back: u64,
}

impl Totals {
    /// The counter of what is tried again after an answer with this status, or after none.
    pub(super) fn again(&mut self, status: Option<u16>) -> &mut u64 {
        match status {
            None => &mut self.retries_unanswered,
            Some(429) => &mut self.retries_429,
            Some(200..=299) => &mut self.retries_items,
            Some(500..) => &mut self.retries_5xx,
            Some(_) => &mut self.retries_other,
        }
    }

    /// Requests that have ended in one way or another.
    pub fn ended(&self) -> u64 {
        self.done
            + self.failed
            + self.skipped_only
            + self.skipped_filtered
            + self.skipped_refused
            + self.skipped_undelivered
            + self.skipped_context
            + self.duplicates_skipped
            + self.unsendable
            + self.handed_back
    }
}
