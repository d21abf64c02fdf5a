//! The tuple files: `tuples-<yyyyMMddTHHmmssZ>-<run>-<number>.log.gz`, gzip, one JSON object per line.
//!
//! A file is a row of gzip members. A member is compressed in memory and written with one call, at every sync point
//! and whenever it has grown to [`TupleLimits::member_bytes`]; so what a sync point covered can be read with `zcat`
//! at any time, be the process killed at any moment. While it grows, the file is called `….log.gz.tmp` and locked;
//! closed, it is renamed. Never writes to a file again that it has renamed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};

use super::error::OutcomeError;
use super::files;
use super::recovery::{self, Recovered};
use super::render::Renderer;
use super::tuple::Tuple;

/// The bounds of tuple files.
#[derive(Debug, Clone)]
pub struct TupleLimits {
    /// How much of one body is shown, in bytes of its content (`--tuple-body-bytes`).
    pub body_bytes_max: usize,
    /// A file is closed at this size before compression, in bytes.
    pub file_bytes: u64,
    /// A file is closed at this age, counted from its first tuple.
    pub file_age: Duration,
    /// A gzip member is written at this size before compression, in bytes.
    pub member_bytes: usize,
    /// gzip level, 1 to 9.
    pub level: u32,
}

impl Default for TupleLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            file_bytes: 256 << 20,
            file_age: Duration::from_mins(1),
            member_bytes: 8 << 20,
            level: 1,
        }
    }
}

/// Writes tuples.
#[derive(Debug)]
pub struct TupleFiles {
    dir: PathBuf,
    run: String,
    files: u32,
    limits: TupleLimits,
    renderer: Renderer,
    open: Option<OpenFile>,
    /// Lines that are not compressed yet.
    lines: Vec<u8>,
    /// The member being compressed.
    member: Option<GzEncoder<Vec<u8>>>,
    member_bytes: usize,
    spare: Vec<u8>,
    written: Written,
}

/// What was written so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of lines.
    pub line_bytes: u64,
    /// Bytes of files.
    pub file_bytes: u64,
    /// Files begun.
    pub files: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// Its name while it grows.
    growing: PathBuf,
    closed: PathBuf,
    opened_ns: u64,
    file_bytes: u64,
    line_bytes: u64,
    unsynced: bool,
}

impl TupleFiles {
    /// Makes the directory if need be, and gives the files of dead runs that lie in it their closed names.
    pub fn open(dir: &Path, limits: TupleLimits) -> Result<(Self, Recovered), OutcomeError> {
        files::prepare(dir)?;
        let recovered = recovery::recover(dir)?;
        let renderer = Renderer::new(limits.body_bytes_max);
        let files = Self {
            dir: dir.to_path_buf(),
            run: files::run_name(),
            files: 0,
            limits,
            renderer,
            open: None,
            lines: Vec::with_capacity(LINES_BYTES * 2),
            member: None,
            member_bytes: 0,
            spare: Vec::new(),
            written: Written::default(),
        };
        Ok((files, recovered))
    }

    /// Takes a tuple. It is on its way, but not safe before the next [`Self::sync`]. `now_ns`: monotonic; `unix_s`
    /// names the file if this begins one.
    pub fn append(
        &mut self,
        tuple: &Tuple,
        now_ns: u64,
        unix_s: impl FnOnce() -> i64,
    ) -> Result<(), OutcomeError> {
        if self.open.is_none() {
            self.begin(now_ns, unix_s())?;
        }
        let before = self.lines.len();
        self.renderer.line(tuple, &mut self.lines);
        let bytes = (self.lines.len() - before) as u64;
        self.written.line_bytes += bytes;
        if let Some(open) = &mut self.open {
            open.line_bytes += bytes;
            open.unsynced = true;
        }
        if self.lines.len() >= LINES_BYTES {
            self.compress()?;
            if self.member_bytes >= self.limits.member_bytes {
                self.write_member()?;
            }
        }
        Ok(())
    }

    /// What was appended is on the disk when this returned.
    pub fn sync(&mut self) -> Result<(), OutcomeError> {
        self.write_member()?;
        if let Some(open) = self.open.as_mut().filter(|open| open.unsynced) {
            let synced = open.file.sync_data();
            synced.map_err(|error| OutcomeError::io(&open.growing, "fdatasync", error))?;
            open.unsynced = false;
        }
        Ok(())
    }

    /// Whether the open file has reached its size or age; call [`Self::close`] then.
    pub fn is_due(&self, now_ns: u64) -> bool {
        self.open.as_ref().is_some_and(|open| {
            open.line_bytes >= self.limits.file_bytes || now_ns >= self.closes_ns(open)
        })
    }

    /// When the open file reaches its age, on the clock of [`Self::append`].
    pub fn due_ns(&self) -> Option<u64> {
        self.open.as_ref().map(|open| self.closes_ns(open))
    }

    /// Syncs and closes the open file, if there is one; the next tuple begins another.
    pub fn close(&mut self) -> Result<(), OutcomeError> {
        self.sync()?;
        let Some(open) = self.open.take() else { return Ok(()) };
        std::fs::rename(&open.growing, &open.closed)
            .map_err(|error| OutcomeError::io(&open.closed, "renaming the file", error))?;
        files::sync_directory(&self.dir)
    }

    /// What was written so far; compressed bytes as of the last member.
    pub fn written(&self) -> Written {
        self.written
    }

    fn closes_ns(&self, open: &OpenFile) -> u64 {
        open.opened_ns.saturating_add(self.limits.file_age.as_nanos() as u64)
    }

    fn begin(&mut self, now_ns: u64, unix_s: i64) -> Result<(), OutcomeError> {
        self.files += 1;
        let stamp = files::stamp(unix_s);
        let name = format!("tuples-{stamp}-{}-{:06}.log.gz", self.run, self.files);
        let growing = self.dir.join(format!("{name}{GROWING}"));
        let file = files::create_locked(&self.dir, &growing)?;
        files::sync_directory(&self.dir)?;
        self.written.files += 1;
        self.open = Some(OpenFile {
            file,
            growing,
            closed: self.dir.join(name),
            opened_ns: now_ns,
            file_bytes: 0,
            line_bytes: 0,
            unsynced: false,
        });
        Ok(())
    }

    /// Moves the lines into the member.
    fn compress(&mut self) -> Result<(), OutcomeError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let (spare, level) = (&mut self.spare, Compression::new(self.limits.level));
        let member =
            self.member.get_or_insert_with(|| GzEncoder::new(std::mem::take(spare), level));
        let taken = member.write_all(&self.lines);
        taken.map_err(|error| OutcomeError::io(&self.dir, "compressing", error))?;
        self.member_bytes += self.lines.len();
        self.lines.clear();
        Ok(())
    }

    /// Ends the member and writes it.
    fn write_member(&mut self) -> Result<(), OutcomeError> {
        self.compress()?;
        let (Some(member), Some(open)) = (self.member.take(), self.open.as_mut()) else {
            return Ok(());
        };
        let mut bytes =
            member.finish().map_err(|error| OutcomeError::io(&open.growing, "gzip", error))?;
        files::append(&mut open.file, &mut open.file_bytes, &bytes)
            .map_err(|error| OutcomeError::io(&open.growing, "writing tuples", error))?;
        self.written.file_bytes += bytes.len() as u64;
        self.member_bytes = 0;
        bytes.clear();
        self.spare = bytes;
        Ok(())
    }
}

/// What a growing file's name ends with.
pub(super) const GROWING: &str = ".tmp";

/// So many bytes of lines are compressed in one call.
const LINES_BYTES: usize = 256 << 10;
