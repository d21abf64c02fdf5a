//! Where settings come from: the command line, the environment, a file, and the reference's names for all of these.
//!
//! Order: flag, environment, file, default. Everything that is not a flag of ours already is turned into one and set
//! before the command line that clap parses, so that there is one place where values are checked, and one list of
//! names: clap's.

mod effective;
mod file;
mod given;
mod workflow;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::Path,
};

pub(super) use effective::effective;

use self::{
    file::{Item, Value},
    given::Given,
};
use super::reference;
use crate::{
    config::Provenance,
    observe::{ExitCode, Failure},
};

/// A command line of our flags alone, and where those come from that were not on it.
#[derive(Debug, Default)]
pub(super) struct Assembled {
    /// What clap is to parse, after the name of the program.
    pub(super) tokens: Vec<OsString>,
    /// By long name of the flag.
    pub(super) origins: BTreeMap<String, Provenance>,
    /// What people are to be told: stable name of the event, text.
    pub(super) notes: Vec<(&'static str, String)>,
}

/// Assembles the command line of a subcommand from what was `given` after its name. Where it has `others`, the file is
/// theirs.
pub(super) fn assemble(
    command: &clap::Command,
    others: &[&clap::Command],
    given: Vec<OsString>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Assembled, Failure> {
    let usage = |why| Failure::new(ExitCode::Usage, why);
    let names = reference::names(command.get_name());
    let mut sources = Sources::of(command);
    let given = Given::read(command, names, given).map_err(usage)?;
    sources.reference = given.reference;
    sources.assembled.notes.extend(given.notes);
    sources.set.extend(given.flags.iter().cloned());
    let in_environment = |arg: &&clap::Arg| {
        let variable = arg.get_env().and_then(|name| name.to_str());
        variable.is_some_and(|name| environment(name).is_some())
    };
    let variables: Vec<String> =
        command.get_arguments().filter(in_environment).filter_map(long).collect();
    sources.set.extend(variables);
    if let Some(names) = names {
        sources.environment(names, environment).map_err(usage)?;
    }
    let config = command.get_arguments().find(|arg| arg.get_long() == Some("config"));
    let variable = config.and_then(|arg| arg.get_env()?.to_str().map(str::to_owned));
    let path = given.config.clone().or_else(|| environment(&variable?).map(OsString::from));
    if let Some(path) = path {
        let path = Path::new(&path);
        let read =
            if others.is_empty() { sources.file(path) } else { sources.file_of(others, path) };
        read.map_err(Failure::configuration)?;
    }
    sources.tls_of_the_reference();
    let Sources { injected, mut assembled, .. } = sources;
    assembled.tokens = injected;
    assembled.tokens.extend(given.tokens);
    Ok(assembled)
}

fn long(arg: &clap::Arg) -> Option<String> {
    arg.get_long().map(str::to_owned)
}

/// What was found so far, strongest first.
struct Sources<'a> {
    command: &'a clap::Command,
    /// Flags that have a value, by long name.
    set: BTreeSet<String>,
    injected: Vec<OsString>,
    assembled: Assembled,
    /// A name of the reference was used.
    reference: bool,
}

impl<'a> Sources<'a> {
    fn of(command: &'a clap::Command) -> Self {
        Self {
            command,
            set: BTreeSet::new(),
            injected: Vec::new(),
            assembled: Assembled::default(),
            reference: false,
        }
    }

    /// The configuration file of other subcommands, by their rules: what this one has a flag for is set, the first of
    /// them first. The file of one need not be one of the others.
    fn file_of(&mut self, others: &[&clap::Command], path: &Path) -> Result<(), String> {
        let mut wrong = BTreeSet::new();
        for other in others {
            let mut theirs = Sources::of(other);
            if let Err(why) = theirs.file(path) {
                wrong.insert(why);
                continue;
            }
            theirs.tls_of_the_reference();
            for (flag, origin) in theirs.assembled.origins {
                let values = theirs.injected.iter().filter_map(|token| {
                    token
                        .to_str()?
                        .strip_prefix("--")?
                        .strip_prefix(flag.as_str())?
                        .strip_prefix('=')
                });
                let values: Vec<String> = values.map(str::to_owned).collect();
                if self.own(&flag).is_some() {
                    self.inject(&flag, &values, origin);
                }
            }
        }
        if self.assembled.origins.is_empty() && !wrong.is_empty() {
            return Err(wrong.into_iter().collect::<Vec<_>>().join("\n"));
        }
        Ok(())
    }

    /// The reference's variables.
    fn environment(
        &mut self,
        names: &reference::Names,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), String> {
        // Credentials are also read without the prefix; but only where the reference's names are used at all. Variables
        // with the prefix that are no flags are left alone: Kubernetes makes some for a service of that name.
        for prefixed in [true, false] {
            for (entry, variable) in names.variables() {
                let bare = variable.trim_start_matches(names.prefix);
                let name = if prefixed { variable.as_str() } else { bare };
                let wanted = prefixed || (self.reference && is_credential(bare));
                let Some(value) = environment(name).filter(|_| wanted) else { continue };
                self.reference = true;
                let values = match entry.arity {
                    0 if value.eq_ignore_ascii_case("false") => continue,
                    0 => Vec::new(),
                    1 => vec![value],
                    _ => {
                        return Err(format!(
                            "{name}: a list cannot be set in the environment; use the flag"
                        ));
                    }
                };
                let origin = Provenance::Environment(name.to_owned());
                self.translated(entry, &values, name, origin)?;
            }
        }
        Ok(())
    }

    /// Sets what an entry of the reference's table stands for, unless it is set already.
    fn translated(
        &mut self,
        entry: &reference::Entry,
        values: &[String],
        name: &str,
        origin: Provenance,
    ) -> Result<(), String> {
        if let reference::Fate::Ignored(why) = entry.fate {
            self.assembled.notes.push(("config.ignored", format!("{name} has no effect: {why}")));
        }
        let translated = entry.translate(values).map_err(|why| format!("{name}: {why}"))?;
        if let Some((flag, value)) = translated {
            given::known(self.command, flag).map_err(|why| format!("{name}: {why}"))?;
            self.inject(flag, value.as_slice(), origin);
        }
        Ok(())
    }

    /// Sets a flag that is not set yet, to each of the values, or as a switch when there are none.
    fn inject(&mut self, flag: &str, values: &[String], origin: Provenance) {
        if !self.set.insert(flag.to_owned()) {
            return;
        }
        if values.is_empty() {
            self.injected.push(format!("--{flag}").into());
        }
        let one = |value: &String| OsString::from(format!("--{flag}={value}"));
        self.injected.extend(values.iter().map(one));
        self.assembled.origins.insert(flag.to_owned(), origin);
    }

    /// The configuration file.
    fn file(&mut self, path: &Path) -> Result<(), String> {
        let shown = path.display().to_string();
        let items = file::read(path, self.command.get_name())?;
        let mut later = Vec::new();
        for item in items {
            // Ours win over other names for the same thing.
            if self.own(&item.key).is_some() && !workflow::is_other(&item) {
                self.own_item(&shown, &item)?;
            } else {
                later.push(item);
            }
        }
        workflow::check(&later).map_err(|(line, why)| format!("{shown}:{line}: {why}"))?;
        for item in &later {
            let place = format!("{shown}:{}", item.line);
            let origin = || Provenance::File(shown.clone(), item.line);
            match workflow::translate(self.command.get_name(), item) {
                Some(Err(why)) => return Err(format!("{place}: {}: {why}", item.key)),
                Some(Ok(settings)) => {
                    for (flag, values) in settings {
                        given::known(self.command, flag)
                            .map_err(|why| format!("{place}: {}: {why}", item.key))?;
                        self.inject(flag, &values, origin());
                    }
                    continue;
                }
                None => {}
            }
            let names = reference::names(self.command.get_name());
            let Some(entry) = names.and_then(|names| names.find(&item.key)) else {
                return Err(format!("{place}: {}", self.unknown(&item.key)));
            };
            let values = match &item.value {
                Value::Flag(false) if entry.arity == 0 => continue,
                Value::Flag(true) if entry.arity == 0 => Vec::new(),
                Value::Text(text) => vec![text.clone()],
                Value::List(list) if entry.arity <= 1 => vec![list.join(",")],
                _ => return Err(format!("{place}: {} is not written so here", item.key)),
            };
            self.translated(entry, &values, &format!("{place}: {}", item.key), origin())?;
        }
        Ok(())
    }

    /// Our own flag of this name, with - or _.
    fn own(&self, key: &str) -> Option<&clap::Arg> {
        let key = key.replace('_', "-");
        self.command.get_arguments().find(|arg| {
            let aliases = arg.get_visible_aliases().unwrap_or_default();
            arg.get_long() == Some(&key) || aliases.contains(&key.as_str())
        })
    }

    fn own_item(&mut self, path: &str, item: &Item) -> Result<(), String> {
        let place = format!("{path}:{}: {}", item.line, item.key);
        let arg = self.own(&item.key).expect("invariant: the caller has found it");
        let flag = arg.get_long().expect("invariant: found by its long name").to_owned();
        if matches!(flag.as_str(), "config" | "check" | "help") {
            return Err(format!("{place} belongs on the command line"));
        }
        let switch = !arg.get_action().takes_values();
        let many = matches!(arg.get_action(), clap::ArgAction::Append);
        let values = match &item.value {
            Value::Flag(true) if switch => Vec::new(),
            Value::Flag(false) if switch => return Ok(()),
            _ if switch => return Err(format!("{place} must be true or false")),
            Value::Text(text) => vec![text.clone()],
            Value::Flag(flag) => vec![flag.to_string()],
            Value::List(list) if list.is_empty() => return Ok(()),
            Value::List(list) if many => list.clone(),
            Value::List(_) => return Err(format!("{place} takes one value, not a list")),
            Value::Tables(_) => return Err(format!("{place} is no table")),
        };
        self.inject(&flag, &values, Provenance::File(path.to_owned(), item.line));
        Ok(())
    }

    fn unknown(&self, key: &str) -> String {
        let spelled = key.replace('_', "-");
        let own = self.command.get_arguments().filter_map(long);
        let candidates = own.chain(workflow::NAMES.iter().map(|name| (*name).to_owned()));
        let nearest = candidates
            .map(|name| {
                (strsim::damerau_levenshtein(&spelled.to_lowercase(), &name.to_lowercase()), name)
            })
            .min();
        match nearest {
            Some((distance, name)) if distance <= 1 + name.len() / 3 => {
                format!(
                    "'{key}' is no setting of tapline {}; did you mean '{name}'?",
                    self.command.get_name()
                )
            }
            _ => format!(
                "'{key}' is no setting of tapline {0}; `tapline {0} --help` lists them",
                self.command.get_name()
            ),
        }
    }

    /// Who uses the reference's names gets its rule: plaintext to clients unless there is a certificate.
    fn tls_of_the_reference(&mut self) {
        if !self.reference || self.own("tls").is_none() || self.set.contains("tls") {
            return;
        }
        let files = self.set.contains("tls-cert");
        let mode = if files { "files" } else { "off" };
        self.inject("tls", &[mode.to_owned()], Provenance::Default);
        if !files {
            self.assembled.notes.push((
                "config.plaintext",
                "clients are spoken to in plaintext, since names of the reference were used, whose rule that is; \
                 --tls self-signed gives TLS, and --tls off keeps plaintext without this warning"
                    .into(),
            ));
        }
    }
}

/// `TARGET_USERNAME`, `KAFKA_PASSWORD` and their like.
fn is_credential(bare: &str) -> bool {
    ["USERNAME", "USER_NAME", "PASSWORD"].iter().any(|end| bare.ends_with(end))
}

#[cfg(test)]
mod tests;
