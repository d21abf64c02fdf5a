//! The configuration file: TOML, one key per setting, at the top or in a section named after the subcommand.

use std::{fs, path::Path};

use toml::de::{DeTable, DeValue};

/// One key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) key: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// A value, as text wherever clap is to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    List(Vec<String>),
    /// A table, or a list of tables.
    Tables(Vec<Vec<Item>>),
}

/// Subcommands that a file may have sections for.
const SECTIONS: [&str; 2] = ["capture", "replay"];

/// The items for `subcommand`: those at the top and those of its section.
pub(super) fn read(path: &Path, subcommand: &str) -> Result<Vec<Item>, String> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| format!("the configuration {shown} cannot be read: {error}"))?;
    parse(&text, subcommand).map_err(|(line, why)| format!("{shown}:{line}: {why}"))
}

fn parse(text: &str, subcommand: &str) -> Result<Vec<Item>, (usize, String)> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (line_of(text, at), error.message().to_owned())
    })?;
    let mut items = Vec::new();
    for item in items_of(text, table.get_ref())? {
        match item.value {
            Value::Tables(mut tables) if SECTIONS.contains(&item.key.as_str()) => {
                if item.key == subcommand && tables.len() == 1 {
                    items.extend(tables.remove(0));
                }
            }
            value => items.push(Item { value, ..item }),
        }
    }
    items.sort_by_key(|item| item.line);
    if let Some(pair) = items.windows(2).find(|pair| same(&pair[0].key, &pair[1].key)) {
        return Err((pair[1].line, format!("'{}' is set twice", pair[1].key)));
    }
    Ok(items)
}

fn same(one: &str, other: &str) -> bool {
    one.replace('_', "-") == other.replace('_', "-")
}

fn items_of(text: &str, table: &DeTable<'_>) -> Result<Vec<Item>, (usize, String)> {
    table
        .iter()
        .map(|(key, value)| {
            let line = line_of(text, key.span().start);
            let value = value_of(text, value.get_ref()).map_err(|error| match error {
                (0, why) => (line, format!("{}: {why}", key.get_ref())),
                other => other,
            })?;
            Ok(Item { key: key.get_ref().to_string(), line, value })
        })
        .collect()
}

/// A line of 0 in an error means: that of the key.
fn value_of(text: &str, value: &DeValue<'_>) -> Result<Value, (usize, String)> {
    match value {
        DeValue::Boolean(flag) => Ok(Value::Flag(*flag)),
        DeValue::Table(table) => Ok(Value::Tables(vec![items_of(text, table)?])),
        DeValue::Array(values) if values.iter().any(|value| value.get_ref().is_table()) => {
            let tables = values.iter().map(|value| match value.get_ref() {
                DeValue::Table(table) => items_of(text, table),
                _ => Err((0, "a list holds tables or values, not both".into())),
            });
            Ok(Value::Tables(tables.collect::<Result<_, _>>()?))
        }
        DeValue::Array(values) => {
            let texts = values.iter().map(|value| {
                text_of(value.get_ref()).ok_or_else(|| (0, "a list holds plain values".to_owned()))
            });
            Ok(Value::List(texts.collect::<Result<_, _>>()?))
        }
        other => {
            text_of(other).map(Value::Text).ok_or_else(|| (0, "this value cannot be read".into()))
        }
    }
}

fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.get(..at).map_or(0, |before| before.matches('\n').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_lines() {
        let text = "source = \"http://a\"\nworkers = 2\nno-capture = true\nlisten = [\"a\", \"b\"]\n\
                    [capture]\nspeed = 1.5\n[replay]\nunknown = 1\n";
        let items = parse(text, "capture").unwrap();
        let expected = [
            ("source", 1, Value::Text("http://a".into())),
            ("workers", 2, Value::Text("2".into())),
            ("no-capture", 3, Value::Flag(true)),
            ("listen", 4, Value::List(vec!["a".into(), "b".into()])),
            ("speed", 6, Value::Text("1.5".into())),
        ];
        let expected = expected.map(|(key, line, value)| Item { key: key.into(), line, value });
        assert_eq!(items, expected);
    }

    #[test]
    fn what_is_wrong_has_a_line() {
        assert_eq!(parse("a = 1\nb = ", "capture").unwrap_err().0, 2);
        let (line, why) = parse("log_dir = 1\n[capture]\nlog-dir = 2\n", "capture").unwrap_err();
        assert!(line == 3 && why.contains("twice"), "{line}: {why}");
        assert_eq!(parse("a = 1\nb = [[1]]\n", "capture").unwrap_err().0, 2);
    }
}
