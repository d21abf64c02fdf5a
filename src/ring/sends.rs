//! Sends under way: each slot owns the segments and the vector that the kernel reads until the completion.
#![allow(unsafe_code)]

use io_uring::{opcode, squeue, types};

use super::{Fd, Segment, SendQueue, Token, buffers::Buffers};

/// Segments gathered in one operation; what is beyond goes with the next.
const GATHER_MAX: usize = 32;

pub(super) struct Sends {
    #[allow(clippy::vec_box, reason = "the kernel reads a slot while others are added")]
    slots: Vec<Box<Slot>>,
    unused: Vec<u32>,
}

pub(super) struct Slot {
    pub(super) token: Token,
    pub(super) fd: Fd,
    pub(super) queue: SendQueue,
    pub(super) sent: u64,
    /// Asked to end: what is left of it is not sent.
    pub(super) cancelled: bool,
    vector: [libc::iovec; GATHER_MAX],
    message: libc::msghdr,
}

impl Sends {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), unused: Vec::new() }
    }

    /// Moves all of `queue` into a slot.
    pub(super) fn begin(&mut self, token: Token, fd: Fd, queue: &mut SendQueue) -> u32 {
        let index = self.unused.pop().unwrap_or_else(|| {
            self.slots.push(Box::new(Slot {
                token,
                fd,
                queue: SendQueue::default(),
                sent: 0,
                cancelled: false,
                vector: [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; GATHER_MAX],
                // SAFETY: a message header is plain data for which zero means "absent".
                message: unsafe { std::mem::zeroed() },
            }));
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.queue.is_empty());
        slot.token = token;
        slot.fd = fd;
        slot.sent = 0;
        slot.cancelled = false;
        std::mem::swap(&mut slot.queue, queue);
        index
    }

    pub(super) fn slot(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }

    /// The sends on `fd` (`None`: all) are to end. A cancelled send that had made progress
    /// completes as a short one, which would otherwise be continued.
    pub(super) fn cancel(&mut self, fd: Option<Fd>) {
        let under_way = self.slots.iter_mut().filter(|slot| !slot.queue.is_empty());
        let meant = under_way.filter(|slot| fd.is_none_or(|fd| slot.fd == fd));
        meant.for_each(|slot| slot.cancelled = true);
    }

    pub(super) fn end(&mut self, index: u32) {
        debug_assert!(self.slots[index as usize].queue.is_empty());
        self.unused.push(index);
    }

    /// The operation for what is left in the slot.
    pub(super) fn entry(&mut self, index: u32, buffers: &Buffers) -> squeue::Entry {
        let slot = &mut *self.slots[index as usize];
        let mut count = 0;
        for (segment, entry) in slot.queue.segments().zip(slot.vector.iter_mut()) {
            *entry = locate(segment, buffers);
            count += 1;
        }
        // WAITALL makes the kernel go on after a short write by itself; NOSIGNAL turns SIGPIPE into EPIPE.
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let fd = types::Fd(slot.fd.0);
        if count == 1 {
            let only = slot.vector[0];
            return opcode::Send::new(fd, only.iov_base.cast(), only.iov_len as u32)
                .flags(flags)
                .build();
        }
        slot.message.msg_iov = slot.vector.as_mut_ptr();
        slot.message.msg_iovlen = count;
        opcode::SendMsg::new(fd, &raw const slot.message).flags(flags as u32).build()
    }
}

fn locate(segment: &Segment, buffers: &Buffers) -> libc::iovec {
    let (base, offset, len) = match segment {
        Segment::Provided { buffer, offset, len } => (buffers.address(*buffer), *offset, *len),
        Segment::Owned { bytes, offset, len } => {
            debug_assert!(*offset as usize + *len as usize <= bytes.len());
            (bytes.as_ptr(), *offset, *len)
        }
        Segment::Shared { bytes, offset, len } => {
            debug_assert!(*offset as usize + *len as usize <= bytes.len());
            (bytes.as_ptr(), *offset, *len)
        }
    };
    // The kernel only reads through this pointer.
    let address = base.wrapping_add(offset as usize).cast_mut();
    libc::iovec { iov_base: address.cast(), iov_len: len as usize }
}
