//! What the parts of the core hand each other: requests, answers, and the names they go by.

use std::rc::Rc;

use crate::http::RequestHead;

/// A request that was captured whole. Rises in the order in which requests became complete in the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// One captured connection, from its first record to its end. Never given twice in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A record's place in what is read: a lane (the capture log, a partition, a file) and its number in it, rising by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// The lane; given anew each time a partition is assigned.
    pub lane: u32,
    /// The record's number in the lane, from 0.
    pub number: u64,
}

/// When something was seen, and by whose clock: times of two clocks cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The capturing node, by [`ConnectionName::clock`].
    pub clock: u64,
    /// Unix nanoseconds.
    pub ns: i64,
}

/// How a captured connection is called in the records.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ConnectionName {
    /// The capturing node.
    pub node: String,
    /// A hash of it: stands for its clock.
    pub clock: u64,
    /// The connection's id.
    pub id: String,
}

/// A captured request, whole.
#[derive(Debug)]
pub struct Request {
    /// Its own number.
    pub id: ExchangeId,
    /// The connection it came on.
    pub connection: ConnectionId,
    /// How that is called.
    pub name: Rc<ConnectionName>,
    /// Its number in the connection, from 0, counted from the connection's first request even when reading began later.
    pub index: u64,
    /// The same for the same request in every run: a hash of node, connection and index.
    pub fingerprint: u64,
    /// The request as the client sent it: head, body, chunk framing and trailers.
    pub bytes: Vec<u8>,
    /// What the head says.
    pub head: RequestHead,
    /// When its first byte was seen, Unix nanoseconds.
    pub first_ns: i64,
    /// When its last byte was seen, Unix nanoseconds.
    pub last_ns: i64,
    /// The record in which it begins: not done with before the request has an outcome.
    pub mark: Mark,
}

impl Request {
    /// Its first byte.
    pub fn seen(&self) -> Seen {
        Seen { clock: self.name.clock, ns: self.first_ns }
    }
}

/// What the source answered.
#[derive(Debug, Default, Clone)]
pub struct Answer {
    /// The status code of the final response.
    pub status: u16,
    /// Head and body of the final response (interim ones left out), chunk framing included; perhaps cut, see `whole`.
    pub bytes: Vec<u8>,
    /// Bytes of the head with its blank line.
    pub head_bytes: usize,
    /// All of it is in `bytes`.
    pub whole: bool,
    /// Bytes the response had on the wire.
    pub wire_bytes: u64,
    /// When its first byte was seen, Unix nanoseconds.
    pub first_ns: i64,
    /// When its last byte was seen, Unix nanoseconds.
    pub last_ns: i64,
}

/// Why a request has no answer in the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unanswered {
    /// The connection ended before the response was complete.
    ConnectionEnded,
    /// The captured time went on beyond the connection timeout.
    Expired,
    /// The records ended.
    EndOfRecords,
    /// The captured bytes are no HTTP response, or cannot be told apart from another one's.
    Unreadable,
    /// A record is missing where it should be.
    Gap,
}
