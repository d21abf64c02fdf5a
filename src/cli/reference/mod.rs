//! The names of the reference (the capture proxy and the traffic replayer of the OpenSearch Migration Assistant).
//!
//! One table says what becomes of each of their flags; from it come the aliases on the command line, in the environment
//! and in JSON, the refusals, and `tuning/reference-names.md`. A flag either has its meaning here, or is refused with
//! what to do instead: nothing is taken silently that would have done something there.

mod capture;
mod json;
mod replay;

pub(super) use json::tokens as json_tokens;

/// What becomes of one flag of the reference.
pub(super) struct Entry {
    /// Its names without dashes, the usual one first.
    pub(super) names: &'static [&'static str],
    /// How many values it takes.
    pub(super) arity: usize,
    /// What becomes of it.
    pub(super) fate: Fate,
}

/// What becomes of a flag.
pub(super) enum Fate {
    /// It is this flag of ours, with the same values.
    Same(&'static str),
    /// It is this flag of ours, with values written in another way.
    As(&'static str, &'static str, Convert),
    /// Accepted with these values, and nothing to set.
    Checked(&'static str, fn(&[String]) -> Result<(), &'static str>),
    /// Accepted without effect, which does no harm for this reason.
    Ignored(&'static str),
    /// Refused: why, and what to do instead.
    Refused(&'static str),
}

/// Makes our value; `None` when there is nothing to set.
type Convert = fn(&[String]) -> Result<Option<String>, String>;

/// The names of one command.
pub(super) struct Names {
    /// Before variables of the environment.
    pub(super) prefix: &'static str,
    pub(super) entries: &'static [Entry],
}

/// The names of the reference's program that stands where this subcommand does.
pub(super) fn names(subcommand: &str) -> Option<&'static Names> {
    match subcommand {
        "capture" => Some(&capture::NAMES),
        "replay" => Some(&replay::NAMES),
        _ => None,
    }
}

impl Names {
    /// The entry that has this name, without dashes.
    pub(super) fn find(&self, name: &str) -> Option<&'static Entry> {
        self.entries.iter().find(|entry| entry.names.contains(&name))
    }

    /// Entries with the variables of the environment that set them, the usual name first.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'static Entry, String)> {
        let prefix = self.prefix;
        self.entries.iter().flat_map(move |entry| {
            entry.names.iter().map(move |name| (entry, prefix.to_owned() + &variable(name)))
        })
    }
}

impl Entry {
    /// Our flag and its value; `None`: a switch. Nothing when there is nothing to set.
    pub(super) fn translate(
        &self,
        values: &[String],
    ) -> Result<Option<(&'static str, Option<String>)>, String> {
        match &self.fate {
            Fate::Same(flag) => Ok(Some((flag, values.first().cloned()))),
            Fate::As(flag, how, convert) => match convert(values) {
                Ok(value) => Ok(value.map(|value| (*flag, Some(value)))),
                Err(why) => Err(format!("{why}; here it is --{flag}: {how}")),
            },
            Fate::Checked(how, check) => {
                check(values).map(|()| None).map_err(|why| format!("{why}; accepted is {how}"))
            }
            Fate::Ignored(_) => Ok(None),
            Fate::Refused(why) => Err((*why).to_owned()),
        }
    }
}

/// `kafkaTopic` as `KAFKA_TOPIC`, `enableMSKAuth` as `ENABLE_M_S_K_AUTH`: each capital begins a word.
fn variable(name: &str) -> String {
    let mut variable = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            variable.push('_');
        }
        variable.push(if letter == '-' { '_' } else { letter.to_ascii_uppercase() });
    }
    variable
}

/// The value as it is; an empty one sets nothing.
#[allow(clippy::unnecessary_wraps, reason = "a `Convert` may fail")]
fn unless_empty(values: &[String]) -> Result<Option<String>, String> {
    Ok(values.first().filter(|value| !value.is_empty()).cloned())
}

/// A number of threads; 0 leaves the choice to us.
#[allow(clippy::unnecessary_wraps, reason = "a `Convert` may fail")]
fn unless_zero(values: &[String]) -> Result<Option<String>, String> {
    Ok(values.first().filter(|value| *value != "0").cloned())
}

/// `NAME VALUE` as `NAME: VALUE`.
fn header(values: &[String]) -> Result<Option<String>, String> {
    match values {
        [name, value] => Ok(Some(format!("{name}: {value}"))),
        _ => Err("a name and a value are needed".into()),
    }
}

#[allow(clippy::unnecessary_wraps, reason = "a `Convert` may fail")]
fn msk_iam(values: &[String]) -> Result<Option<String>, String> {
    let off = values.first().is_some_and(|value| value == "false");
    Ok((!off).then(|| "msk-iam".to_owned()))
}

/// A word, unless it says that there is none.
#[allow(clippy::unnecessary_wraps, reason = "a `Convert` may fail")]
fn unless_none(values: &[String]) -> Result<Option<String>, String> {
    Ok(values.first().filter(|value| !value.is_empty() && *value != "none").cloned())
}

const KAFKA_PASSWORD: &str = "others can read what stands on a command line or in the environment; write the password \
                              into a file of this user alone and name it with `--kafka-password-file FILE`";

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const PAGE: &str = "tuning/reference-names.md";

    #[test]
    fn the_page_says_what_the_table_says() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        let expected = markdown();
        let found = page.split_once("<!-- from src/cli/reference -->\n").map(|(_, table)| table);
        if std::env::var_os("TAPLINE_WRITE_DOCS").is_some() {
            let head = page.split("<!-- from").next().unwrap_or_default();
            std::fs::write(&path, format!("{head}<!-- from src/cli/reference -->\n{expected}"))
                .unwrap();
            return;
        }
        let help = "TAPLINE_WRITE_DOCS=1 cargo test --lib cli::reference writes it anew";
        assert_eq!(found, Some(expected.as_str()), "{PAGE} is not what the table says; {help}");
    }

    #[test]
    fn every_name_stands_once() {
        for subcommand in ["capture", "replay"] {
            let names = names(subcommand).unwrap();
            let mut all: Vec<_> = names.entries.iter().flat_map(|entry| entry.names).collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count, "{subcommand}");
        }
    }

    #[test]
    fn variables_are_spelled_as_the_reference_does() {
        assert_eq!(variable("kafkaTopic"), "KAFKA_TOPIC");
        assert_eq!(variable("enableMSKAuth"), "ENABLE_M_S_K_AUTH");
        assert_eq!(variable("target-uri"), "TARGET_URI");
        assert_eq!(variable("i"), "I");
    }

    /// The table of both commands for people, in Markdown.
    fn markdown() -> String {
        let mut out = String::new();
        for subcommand in ["capture", "replay"] {
            let Some(names) = names(subcommand) else { continue };
            let _ = writeln!(out, "\n## tapline {subcommand}\n");
            let _ = writeln!(
                out,
                "Environment: `{}` and the name, as `{}`.\n",
                names.prefix,
                example(names)
            );
            let _ = writeln!(out, "| flag of the reference | here |\n|---|---|");
            for entry in names.entries {
                let dashes =
                    |name: &&str| format!("`{}{name}`", if name.len() == 1 { "-" } else { "--" });
                let flags: Vec<String> = entry.names.iter().map(dashes).collect();
                let fate = match &entry.fate {
                    Fate::Same(flag) => format!("`--{flag}`"),
                    Fate::As(flag, how, _) => format!("`--{flag}`: {how}"),
                    Fate::Checked(how, _) => (*how).to_owned(),
                    Fate::Ignored(why) => format!("accepted without effect: {why}"),
                    Fate::Refused(why) => format!("refused: {why}"),
                };
                let _ = writeln!(out, "| {} | {} |", flags.join(", "), fate.replace('|', "\\|"));
            }
        }
        out
    }

    fn example(names: &Names) -> String {
        let name = if names.prefix.starts_with("CAPTURE") { "kafkaTopic" } else { "speedupFactor" };
        format!("{}{}", names.prefix, variable(name))
    }
}
