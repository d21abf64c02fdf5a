//! The settings in effect, read back from what clap has parsed. Secrets are not in it.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use clap::{ArgMatches, parser::ValueSource};

use crate::config::{Effective, Provenance, Setting};

/// What is shown in place of a secret.
const HIDDEN: &str = "(hidden)";
/// Flags whose values are headers: their names are shown.
const HEADERS: [&str; 2] = ["set-header", "suppress-header"];

/// The settings of a subcommand; `origins` says where flags come from that were not on the command line.
pub(in crate::cli) fn effective(
    command: &clap::Command,
    matches: &ArgMatches,
    origins: &BTreeMap<String, Provenance>,
) -> Effective {
    let mut settings = BTreeMap::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let Some(name) = arg.get_long() else { continue };
        if matches!(name, "help" | "version" | "check") {
            continue;
        }
        // `ids` has every argument of the subcommand, so asking for one cannot fail.
        let values: Option<Vec<String>> = matches
            .try_get_raw(id)
            .ok()
            .flatten()
            .map(|raw| raw.map(|value| value.to_string_lossy().into_owned()).collect());
        let from = match (origins.get(name), matches.value_source(id)) {
            (Some(origin), _) => origin.clone(),
            (None, Some(ValueSource::CommandLine)) => Provenance::Flag,
            (None, Some(ValueSource::EnvVariable)) => {
                let variable = arg.get_env().unwrap_or_default().to_string_lossy().into_owned();
                Provenance::Environment(variable)
            }
            _ => Provenance::Default,
        };
        let secret = arg.is_hide_env_values_set();
        let hidden = |value: &String| match name {
            _ if secret => HIDDEN.to_owned(),
            _ if HEADERS.contains(&name) => {
                let header = value.split(':').next().unwrap_or_default();
                format!("{header}: {HIDDEN}")
            }
            _ => without_credentials(value),
        };
        let shown =
            values.as_ref().map(|values| values.iter().map(hidden).collect::<Vec<_>>().join(","));
        let secret_hash = values.filter(|_| secret || HEADERS.contains(&name)).map(|values| {
            let mut hasher = DefaultHasher::new();
            values.hash(&mut hasher);
            hasher.finish()
        });
        settings.insert(name.to_owned(), Setting { value: shown, from, secret_hash });
    }
    Effective(settings)
}

/// A URL without the credentials that it may hold.
fn without_credentials(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{HIDDEN}{}", &rest[at..]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_are_hidden() {
        assert_eq!(without_credentials("http://a:9/b@c"), "http://a:9/b@c");
        assert_eq!(without_credentials("url:https://u:p@a/b"), "url:https://(hidden)@a/b");
        assert_eq!(without_credentials("plain"), "plain");
    }
}
