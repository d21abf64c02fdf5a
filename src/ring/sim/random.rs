//! The one source of chance of a simulation: splitmix64, so that a seed replays exactly on every machine.

/// A seeded generator. Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.draw() % n }
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Of a magnitude of chance: below a power of two from 2^`low` to 2^`high`.
    pub fn spread(&mut self, low: u64, high: u64) -> u64 {
        let bits = self.between(low, high);
        self.below(1 << bits)
    }

    /// True in `per_mille` of 1,000 cases.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < u64::from(per_mille)
    }

    /// From 1 to `max`: often all of it, often only one or a few.
    pub fn part(&mut self, max: usize) -> usize {
        let max = max as u64;
        let n = match self.below(4) {
            0 => self.between(1, 3),
            1 => self.between(1, max.max(1)),
            _ => max,
        };
        n.clamp(1, max.max(1)) as usize
    }

    /// Puts `items` into an order of chance.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_bounds_hold() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        let mut orders = std::collections::HashSet::new();
        for _ in 0..1000 {
            assert_eq!(a.draw(), b.draw());
            let (x, y) = (a.between(5, 9), a.part(4));
            assert!((5..=9).contains(&x) && (1..=4).contains(&y));
            assert_eq!((b.between(5, 9), b.part(4)), (x, y));
            let mut items = [1, 2, 3];
            a.shuffle(&mut items);
            b.shuffle(&mut [1, 2, 3]);
            orders.insert(items);
        }
        assert_eq!(orders.len(), 6);
        assert_eq!(a.below(0), 0);
        assert!(!a.chance(0) && a.chance(1000));
    }
}
