//! What is queued for sending: stretches of memory with an owner.

use std::{collections::VecDeque, rc::Rc};

/// A stretch of bytes and who owns them.
#[derive(Debug)]
pub enum Segment {
    /// Part of a provided buffer; the segment holds one reference.
    Provided {
        /// The buffer's id.
        buffer: u16,
        /// First byte.
        offset: u32,
        /// Bytes.
        len: u32,
    },
    /// Memory of its own.
    Owned {
        /// The memory.
        bytes: Vec<u8>,
        /// First byte.
        offset: u32,
        /// Bytes.
        len: u32,
    },
    /// Memory that several segments send parts of.
    Shared {
        /// The memory.
        bytes: Rc<Vec<u8>>,
        /// First byte.
        offset: u32,
        /// Bytes.
        len: u32,
    },
}

impl Segment {
    /// All of `bytes`.
    pub fn owned(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u32;
        Self::Owned { bytes, offset: 0, len }
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        match self {
            Self::Provided { len, .. } | Self::Owned { len, .. } | Self::Shared { len, .. } => {
                *len as usize
            }
        }
    }

    /// True when there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn advance(&mut self, n: u32) {
        match self {
            Self::Provided { offset, len, .. }
            | Self::Owned { offset, len, .. }
            | Self::Shared { offset, len, .. } => {
                *offset += n;
                *len -= n;
            }
        }
    }
}

/// Segments in the order in which they are to be sent, and their total.
#[derive(Debug, Default)]
pub struct SendQueue {
    segments: VecDeque<Segment>,
    bytes: u64,
}

impl SendQueue {
    /// Appends; empty segments must not be queued.
    pub fn push(&mut self, segment: Segment) {
        debug_assert!(!segment.is_empty(), "invariant: nothing empty is queued");
        self.bytes += segment.len() as u64;
        self.segments.push_back(segment);
    }

    /// Bytes queued.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True when nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The first segment, taken out.
    pub fn pop(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        self.bytes -= segment.len() as u64;
        Some(segment)
    }

    /// The segments, first to last.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    /// Marks the first `n` bytes as sent; hands out what was sent completely.
    pub fn advance(&mut self, mut n: u64, mut done: impl FnMut(Segment)) {
        self.bytes -= n;
        while n > 0 {
            let Some(front) = self.segments.front_mut() else { return };
            let len = front.len() as u64;
            if n < len {
                front.advance(n as u32);
                return;
            }
            n -= len;
            done(self.segments.pop_front().expect("invariant: front exists"));
        }
    }
}
