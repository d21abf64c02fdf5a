//! The quarantine: `quarantine-<yyyyMMddTHHmmssZ>-<run>-<number>.jsonl`, one entry per line, plain, so that an
//! operator can read it with any tool and send what is in it again.
//!
//! ```json
//! {"at":"2026-11-21T09:29:17Z","place":"logging-traffic-topic:3:1042","node":"…","connection":"…","index":3,
//!  "reason":"target-refused","detail":"…","request_base64":"…","answers":[{"bytes":214,"text":"HTTP/1.1 400 …"}]}
//! ```
//!
//! A request or record above [`INLINE_BYTES_MAX`] stands whole in the `.bin` file of the same name instead:
//! `"request_file":{"name":"….bin","offset":0,"bytes":73400320,"crc32c":"…"}`. It is written before its entry, so
//! an entry never names bytes that are not there. Files are begun with their first entry and never written by a
//! later run.

use std::fs::File;
use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::error::OutcomeError;
use super::files;

/// What could not be decoded, or not be sent for good.
#[derive(Debug, Clone, Default)]
pub struct Misfit {
    /// Where it stands in what was read: `<topic>:<partition>:<offset>`, `<incarnation>/<sequence>`, `<file>:<line>`.
    pub place: String,
    /// The capturing node, where it is known.
    pub node: Option<String>,
    /// The captured connection, where it is known.
    pub connection: Option<String>,
    /// The request's number in the connection, where there is one.
    pub index: Option<u64>,
    /// A stable kebab-case code, for alerts and for `jq`.
    pub reason: &'static str,
    /// What happened, in words.
    pub detail: String,
    /// The bytes themselves.
    pub raw: Raw,
    /// What the target answered, attempt by attempt: head and body as they came. Shown up to 64 KiB each.
    pub answers: Vec<Vec<u8>>,
}

/// What is put aside.
#[derive(Debug, Clone)]
pub enum Raw {
    /// A request as the client sent it.
    Request(Vec<u8>),
    /// A record as it was read.
    Record(Vec<u8>),
}

impl Default for Raw {
    fn default() -> Self {
        Self::Request(Vec::new())
    }
}

/// Writes entries.
#[derive(Debug)]
pub struct Quarantine {
    dir: PathBuf,
    run: String,
    files: u32,
    open: Option<OpenFile>,
    entries: u64,
}

#[derive(Debug)]
struct OpenFile {
    stem: String,
    lines: File,
    line_bytes: u64,
    bodies: Option<File>,
    body_bytes: u64,
    unsynced: bool,
}

impl Quarantine {
    /// Nothing is created before the first entry, but a directory that cannot be made is reported now.
    pub fn open(dir: &Path) -> Result<Self, OutcomeError> {
        files::prepare(dir)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            run: files::run_name(),
            files: 0,
            open: None,
            entries: 0,
        })
    }

    /// Writes an entry; it survives the process from here on, and the host from the next [`Self::sync`] on.
    pub fn append(&mut self, misfit: &Misfit, unix_s: i64) -> Result<(), OutcomeError> {
        if self.open.as_ref().is_none_or(|open| open.line_bytes + open.body_bytes >= FILE_BYTES) {
            self.begin(unix_s)?;
        }
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        let (bytes, in_record) = match &misfit.raw {
            Raw::Request(bytes) => (bytes, false),
            Raw::Record(bytes) => (bytes, true),
        };
        let (mut base64, mut aside) = (None, None);
        if bytes.len() <= INLINE_BYTES_MAX {
            base64 = Some(STANDARD.encode(bytes));
        } else {
            aside = Some(put_aside(&self.dir, open, bytes)?);
        }
        let (request, record) = if in_record { (None, base64) } else { (base64, None) };
        let (request_file, record_file) = if in_record { (None, aside) } else { (aside, None) };
        let entry = Entry {
            at: jiff::Timestamp::from_second(unix_s).map(|at| at.to_string()).unwrap_or_default(),
            place: &misfit.place,
            node: misfit.node.as_deref(),
            connection: misfit.connection.as_deref(),
            index: misfit.index,
            reason: misfit.reason,
            detail: &misfit.detail,
            request_base64: request,
            request_file,
            record_base64: record,
            record_file,
            answers: misfit.answers.iter().map(|bytes| Answer::of(bytes)).collect(),
        };
        let mut line = serde_json::to_vec(&entry)
            .expect("invariant: strings and numbers always serialise to memory");
        line.push(b'\n');
        open.unsynced = true;
        files::append(&mut open.lines, &mut open.line_bytes, &line).map_err(|error| {
            let path = self.dir.join(format!("{}.jsonl", open.stem));
            OutcomeError::io(&path, "writing to the quarantine", error)
        })?;
        self.entries += 1;
        Ok(())
    }

    /// All entries are on the disk when this returned.
    pub fn sync(&mut self) -> Result<(), OutcomeError> {
        let Some(open) = self.open.as_mut().filter(|open| open.unsynced) else { return Ok(()) };
        let bodies = open.bodies.as_ref().map_or(Ok(()), File::sync_data);
        bodies.and_then(|()| open.lines.sync_data()).map_err(|error| {
            let path = self.dir.join(format!("{}.jsonl", open.stem));
            OutcomeError::io(&path, "fdatasync", error)
        })?;
        open.unsynced = false;
        Ok(())
    }

    /// Entries written in this run.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    fn begin(&mut self, unix_s: i64) -> Result<(), OutcomeError> {
        self.sync()?;
        self.files += 1;
        let stamp = files::stamp(unix_s);
        let stem = format!("quarantine-{stamp}-{}-{:06}", self.run, self.files);
        let lines = files::create_locked(&self.dir, &self.dir.join(format!("{stem}.jsonl")))?;
        files::sync_directory(&self.dir)?;
        let (line_bytes, body_bytes) = (0, 0);
        self.open =
            Some(OpenFile { stem, lines, line_bytes, bodies: None, body_bytes, unsynced: false });
        Ok(())
    }
}

fn put_aside(dir: &Path, open: &mut OpenFile, bytes: &[u8]) -> Result<Aside, OutcomeError> {
    let name = format!("{}.bin", open.stem);
    let path = dir.join(&name);
    if open.bodies.is_none() {
        open.bodies = Some(files::create_locked(dir, &path)?);
        files::sync_directory(dir)?;
    }
    let file = open.bodies.as_mut().expect("invariant: made above");
    let offset = open.body_bytes;
    files::append(file, &mut open.body_bytes, bytes)
        .map_err(|error| OutcomeError::io(&path, "writing to the quarantine", error))?;
    let crc32c = format!("{:08x}", crc32c::crc32c(bytes));
    Ok(Aside { name, offset, bytes: bytes.len(), crc32c })
}

#[derive(Serialize)]
struct Entry<'a> {
    at: String,
    place: &'a str,
    node: Option<&'a str>,
    connection: Option<&'a str>,
    index: Option<u64>,
    reason: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_file: Option<Aside>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_file: Option<Aside>,
    answers: Vec<Answer<'a>>,
}

#[derive(Serialize)]
struct Aside {
    name: String,
    offset: u64,
    bytes: usize,
    crc32c: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl<'a> Answer<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let shown = &bytes[..bytes.len().min(ANSWER_BYTES_MAX)];
        let cut = shown.len() < bytes.len();
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            Err(error) if cut && error.error_len().is_none() => {
                std::str::from_utf8(&shown[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        let base64 = text.is_none().then(|| STANDARD.encode(shown));
        Self { bytes: bytes.len(), text, base64 }
    }
}

/// Above this a request or record stands in the `.bin` file.
pub(super) const INLINE_BYTES_MAX: usize = 1 << 20;
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Both files of a pair together; the next entry begins another pair.
const FILE_BYTES: u64 = 256 << 20;
