//! The command line as it was given: our flags as they are, the reference's flags turned into ours.

use std::{collections::BTreeSet, ffi::OsString, fs};

use super::super::reference::{Entry, Fate, Names, json_tokens};

/// A command line of our flags.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) tokens: Vec<OsString>,
    /// Flags on it, by long name.
    pub(super) flags: BTreeSet<String>,
    /// The value of `--config`.
    pub(super) config: Option<OsString>,
    pub(super) reference: bool,
    pub(super) notes: Vec<(&'static str, String)>,
}

impl Given {
    pub(super) fn read(
        command: &clap::Command,
        names: Option<&Names>,
        given: Vec<OsString>,
    ) -> Result<Self, String> {
        let mut out = Self::default();
        let mut rest = expand(names, given, &mut out.reference)?.into_iter();
        while let Some(token) = rest.next() {
            let Some((name, inline)) = token.to_str().and_then(flag) else {
                out.tokens.push(token);
                continue;
            };
            if let Some(arg) = own(command, name) {
                let long = arg.get_long().unwrap_or(name).to_owned();
                let mut value = inline.map(OsString::from);
                out.tokens.push(token.clone());
                if inline.is_none() && arg.get_action().takes_values() {
                    value = rest.next();
                    out.tokens.extend(value.clone());
                }
                if long == "config" {
                    out.config = value;
                }
                out.flags.insert(long);
                continue;
            }
            let Some(entry) = names.and_then(|names| names.find(name)) else {
                // clap says what is wrong with it.
                out.tokens.push(token);
                continue;
            };
            let shown = token.to_string_lossy().split('=').next().unwrap_or_default().to_owned();
            let mut values: Vec<String> = inline.map(str::to_owned).into_iter().collect();
            while values.len() < entry.arity {
                let value = rest.next().and_then(|value| value.into_string().ok());
                values.push(value.ok_or_else(|| format!("{shown} needs {} values", entry.arity))?);
            }
            out.translated(command, entry, &shown, &values)?;
        }
        Ok(out)
    }

    fn translated(
        &mut self,
        command: &clap::Command,
        entry: &Entry,
        shown: &str,
        values: &[String],
    ) -> Result<(), String> {
        self.reference = true;
        if let Fate::Ignored(why) = entry.fate {
            self.notes.push(("config.ignored", format!("{shown} has no effect: {why}")));
        }
        let translated = entry.translate(values).map_err(|why| format!("{shown}: {why}"))?;
        let Some((flag, value)) = translated else { return Ok(()) };
        known(command, flag).map_err(|why| format!("{shown}: {why}"))?;
        self.flags.insert(flag.to_owned());
        self.tokens.push(match value {
            Some(value) => format!("--{flag}={value}").into(),
            None => format!("--{flag}").into(),
        });
        Ok(())
    }
}

/// A flag that another name stands for must be there.
pub(super) fn known(command: &clap::Command, flag: &str) -> Result<(), String> {
    match own(command, flag) {
        Some(_) => Ok(()),
        None => Err(format!("it is --{flag} here, which this version does not have; leave it out")),
    }
}

fn own<'a>(command: &'a clap::Command, name: &str) -> Option<&'a clap::Arg> {
    command.get_arguments().find(|arg| {
        let aliases = arg.get_visible_aliases().unwrap_or_default();
        arg.get_long() == Some(name) || aliases.contains(&name)
    })
}

/// `--name=value` and `--name`; `-t` of the reference too.
fn flag(token: &str) -> Option<(&str, Option<&str>)> {
    let bare =
        token.strip_prefix("--").or_else(|| token.strip_prefix('-').filter(|t| t.len() == 1))?;
    match bare.split_once('=') {
        Some((name, value)) => Some((name, Some(value))),
        None => Some((bare, None)),
    }
}

/// `@file` gives a token per line, and `---INLINE-JSON` and `---JSON-FILE` stand for a whole command line.
fn expand(
    names: Option<&Names>,
    given: Vec<OsString>,
    reference: &mut bool,
) -> Result<Vec<OsString>, String> {
    let Some(names) = names else { return Ok(given) };
    // Flags of ours may follow: whoever starts the process again adds some.
    if let [mode, argument, rest @ ..] = given.as_slice()
        && let (Some(mode @ ("---INLINE-JSON" | "---JSON-FILE")), Some(argument)) =
            (mode.to_str(), argument.to_str())
    {
        *reference = true;
        let arity = |key: &str| names.find(key).map(|entry| entry.arity);
        let tokens = json_tokens(mode, argument, arity)?.into_iter().map(OsString::from);
        return Ok(tokens.chain(rest.iter().cloned()).collect());
    }
    let mut out = Vec::with_capacity(given.len());
    for token in given {
        let Some(path) = token.to_str().and_then(|token| token.strip_prefix('@')) else {
            out.push(token);
            continue;
        };
        *reference = true;
        let text = fs::read_to_string(path).map_err(|error| format!("@{path}: {error}"))?;
        let lines = text.lines().map(str::trim);
        out.extend(
            lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(OsString::from),
        );
    }
    Ok(out)
}
