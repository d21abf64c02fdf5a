//! The comparison bench: starts an origin, one proxy after the other and a load generator, and
//! prints requests per second, latency and the CPU time per request of the whole proxy process.
//!
//! It owns the order of a run. It never asserts a speed: absolute figures drift between runs, so
//! it only prints them beside those of the peers measured in the same run.
//!
//! One program, several processes: the origin and the load generators are this same executable
//! started again with `--role`, so that each can be pinned and its CPU time counted alone.

mod cells;
mod decoding;
mod fixed;
mod host;
mod idle;
mod kafka;
mod latency;
mod load;
mod origin;
mod peers;
mod plan;
mod process;
mod replay;
mod report;
mod scrape;
mod secure;
mod tape;
mod usage;
mod wire;
mod workload;

use clap::Parser;
use plan::{Plan, Role, RoleArguments};

/// What tapline itself runs with: the mode that runs its code in this process must have it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every failure here ends a cell or the run and is printed; nothing matches on its kind.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let outcome = if arguments.iter().any(|a| a == "--role") {
        play(&RoleArguments::parse())
    } else if arguments.iter().any(|a| a == "--bench" || a == "--help" || a == "-h") {
        let plan = Plan::parse();
        if plan.is_about_replay() { replay::run(&plan) } else { cells::run(&plan) }
    } else {
        // `cargo test --benches` starts this program too; a measurement is not a test.
        println!("compare: nothing run; start it with `cargo bench --bench compare`");
        Ok(())
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn play(arguments: &RoleArguments) -> Outcome<()> {
    match arguments.role {
        Role::Origin => origin::serve(),
        Role::Load => load::run(arguments),
        Role::Idle => idle::hold(arguments),
    }
}
