//! The worker in a simulated world: `SEED=n cargo test sim` replays one run, `TAPLINE_SIM_SEEDS=n` sets how many runs
//! are made, `TAPLINE_SIM_FROM=n` with which seed they begin.

mod answers;
mod check;
mod client;
mod heartbeats;
mod line;
mod origin;
mod passed;
mod scenarios;
mod script;
mod sink;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

/// Runs made when nothing else is asked for.
const SEEDS: u64 = 1500;
/// Runs with TLS to clients, to the source, or both.
const TLS_SEEDS: u64 = 600;
/// Runs under `--on-capture-unavailable pass`.
const PASS_SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[test]
fn sim_every_invariant_holds_for_every_seed() {
    run_seeds(SEEDS, World::new);
}

#[test]
fn sim_every_invariant_holds_over_tls() {
    run_seeds(TLS_SEEDS, World::sealed);
}

#[test]
fn sim_every_invariant_holds_while_writes_pass() {
    run_seeds(PASS_SEEDS, World::passing);
}

fn run_seeds(count: u64, world: fn(u64) -> World) {
    let from = number("TAPLINE_SIM_FROM").unwrap_or(1);
    let seeds = match number("SEED") {
        Some(seed) => seed..=seed,
        None => from..=from + number("TAPLINE_SIM_SEEDS").unwrap_or(count) - 1,
    };
    let mut failed = Vec::new();
    for seed in seeds {
        let run = || {
            let mut world = world(seed);
            world.run();
            check::check(&world);
        };
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            eprintln!("seed {seed} failed; replay it with: SEED={seed} cargo test sim");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
}
