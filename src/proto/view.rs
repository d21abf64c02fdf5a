//! A record read in place: validated once, then walked as often as wanted without copying a byte.
//!
//! Says the same as `prost` about every input (`tests` compare them), repeated fields and merged sub-messages
//! included. Fields come in any order.

use std::fmt;

use super::{
    Gap, Heartbeat, LeftOut, Provenance, Refused, Undelivered,
    wire::{DEPTH_MAX, Wire},
};

#[cfg(test)]
mod tests;

/// A valid record with the name of its connection.
#[derive(Clone, Debug)]
pub struct RecordView<'a> {
    /// How the connection is called; never empty.
    pub connection_id: &'a str,
    /// Who captured it; empty when nobody says.
    pub node_id: &'a str,
    /// The ordinal of the record in its connection, from 1; 0 when it has none.
    pub number: i32,
    /// The connection ends with it.
    pub last: bool,
    /// Ends of requests in earlier records of the connection.
    pub prior_requests: i32,
    /// It begins within a request. What counts is the value of the field, not its presence.
    pub unterminated_read: bool,
    /// Where it comes from, if it says so.
    pub provenance: Option<Provenance>,
    /// The newest time of an observation, Unix nanoseconds.
    pub newest_ns: Option<i64>,
    body: &'a [u8],
}

/// One observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// When, Unix nanoseconds; 0 when nothing is said.
    pub at_ns: i64,
    /// What.
    pub what: What<'a>,
}

/// The kinds of observation that tell anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// Bytes from the client.
    Read(&'a [u8]),
    /// Bytes from the client, part of one buffer.
    ReadSegment(&'a [u8]),
    /// Bytes to the client.
    Write(&'a [u8]),
    /// Bytes to the client, part of one buffer.
    WriteSegment(&'a [u8]),
    /// The end of the parts of one buffer.
    SegmentEnd,
    /// The end of a request.
    EndOfMessage,
    /// The request that was being read will not be completed.
    RequestDropped,
    /// The connection broke.
    Exception,
    /// The connection was closed.
    Close,
    /// Any other kind, or none.
    Other,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewError {
    /// A varint of more than ten bytes or 64 bits, or cut off.
    Varint,
    /// A field number or layout that does not exist.
    Key,
    /// A field that is laid out otherwise than its type.
    Layout,
    /// A length beyond the end.
    CutShort,
    /// A text that is not UTF-8.
    Text,
    /// A group that ends where none began, or another one.
    Group,
    /// Groups within groups, too many.
    Depth,
    /// No connection is named: the record is valid, and belongs to nothing.
    Nameless,
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Varint => "no TrafficStream: a varint is cut off or too long",
            Self::Key => "no TrafficStream: a field has a key that does not exist",
            Self::Layout => "no TrafficStream: a field is laid out otherwise than its type",
            Self::CutShort => "no TrafficStream: a field is longer than what holds it",
            Self::Text => "no TrafficStream: a text is not UTF-8",
            Self::Group => "no TrafficStream: a group ends where none began",
            Self::Depth => "no TrafficStream: more than 100 groups within each other",
            Self::Nameless => "the record names no connection",
        })
    }
}

impl std::error::Error for ViewError {}

type Result<T> = std::result::Result<T, ViewError>;

impl<'a> RecordView<'a> {
    /// Validates all of `bytes`, so that the walk cannot fail.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut view = Self {
            connection_id: "",
            node_id: "",
            number: 0,
            last: false,
            prior_requests: 0,
            unterminated_read: false,
            provenance: None,
            newest_ns: None,
            body: bytes,
        };
        let mut wire = Wire::new(bytes);
        while !wire.is_empty() {
            let (field, layout) = wire.key()?;
            match field {
                1 => view.connection_id = wire.text(layout)?,
                SUB_STREAM => {
                    let seen = seen(wire.bytes(layout)?)?;
                    view.newest_ns = view.newest_ns.max(Some(seen.at_ns));
                }
                3 | 4 => {
                    view.number = wire.number(layout)? as i32;
                    view.last = field == 4;
                }
                5 => view.node_id = wire.text(layout)?,
                6 => view.prior_requests = wire.number(layout)? as i32,
                7 => view.unterminated_read = wire.number(layout)? != 0,
                1509 => {
                    let content = wire.bytes(layout)?;
                    provenance(content, view.provenance.get_or_insert_default())?;
                }
                _ => wire.skip(field, layout, DEPTH_MAX)?,
            }
        }
        if view.connection_id.is_empty() { Err(ViewError::Nameless) } else { Ok(view) }
    }

    /// What was seen, in order.
    #[inline]
    pub fn observations(&self) -> Observations<'a> {
        Observations { wire: Wire::new(self.body) }
    }
}

/// The walk over the observations of a record.
#[derive(Clone, Debug)]
pub struct Observations<'a> {
    wire: Wire<'a>,
}

impl<'a> Iterator for Observations<'a> {
    type Item = Seen<'a>;

    #[inline]
    fn next(&mut self) -> Option<Seen<'a>> {
        while !self.wire.is_empty() {
            let (field, layout) = self.wire.key().expect(VALIDATED);
            if field == SUB_STREAM {
                let content = self.wire.bytes(layout).expect(VALIDATED);
                return Some(seen(content).expect(VALIDATED));
            }
            self.wire.skip(field, layout, DEPTH_MAX).expect(VALIDATED);
        }
        None
    }
}

/// One observation. Of the oneof the last kind counts; a kind that is there twice in a row is merged.
#[inline]
fn seen(content: &[u8]) -> Result<Seen<'_>> {
    let mut wire = Wire::new(content);
    let (mut seconds, mut nanos) = (0, 0);
    let (mut kind, mut data) = (0, &[][..]);
    while !wire.is_empty() {
        let (field, layout) = wire.key()?;
        match field {
            1 => time(wire.bytes(layout)?, &mut seconds, &mut nanos)?,
            2..=6 | 8..=12 | 14..=16 => {
                let inner = Wire::new(wire.bytes(layout)?);
                if kind != field {
                    (kind, data) = (field, &[][..]);
                }
                match field {
                    4 | 8 => bytes_field(inner, 1, &mut data)?,
                    5 | 9 => bytes_field(inner, 2, &mut data)?,
                    6 => numbers(inner, 1)?,
                    12 => message(inner)?,
                    15 => numbers(inner, 2)?,
                    _ => numbers(inner, 0)?,
                }
            }
            _ => wire.skip(field, layout, DEPTH_MAX - 1)?,
        }
    }
    let what = match kind {
        4 => What::Read(data),
        5 => What::ReadSegment(data),
        8 => What::Write(data),
        9 => What::WriteSegment(data),
        11 => What::Close,
        12 => What::Exception,
        14 => What::SegmentEnd,
        15 => What::EndOfMessage,
        16 => What::RequestDropped,
        _ => What::Other,
    };
    let at_ns = i64::from(nanos).saturating_add(seconds.saturating_mul(1_000_000_000));
    Ok(Seen { at_ns, what })
}

#[inline]
fn time(content: &[u8], seconds: &mut i64, nanos: &mut i32) -> Result<()> {
    let mut wire = Wire::new(content);
    while !wire.is_empty() {
        match wire.key()? {
            (1, layout) => *seconds = wire.number(layout)? as i64,
            (2, layout) => *nanos = wire.number(layout)? as i32,
            (field, layout) => wire.skip(field, layout, LEAF_DEPTH)?,
        }
    }
    Ok(())
}

/// A message whose field `number` is bytes.
#[inline]
fn bytes_field<'a>(mut wire: Wire<'a>, number: u32, data: &mut &'a [u8]) -> Result<()> {
    while !wire.is_empty() {
        match wire.key()? {
            (field, layout) if field == number => *data = wire.bytes(layout)?,
            (field, layout) => wire.skip(field, layout, LEAF_DEPTH)?,
        }
    }
    Ok(())
}

/// A message whose first `known` fields are integers, of which nobody wants the values.
fn numbers(mut wire: Wire<'_>, known: u32) -> Result<()> {
    while !wire.is_empty() {
        match wire.key()? {
            (field, layout) if field <= known => drop(wire.number(layout)?),
            (field, layout) => wire.skip(field, layout, LEAF_DEPTH)?,
        }
    }
    Ok(())
}

/// A message whose first field is a text, which nobody wants.
fn message(mut wire: Wire<'_>) -> Result<()> {
    while !wire.is_empty() {
        match wire.key()? {
            (1, layout) => drop(wire.text(layout)?),
            (field, layout) => wire.skip(field, layout, LEAF_DEPTH)?,
        }
    }
    Ok(())
}

fn provenance(content: &[u8], into: &mut Provenance) -> Result<()> {
    let mut wire = Wire::new(content);
    while !wire.is_empty() {
        let (field, layout) = wire.key()?;
        match field {
            1 => into.incarnation = wire.fixed64(layout)?,
            2 => into.worker = wire.number(layout)? as u32,
            3 => into.sequence = wire.number(layout)?,
            4 => undelivered(wire.bytes(layout)?, into.undelivered.get_or_insert_default())?,
            5 => refused(wire.bytes(layout)?, into.refused.get_or_insert_default())?,
            6 => gap(wire.bytes(layout)?, into.gap.get_or_insert_default())?,
            7 => into.left_out.push(left_out(wire.bytes(layout)?)?),
            8 => into.client = Some(wire.text(layout)?.to_owned()),
            9 => heartbeat(wire.bytes(layout)?, into.heartbeat.get_or_insert_default())?,
            _ => wire.skip(field, layout, DEPTH_MAX - 1)?,
        }
    }
    Ok(())
}

fn undelivered(content: &[u8], into: &mut Undelivered) -> Result<()> {
    let mut wire = Wire::new(content);
    while !wire.is_empty() {
        match wire.key()? {
            (1, layout) => into.requests = wire.number(layout)? as u32,
            (2, layout) => into.cause = wire.number(layout)? as u32,
            (field, layout) => wire.skip(field, layout, LEAF_DEPTH)?,
        }
    }
    Ok(())
}

fn refused(content: &[u8], into: &mut Refused) -> Result<()> {
    let mut wire = Wire::new(content);
    while !wire.is_empty() {
        match wire.key()? {
            (1, layout) => wire.text(layout)?.clone_into(&mut into.reason),
            (2, layout) => into.bytes = wire.number(layout)?,
            (3, layout) => into.crc32c = wire.fixed32(layout)?,
            (field, layout) => wire.skip(field, layout, LEAF_DEPTH)?,
        }
    }
    Ok(())
}

fn gap(content: &[u8], into: &mut Gap) -> Result<()> {
    let mut wire = Wire::new(content);
    while !wire.is_empty() {
        match wire.key()? {
            (1, layout) => into.cause = wire.number(layout)? as u32,
            (2, layout) => into.requests = wire.number(layout)?,
            (3, layout) => into.bytes = wire.number(layout)?,
            (4, layout) => into.writes = wire.number(layout)?,
            (5, layout) => into.since_unix_ns = wire.fixed64(layout)?,
            (6, layout) => into.until_unix_ns = wire.fixed64(layout)?,
            (7, layout) => into.connections = wire.number(layout)?,
            (field, layout) => wire.skip(field, layout, LEAF_DEPTH)?,
        }
    }
    Ok(())
}

fn heartbeat(content: &[u8], into: &mut Heartbeat) -> Result<()> {
    let mut wire = Wire::new(content);
    while !wire.is_empty() {
        let (field, layout) = wire.key()?;
        let place = match field {
            1 => &mut into.interval_ms,
            2 => {
                into.last = wire.number(layout)? != 0;
                continue;
            }
            3 => &mut into.started_unix_ns,
            4 => &mut into.connections,
            5 => &mut into.requests,
            6 => &mut into.forwarded_bytes,
            7 => &mut into.captured,
            8 => &mut into.left_out,
            9 => &mut into.uncaptured,
            10 => &mut into.untold,
            11 => &mut into.refused,
            12 => &mut into.undelivered,
            13 => &mut into.early,
            14 => &mut into.workers,
            15 => &mut into.stored,
            16 => {
                into.passes = wire.number(layout)? != 0;
                continue;
            }
            _ => {
                wire.skip(field, layout, LEAF_DEPTH)?;
                continue;
            }
        };
        *place = wire.number(layout)?;
    }
    Ok(())
}

fn left_out(content: &[u8]) -> Result<LeftOut> {
    let (mut wire, mut into) = (Wire::new(content), LeftOut::default());
    while !wire.is_empty() {
        match wire.key()? {
            (1, layout) => into.cause = wire.number(layout)? as u32,
            (2, layout) => into.requests = wire.number(layout)?,
            (3, layout) => into.bytes = wire.number(layout)?,
            (field, layout) => wire.skip(field, layout, LEAF_DEPTH)?,
        }
    }
    Ok(into)
}

/// Field 2 of a record, the observations.
const SUB_STREAM: u32 = 2;
/// How deep unknown groups may go in a message within an observation or a provenance.
const LEAF_DEPTH: u32 = DEPTH_MAX - 2;
const VALIDATED: &str = "invariant: the record was validated when it was parsed";
