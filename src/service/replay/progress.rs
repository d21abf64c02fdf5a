//! What an operator sees of a running replay: a bar on a terminal, heartbeat lines elsewhere, a summary at the end.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::replay::{Look, totals::Totals};

/// How often the bar is drawn anew.
const DRAW: Duration = Duration::from_millis(500);
/// How often a heartbeat line is logged.
const BEAT: Duration = Duration::from_secs(10);
/// Lag that is not worth a word.
const LAG_SMALL_S: f64 = 2.0;

/// One look at the whole.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) totals: Totals,
    /// Requests on their way.
    pub(super) in_flight: usize,
    /// Requests that may be in flight now.
    pub(super) in_flight_limit: usize,
    /// Requests read and not finished.
    pub(super) open: usize,
    /// Memory of everything read and not finished, bytes.
    pub(super) open_bytes: u64,
    /// How far the oldest unfinished request lies behind now, captured time; `None` when nothing is unfinished.
    pub(super) lag_s: Option<f64>,
    /// Records that were not read yet, where that is known.
    pub(super) records_left: Option<u64>,
    /// Bytes of them.
    pub(super) bytes_left: Option<u64>,
    /// Why it does not go faster.
    pub(super) why: String,
    /// The target does not answer at all, and why.
    pub(super) unreachable: Option<String>,
    /// What keeps records from coming.
    pub(super) no_records: Option<String>,
}

impl View {
    /// Takes over what the core says.
    pub(super) fn take(&mut self, look: Look) {
        self.totals = look.totals;
        self.in_flight = look.in_flight;
        self.in_flight_limit = look.in_flight_limit;
        self.open = look.open;
        self.open_bytes = look.open_bytes;
        self.lag_s = look.lag_s;
        self.why = look.why;
        self.unreachable = look.unreachable;
    }
}

/// Draws or logs, and knows how fast things go.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    drawn_ns: u64,
    beaten_ns: u64,
    last: Point,
    rate: Rate,
}

#[derive(Clone, Copy, Default)]
struct Point {
    at_ns: u64,
    sent: u64,
    read_bytes: u64,
    lag_s: f64,
}

/// Smoothed over some ten looks.
#[derive(Clone, Copy, Default)]
// The unit stands last in a name.
#[allow(clippy::struct_field_names)]
struct Rate {
    requests_per_s: f64,
    bytes_per_s: f64,
    /// Seconds of lag gained back per second.
    lag_per_s: f64,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
            let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Self { bar, drawn_ns: 0, beaten_ns: 0, last: Point::default(), rate: Rate::default() }
    }

    /// Whether a look is due.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.drawn_ns + DRAW.as_nanos() as u64
    }

    /// Takes a look; says so where it is time.
    pub(super) fn look(&mut self, view: &View, now_ns: u64) {
        self.drawn_ns = now_ns;
        self.measure(view, now_ns);
        if let Some(bar) = &self.bar {
            bar.set_message(self.line(view));
            bar.tick();
        } else if now_ns >= self.beaten_ns + BEAT.as_nanos() as u64 {
            self.beaten_ns = now_ns;
            self.beat(view, "replay.progress");
        }
    }

    /// One line of log, now.
    pub(super) fn beat(&self, view: &View, event: &str) {
        let t = &view.totals;
        tracing::info!(
            event,
            read = t.read_records,
            requests = t.requests,
            sent = t.sent,
            failed = t.failed,
            quarantined = t.quarantined,
            in_flight = view.in_flight,
            open_bytes = view.open_bytes,
            requests_per_s = self.rate.requests_per_s.round(),
            lag_s = view.lag_s.map(tenths),
            lag_records = view.records_left,
            lag_bytes = view.bytes_left,
            eta_s = self.eta_s(view).map(f64::round),
            why = view.why,
            "progress"
        );
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn measure(&mut self, view: &View, now_ns: u64) {
        let point = Point {
            at_ns: now_ns,
            sent: view.totals.sent,
            read_bytes: view.totals.read_bytes,
            lag_s: view.lag_s.unwrap_or(0.0),
        };
        let seconds = now_ns.saturating_sub(self.last.at_ns) as f64 / 1e9;
        if self.last.at_ns > 0 && seconds > 0.0 {
            let smooth = |old: f64, new: f64| if old == 0.0 { new } else { old * 0.8 + new * 0.2 };
            let rate = &mut self.rate;
            rate.requests_per_s =
                smooth(rate.requests_per_s, (point.sent - self.last.sent) as f64 / seconds);
            rate.bytes_per_s = smooth(
                rate.bytes_per_s,
                (point.read_bytes - self.last.read_bytes) as f64 / seconds,
            );
            rate.lag_per_s = smooth(rate.lag_per_s, (self.last.lag_s - point.lag_s) / seconds);
        }
        self.last = point;
    }

    /// Seconds to the live edge, or to the end, at the speed of the last looks.
    fn eta_s(&self, view: &View) -> Option<f64> {
        if let Some(left) = view.bytes_left.filter(|left| *left > 0) {
            return (self.rate.bytes_per_s > 1.0).then(|| left as f64 / self.rate.bytes_per_s);
        }
        let lag = view.lag_s.filter(|lag| *lag > LAG_SMALL_S)?;
        (self.rate.lag_per_s > 0.01).then(|| lag / self.rate.lag_per_s)
    }

    fn line(&self, view: &View) -> String {
        let t = &view.totals;
        let mut line = format!(
            "{} requests sent, {:.0}/s, {} in flight, {} failed, {} quarantined",
            t.sent, self.rate.requests_per_s, view.in_flight, t.failed, t.quarantined
        );
        if let Some(lag) = view.lag_s.filter(|lag| *lag > LAG_SMALL_S) {
            let _ = write!(line, ", {} behind", span(lag));
        }
        if let Some(left) = view.bytes_left.filter(|left| *left > 0) {
            let _ = write!(line, ", {} left to read", size(left));
        }
        if let Some(eta) = self.eta_s(view) {
            let _ = write!(line, ", done in {}", span(eta));
        }
        if !view.why.is_empty() {
            let _ = write!(line, " ({})", view.why);
        }
        line
    }
}

/// What is said, and written to `--summary`, at the end.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    #[serde(flatten)]
    totals: &'a Totals,
    /// Requests read and not finished: the next run begins with them.
    unfinished: usize,
    seconds: f64,
    /// `end`: the records were over; `stopped`: by a signal.
    ended_by: &'static str,
}

impl<'a> Summary<'a> {
    pub(super) fn new(view: &'a View, seconds: f64, stopped: bool) -> Self {
        let ended_by = if stopped { "stopped" } else { "end" };
        Self { totals: &view.totals, unfinished: view.open, seconds: tenths(seconds), ended_by }
    }

    /// As one JSON object.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: numbers and names always serialise")
    }

    /// In words: what a person asks first.
    pub(super) fn text(&self) -> String {
        let t = self.totals;
        let mut text = format!(
            "{} requests of {} records: {} sent as well as on the source, {} failed",
            t.requests, t.read_records, t.done, t.failed
        );
        let more: [(u64, &str); 14] = [
            (t.retries, "retries"),
            (t.quarantined, "quarantined"),
            (t.reads_differing, "reads found something else than on the source"),
            (t.failed_items, "bulk items failed"),
            (t.duplicates_skipped, "skipped since an earlier run had sent them"),
            (
                t.skipped_refused + t.skipped_refused_items,
                "left out since the source had refused them",
            ),
            (t.skipped_undelivered, "left out since they never reached the source"),
            (t.skipped_context, "left out since only the source knows their scroll"),
            (t.skipped_only, "left out by --only"),
            (t.skipped_filtered, "left out by a filter"),
            (t.truncated_requests, "not sent since a part is missing"),
            (t.undecodable_records, "records that cannot be decoded"),
            (t.handed_back, "handed back to the group"),
            (self.unfinished as u64, "unfinished, left to the next run"),
        ];
        for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
            let _ = write!(text, ", {count} {what}");
        }
        let rate = if self.seconds > 0.0 { t.sent as f64 / self.seconds } else { 0.0 };
        let _ = write!(text, "; {:.1} s, {rate:.0} requests/s", self.seconds);
        text
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// As `2h05m`, `3m20s` or `12s`.
fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

/// As `1.5 GiB`.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return format!("{value:.0} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_well() {
        assert_eq!([span(0.4), span(75.0), span(7500.0)], ["0s", "1m15s", "2h05m"]);
        assert_eq!([size(10), size(2048), size(3 << 30)], ["10 B", "2 KiB", "3.0 GiB"]);
    }

    #[test]
    fn the_line_says_how_fast_and_how_long_still() {
        let mut progress = Progress::new();
        let mut view = View {
            bytes_left: Some(10_000),
            lag_s: Some(90.0),
            why: "429s of the target".into(),
            ..View::default()
        };
        progress.measure(&view, 1_000_000_000);
        view.totals.sent = 500;
        view.totals.read_bytes = 1000;
        progress.measure(&view, 2_000_000_000);
        let line = progress.line(&view);
        for part in
            ["500 requests sent, 500/s", "1m30s behind", "done in 10s", "(429s of the target)"]
        {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn the_summary_names_what_happened_and_nothing_else() {
        let mut view = View::default();
        view.totals.requests = 3;
        view.totals.done = 2;
        view.totals.duplicates_skipped = 1;
        let summary = Summary::new(&view, 2.0, false);
        assert!(summary.text().contains("1 skipped since"), "{}", summary.text());
        assert!(!summary.text().contains("filter"), "{}", summary.text());
        let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
        assert_eq!(json["duplicates_skipped"], 1);
        assert_eq!(json["ended_by"], "end");
        assert_eq!(view.totals.ended(), 3);
    }
}
