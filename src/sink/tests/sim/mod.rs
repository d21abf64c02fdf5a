//! The FIFO before Kafka in a simulated world: brokers, disk and clock from one seed, with failures and restarts at any
//! step. `SEED=n cargo test fifo_sim` replays one run, `TAPLINE_SIM_SEEDS=n` sets how many runs are made.

mod broker;
mod shelf;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

/// Runs made when nothing else is asked for.
const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[test]
fn fifo_sim_nothing_is_lost_reordered_or_let_go_too_early() {
    let from = number("TAPLINE_SIM_FROM").unwrap_or(1);
    let seeds = match number("SEED") {
        Some(seed) => seed..=seed,
        None => from..=from + number("TAPLINE_SIM_SEEDS").unwrap_or(SEEDS) - 1,
    };
    let (mut failed, mut seen) = (Vec::new(), world::Sights::default());
    let all = seeds.clone().count() as u64;
    for seed in seeds {
        if let Ok(sights) = catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
            seen.add(&sights);
        } else {
            eprintln!("seed {seed} failed; replay it with: SEED={seed} cargo test fifo_sim");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
    // A simulation that meets nothing proves nothing.
    if all >= SEEDS {
        assert!(seen.met_everything(), "{seen:?}");
    }
}
