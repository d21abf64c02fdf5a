//! What passed uncaptured: why, how much, from when to when.
//!
//! Where a connection has records, its next one says it. What passed on connections without one, or between whole
//! conversations of others, is summed up by the worker in a record of its own: a marker.

use super::{
    ConnectionId, Context, Record, Stamp, Stream,
    encode::{put_varint, varint_len},
    heartbeat::NOBODY,
};

/// Traffic that no record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub cause: GapCause,
    /// Requests that began in it.
    pub requests: u64,
    /// Of them, such as are not positively known to be reads.
    pub writes: u64,
    /// Bytes, both directions.
    pub bytes: u64,
    /// The first of it, Unix nanoseconds.
    pub since_unix_ns: u64,
    /// The last of it.
    pub until_unix_ns: u64,
    /// In a marker: on how many connections, which may be counted once per stretch. 0: on the record's own.
    pub connections: u64,
}

/// Why traffic is not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum GapCause {
    /// The budget for records that are not safe yet was used up.
    Memory = 1,
    /// Records could not be stored, and the operator chose to let traffic pass.
    Unstored = 2,
}

impl GapCause {
    /// For people and for `log dump`.
    pub fn describe(code: u32) -> &'static str {
        match code {
            1 => "the memory for records was used up",
            2 => "records could not be stored and --on-capture-unavailable is pass",
            _ => "unknown cause",
        }
    }
}

impl Gap {
    /// Both together; the graver cause stands for both.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        Self {
            cause: self.cause.max(other.cause),
            requests: self.requests + other.requests,
            writes: self.writes + other.writes,
            bytes: self.bytes + other.bytes,
            since_unix_ns: self.since_unix_ns.min(other.since_unix_ns),
            until_unix_ns: self.until_unix_ns.max(other.until_unix_ns),
            connections: self.connections + other.connections,
        }
    }

    /// The record that says it for a worker: to other readers a connection that does nothing but close.
    pub fn marker(
        self,
        to: &mut Context<'_>,
        stamp: &Stamp,
        id: ConnectionId,
        sequence: u64,
    ) -> Record {
        debug_assert!(self.connections > 0, "invariant: a marker is told from a connection's gap");
        let identity = to.identity;
        let mut stream = Stream::new(id);
        stream.close(to, stamp);
        stream.note(|notes| notes.gap = Some(self));
        stream.finish(identity, sequence, true, NOBODY, false)
    }

    /// Field 6 of the provenance.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let Self { cause, requests, writes, bytes, since_unix_ns, until_unix_ns, connections } =
            *self;
        let counts = [(0x10, requests), (0x18, bytes), (0x20, writes), (0x38, connections)];
        // What a connection says of itself has always ended before the last field.
        let counts = if connections > 0 { &counts[..] } else { &counts[..3] };
        let len: usize = counts.iter().map(|(_, count)| 1 + varint_len(*count)).sum();
        out.push(0x32);
        put_varint(out, (2 + len + 2 * 9) as u64);
        out.extend_from_slice(&[0x08, cause as u8]);
        for (tag, count) in counts {
            out.push(*tag);
            put_varint(out, *count);
        }
        for (tag, time) in [(0x29, since_unix_ns), (0x31, until_unix_ns)] {
            out.push(tag);
            out.extend_from_slice(&time.to_le_bytes());
        }
    }
}

/// The most bytes that [`Gap::put`] appends.
pub(super) const GAP_BYTES_MAX: usize = 2 + 2 + 4 * 11 + 2 * 9;
