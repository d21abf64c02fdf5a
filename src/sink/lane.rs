//! One partition: it is given one batch, and the next when all of that is reported, while what comes in between
//! gathers.
//!
//! librdkafka would not send more anyway (an idempotent producer stops a partition at five *messages* in flight), but
//! with more in its queue its broker thread spins: measured at GET 1 KiB, 47 % of all CPU.

use std::collections::VecDeque;

use rdkafka::types::RDKafkaErrorCode;

use super::{
    fifo::STALL_NS,
    lease::{Lease, Origin},
};

/// What a record takes in a batch beside its value, at most: key, lengths, offsets, time.
const RECORD_OVERHEAD_BYTES: usize = 128;
/// How long a partition rests after its topic has refused a record for its size, doubled up to the second figure.
const REST_NS: (u64, u64) = (250_000_000, 5_000_000_000);

/// The records of one partition, oldest first.
#[derive(Debug)]
pub(super) struct Lane {
    /// What came from the spool, then what comes from workers.
    pub(super) waiting: VecDeque<Lease>,
    /// Records with the broker.
    pub(super) outstanding: usize,
    /// Of them, those that workers wait for.
    pub(super) owed: usize,
    /// When the batch was handed over.
    since_ns: u64,
    /// Bytes and records of the batch, and whether it came from the spool.
    batch: (usize, usize, bool),
    batch_bytes_max: usize,
    /// The topic refused a single record for its size.
    rest: Option<u64>,
    rest_ns: u64,
    full: bool,
}

impl Lane {
    pub(super) fn new(batch_bytes_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            outstanding: 0,
            owed: 0,
            since_ns: 0,
            batch: (0, 0, false),
            batch_bytes_max,
            rest: None,
            rest_ns: REST_NS.0,
            full: false,
        }
    }

    /// Whether it may be given a batch.
    pub(super) fn is_free(&self, now_ns: u64) -> bool {
        self.outstanding == 0
            && !self.waiting.is_empty()
            && self.rest.is_none_or(|until_ns| now_ns >= until_ns)
    }

    /// Whether its batch has been under way for too long.
    pub(super) fn is_stalled(&self, now_ns: u64) -> bool {
        self.outstanding > 0 && now_ns >= self.since_ns + STALL_NS
    }

    /// Whether its oldest record was refused for its size and has not been taken since.
    pub(super) fn is_resting(&self) -> bool {
        self.rest.is_some()
    }

    /// Begins a batch.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.since_ns = now_ns;
        self.batch = (0, 0, false);
        self.full = false;
    }

    /// The next record of the batch. A batch is of one origin: what the spool holds arrives before what it does not.
    pub(super) fn next(&mut self) -> Option<Lease> {
        let lease = self.waiting.front()?;
        let len = lease.record.bytes.len() + RECORD_OVERHEAD_BYTES;
        let spooled = matches!(lease.origin, Origin::Spool(_));
        let (bytes, records, of_spool) = self.batch;
        if records > 0 && (bytes + len > self.batch_bytes_max || spooled != of_spool) {
            return None;
        }
        self.batch = (bytes + len, records + 1, spooled);
        self.outstanding += 1;
        self.owed += usize::from(!spooled);
        self.waiting.pop_front()
    }

    /// The broker did not take what [`Self::next`] gave.
    pub(super) fn give_up(&mut self, lease: Lease) {
        self.batch.1 -= 1;
        self.outstanding -= 1;
        self.owed -= usize::from(matches!(lease.origin, Origin::Worker { .. }));
        self.waiting.push_front(lease);
    }

    /// A record comes back. Reports of one batch may come one by one, so that older ones may be here already.
    pub(super) fn take_back(&mut self, lease: Lease) {
        let newer = |other: &Lease| other.origin > lease.origin;
        let at = self.waiting.iter().position(newer).unwrap_or(self.waiting.len());
        self.waiting.insert(at, lease);
    }

    /// A report came in.
    pub(super) fn reported(&mut self, lease: &Lease) {
        self.outstanding -= 1;
        self.owed -= usize::from(matches!(lease.origin, Origin::Worker { .. }));
    }

    /// A report without a failure.
    pub(super) fn taken(&mut self) {
        self.rest = None;
        self.rest_ns = REST_NS.0;
    }

    /// The topic refused the batch for its size: the next one is smaller; a single record is tried again after a rest.
    pub(super) fn refused(&mut self, now_ns: u64) {
        if self.batch.1 > 1 {
            self.batch_bytes_max = (self.batch.0 / 2).max(1);
            self.batch.1 = 0;
        } else if self.rest.is_none_or(|until_ns| now_ns >= until_ns) {
            self.rest = Some(now_ns + self.rest_ns);
            self.rest_ns = (self.rest_ns * 2).min(REST_NS.1);
        }
    }

    /// Whether the batch is a single record.
    pub(super) fn is_single(&self) -> bool {
        self.batch.1 == 1
    }
}

/// The topic's limit, or librdkafka's own.
pub(super) fn is_too_large(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
}
