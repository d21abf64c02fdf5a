//! The bytes of a segment: one header of 4 KiB, then frames.
//!
//! Owns encoding and checking; never touches a file. All integers are little endian.
//!
//! ```text
//! header: magic 8 | version u32 | header length u32 | incarnation u64 | first sequence u64
//!         | created, ns since 1970 u64 | node length u16 | 6 zero | node 64 | zeroes | CRC32C u32
//!         (at 4092, over the 4092 bytes before it)
//! frame:  CRC32C u32 (over all up to the end of the payload) | payload length u32 | sequence u64
//!         | kind u8 | flags u8 | unsynced u16 | salt u32 | payload | zeroes up to a multiple of 8
//! ```
//!
//! `unsynced` is how many frames directly before this one were not known to be durable when it was written; 65,535
//! stands for that many or more. So each frame proves of all earlier ones that they had reached the disk, which is how
//! recovery tells a batch that the power cut apart from damage. Logs from before it have zero there.
//!
//! Magic, version and the place of the header's checksum stay the same in every later version, so
//! that an older program can tell *newer* from *damaged*. The checksum of a frame stands first so
//! that one pass covers the rest. The salt is the low half of the incarnation, which is random: a
//! payload that happens to contain another log's frames is not mistaken for frames of this one.
//! Zeroes never are a frame, for the checksum of zeroes is not zero.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The header of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) node: String,
    pub(super) incarnation: u64,
    pub(super) first: u64,
    pub(super) created: SystemTime,
}

/// Why the first bytes of a file are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Too short, or a checksum that does not fit.
    Damaged,
    /// Good, but of this later version.
    Newer(u32),
}

impl Header {
    /// The header's bytes. The node must be at most [`NODE_BYTES_MAX`] long.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        let node = &self.node.as_bytes()[..self.node.len().min(NODE_BYTES_MAX)];
        let created = self.created.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&created.to_le_bytes());
        bytes[40..42].copy_from_slice(&(node.len() as u16).to_le_bytes());
        bytes[48..48 + node.len()].copy_from_slice(node);
        let crc = crc32c::crc32c(&bytes[..HEADER_CRC_AT]);
        bytes[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header back.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let damaged = HeaderFault::Damaged;
        let bytes = bytes.get(..HEADER_BYTES).ok_or(damaged)?;
        let good = crc32c::crc32c(&bytes[..HEADER_CRC_AT]) == u32_at(bytes, HEADER_CRC_AT);
        if bytes[..8] != MAGIC || !good {
            return Err(damaged);
        }
        let version = u32_at(bytes, 8);
        if version > FORMAT_VERSION {
            return Err(HeaderFault::Newer(version));
        }
        let node_len = usize::from(u16::from_le_bytes([bytes[40], bytes[41]]));
        let node = bytes[48..].get(..node_len.min(NODE_BYTES_MAX)).ok_or(damaged)?;
        Ok(Self {
            node: str::from_utf8(node).map_err(|_| damaged)?.to_owned(),
            incarnation: u64_at(bytes, 16),
            first: u64_at(bytes, 24),
            created: UNIX_EPOCH + Duration::from_nanos(u64_at(bytes, 32)),
        })
    }
}

/// The fixed part in front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) crc: u32,
    pub(super) payload_bytes: u32,
    pub(super) sequence: u64,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) unsynced: u16,
    pub(super) salt: u32,
}

impl FrameHead {
    /// The head of a frame around `payload`, checksum included.
    pub(super) fn seal(
        sequence: u64,
        kind: u8,
        flags: u8,
        unsynced: u64,
        salt: u32,
        payload: &[u8],
    ) -> [u8; FRAME_HEAD_BYTES] {
        let unsynced = u16::try_from(unsynced).unwrap_or(UNSYNCED_MANY);
        let mut head = [0; FRAME_HEAD_BYTES];
        head[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[8..16].copy_from_slice(&sequence.to_le_bytes());
        head[16] = kind;
        head[17] = flags;
        head[18..20].copy_from_slice(&unsynced.to_le_bytes());
        head[20..24].copy_from_slice(&salt.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head[4..]), payload);
        head[..4].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Reads the fields; says nothing about whether they are true. `bytes` holds at least a head.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self {
            crc: u32_at(bytes, 0),
            payload_bytes: u32_at(bytes, 4),
            sequence: u64_at(bytes, 8),
            kind: bytes[16],
            flags: bytes[17],
            unsynced: u16::from_le_bytes([bytes[18], bytes[19]]),
            salt: u32_at(bytes, 20),
        }
    }

    /// Whether the head can belong to a frame of this incarnation; bounds the payload before
    /// anything is allocated or read for it.
    pub(super) fn plausible(&self, salt: u32) -> bool {
        self.salt == salt
            && self.payload_bytes as usize <= PAYLOAD_BYTES_MAX
            && matches!(self.kind, RECORD | END)
    }

    /// Whether head and payload (`bytes` from the head to the payload's end) are as written.
    pub(super) fn intact(&self, bytes: &[u8]) -> bool {
        crc32c::crc32c(&bytes[4..]) == self.crc
    }

    /// All sequences before this one were durable when the frame was written.
    pub(super) fn durable_before(&self) -> u64 {
        match self.unsynced {
            UNSYNCED_MANY => 0,
            some => self.sequence.saturating_sub(u64::from(some)),
        }
    }

    /// Length of head and payload, without padding.
    pub(super) fn frame_bytes(&self) -> usize {
        FRAME_HEAD_BYTES + self.payload_bytes as usize
    }

    /// Length of the frame with its padding: where the next one begins.
    pub(super) fn stride(&self) -> u64 {
        stride(self.payload_bytes as usize)
    }
}

/// Length of a frame with a payload of this size, padding included.
pub(super) fn stride(payload_bytes: usize) -> u64 {
    (FRAME_HEAD_BYTES as u64 + payload_bytes as u64).next_multiple_of(FRAME_ALIGN)
}

/// The part of the incarnation every frame carries.
pub(super) fn salt(incarnation: u64) -> u32 {
    incarnation as u32
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("invariant: four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("invariant: eight bytes"))
}

/// The version of the format this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Longest payload of a frame.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// Kind of a frame that carries a record.
pub const RECORD: u8 = 1;
/// Kind of the closing frame; its sequence is that of the record which never came.
pub(super) const END: u8 = 2;
/// Flag of a closing frame that recovery wrote in the dead writer's stead.
pub(super) const RECOVERED: u8 = 1;
pub(super) const HEADER_BYTES: usize = 4096;
pub(super) const FRAME_HEAD_BYTES: usize = 24;
pub(super) const FRAME_ALIGN: u64 = 8;
pub(super) const NODE_BYTES_MAX: usize = 64;
/// That many frames or more.
const UNSYNCED_MANY: u16 = u16::MAX;
const HEADER_CRC_AT: usize = HEADER_BYTES - 4;
const MAGIC: [u8; 8] = *b"TAPLOG\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_comes_back_and_newer_is_told_from_damaged() {
        let header = Header {
            node: "n".repeat(NODE_BYTES_MAX),
            incarnation: 0x1234_5678_9abc_def0,
            first: 77,
            created: UNIX_EPOCH + Duration::from_nanos(1_763_695_200_123_456_789),
        };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        assert_eq!(Header::decode(&bytes[..HEADER_BYTES - 1]), Err(HeaderFault::Damaged));
        bytes[8] = 9;
        assert_eq!(Header::decode(&bytes), Err(HeaderFault::Damaged));
        let crc = crc32c::crc32c(&bytes[..HEADER_CRC_AT]).to_le_bytes();
        bytes[HEADER_CRC_AT..].copy_from_slice(&crc);
        assert_eq!(Header::decode(&bytes), Err(HeaderFault::Newer(9)));
    }

    #[test]
    fn zeroes_are_never_a_frame() {
        let zeroes = [0; 64];
        let head = FrameHead::parse(&zeroes);
        assert!(!head.plausible(0) || !head.intact(&zeroes[..head.frame_bytes()]));
        assert_ne!(crc32c::crc32c(&zeroes[4..FRAME_HEAD_BYTES]), 0);
    }
}
