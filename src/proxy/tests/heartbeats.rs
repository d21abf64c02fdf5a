//! The checker's account of heartbeats: each says exactly what the records before it come to, the first is the first
//! record, and a worker that ends in order says so with its last one.

use super::world::World;
use crate::{
    capture::Told,
    observe::Counter,
    proto::{Capture, Heartbeat, Provenance, TrafficStream},
};

#[derive(Default)]
pub(super) struct Beats {
    told: Told,
    heard: u64,
    last: Option<Heartbeat>,
}

impl Beats {
    pub(super) fn record(&mut self, record: &TrafficStream, origin: &Provenance) {
        let ends = record.sub_stream.iter();
        let ends = ends.filter(|seen| matches!(seen.capture, Some(Capture::EndOfMessage(_))));
        self.told.captured += ends.count() as u64;
        self.told.left_out += origin.left_out.iter().map(|all| all.requests).sum::<u64>();
        self.told.uncaptured += origin.gap.map_or(0, |gap| gap.requests);
        if let Some(gap) = origin.gap {
            assert!(gap.since_unix_ns <= gap.until_unix_ns && gap.since_unix_ns > 0);
            assert!(gap.writes <= gap.requests, "writes are requests");
        }
    }

    /// The heartbeat that is record `number`, from 0.
    pub(super) fn heard(&mut self, said: &Heartbeat, number: usize, is_last: bool) {
        let Told { captured, left_out, uncaptured } = self.told;
        assert_eq!(
            (said.captured, said.left_out, said.uncaptured),
            (captured, left_out, uncaptured),
            "I4: heartbeat {number} and the records before it differ"
        );
        assert!(said.stored <= number as u64, "more is stored than was made");
        assert_eq!(said.last, is_last && said.last, "I4: records behind the farewell");
        assert!(self.heard > 0 || number == 0, "I4: the first record is a heartbeat");
        self.heard += 1;
        self.last = Some(*said);
    }

    /// The run is over, and its worker ended in order.
    pub(super) fn end(&self, world: &World) {
        if world.setup.settings.heartbeat_interval.is_zero() {
            assert_eq!(self.heard, 0, "heartbeats that nobody asked for");
            return;
        }
        // What is not taken of a dead sink says nothing.
        let taken = world.sink.as_ref().map_or(0, |sink| sink.stored.len() as u64);
        if world.counters.get(Counter::Records) > taken {
            return;
        }
        let last = self.last.expect("a worker that captures gives heartbeats");
        assert!(last.last, "I4: the worker went without a farewell");
        assert_eq!(last.untold, 0, "I4: what passed uncaptured is in the notes");
        assert_eq!(last.connections, world.counters.get(Counter::Accepted));
        assert_eq!(last.early, world.counters.get(Counter::PassedEarly));
        assert_eq!(last.passes, world.setup.settings.pass);
        assert_eq!(last.requests, world.counters.get(Counter::Requests));
    }
}
