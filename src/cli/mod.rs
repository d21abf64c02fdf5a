//! The command line: one file per subcommand, what the user sees, and the code the process ends with.
//!
//! No logic: a subcommand turns its flags into settings and hands them to the room that does the work.

mod capture;
mod demo;
mod doctor;
mod kafka;
mod log;
mod operation;
mod pages;
mod reference;
mod replay;
mod settings;
mod tune;

use std::{collections::BTreeMap, env, ffi::OsString, fmt::Write as _};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

use crate::{
    config::{Effective, Provenance},
    observe::{ExitCode, Failure, logging},
    sys::limits,
};

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
    Completions(pages::CompletionsArguments),
    Demo(demo::Arguments),
    Doctor(Box<doctor::Arguments>),
    Log(Box<log::Arguments>),
    Man(pages::ManArguments),
    Replay(Box<replay::Arguments>),
    Tune(tune::Arguments),
}

/// Parses the command line of this process and does what it says.
pub fn run() -> ExitCode {
    limits::take_small_pages();
    let Read { command, effective, notes } = match read_own() {
        Ok(read) => read,
        Err(Unread::Answer(answer)) => {
            let _ = answer.print();
            return ExitCode::Ok;
        }
        Err(Unread::Wrong(failure)) => return conclude(Err(failure)),
    };
    match &command {
        Command::Capture(arguments) => arguments.operation.start_logging(),
        Command::Replay(arguments) => arguments.operation.start_logging(),
        _ => logging::start(None, logging::Format::Auto),
    }
    for (event, text) in notes {
        tracing::warn!(event, "{text}");
    }
    conclude(match command {
        Command::Capture(arguments) => capture::run(*arguments, effective),
        Command::Completions(arguments) => {
            pages::complete(&arguments);
            Ok(())
        }
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Doctor(arguments) => doctor::run(*arguments),
        Command::Log(arguments) => log::run(*arguments),
        Command::Man(arguments) => pages::write(&arguments),
        Command::Replay(arguments) => replay::run(*arguments, effective),
        Command::Tune(arguments) => tune::run(&arguments),
    })
}

fn conclude(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::Ok,
        Err(failure) => {
            eprintln!("tapline: {failure}");
            failure.code()
        }
    }
}

/// What this process was told.
struct Read {
    command: Command,
    effective: Effective,
    notes: Vec<(&'static str, String)>,
}

/// Why there is no [`Read`].
enum Unread {
    /// Help and version are answers, not errors.
    Answer(clap::Error),
    Wrong(Failure),
}

/// Every flag of every subcommand.
fn command() -> clap::Command {
    let mut command = described();
    command.build();
    command
}

/// As [`command`], but subcommands do not know of each other yet.
fn described() -> clap::Command {
    let mut command = Arguments::command();
    for (subcommand, variables) in operation::VARIABLES {
        command = command.mut_subcommand(subcommand, |subcommand| {
            let set = |subcommand: clap::Command, (id, variable): (&'static str, &'static str)| {
                subcommand.mut_arg(id, |arg| arg.env(variable))
            };
            variables.into_iter().fold(subcommand, set)
        });
    }
    for (id, of_capture, of_replay) in kafka::VARIABLES {
        for (subcommand, variable) in
            [("capture", of_capture), ("doctor", of_capture), ("replay", of_replay)]
        {
            let set = |command: clap::Command| command.mut_arg(id, |arg| arg.env(variable));
            command = command.mut_subcommand(subcommand, set);
        }
    }
    command
}

/// The subcommands whose configuration file this one reads, instead of one of its own.
fn others<'a>(command: &'a clap::Command, subcommand: &clap::Command) -> Vec<&'a clap::Command> {
    let names: &[&str] =
        if subcommand.get_name() == "doctor" { &["capture", "replay"] } else { &[] };
    names.iter().filter_map(|name| command.find_subcommand(name)).collect()
}

/// Whether a command line, with the file it may name, would be understood; `Err` says what is wrong and where. Nothing
/// is done. `line` begins with the name of the program.
pub fn understand(line: Vec<OsString>) -> Result<(), Failure> {
    match read(line.into_iter(), &|_| None) {
        Ok(_) | Err(Unread::Answer(_)) => Ok(()),
        Err(Unread::Wrong(failure)) => Err(failure),
    }
}

/// Reads the command line of this process, its environment and its file.
fn read_own() -> Result<Read, Unread> {
    read(env::args_os(), &|name| env::var(name).ok())
}

/// Reads a command line, an environment and a file.
fn read(
    mut given: impl Iterator<Item = OsString>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Read, Unread> {
    let program = given.next().unwrap_or_else(|| "tapline".into());
    let mut given: Vec<OsString> = given.collect();
    let command = command();
    let checks = given.iter().any(|token| token == "--check");
    // A check tells two results apart only.
    let as_asked = |failure: Failure| {
        Unread::Wrong(if checks { Failure::configuration(failure) } else { failure })
    };
    let name = given.first().and_then(|name| name.to_str()).map(str::to_owned);
    let subcommand = name.as_deref().and_then(|name| command.find_subcommand(name));
    let mut assembled = settings::Assembled::default();
    if let Some(subcommand) = subcommand {
        let rest = given.split_off(1);
        let others = others(&command, subcommand);
        assembled = settings::assemble(subcommand, &others, rest, environment).map_err(as_asked)?;
    }
    let line = [program].into_iter().chain(given).chain(assembled.tokens);
    let matches = command.clone().try_get_matches_from(line).map_err(|error| {
        let answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        if answer { Unread::Answer(error) } else { as_asked(wrong(&error, &assembled.origins)) }
    })?;
    let effective = match (subcommand, matches.subcommand()) {
        (Some(subcommand), Some((_, found))) => {
            settings::effective(subcommand, found, &assembled.origins)
        }
        _ => Effective::default(),
    };
    let arguments = Arguments::from_arg_matches(&matches)
        .map_err(|error| as_asked(wrong(&error, &assembled.origins)))?;
    Ok(Read { command: arguments.command, effective, notes: assembled.notes })
}

/// What clap says, and where a flag comes from that was not on the command line.
fn wrong(error: &clap::Error, origins: &BTreeMap<String, Provenance>) -> Failure {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    let named = |(flag, _): &(&String, &Provenance)| {
        let flag = format!("--{flag}");
        let ends =
            |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '-');
        text.match_indices(&flag).any(|(at, _)| ends(&text[at + flag.len()..]))
    };
    let (mut code, mut hints) = (ExitCode::Usage, String::new());
    for (flag, origin) in origins.iter().filter(named) {
        if matches!(origin, Provenance::File(..)) {
            code = ExitCode::Configuration;
        }
        if *origin != Provenance::Default {
            let _ = write!(hints, "\n--{flag} comes from {origin}");
        }
    }
    Failure::new(code, format!("{text}{hints}"))
}

/// The settings of this process's `tapline capture`, read again: the environment cannot have changed, files can.
fn capture_again() -> Result<(capture::Arguments, Effective), Failure> {
    match read_own() {
        Ok(Read { command: Command::Capture(arguments), effective, .. }) => {
            Ok((*arguments, effective))
        }
        Ok(_) | Err(Unread::Answer(_)) => {
            Err(Failure::new(ExitCode::Bug, "this process does not capture"))
        }
        Err(Unread::Wrong(failure)) => Err(failure),
    }
}
