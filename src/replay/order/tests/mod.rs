//! The schedule against hand-made cases, and against a simulated source and target with a checker that knows nothing
//! of how the schedule works.

mod cases;
mod checker;
mod reading;
mod sim;
mod source;
mod target;

/// Numbers from a seed, the same in every run.
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }

    /// From 0 to `below` - 1.
    fn below(&mut self, below: u64) -> u64 {
        (self.roll() >> 11) % below
    }

    fn one_in(&mut self, many: u64) -> bool {
        many > 0 && self.below(many) == 0
    }
}
