//! Records as a file to keep or to carry elsewhere: gzip of lines `<connection id>|<base64>`, which
//! is also what the reference's export of a topic holds.
//!
//! Leaves out nothing that has bytes: a record that cannot be read stands behind an empty key. A
//! file has its name only once it is whole.

use std::{
    fs::File,
    io::{self, BufWriter, Write, stdout},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};

use super::{
    filter::Filter,
    source::{Loss, Origin, Raw, Span, Stop, Visit, quietly, read},
};
use crate::observe::{ExitCode, Failure};

/// What is exported, and where to.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The file; `-` is the standard output.
    pub output: PathBuf,
    /// Which records.
    pub filter: Filter,
}

/// Writes the records of `origin`. A source that has lost records, or has something else in it, is
/// exported all the same, and is a failure at the end.
pub fn export(origin: &Origin, options: &ExportOptions) -> Result<(), Failure> {
    let filter = &options.filter;
    let span = Span { from: filter.first_number(), to: filter.last_number(), follow: false };
    let name = options.output.display();
    let failed = |error: io::Error| {
        let code = ExitCode::Failed;
        Failure::new(code, format!("cannot write {name}: {error}. Check the disk and --output"))
    };
    let (records, bad) = if options.output.as_os_str() == "-" {
        let mut exporter = Exporter::new(filter, stdout().lock());
        read(origin, span, &mut exporter)?;
        let seen = exporter.seen();
        quietly(exporter.finish().map(drop).map_err(Stop::from))?;
        seen
    } else {
        let part = part_of(&options.output);
        let file = File::create(&part).map_err(failed)?;
        let mut exporter = Exporter::new(filter, BufWriter::new(file));
        let seen = read(origin, span, &mut exporter).and_then(|()| {
            let seen = exporter.seen();
            let out = exporter.finish().map_err(failed)?;
            let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
            file.sync_all()
                .and_then(|()| std::fs::rename(&part, &options.output))
                .map_err(failed)?;
            Ok(seen)
        });
        seen.inspect_err(|_| drop(std::fs::remove_file(&part)))?
    };
    tracing::info!(event = "export.done", records, output = %name);
    if bad == 0 {
        return Ok(());
    }
    Err(Failure::new(
        ExitCode::Failed,
        format!(
            "{records} records were exported to {name}, but {origin} is not whole: {bad} losses or things \
             that are no records. The log lines above name them; tapline log verify says what is missing"
        ),
    ))
}

/// The name of a file that is not whole yet.
fn part_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Writes lines.
pub(super) struct Exporter<'a, W: Write> {
    filter: &'a Filter,
    out: GzEncoder<W>,
    line: String,
    records: u64,
    bad: u64,
}

impl<'a, W: Write> Exporter<'a, W> {
    pub(super) fn new(filter: &'a Filter, out: W) -> Self {
        let out = GzEncoder::new(out, Compression::fast());
        Self { filter, out, line: String::new(), records: 0, bad: 0 }
    }

    /// Records written, and what there was that could not be.
    pub(super) fn seen(&self) -> (u64, u64) {
        (self.records, self.bad)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        let mut out = self.out.finish()?;
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write> Visit for Exporter<'_, W> {
    fn record(&mut self, raw: &Raw<'_>) -> Result<(), Stop> {
        if !self.filter.admits(raw.place) {
            return Ok(());
        }
        let Some(payload) = raw.payload else {
            self.bad += 1;
            tracing::warn!(event = "export.left_out", place = %raw.place, "not a record");
            return Ok(());
        };
        self.line.clear();
        match raw.decode() {
            Ok(stream) if !self.filter.wants(&stream) => return Ok(()),
            // An id that would break the line is found in the record itself.
            Ok(stream) if stream.connection_id.contains(|c: char| c == '|' || c.is_control()) => {}
            Ok(stream) => self.line.push_str(&stream.connection_id),
            Err(error) => {
                tracing::warn!(event = "export.unread", place = %raw.place, error, "kept as it is");
            }
        }
        self.line.push('|');
        STANDARD.encode_string(payload, &mut self.line);
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())?;
        self.records += 1;
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<(), Stop> {
        self.bad += 1;
        tracing::warn!(event = "export.loss", "{}", loss.text);
        Ok(())
    }
}
