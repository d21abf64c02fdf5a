//! `tapline man` and `tapline completions`: what a package installs beside the program, made from its own flags.

use std::{
    fs,
    io::{Write as _, stdout},
    path::PathBuf,
};

use clap::Args;
use clap_complete::Shell;

use crate::observe::{ExitCode, Failure};

/// Write the manual pages, one per subcommand, into a directory.
#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// The directory; it is made if need be, and pages of the same name are written anew
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Print what a shell needs to complete the command line.
///
/// For example: tapline completions bash > /usr/share/bash-completion/completions/tapline
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

pub(super) fn write(arguments: &ManArguments) -> Result<(), Failure> {
    let dir = &arguments.dir;
    // A page on the page is no help.
    let quiet = |command: clap::Command| command.disable_help_subcommand(true);
    let command = quiet(super::described()).mut_subcommand("log", quiet);
    fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir)).map_err(|error| {
        let shown = dir.display();
        Failure::new(ExitCode::Failed, format!("cannot write manual pages to {shown}: {error}"))
    })
}

pub(super) fn complete(arguments: &CompletionsArguments) {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "tapline", &mut script);
    // A reader that has gone away is no failure.
    let _ = stdout().lock().write_all(&script);
}
