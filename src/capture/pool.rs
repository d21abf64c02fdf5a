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
    /// Memory is short: nothing is kept, and nothing is taken on suspicion.
    short: bool,
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

    /// An empty block with room for at least `bytes`, and for `likely` while memory is not short.
    pub fn take_likely(&mut self, bytes: usize, likely: usize) -> Vec<u8> {
        self.take(if self.short { bytes } else { bytes.max(likely) })
    }

    /// Takes a block back. Blocks of foreign sizes are freed.
    pub fn give(&mut self, mut block: Vec<u8>) {
        let capacity = block.capacity();
        let Some(class) = CLASS_BYTES.iter().position(|size| *size == capacity) else { return };
        if !self.short && self.kept_bytes + capacity <= KEPT_BYTES_MAX {
            block.clear();
            self.kept_bytes += capacity;
            self.free[class].push(block);
        }
    }

    /// Whether memory is short. What was kept is then freed.
    pub fn set_short(&mut self, short: bool) {
        self.short = short;
        if short {
            self.free = Default::default();
            self.kept_bytes = 0;
        }
    }

    /// While memory is short: leaves a block that is about to wait no more than its content needs.
    pub fn fit(&self, block: &mut Vec<u8>) {
        // The allocator moves only what is at most half full.
        if self.short && block.len() <= block.capacity() / 2 {
            block.shrink_to_fit();
        }
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

    #[test]
    fn while_memory_is_short_nothing_is_kept_or_taken_beyond_need() {
        let mut pool = BlockPool::default();
        let taken = |pool: &mut BlockPool| pool.take_likely(300, 60_000).capacity();
        assert_eq!(taken(&mut pool), CLASS_BYTES[2]);
        pool.give(Vec::with_capacity(CLASS_BYTES[2]));
        pool.set_short(true);
        assert_eq!((taken(&mut pool), pool.kept_bytes), (CLASS_BYTES[0], 0));
        pool.give(Vec::with_capacity(CLASS_BYTES[0]));
        assert_eq!(pool.kept_bytes, 0);

        let mut little = pool.take(300);
        little.extend_from_slice(&[7; 300]);
        let mut most = pool.take(300);
        most.extend_from_slice(&[7; 3000]);
        for block in [&mut little, &mut most] {
            pool.fit(block);
        }
        assert_eq!((little.capacity(), most.capacity()), (300, CLASS_BYTES[0]));

        pool.set_short(false);
        let mut little = pool.take(300);
        pool.fit(&mut little);
        assert_eq!((little.capacity(), taken(&mut pool)), (CLASS_BYTES[0], CLASS_BYTES[2]));
    }
}
