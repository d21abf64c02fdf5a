//! The provided buffers of one worker: memory that the kernel receives into, and the ring that hands it over.
//!
//! Each buffer is counted: one reference when the kernel filled it, more when several segments send from it. The last
//! release puts it back into the kernel's ring.
#![allow(unsafe_code)]

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{Submitter, types::BufRingEntry};

/// The buffer group's id; there is one group per ring.
pub(super) const GROUP: u16 = 0;

const PAGE_BYTES: usize = 4096;

pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    size_bytes: u32,
    tail: u16,
    refs: Box<[u16]>,
    free: u16,
}

impl Buffers {
    /// `count` buffers (a power of two) of `size_bytes` each. Not yet known to the kernel.
    pub(super) fn new(count: u16, size_bytes: u32) -> Self {
        assert!(count.is_power_of_two() && size_bytes > 0, "invariant: checked by Options");
        let entries = allocate(Self::entries_layout(count)).cast();
        let memory = allocate(Self::memory_layout(count, size_bytes));
        Self {
            entries,
            memory,
            count,
            size_bytes,
            tail: 0,
            refs: vec![0; usize::from(count)].into_boxed_slice(),
            free: 0,
        }
    }

    /// Makes the buffers known to the kernel and gives it all of them.
    pub(super) fn register(&mut self, submitter: &Submitter<'_>) -> io::Result<()> {
        // SAFETY: `entries` is page-aligned, zeroed, large enough for `count` entries, and outlives the registration:
        // the ring is dropped, or all of this is leaked, before `self` is freed (see `Uring::drop`).
        unsafe {
            submitter.register_buf_ring_with_flags(
                self.entries.as_ptr() as u64,
                self.count,
                GROUP,
                0,
            )?;
        }
        for id in 0..self.count {
            self.give(id);
        }
        self.publish();
        Ok(())
    }

    /// The kernel filled this buffer.
    pub(super) fn taken(&mut self, id: u16) {
        debug_assert_eq!(self.refs[usize::from(id)], 0);
        self.refs[usize::from(id)] = 1;
        self.free -= 1;
    }

    pub(super) fn retain(&mut self, id: u16) {
        debug_assert!(self.refs[usize::from(id)] > 0);
        self.refs[usize::from(id)] += 1;
    }

    pub(super) fn release(&mut self, id: u16) {
        let refs = &mut self.refs[usize::from(id)];
        *refs = refs.checked_sub(1).expect("invariant: a released buffer was held");
        if *refs == 0 {
            self.give(id);
        }
    }

    pub(super) fn free(&self) -> u16 {
        self.free
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Lets the kernel see the buffers given back since the last call.
    pub(super) fn publish(&self) {
        // SAFETY: `entries` points at the first entry of a registered ring; the tail overlays its reserved field and is
        // written by this thread only. The kernel reads it with acquire semantics.
        let tail = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    pub(super) fn bytes(&self, id: u16, offset: u32, len: u32) -> &[u8] {
        debug_assert!(self.refs[usize::from(id)] > 0);
        let first = self.within(id, offset, len);
        // SAFETY: the stretch lies within the buffer; while its count is above zero the kernel does not write to it.
        unsafe { std::slice::from_raw_parts(first, len as usize) }
    }

    /// For changing bytes where they lie.
    pub(super) fn bytes_mut(&mut self, id: u16, offset: u32, len: u32) -> &mut [u8] {
        assert_eq!(self.refs[usize::from(id)], 1, "invariant: nobody else reads what is changed");
        let first = self.within(id, offset, len).cast_mut();
        // SAFETY: the stretch lies within the buffer, whose memory this owns and hands out for as long as `self` is
        // borrowed. With a count of one it is the caller's alone: the kernel does not write to it, and no send reads
        // it, which would hold a reference of its own.
        unsafe { std::slice::from_raw_parts_mut(first, len as usize) }
    }

    fn within(&self, id: u16, offset: u32, len: u32) -> *const u8 {
        let end = u64::from(offset) + u64::from(len);
        assert!(end <= u64::from(self.size_bytes), "invariant: a chunk lies within its buffer");
        self.address(id).wrapping_add(offset as usize)
    }

    pub(super) fn address(&self, id: u16) -> *const u8 {
        assert!(id < self.count, "invariant: buffer ids come from the kernel's own ring");
        // SAFETY: the offset is below the length of the allocation, checked above.
        unsafe { self.memory.as_ptr().add(usize::from(id) * self.size_bytes as usize) }
    }

    fn give(&mut self, id: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        let address = self.address(id) as u64;
        // SAFETY: `slot` is below `count`, and the kernel does not read the slot before `publish`
        // moves the tail over it.
        let entry = unsafe { &mut *self.entries.as_ptr().add(slot) };
        entry.set_addr(address);
        entry.set_len(self.size_bytes);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    fn entries_layout(count: u16) -> Layout {
        Layout::from_size_align(usize::from(count) * size_of::<BufRingEntry>(), PAGE_BYTES)
            .expect("invariant: at most 32768 entries of 16 bytes")
    }

    fn memory_layout(count: u16, size_bytes: u32) -> Layout {
        Layout::from_size_align(usize::from(count) * size_bytes as usize, PAGE_BYTES)
            .expect("invariant: bounded by Options")
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts, and `Uring` drops this only when no operation is under way.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), Self::entries_layout(self.count));
            dealloc(self.memory.as_ptr(), Self::memory_layout(self.count, self.size_bytes));
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: the layout's size is not zero.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}
