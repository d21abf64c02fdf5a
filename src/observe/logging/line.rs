//! One event as one line: for people, for machines, or for the journal.
//!
//! What clients send can come into a message. So every value is bounded, and whatever could end a line, drive a
//! terminal or turn the reading direction is escaped.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

/// A longer value is cut.
const VALUE_BYTES_MAX: usize = 8 << 10;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Time, level, message, fields; the level in colour or not.
    Human { colour: bool },
    /// One object.
    Json,
    /// A priority for journald, which notes the time itself.
    Journal,
}

/// The fields of an event, in their order.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    /// Adds a count.
    pub(super) fn add(&mut self, name: &'static str, count: u64) {
        self.0.push((name, count.into()));
    }

    fn text(&mut self, field: &Field, text: String) {
        self.0.push((field.name(), bounded(text).into()));
    }

    /// The line, with its end.
    pub(super) fn line(&self, style: Style, level: Level, time: &str) -> String {
        match style {
            Style::Json => self.json(level, time),
            Style::Human { colour } => {
                let (on, off) = if colour { (shade(level), "\x1b[0m") } else { ("", "") };
                format!("{time} {on}{level:>5}{off} {}\n", self.words())
            }
            Style::Journal => format!("<{}>{}\n", priority(level), self.words()),
        }
    }

    fn json(&self, level: Level, time: &str) -> String {
        let mut object = Map::new();
        object.insert("timestamp".into(), time.into());
        object.insert("level".into(), level.as_str().into());
        for (name, value) in &self.0 {
            object.insert((*name).into(), value.clone());
        }
        let mut line = String::new();
        for letter in Value::Object(object).to_string().chars() {
            if is_dangerous(letter) {
                let mut units = [0; 2];
                letter.encode_utf16(&mut units).iter().for_each(|unit| {
                    let _ = write!(line, "\\u{unit:04x}");
                });
            } else {
                line.push(letter);
            }
        }
        line.push('\n');
        line
    }

    /// The message, then the others as `name=value`.
    fn words(&self) -> String {
        let mut words = String::new();
        for (_, value) in self.0.iter().filter(|(name, _)| *name == "message") {
            words.push_str(&clean(value.as_str().unwrap_or_default()));
        }
        for (name, value) in self.0.iter().filter(|(name, _)| *name != "message") {
            let value = match value {
                Value::String(text) if text.contains([' ', '"']) => format!("{text:?}"),
                Value::String(text) => clean(text),
                other => other.to_string(),
            };
            let _ = write!(words, " {name}={}", clean(&value));
        }
        words
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), value.into()));
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > VALUE_BYTES_MAX {
        let end = text.floor_char_boundary(VALUE_BYTES_MAX);
        let cut = text.len() - end;
        text.truncate(end);
        let _ = write!(text, " [and {cut} bytes]");
    }
    text
}

fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || is_dangerous(letter) {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}

/// What JSON leaves as it is, but a terminal or a reader of lines does not.
fn is_dangerous(letter: char) -> bool {
    matches!(
        letter,
        '\u{7f}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

fn shade(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    }
}

/// Of sd-daemon(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &str, value: &str) -> Fields {
        Fields(vec![("message", message.into()), ("event", "a.b".into()), ("uri", value.into())])
    }

    const NASTY: &str = "/a\r\nERROR forged\u{1b}[2J\u{2028}\u{202e}x\u{9b}";

    #[test]
    fn nothing_ends_a_line_early_or_drives_a_terminal() {
        for style in [Style::Human { colour: false }, Style::Json, Style::Journal] {
            let line = fields("said", NASTY).line(style, Level::WARN, "T");
            let bare = line.strip_suffix('\n').unwrap();
            let bad = |letter: char| letter.is_control() || is_dangerous(letter);
            assert!(!bare.contains(bad), "{style:?}: {bare:?}");
        }
        let json = fields("said", NASTY).line(Style::Json, Level::WARN, "T");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["uri"], NASTY, "and JSON gives back what it was");
        assert_eq!((&read["level"], &read["event"]), (&"WARN".into(), &"a.b".into()));
    }

    #[test]
    fn styles_read_well() {
        let line = |style| fields("said", "/a b").line(style, Level::INFO, "T");
        assert_eq!(line(Style::Human { colour: false }), "T  INFO said event=a.b uri=\"/a b\"\n");
        assert_eq!(line(Style::Journal), "<6>said event=a.b uri=\"/a b\"\n");
    }

    #[test]
    fn values_are_bounded() {
        let long = "é".repeat(64 << 10);
        let cut = bounded(long.clone());
        assert!(
            cut.len() < VALUE_BYTES_MAX + 40 && cut.ends_with(" [and 122880 bytes]"),
            "{}",
            cut.len()
        );
        assert_eq!(bounded("short".into()), "short");
    }
}
