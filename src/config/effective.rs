//! The settings in effect and where each comes from, for people: `/config`, `--check`, and what a reload changed.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

/// Where a value comes from, strongest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The command line.
    Flag,
    /// A variable of the environment, by name.
    Environment(String),
    /// The configuration file: path and line.
    File(String, usize),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path, line) => write!(f, "{path}:{line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its value as it is written, parts separated by commas; `None` when it has none. Never a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub from: Provenance,
    /// Tells values of a secret apart without showing them.
    pub secret_hash: Option<u64>,
}

/// A configuration with what people are told about it.
#[derive(Clone, Debug)]
pub struct Loaded<C> {
    /// What the process runs on.
    pub config: C,
    /// The same as it was set.
    pub effective: Effective,
}

/// All settings by name, as the flags are called without dashes before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective(pub BTreeMap<String, Setting>);

impl Effective {
    /// Names of settings whose values differ.
    pub fn changed<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let differs = |name: &&String| {
            let value = |of: &'a Self| of.0.get(*name).map(|s| (&s.value, &s.secret_hash));
            value(self) != value(other)
        };
        let mut names: Vec<&str> =
            self.0.keys().chain(other.0.keys()).filter(differs).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// As one JSON object.
    pub fn to_json(&self) -> Value {
        let one = |(name, setting): (&String, &Setting)| {
            (name.clone(), json!({"value": setting.value, "from": setting.from.to_string()}))
        };
        Value::Object(self.0.iter().map(one).collect())
    }
}

impl fmt::Display for Effective {
    /// One line per setting: name, value, where it comes from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.keys().map(String::len).max().unwrap_or(0);
        for (name, Setting { value, from, .. }) in &self.0 {
            let value = value.as_deref().unwrap_or("-");
            writeln!(f, "{name:width$}  {value}  ({from})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(value: &str, from: Provenance) -> Setting {
        Setting { value: Some(value.into()), from, secret_hash: None }
    }

    #[test]
    fn what_changed_is_named_and_where_it_came_from_is_not_a_change() {
        let mut before = Effective::default();
        before.0.insert("listen".into(), setting("a", Provenance::Flag));
        before.0.insert("source".into(), setting("b", Provenance::Default));
        let mut after = before.clone();
        assert!(before.changed(&after).is_empty());
        after.0.insert("source".into(), setting("b", Provenance::File("t.toml".into(), 3)));
        after.0.insert("workers".into(), setting("2", Provenance::Environment("W".into())));
        after.0.insert(
            "listen".into(),
            Setting { secret_hash: Some(1), ..setting("a", Provenance::Flag) },
        );
        assert_eq!(before.changed(&after), ["listen", "workers"]);
        let text = after.to_string();
        assert!(text.contains("source   b  (t.toml:3)\n"), "{text}");
        assert_eq!(after.to_json()["workers"]["from"], "environment W");
    }
}
