//! What stands on both sides of the FIFO, and what it says of itself.

use rdkafka::types::RDKafkaErrorCode;

use super::lease::{Lease, Origin, Report, Ticket};
use crate::{capture::Record, log::LogError};

/// The brokers, behind a producer that may break and be made anew.
pub(super) trait Broker {
    /// How many partitions there are, when records can be handed over now.
    fn partitions(&self) -> Option<usize>;
    /// Hands a record over, or gives it back with the reason.
    fn produce(&mut self, lease: Lease) -> Result<(), (RDKafkaErrorCode, Lease)>;
    /// Shows each record that was handed over and not reported yet; what it stands for may be changed.
    fn for_each(&mut self, look: &mut dyn FnMut(&Record, &mut Origin));
    /// What was reported; never waits.
    fn poll(&mut self, now_ns: u64) -> Polled;
    /// These partitions acknowledge nothing: finds out why, as a complaint of a later poll.
    fn examine(&mut self, now_ns: u64, partitions: &[usize]);
    /// Ends the producer: everything that it has is reported, then there is a new one after a while.
    fn renew(&mut self, now_ns: u64);
}

/// What a broker had to say.
#[derive(Debug, Default)]
pub(super) struct Polled {
    /// Delivery reports.
    pub(super) reports: Vec<Report>,
    /// What is wrong, in words.
    pub(super) complaint: Option<String>,
    /// The producer cannot go on.
    pub(super) broken: bool,
}

/// The spool.
pub(super) trait Shelf {
    /// Appends records, in order; the ticket of the first, the others follow.
    fn append(&mut self, payloads: &[&[u8]]) -> Result<Ticket, LogError>;
    /// Makes everything appended durable.
    fn sync(&mut self) -> Result<(), LogError>;
    /// The next record that was not read.
    fn read(&mut self) -> Result<Option<(Ticket, Vec<u8>)>, LogError>;
    /// Whether everything was read, and nothing more can turn up.
    fn is_read(&self) -> bool;
    /// The broker has this record.
    fn arrived(&mut self, ticket: Ticket);
    /// Stores how far everything has arrived, when it is time to.
    fn checkpoint(&mut self, now_ns: u64) -> Result<(), LogError>;
}

/// What happened in a turn, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Acknowledged by the broker.
    pub(super) acknowledged: u64,
    /// Their bytes.
    pub(super) acknowledged_bytes: u64,
    /// Written to the spool.
    pub(super) spooled: u64,
    /// Their bytes.
    pub(super) spooled_bytes: u64,
    /// Of the spool's, acknowledged by the broker.
    pub(super) drained: u64,
    /// Their bytes.
    pub(super) drained_bytes: u64,
    /// Failed at the broker and to be sent again: may be there twice.
    pub(super) resent: u64,
    /// Times that the spool was synced.
    pub(super) syncs: u64,
}

/// Where new records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// To the broker.
    Straight,
    /// To the spool, because of trouble.
    Aside,
    /// To the spool, because it is not empty yet; the broker takes what it is given.
    CatchingUp,
    /// Nowhere: the broker does not take them and there is no spool, or no room in it.
    Stuck,
}
