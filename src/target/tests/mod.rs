//! The worker in a simulated world and on a real ring: `SEED=n cargo test target::tests::sim` replays one run,
//! `TAPLINE_SIM_SEEDS=n` sets how many runs are made, `TAPLINE_SIM_FROM=n` with which seed they begin.

mod check;
mod peer;
mod real;
mod scenarios;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

/// Runs made when nothing else is asked for.
const SEEDS: u64 = 1500;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[test]
fn sim_every_job_gets_its_own_reply_for_every_seed() {
    let from = number("TAPLINE_SIM_FROM").unwrap_or(1);
    let seeds = match number("SEED") {
        Some(seed) => seed..=seed,
        None => from..=from + number("TAPLINE_SIM_SEEDS").unwrap_or(SEEDS) - 1,
    };
    let mut failed = Vec::new();
    let mut seen = check::Seen::default();
    for seed in seeds.clone() {
        let run = || {
            let mut world = World::new(seed);
            world.run();
            check::check(&world)
        };
        if let Ok(new) = catch_unwind(AssertUnwindSafe(run)) {
            seen.add(&new);
        } else {
            eprintln!("seed {seed} failed; replay it with: SEED={seed} cargo test sim_every");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
    if seeds.count() as u64 >= SEEDS {
        seen.check_that_everything_happened();
    }
}
