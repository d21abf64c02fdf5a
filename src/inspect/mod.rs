//! `tapline log`: what is in a capture log or a topic, in words, as lines, and whether it is whole.
//!
//! Owns the two sources of records and every way of showing them, and records as files: written
//! from either, read into either. Of its sources it reads only: takes no lock, joins no group,
//! commits no offset, changes no file. Never keeps a record: memory grows with connections that are
//! open in the records and with faults found, never with traffic.
//!
//! ```text
//! capture_log ┐                      ┌ describe   sequences
//!             ├ source ── visitor ───┼ dump       raw, json, exchanges (http), base64
//! kafka       ┘                      ├ verify     sequences, chains
//!                                    │            ledger (heartbeats), since, report
//!                                    └ export ──▶ file ──▶ import ──▶ log, produce (kafka)
//! ```

mod capture_log;
mod chains;
mod describe;
mod dump;
mod exchanges;
mod export;
mod filter;
mod import;
mod intervals;
mod json;
mod kafka;
mod ledger;
mod produce;
mod raw;
mod report;
mod sequences;
mod since;
mod source;
mod text;
mod verify;

#[cfg(test)]
mod tests;

use std::io::{BufWriter, Write, stdout};

pub use dump::{DumpOptions, Format};
pub use export::{ExportOptions, export};
pub use filter::{Edge, Filter};
pub use import::import;
pub use source::Origin;

use crate::observe::{ExitCode, Failure};
use source::{Span, quietly, read};

/// Prints what the records of `origin` come to, as a table or as one JSON object.
pub fn describe(origin: &Origin, json: bool) -> Result<(), Failure> {
    let mut description = describe::Description::default();
    read(origin, Span::default(), &mut description)?;
    printed(|out| description.print(out, origin, json))
}

/// Prints records one by one.
pub fn dump(origin: &Origin, options: &DumpOptions) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, stdout().lock());
    let span = Span {
        from: options.filter.first_number(),
        to: options.filter.last_number(),
        follow: options.follow,
    };
    let mut dumper = dump::Dumper::new(options, &mut out);
    read(origin, span, &mut dumper)?;
    quietly(dumper.finish())
}

/// How [`verify`] judges.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// Print one JSON object.
    pub json: bool,
    /// Duplicates count as faults.
    pub strict: bool,
    /// Judge whether every node captured without a gap since then, instead of the whole.
    pub since: Option<jiff::Timestamp>,
}

/// Proves that the records are whole, or names what is missing; the failure of a log that is not has
/// [`ExitCode::Failed`].
pub fn verify(origin: &Origin, options: VerifyOptions) -> Result<(), Failure> {
    let mut check = verify::Check::new(options.strict);
    read(origin, Span::default(), &mut check)?;
    let question = options.since.map(|since| since::Question {
        since_ns: since.as_nanosecond(),
        now_ns: jiff::Timestamp::now().as_nanosecond(),
    });
    let report = check.report(question);
    printed(|out| report.print(out, origin, options.json))?;
    if report.passes() {
        return Ok(());
    }
    Err(Failure::new(
        ExitCode::Failed,
        format!(
            "{origin} {}. Capture what is missing again before relying on it",
            report.failure()
        ),
    ))
}

/// Writes a finished text to the standard output; a reader that has gone away is no failure.
fn printed(write: impl FnOnce(&mut dyn Write) -> Result<(), source::Stop>) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, stdout().lock());
    quietly(write(&mut out).and_then(|()| Ok(out.flush()?)))
}

/// What is gathered before it is written to the standard output.
const OUTPUT_BYTES: usize = 64 << 10;
