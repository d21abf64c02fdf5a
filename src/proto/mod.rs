//! The messages of `capture.proto` for reading: `log describe|dump|verify`, replay, and tests.
//!
//! Nothing here is on the capture path, which writes its records by [`crate::capture`]'s own encoder; these types are
//! the oracle that the encoder is tested against. They are written by hand, so that no `protoc` is needed to build;
//! `tests/` compares them with records of the reference.

mod view;
mod wire;

pub use view::{Observations, RecordView, Seen, ViewError, What};

use prost::Message;

/// One Kafka record value, one frame of the capture log, one line of a dump.
#[derive(Clone, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct TrafficStream {
    #[prost(string, tag = "1")]
    pub connection_id: String,
    #[prost(message, repeated, tag = "2")]
    pub sub_stream: Vec<TrafficObservation>,
    #[prost(oneof = "Index", tags = "3, 4")]
    pub index: Option<Index>,
    #[prost(string, tag = "5")]
    pub node_id: String,
    #[prost(int32, optional, tag = "6")]
    pub prior_requests_received: Option<i32>,
    #[prost(bool, optional, tag = "7")]
    pub last_observation_was_unterminated_read: Option<bool>,
    #[prost(message, optional, tag = "1509")]
    pub provenance: Option<Provenance>,
}

impl TrafficStream {
    /// The ordinal of this record in its connection, from 1, and whether it is the last.
    pub fn number(&self) -> (i32, bool) {
        match self.index {
            Some(Index::Number(n)) => (n, false),
            Some(Index::NumberOfThisLastChunk(n)) => (n, true),
            None => (0, false),
        }
    }
}

/// The ordinal of a record within its connection.
#[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
pub enum Index {
    /// More records follow.
    #[prost(int32, tag = "3")]
    Number(i32),
    /// The connection ends with this record.
    #[prost(int32, tag = "4")]
    NumberOfThisLastChunk(i32),
}

/// One thing that was seen on a connection, and when.
#[derive(Clone, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct TrafficObservation {
    #[prost(message, optional, tag = "1")]
    pub ts: Option<Timestamp>,
    #[prost(oneof = "Capture", tags = "2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 14, 15, 16")]
    pub capture: Option<Capture>,
}

/// Wall clock, as `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds within the second, 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// The kinds of observation. "Read" is what the client sent, "write" what it was sent.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
#[allow(missing_docs)]
pub enum Capture {
    #[prost(message, tag = "2")]
    Bind(Empty),
    #[prost(message, tag = "3")]
    Connect(Empty),
    #[prost(message, tag = "4")]
    Read(Data),
    #[prost(message, tag = "5")]
    ReadSegment(SegmentData),
    #[prost(message, tag = "6")]
    RequestReleasedDownstream(ReleasedDownstream),
    #[prost(message, tag = "8")]
    Write(Data),
    #[prost(message, tag = "9")]
    WriteSegment(SegmentData),
    #[prost(message, tag = "10")]
    Disconnect(Empty),
    #[prost(message, tag = "11")]
    Close(Empty),
    #[prost(message, tag = "12")]
    ConnectionException(ConnectionException),
    #[prost(message, tag = "14")]
    SegmentEnd(Empty),
    #[prost(message, tag = "15")]
    EndOfMessage(EndOfMessage),
    #[prost(message, tag = "16")]
    RequestDropped(Empty),
}

impl Capture {
    /// The name in `capture.proto`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bind(_) => "bind",
            Self::Connect(_) => "connect",
            Self::Read(_) => "read",
            Self::ReadSegment(_) => "readSegment",
            Self::RequestReleasedDownstream(_) => "requestReleasedDownstream",
            Self::Write(_) => "write",
            Self::WriteSegment(_) => "writeSegment",
            Self::Disconnect(_) => "disconnect",
            Self::Close(_) => "close",
            Self::ConnectionException(_) => "connectionException",
            Self::SegmentEnd(_) => "segmentEnd",
            Self::EndOfMessage(_) => "endOfMessageIndicator",
            Self::RequestDropped(_) => "requestDropped",
        }
    }
}

/// An observation without content.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

/// Bytes of one buffer.
#[derive(Clone, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct Data {
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// A part of the bytes of one buffer (note the other field number).
#[derive(Clone, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct SegmentData {
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
}

/// Never written by any known proxy; read all the same.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct ReleasedDownstream {
    #[prost(bool, tag = "1")]
    pub timed_out: bool,
}

/// The connection broke.
#[derive(Clone, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct ConnectionException {
    #[prost(string, tag = "1")]
    pub message: String,
}

/// The end of a request (never of a response).
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct EndOfMessage {
    /// Bytes of the request line without its line end; -1 when unknown.
    #[prost(int32, optional, tag = "1")]
    pub first_line_byte_length: Option<i32>,
    /// Sum of the lengths of the header lines without their line ends; -1 when unknown.
    #[prost(int32, optional, tag = "2")]
    pub headers_byte_length: Option<i32>,
}

/// Where a record comes from; see `capture.proto`.
#[derive(Clone, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct Provenance {
    #[prost(fixed64, tag = "1")]
    pub incarnation: u64,
    #[prost(uint32, tag = "2")]
    pub worker: u32,
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    #[prost(message, optional, tag = "4")]
    pub undelivered: Option<Undelivered>,
    #[prost(message, optional, tag = "5")]
    pub refused: Option<Refused>,
    #[prost(message, optional, tag = "6")]
    pub gap: Option<Gap>,
    #[prost(message, repeated, tag = "7")]
    pub left_out: Vec<LeftOut>,
    #[prost(string, optional, tag = "8")]
    pub client: Option<String>,
    #[prost(message, optional, tag = "9")]
    pub heartbeat: Option<Heartbeat>,
}

/// Requests at the end of the connection of which no byte reached the source.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct Undelivered {
    #[prost(uint32, tag = "1")]
    pub requests: u32,
    #[prost(uint32, tag = "2")]
    pub cause: u32,
}

/// A request that was refused: what is left of it.
#[derive(Clone, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct Refused {
    #[prost(string, tag = "1")]
    pub reason: String,
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    #[prost(fixed32, tag = "3")]
    pub crc32c: u32,
}

/// Traffic that passed without being captured.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct Gap {
    #[prost(uint32, tag = "1")]
    pub cause: u32,
    #[prost(uint64, tag = "2")]
    pub requests: u64,
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    #[prost(uint64, tag = "4")]
    pub writes: u64,
    #[prost(fixed64, tag = "5")]
    pub since_unix_ns: u64,
    #[prost(fixed64, tag = "6")]
    pub until_unix_ns: u64,
    #[prost(uint64, tag = "7")]
    pub connections: u64,
}

/// Where a worker stands; see `capture.proto`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct Heartbeat {
    #[prost(uint64, tag = "1")]
    pub interval_ms: u64,
    #[prost(bool, tag = "2")]
    pub last: bool,
    #[prost(uint64, tag = "3")]
    pub started_unix_ns: u64,
    #[prost(uint64, tag = "4")]
    pub connections: u64,
    #[prost(uint64, tag = "5")]
    pub requests: u64,
    #[prost(uint64, tag = "6")]
    pub forwarded_bytes: u64,
    #[prost(uint64, tag = "7")]
    pub captured: u64,
    #[prost(uint64, tag = "8")]
    pub left_out: u64,
    #[prost(uint64, tag = "9")]
    pub uncaptured: u64,
    #[prost(uint64, tag = "10")]
    pub untold: u64,
    #[prost(uint64, tag = "11")]
    pub refused: u64,
    #[prost(uint64, tag = "12")]
    pub undelivered: u64,
    #[prost(uint64, tag = "13")]
    pub early: u64,
    #[prost(uint64, tag = "14")]
    pub workers: u64,
    #[prost(uint64, tag = "15")]
    pub stored: u64,
    #[prost(bool, tag = "16")]
    pub passes: bool,
}

/// Whole requests that were left out on purpose, with their answers.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct LeftOut {
    #[prost(uint32, tag = "1")]
    pub cause: u32,
    #[prost(uint64, tag = "2")]
    pub requests: u64,
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
}
