//! A record on its way through the sink to Kafka, and how its delivery ended.

use rdkafka::types::RDKafkaErrorCode;

use crate::capture::Record;

/// A record and what it stands for.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) record: Record,
    /// Where it goes; 0 until that is known.
    pub(super) partition: u32,
    pub(super) origin: Origin,
}

/// Whose a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// It lies in the spool, from which its worker has been served.
    Spool(Ticket),
    /// It is still with the producer, but its worker is served from a copy, by this order.
    Copied {
        /// The worker's order.
        order: u64,
    },
    /// Its worker waits for it.
    Worker {
        /// The order in which records were taken from the workers.
        order: u64,
        /// Which worker.
        link: u16,
    },
}

/// A record of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    /// Which writer's life; older ones first, the own last.
    pub(super) source: u32,
    /// Its sequence there.
    pub(super) sequence: u64,
}

/// A delivery report.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) lease: Lease,
    pub(super) failure: Option<RDKafkaErrorCode>,
}
