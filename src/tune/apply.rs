//! Doing it, and undoing it.
//!
//! What was there is on disk before anything is changed, so that a run that is killed half-way can be taken back.

use std::{io, process::Command};

use super::{
    Setting, Tuner,
    former::{self, Former},
};
use crate::sys::tree::Tree;

/// What became of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as asked for now.
    Done,
    /// The kernel keeps this one itself, which is no fault.
    Kept,
    /// Why it is not.
    Failed(String),
}

/// One setting, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The tuner.
    pub tuner: String,
    /// As operators know it.
    pub name: String,
    /// What was there; `None` for a file that was not.
    pub before: Option<String>,
    /// What was asked for; `None` for a file that was removed.
    pub after: Option<String>,
    /// Whether it is there now.
    pub outcome: Outcome,
    /// Somebody else has changed it since it was applied.
    pub changed_meanwhile: bool,
}

/// Sets what is not as wanted. An error means that nothing was touched.
pub fn apply(tree: &Tree, tuners: &[Tuner]) -> Result<Vec<Change>, String> {
    let mut formers = former::read(tree)?;
    for tuner in tuners {
        for setting in tuner.pending() {
            let applied = setting.wanted.clone();
            if let Some(known) = formers.iter_mut().find(|former| former.file == setting.file) {
                known.applied = applied;
                continue;
            }
            formers.push(Former {
                tuner: tuner.name.into(),
                name: setting.name.clone(),
                file: setting.file.clone(),
                value: setting.now.clone(),
                applied,
            });
        }
    }
    former::write(tree, &formers)
        .map_err(|error| refused(&error, "remember the former values", "apply"))?;
    let mut changes = Vec::new();
    for tuner in tuners {
        let before = changes.len();
        changes.extend(tuner.pending().map(|setting| change(tree, tuner, setting)));
        if changes.len() > before {
            reload(tree, &tuner.reload);
        }
    }
    // What could not be changed needs no way back.
    let undone = |former: &Former| {
        changes.iter().any(|change| change.outcome != Outcome::Done && change.name == former.name)
            && tree.read(&former.file) == former.value
    };
    formers.retain(|former| !undone(former));
    former::write(tree, &formers)
        .map_err(|error| refused(&error, "note what was changed", "apply"))?;
    Ok(changes)
}

/// Brings back what was there before the first [`apply`] of this boot, last change first.
pub fn revert(tree: &Tree, only: &[String]) -> Result<Vec<Change>, String> {
    let formers = former::read(tree)?;
    let (chosen, mut left): (Vec<_>, Vec<_>) =
        formers.into_iter().partition(|former| only.is_empty() || only.contains(&former.tuner));
    let mut changes = Vec::new();
    for former in chosen.into_iter().rev() {
        let before = tree.read(&former.file);
        let result = match &former.value {
            Some(value) if former.file.starts_with("run/") => {
                tree.put(&former.file, &format!("{value}\n"), 0o644)
            }
            Some(value) => tree.set(&former.file, value),
            None => tree.remove(&former.file),
        };
        changes.push(Change {
            tuner: former.tuner.clone(),
            name: former.name.clone(),
            changed_meanwhile: before.as_deref().map(words) != Some(words(&former.applied)),
            before,
            after: former.value.clone(),
            outcome: outcome(result),
        });
        if matches!(changes.last(), Some(Change { outcome: Outcome::Failed(_), .. })) {
            left.push(former);
        }
    }
    former::write(tree, &left)
        .map_err(|error| refused(&error, "note what was brought back", "revert"))?;
    if changes.iter().any(|change| change.tuner == "irqbalance") {
        reload(tree, &super::balance::RELOAD);
    }
    Ok(changes)
}

fn change(tree: &Tree, tuner: &Tuner, setting: &Setting) -> Change {
    let result = if setting.ours {
        tree.put(&setting.file, &format!("{}\n", setting.wanted), 0o644)
    } else {
        tree.set(&setting.file, &setting.wanted)
    };
    Change {
        tuner: tuner.name.into(),
        name: setting.name.clone(),
        before: setting.now.clone(),
        after: Some(setting.wanted.clone()),
        outcome: outcome(result),
        changed_meanwhile: false,
    }
}

fn outcome(result: io::Result<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        // Interrupts of drivers that place them themselves.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Outcome::Kept,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn refused(error: &io::Error, what: &str, verb: &str) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return format!("only root may do this. Run: sudo tapline tune --{verb}");
    }
    format!("cannot {what} in /{}: {error}. Nothing else was touched", former::FILE)
}

/// Values of several numbers are read back with tabs between them.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Only on the host itself, where systemd runs it; a command that fails is no failure of the setting.
fn reload(tree: &Tree, commands: &[&str]) {
    if !tree.is_host() || !tree.has("run/systemd/private") {
        return;
    }
    for command in commands {
        let mut words = command.split(' ');
        let program = words.next().unwrap_or_default();
        match Command::new(program).args(words).status() {
            Ok(status) if status.success() => {}
            Ok(status) => tracing::warn!(event = "tune.reload", command, %status, "run it by hand"),
            Err(error) => tracing::warn!(event = "tune.reload", command, %error, "run it by hand"),
        }
    }
}
