//! Log lines go to standard error: for people on a terminal, with priorities where journald reads, as JSON elsewhere.
//!
//! Events have stable names (`event`). Nothing of bodies and no values of headers are ever logged; whatever else a
//! client can bring into a line is bounded and escaped, and no place of the program can flood.

mod limit;
mod line;

use std::{
    io::{IsTerminal, Write as _, stderr},
    os::linux::fs::MetadataExt as _,
    str::FromStr,
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use tracing::{Event, Level as TracingLevel, Subscriber, callsite::Identifier};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, SubscriberExt as _},
    reload,
    util::SubscriberInitExt as _,
};

use self::{
    limit::Limit,
    line::{Fields, Style},
};

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// human on a terminal, journal where journald reads, else json
    #[default]
    Auto,
    /// For people
    Human,
    /// One JSON object per line
    Json,
    /// With a priority before each line, for journald
    Journal,
}

/// A level or a filter, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(String);

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A filter takes any word for the name of a target.
        let word = !text.contains(['=', ',', '[']);
        let known = |level: &&str| level.eq_ignore_ascii_case(text);
        let good = if word { LEVELS.iter().any(known) } else { EnvFilter::try_new(text).is_ok() };
        good.then(|| Self(text.to_owned()))
            .ok_or_else(|| format!("'{text}' is no level; write error, warn, info, debug or trace"))
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The filter in effect, to be changed by a reload.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Begins to log. A second start (in tests) keeps the first.
pub fn start(level: Option<&Level>, format: Format) {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = Lines { style: style(format), limit: Mutex::default() };
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Logs at this level from now on.
pub fn change(level: Option<&Level>) {
    if let Some(handle) = FILTER.get() {
        // It fails only when there is no subscriber any more.
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: Option<&Level>) -> EnvFilter {
    match level {
        Some(Level(level)) => EnvFilter::new(level),
        None => EnvFilter::try_from_env("TAPLINE_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
    }
}

fn style(format: Format) -> Style {
    let terminal = stderr().is_terminal();
    match format {
        Format::Journal => Style::Journal,
        Format::Human => Style::Human { colour: terminal },
        Format::Auto if terminal => Style::Human { colour: true },
        Format::Auto if journald_reads() => Style::Journal,
        Format::Json | Format::Auto => Style::Json,
    }
}

/// systemd names device and inode of the journal's socket, so that a redirected stream is told apart.
fn journald_reads() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let named = named.as_deref().and_then(|text| text.split_once(':'));
    let stream = std::fs::metadata("/proc/self/fd/2").ok();
    match (named, stream) {
        (Some((device, inode)), Some(stream)) => {
            device.parse() == Ok(stream.st_dev()) && inode.parse() == Ok(stream.st_ino())
        }
        _ => false,
    }
}

/// Writes every event that the filter lets through as a line.
struct Lines {
    style: Style,
    limit: Mutex<Limit<Identifier>>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let mut suppressed = 0;
        if level <= TracingLevel::INFO {
            let place = event.metadata().callsite();
            let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
            match limit.allow(place, Instant::now()) {
                Some(before) => suppressed = before,
                None => return,
            }
        }
        let mut fields = Fields::of(event);
        if suppressed > 0 {
            fields.add("suppressed_lines", suppressed);
        }
        let time = format!("{:.6}", jiff::Timestamp::now());
        // There is nobody to tell that standard error is gone.
        let _ = stderr().lock().write_all(fields.line(self.style, level, &time).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_told_from_nonsense() {
        for good in ["info", "WARN", "off", "warn,tapline=debug"] {
            assert!(good.parse::<Level>().is_ok(), "{good}");
        }
        for bad in ["loud", "", "a=b=c"] {
            assert!(
                bad.parse::<Level>().is_err_and(|error| error.contains("debug or trace")),
                "{bad}"
            );
        }
    }
}
