//! Records one by one, in one of four forms.
//!
//! Standard output holds the records and nothing else: what cannot be shown is told in the log
//! lines on standard error.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    exchanges::Exchanges,
    filter::Filter,
    json,
    raw::RawLines,
    source::{Loss, Raw, Stop, Visit},
};
use crate::proto::TrafficStream;

/// What is shown, and how.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// In which form.
    pub format: Format,
    /// Which records.
    pub filter: Filter,
    /// At most so many.
    pub limit: Option<u64>,
    /// Go on at the end until interrupted.
    pub follow: bool,
    /// Bytes of data that a raw line shows of each run.
    pub preview_bytes: usize,
}

/// The forms of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line per record: its place, its times, its observations in short
    Raw,
    /// Requests and responses put together, at most 64 KiB of each
    Http,
    /// One JSON object per record
    Json,
    /// One line per record: the connection id, a bar, the record in Base64; for importing
    Base64,
}

/// Prints records.
pub(super) struct Dumper<'a> {
    options: &'a DumpOptions,
    out: &'a mut dyn Write,
    printer: Printer,
    left: Option<u64>,
}

enum Printer {
    Raw(RawLines),
    Http(Box<Exchanges>),
    Json,
    Base64(String),
}

impl<'a> Dumper<'a> {
    /// Prints to `out`, which is flushed whenever there is nothing more for now.
    pub(super) fn new(options: &'a DumpOptions, out: &'a mut dyn Write) -> Self {
        let printer = match options.format {
            Format::Raw => Printer::Raw(RawLines::new(options.preview_bytes)),
            Format::Http => Printer::Http(Box::default()),
            Format::Json => Printer::Json,
            Format::Base64 => Printer::Base64(String::new()),
        };
        Self { options, out, printer, left: options.limit }
    }

    /// Prints what waits for more, and flushes.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        if let Printer::Http(exchanges) = &mut self.printer {
            exchanges.finish(self.out)?;
        }
        Ok(self.out.flush()?)
    }

    fn print(&mut self, raw: &Raw<'_>, stream: &TrafficStream) -> Result<(), Stop> {
        match &mut self.printer {
            Printer::Raw(lines) => lines.print(self.out, raw.place, stream)?,
            Printer::Http(exchanges) => exchanges.print(self.out, raw.place, stream)?,
            Printer::Json => json::print(self.out, raw.place, stream)?,
            Printer::Base64(line) => {
                line.clear();
                line.push_str(&stream.connection_id);
                line.push('|');
                STANDARD.encode_string(raw.payload.unwrap_or_default(), line);
                line.push('\n');
                self.out.write_all(line.as_bytes())?;
            }
        }
        Ok(())
    }

    /// The record, if it can be shown in this form.
    fn decode(&self, raw: &Raw<'_>) -> Result<TrafficStream, String> {
        let stream = raw.decode()?;
        let breaks_lines = |c: char| c == '|' || c.is_control();
        if matches!(self.printer, Printer::Base64(_)) && stream.connection_id.contains(breaks_lines)
        {
            return Err("its connection id cannot stand in a line".into());
        }
        Ok(stream)
    }
}

impl Visit for Dumper<'_> {
    fn record(&mut self, raw: &Raw<'_>) -> Result<(), Stop> {
        if self.left == Some(0) {
            return Err(Stop::Enough);
        }
        if !self.options.filter.admits(raw.place) {
            return Ok(());
        }
        let stream = match self.decode(raw) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(event = "dump.left_out", place = %raw.place, error, "a record is left out");
                return Ok(());
            }
        };
        if !self.options.filter.wants(&stream) {
            return Ok(());
        }
        self.print(raw, &stream)?;
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                return Err(Stop::Enough);
            }
        }
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<(), Stop> {
        tracing::warn!(event = "dump.loss", "{}", loss.text);
        Ok(())
    }

    fn idle(&mut self) -> Result<(), Stop> {
        Ok(self.out.flush()?)
    }
}
