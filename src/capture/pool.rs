//! Memory blocks for open records, kept per worker so that the busy path allocates nothing.

/// Block sizes. A connection starts with the class that its last record needed.
const CLASS_BYTES: [usize; 4] = [4 << 10, 16 << 10, 64 << 10, 224 << 10];

/// Free memory that a worker keeps for reuse; what is beyond goes back to the allocator.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Free blocks by size class.
#[derive(Debug, Default)]
pub struct BlockPool {
    free: [Vec<Vec<u8>>; CLASS_BYTES.len()],
    kept_bytes: usize,
}

impl BlockPool {
    /// An empty block with room for at least `bytes`.
    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        let Some(class) = CLASS_BYTES.iter().position(|size| *size >= bytes) else {
            return Vec::with_capacity(bytes);
        };
        match self.free[class].pop() {
            Some(block) => {
                self.kept_bytes -= block.capacity();
                block
            }
            None => Vec::with_capacity(CLASS_BYTES[class]),
        }
    }

    /// Takes a block back. Blocks of foreign sizes are freed.
    pub fn give(&mut self, mut block: Vec<u8>) {
        let capacity = block.capacity();
        let Some(class) = CLASS_BYTES.iter().position(|size| *size == capacity) else { return };
        if self.kept_bytes + capacity <= KEPT_BYTES_MAX {
            block.clear();
            self.kept_bytes += capacity;
            self.free[class].push(block);
        }
    }

    /// Frees what is kept: memory is short.
    pub fn trim(&mut self) {
        self.free = Default::default();
        self.kept_bytes = 0;
    }

    /// Makes room for `more` bytes in `block`, by moving to a larger class when needed.
    pub fn grow(&mut self, block: &mut Vec<u8>, more: usize) {
        if block.capacity() - block.len() >= more {
            return;
        }
        let mut larger = self.take(block.len() + more);
        larger.extend_from_slice(block);
        self.give(std::mem::replace(block, larger));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_reused_and_grow_with_their_content() {
        let mut pool = BlockPool::default();
        let mut block = pool.take(10);
        assert_eq!(block.capacity(), CLASS_BYTES[0]);
        block.extend_from_slice(b"content");
        pool.grow(&mut block, 10_000);
        assert_eq!(block, b"content");
        assert_eq!(block.capacity(), CLASS_BYTES[1]);
        let address = block.as_ptr();
        pool.give(block);
        let again = pool.take(9_000);
        assert_eq!(again.as_ptr(), address);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pool = BlockPool::default();
        let blocks: Vec<_> = (0..200).map(|_| Vec::with_capacity(CLASS_BYTES[3])).collect();
        for block in blocks {
            pool.give(block);
        }
        assert!(pool.kept_bytes <= KEPT_BYTES_MAX);
        pool.give(Vec::with_capacity(1 << 20));
        assert!(pool.kept_bytes <= KEPT_BYTES_MAX);
    }
}
