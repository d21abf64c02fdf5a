//! The checker's account of what passed under `--on-capture-unavailable pass`: no more than gaps and counters say, and
//! only after a record had been with the sink for so long.

use super::world::World;
use crate::observe::Counter;

/// Requests of a run that the source saw and that should have been held.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Bytes of them left before their records were durable.
    pub(super) early: u64,
    /// Bytes of them left that are in no record.
    pub(super) uncaptured: u64,
    /// They are not whole in the records, whether they left or not.
    pub(super) unwhole: u64,
}

impl Passed {
    /// `gaps`: requests, and writes of them, that passed uncaptured as the records say.
    pub(super) fn check(&self, world: &World, (requests, writes): (u64, u64)) {
        let [early, uncaptured] =
            [Counter::PassedEarly, Counter::PassedUncaptured].map(|c| world.counters.get(c));
        assert_eq!(writes, uncaptured, "I4: writes of the gaps, and their counter");
        assert!(self.early <= early, "I1: {self:?}, counted early: {early}");
        // A search that is held like a write counts as no write.
        let most = if world.setup.kinds.hold_all_posts { requests } else { writes };
        assert!(self.uncaptured <= most, "I4: {self:?}, in gaps: {most}");
        assert!(writes <= self.unwhole, "I4: {self:?}, writes in gaps: {writes}");
        if !world.setup.settings.pass {
            assert_eq!((early, uncaptured), (0, 0), "nothing passes unless it is asked for");
        }
    }
}

/// Whether at some time before `event` a record had not been stored for so long that writes may pass.
pub(super) fn stuck_before(world: &World, event: u64) -> bool {
    world.sink.as_ref().and_then(|sink| sink.stuck).is_some_and(|stuck| stuck < event)
}
