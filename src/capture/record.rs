//! A finished record and what the bytes of its connection cannot tell.

use std::net::SocketAddr;

use super::{
    encode::{put_varint, varint_len},
    gap::{GAP_BYTES_MAX, Gap},
    heartbeat::{HEARTBEAT_BYTES_MAX, Heartbeat},
};
use crate::capture::ConnectionId;

/// A finished record on its way to the sink and back.
#[derive(Debug)]
pub struct Record {
    /// The serialized `TrafficStream`.
    pub bytes: Vec<u8>,
    /// Whose it is: the worker's token for the connection.
    pub owner: u64,
    /// The record's ordinal in its connection, from 1.
    pub number: u32,
    /// True when bytes wait for this record to be durable.
    pub held: bool,
    /// Between which of its worker's heartbeats it was made, modulo 2^16.
    pub epoch: u16,
    /// The memory that its worker counts for it until it is back.
    pub memory: u32,
}

impl Record {
    /// The connection id: the Kafka key. It is the first field of every record that this room encodes.
    pub fn key(&self) -> &[u8] {
        &self.bytes[2..2 + ConnectionId::BYTES]
    }
}

/// Why requests that were recorded never reached the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UndeliveredCause {
    /// The client reset the connection while they were held.
    ClientReset = 1,
    /// No connection to the source could be made.
    SourceUnreachable = 2,
    /// tapline was stopped while they were held.
    Stopped = 3,
    /// The source closed its connection while they were held.
    SourceClosed = 4,
    /// Their records could not be stored in time.
    Unstored = 5,
    /// tapline ended the conversation before they were sent: what followed was refused, or one before was the last.
    Ended = 6,
}

impl UndeliveredCause {
    /// For people and for `log dump`.
    pub fn describe(code: u32) -> &'static str {
        match code {
            1 => "the client reset the connection while they were held",
            2 => "the source could not be reached",
            3 => "tapline was stopped while they were held",
            4 => "the source closed the connection while they were held",
            5 => "their records could not be stored in time",
            6 => "tapline ended the conversation before they were sent",
            _ => "unknown cause",
        }
    }
}

/// Requests at the end of a connection of which no byte reached the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// How many.
    pub requests: u32,
    /// Why.
    pub cause: UndeliveredCause,
}

/// What a record's provenance carries beyond its origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Requests that never reached the source.
    pub undelivered: Option<Undelivered>,
    /// A refused request: reason, bytes that had arrived, their CRC32C.
    pub refused: Option<(&'static str, u64, u32)>,
    /// Traffic that passed uncaptured.
    pub gap: Option<Gap>,
    /// Where the client is, as a balancer in front says.
    pub client: Option<SocketAddr>,
    /// Traffic that was left out on purpose, by [`LeftOut`]: requests, bytes.
    pub left_out: [(u64, u64); LeftOut::ALL.len()],
    /// Where its worker stands; in a record of its own.
    pub heartbeat: Option<Heartbeat>,
}

/// Why whole requests are left out of the records together with their answers. Unlike a gap it leaves no doubt about
/// which of the other answers belongs to which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LeftOut {
    /// The operator asked for it.
    Suppressed = 1,
    /// They came from a replay: recorded, they would be replayed again.
    Replayed = 2,
}

impl LeftOut {
    /// All of them, in the order of [`Notes::left_out`].
    pub const ALL: [Self; 2] = [Self::Suppressed, Self::Replayed];

    /// The place in [`Notes::left_out`].
    pub fn index(self) -> usize {
        self as usize - 1
    }

    /// For people and for `log dump`.
    pub fn describe(code: u32) -> &'static str {
        match code {
            1 => "suppressed",
            2 => "sent by a replay",
            _ => "unknown cause",
        }
    }
}

/// Field 1509, length-delimited.
const PROVENANCE: [u8; 2] = [0xAA, 0x5E];

/// The most bytes that [`put_provenance`] appends.
pub(super) const PROVENANCE_BYTES_MAX: usize = 2
    + 2
    + 9
    + 4
    + 11
    + (2 + 6 + 2)
    + 96
    + GAP_BYTES_MAX
    + LeftOut::ALL.len() * (2 + 2 + 11 + 11)
    + (2 + CLIENT_BYTES_MAX);

/// An IPv6 address with scope in brackets and a port.
const CLIENT_BYTES_MAX: usize = 58;

/// A heartbeat stands alone, where the other notes would.
const _: () = assert!(HEARTBEAT_BYTES_MAX <= PROVENANCE_BYTES_MAX - (2 + 2 + 9 + 4 + 11));

/// Appends the provenance field.
pub(super) fn put_provenance(
    out: &mut Vec<u8>,
    incarnation: u64,
    worker: u16,
    sequence: u64,
    notes: &Notes,
) {
    let mut content = Vec::new();
    if *notes != Notes::default() {
        put_notes(&mut content, notes);
    }
    let len = 9 + 1 + varint_len(u64::from(worker)) + 1 + varint_len(sequence) + content.len();
    out.extend_from_slice(&PROVENANCE);
    put_varint(out, len as u64);
    out.push(0x09);
    out.extend_from_slice(&incarnation.to_le_bytes());
    out.push(0x10);
    put_varint(out, u64::from(worker));
    out.push(0x18);
    put_varint(out, sequence);
    out.extend_from_slice(&content);
}

fn put_notes(out: &mut Vec<u8>, notes: &Notes) {
    if let Some(undelivered) = notes.undelivered {
        let requests = u64::from(undelivered.requests);
        out.push(0x22);
        put_varint(out, 3 + varint_len(requests) as u64);
        out.push(0x08);
        put_varint(out, requests);
        out.extend_from_slice(&[0x10, undelivered.cause as u8]);
    }
    if let Some((reason, bytes, crc)) = notes.refused {
        debug_assert!(reason.len() < 64, "invariant: refusal labels are short");
        out.push(0x2A);
        put_varint(out, (2 + reason.len() + 1 + varint_len(bytes) + 5) as u64);
        out.push(0x0A);
        put_varint(out, reason.len() as u64);
        out.extend_from_slice(reason.as_bytes());
        out.push(0x10);
        put_varint(out, bytes);
        out.push(0x1D);
        out.extend_from_slice(&crc.to_le_bytes());
    }
    if let Some(gap) = notes.gap {
        gap.put(out);
    }
    for (cause, left_out) in LeftOut::ALL.into_iter().zip(notes.left_out) {
        if left_out != (0, 0) {
            put_left_out(out, cause, left_out);
        }
    }
    if let Some(client) = notes.client {
        let text = client.to_string();
        out.push(0x42);
        put_varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    if let Some(heartbeat) = &notes.heartbeat {
        heartbeat.put(out);
    }
}

/// Cause, requests, bytes.
fn put_left_out(out: &mut Vec<u8>, cause: LeftOut, (requests, bytes): (u64, u64)) {
    out.push(0x3A);
    put_varint(out, (3 + varint_len(requests) + 1 + varint_len(bytes)) as u64);
    out.extend_from_slice(&[0x08, cause as u8, 0x10]);
    put_varint(out, requests);
    out.push(0x18);
    put_varint(out, bytes);
}
