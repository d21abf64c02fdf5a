//! The command line: one file per subcommand, what the user sees, and the code the process ends with.
//!
//! No logic: a subcommand turns its flags into settings and hands them to the room that does the work.

mod capture;
mod demo;
mod doctor;
mod log;
mod logging;
mod replay;
mod tune;

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::observe::{ExitCode, Failure};

/// Durable capture and replay of live Elasticsearch and OpenSearch traffic.
#[derive(Debug, Parser)]
#[command(name = "tapline", version, max_term_width = 100, subcommand_required = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Capture(Box<capture::Arguments>),
    Demo(demo::Arguments),
    Doctor(Box<doctor::Arguments>),
    Log(log::Arguments),
    Replay(Box<replay::Arguments>),
    Tune(tune::Arguments),
}

/// Parses the command line of this process and does what it says.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not errors.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::Ok } else { ExitCode::Usage };
        }
    };
    logging::start();
    let result = match arguments.command {
        Command::Capture(arguments) => capture::run(*arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Doctor(arguments) => doctor::run(*arguments),
        Command::Log(arguments) => log::run(arguments),
        Command::Replay(arguments) => replay::run(*arguments),
        Command::Tune(arguments) => tune::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::Ok,
        Err(failure) => {
            eprintln!("tapline: {failure}");
            failure.code()
        }
    }
}

/// The arguments of this process's `tapline capture`, read again: the environment cannot have changed, files can.
fn capture_again() -> Result<capture::Arguments, Failure> {
    match Arguments::try_parse() {
        Ok(Arguments { command: Command::Capture(arguments) }) => Ok(*arguments),
        Ok(_) => Err(Failure::new(ExitCode::Bug, "this process does not capture")),
        Err(error) => Err(Failure::new(ExitCode::Usage, error)),
    }
}
