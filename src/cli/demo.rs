//! `tapline demo`: its flags, and the picture it draws.

use std::{
    env,
    io::{IsTerminal as _, Write as _, stderr, stdout},
    time::Duration,
};

use clap::Args;

use crate::{
    config::units,
    demo::{self, Progress},
    observe::{ExitCode, Failure},
};

/// Show the whole on this machine in under ten seconds: a small document server as source and target, live traffic,
/// capture to a local log, replay, and a comparison of the two at the end.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How long traffic runs
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = units::duration)]
    duration: Duration,

    /// What the clients do; the same number does the same
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(ExitCode::Failed, format!("the demonstration failed: {error}"))
    };
    if arguments.duration > DURATION_MAX {
        return Err(Failure::configuration(
            "--duration is at most 10m: all documents stay in memory",
        ));
    }
    let exe = env::current_exe().map_err(failed)?;
    say(PICTURE);
    let terminal = stderr().is_terminal();
    let mut said = 0;
    let verdict = demo::run(&exe, arguments.duration, arguments.seed, &mut |progress| {
        if terminal {
            eprint!("\r\x1b[K{}", line(progress));
        } else if progress.elapsed.as_secs() > said {
            said = progress.elapsed.as_secs();
            eprintln!("{}", line(progress));
        }
    })
    .map_err(failed)?;
    if terminal {
        eprintln!("\r\x1b[K");
    }
    let totals = &verdict.totals;
    say(&format!(
        "clients    {} requests on {} connections, {} of them writes, {} bulk items, {} conflicts",
        totals.requests, totals.connections, totals.writes, totals.items, totals.conflicts
    ));
    if verdict.different == 0 {
        say(&format!(
            "compared   {} documents in the source, the same in the target",
            verdict.documents
        ));
        say("next       tapline capture --source https://your-cluster:9200");
        say(
            "           curl -k https://127.0.0.1:9200/    (--tls off where clients speak plain HTTP)",
        );
        return Ok(());
    }
    Err(Failure::new(
        ExitCode::Failed,
        format!(
            "{} of {} documents differ between source and target. That must not be: report it with --seed {}",
            verdict.different, verdict.documents, arguments.seed
        ),
    ))
}

fn line(progress: Progress) -> String {
    let Progress { elapsed, source_requests, target_requests, traffic_over } = progress;
    let what =
        if traffic_over { "replay catches up" } else { "traffic, capture and replay side by side" };
    format!(
        "{:4.1} s   source {source_requests:>7} requests   target {target_requests:>7} requests   {what}",
        elapsed.as_secs_f64()
    )
}

/// A reader that has gone away is no failure.
fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

const DURATION_MAX: Duration = Duration::from_mins(10);

const PICTURE: &str = "\
  clients ──▶ tapline capture ──▶ source
                    │ every request and response, durable before a write is let through
                    ▼
               capture log ──▶ tapline replay ──▶ target
";
