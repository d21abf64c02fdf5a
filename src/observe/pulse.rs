//! Whether every worker still turns: by its own count of loop turns, not by a timer that would go on without it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Counter, Counters};

/// The workers' turns from look to look. Between two looks every worker must be called by its bell: one that sleeps for
/// want of work then turns once and proves itself.
pub struct Pulse {
    workers: Vec<Watched>,
}

struct Watched {
    counters: Arc<Counters>,
    turns: u64,
    /// When it was last seen to have turned.
    turned: Instant,
}

impl Pulse {
    /// All of them are taken to have turned at `now`.
    pub fn new(workers: &[Arc<Counters>], now: Instant) -> Self {
        let watch = |counters: &Arc<Counters>| Watched {
            counters: Arc::clone(counters),
            turns: 0,
            turned: now,
        };
        Self { workers: workers.iter().map(watch).collect() }
    }

    /// Notes who has turned since the last look.
    pub fn look(&mut self, now: Instant) {
        for worker in &mut self.workers {
            let turns = worker.counters.get(Counter::Turns);
            if turns != worker.turns {
                (worker.turns, worker.turned) = (turns, now);
            }
        }
    }

    /// Numbers of the workers that had not turned for `age` at the last look, with the time since.
    pub fn silent(&self, age: Duration, now: Instant) -> Vec<(usize, Duration)> {
        let since = |worker: &Watched| now.saturating_duration_since(worker.turned);
        let workers = self.workers.iter().map(since).enumerate();
        workers.filter(|(_, since)| *since >= age).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_turn_is_named_until_it_does() {
        let counters: Vec<Arc<Counters>> = vec![Arc::default(), Arc::default()];
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(&counters, start);
        counters[0].add(Counter::Turns, 1);
        pulse.look(at(3));
        let age = Duration::from_secs(2);
        assert_eq!(pulse.silent(age, at(3)), [(1, Duration::from_secs(3))]);
        counters[1].add(Counter::Turns, 1);
        pulse.look(at(4));
        assert_eq!(pulse.silent(age, at(4)), []);
        pulse.look(at(6));
        assert_eq!(pulse.silent(age, at(6)).len(), 2);
    }
}
