//! The worker in a simulated world and on a real ring: `SEED=n cargo test target::tests::sim` replays one run,
//! `TAPLINE_SIM_SEEDS=n` sets how many runs are made, `TAPLINE_SIM_FROM=n` with which seed they begin.

mod check;
mod line;
mod peer;
mod real;
mod real_tls;
mod scenarios;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

/// Runs made when nothing else is asked for.
const SEEDS: u64 = 1500;
/// Of them over TLS, which costs handshakes.
const SEALED_SEEDS: u64 = 150;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[test]
fn sim_every_job_gets_its_own_reply_for_every_seed() {
    let seen = run_seeds(SEEDS, World::new);
    if number("SEED").is_none() && number("TAPLINE_SIM_SEEDS").is_none_or(|n| n >= SEEDS) {
        seen.check_that_everything_happened();
    }
}

#[test]
fn sim_every_job_gets_its_own_reply_over_tls_for_every_seed() {
    run_seeds(SEALED_SEEDS, World::sealed);
}

fn run_seeds(count: u64, make: fn(u64) -> World) -> check::Seen {
    let from = number("TAPLINE_SIM_FROM").unwrap_or(1);
    let seeds = match number("SEED") {
        Some(seed) => seed..=seed,
        None => from..=from + number("TAPLINE_SIM_SEEDS").unwrap_or(count) - 1,
    };
    let mut failed = Vec::new();
    let mut seen = check::Seen::default();
    for seed in seeds {
        let run = || {
            let mut world = make(seed);
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
    seen
}
