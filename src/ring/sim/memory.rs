//! The provided buffers of a simulated ring: counted as the real ones are, and strict about it.

use crate::ring::Chunk;

pub(super) struct Memory {
    buffers: Vec<Vec<u8>>,
    refs: Vec<u32>,
    /// Filled, but the worker has not been told yet: to the worker they count as free.
    untold: usize,
}

impl Memory {
    pub(super) fn new(count: usize, size_bytes: usize) -> Self {
        Self { buffers: vec![vec![0; size_bytes]; count], refs: vec![0; count], untold: 0 }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.buffers[0].len()
    }

    /// The kernel fills a free buffer; `None` when there is none.
    pub(super) fn fill(&mut self, bytes: impl Iterator<Item = u8>) -> Option<Chunk> {
        let free = self.refs.iter().position(|refs| *refs == 0)?;
        self.refs[free] = 1;
        self.untold += 1;
        // Left-overs of earlier use must not look like data.
        self.buffers[free].fill(b'#');
        let mut len = 0;
        for (to, byte) in self.buffers[free].iter_mut().zip(bytes) {
            *to = byte;
            len += 1;
        }
        assert!(len > 0, "a chunk has at least one byte");
        Some(Chunk { buffer: free as u16, offset: 0, len })
    }

    /// The worker learns of a filled buffer.
    pub(super) fn tell(&mut self) {
        self.untold -= 1;
    }

    pub(super) fn retain(&mut self, buffer: u16) {
        self.held(buffer);
        self.refs[usize::from(buffer)] += 1;
    }

    pub(super) fn release(&mut self, buffer: u16) {
        self.held(buffer);
        self.refs[usize::from(buffer)] -= 1;
        if self.refs[usize::from(buffer)] == 0 {
            // The kernel may write to it from now on.
            self.buffers[usize::from(buffer)].fill(b'~');
        }
    }

    pub(super) fn bytes(&self, buffer: u16, offset: u32, len: u32) -> &[u8] {
        self.held(buffer);
        &self.buffers[usize::from(buffer)][offset as usize..][..len as usize]
    }

    pub(super) fn bytes_mut(&mut self, buffer: u16, offset: u32, len: u32) -> &mut [u8] {
        let refs = self.refs[usize::from(buffer)];
        assert_eq!(refs, 1, "contract: buffer {buffer} is changed by one of {refs} holders");
        &mut self.buffers[usize::from(buffer)][offset as usize..][..len as usize]
    }

    /// As the worker sees it.
    pub(super) fn free(&self) -> usize {
        self.refs.len() - self.out() + self.untold
    }

    pub(super) fn count(&self) -> usize {
        self.refs.len()
    }

    /// Buffers with references.
    pub(super) fn out(&self) -> usize {
        self.refs.iter().filter(|refs| **refs > 0).count()
    }

    fn held(&self, buffer: u16) {
        assert!(
            self.refs[usize::from(buffer)] > 0,
            "contract: buffer {buffer} is used or released without a reference"
        );
    }
}
