//! The lines of a `_bulk` body: one action each, most with a source on the line below.
//!
//! Owns the format of the action lines and where items begin and end. Never looks into a source.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::json::{Plain, Raw, Scanner};

/// What an item does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Writes the document whether it exists or not.
    Index,
    /// Writes the document and is refused when it exists.
    Create,
    /// Changes the document by a part of it or by a script.
    Update,
    /// Deletes the document; the only one without a source.
    Delete,
}

impl Action {
    /// The action of this name in a line or in an answer's item.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "index" => Some(Self::Index),
            "create" => Some(Self::Create),
            "update" => Some(Self::Update),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// One item of a bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkItem<'a> {
    /// What it does. An index action with `op_type` create is [`Action::Create`].
    pub action: Action,
    /// Its place among the items, from 0: the place of its answer among the answer's items.
    pub number: usize,
    /// All of it: its lines with their line ends.
    pub whole: Range<usize>,
    /// The action line, without its line end.
    pub line: Range<usize>,
    /// Where in the body the action's metadata begins: just behind its brace.
    pub metadata: usize,
    /// The source line, without its line end. `None` for a delete, and where the body ends before it.
    pub source: Option<Range<usize>>,
    /// The index, of the line or else the default of the path.
    pub index: Option<Cow<'a, str>>,
    /// The document's id. An empty or absent one is the server's to make.
    pub id: Option<Cow<'a, str>>,
    /// The mapping type (Elasticsearch 6).
    pub doc_type: Option<Cow<'a, str>>,
    /// What decides the shard in place of the id.
    pub routing: Option<Cow<'a, str>>,
    /// It has `if_seq_no` or `if_primary_term`.
    pub sequence_condition: bool,
    /// It brings its own `version`.
    pub versioned: bool,
    /// It names an ingest pipeline.
    pub pipeline: bool,
}

impl BulkItem<'_> {
    /// The server is to make the id.
    pub fn wants_id(&self) -> bool {
        matches!(self.action, Action::Index | Action::Create)
            && self.id.as_deref().is_none_or(str::is_empty)
    }

    /// It is refused unless the document is as it expects.
    pub fn has_condition(&self) -> bool {
        self.sequence_condition || self.versioned
    }
}

/// A line that is no action line. The servers refuse the whole bulk then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkError {
    /// Where in the body the line begins, in bytes.
    pub at: usize,
    /// The item it would have begun, from 0.
    pub number: usize,
}

impl fmt::Display for BulkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, number } = self;
        write!(f, "the line at byte {at} is no action line of a bulk, after {number} items")
    }
}

impl std::error::Error for BulkError {}

/// The items of a decoded `_bulk` body. Ends with the first error.
pub fn lines<'a>(
    body: &'a [u8],
    default_index: Option<&'a str>,
) -> impl Iterator<Item = Result<BulkItem<'a>, BulkError>> {
    Lines { body, default_index, at: 0, number: 0 }
}

/// Appends the item to a new body with `id` in its metadata, if given, and without the conditions on sequence
/// numbers, if they are to go. All other bytes of it stay.
pub fn write_amended(
    body: &[u8],
    item: &BulkItem<'_>,
    id: Option<&str>,
    drop_conditions: bool,
    out: &mut Vec<u8>,
) {
    let from = out.len();
    if write_metadata(body, item, id, drop_conditions, out).is_none() {
        debug_assert!(false, "invariant: an item's line has been read before");
        out.truncate(from);
        out.extend_from_slice(&body[item.whole.clone()]);
    }
}

fn write_metadata(
    body: &[u8],
    item: &BulkItem<'_>,
    id: Option<&str>,
    drop_conditions: bool,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.extend_from_slice(&body[item.whole.start..item.metadata]);
    let mut first = true;
    if let Some(id) = id {
        out.extend_from_slice(b"\"_id\":");
        serde_json::to_writer(&mut *out, id).ok()?;
        first = false;
    }
    let mut scanner = Scanner { bytes: &body[..item.line.end], at: item.metadata };
    while !scanner.take(b'}') {
        scanner.take(b',');
        scanner.skip_blanks();
        let from = scanner.at;
        let name = scanner.name()?;
        scanner.skip_value()?;
        let condition = name.is("if_seq_no") || name.is("if_primary_term");
        if (condition && drop_conditions) || (id.is_some() && name.is("_id")) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        out.extend_from_slice(&body[from..scanner.at]);
    }
    out.extend_from_slice(&body[scanner.at - 1..item.whole.end]);
    Some(())
}

struct Lines<'a> {
    body: &'a [u8],
    default_index: Option<&'a str>,
    at: usize,
    number: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<BulkItem<'a>, BulkError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Blank lines stand for nothing where an action is due.
        let line = loop {
            let line = self.line()?;
            if !self.body[line.clone()].trim_ascii().is_empty() {
                break line;
            }
        };
        let Some(mut item) = action_line(self.body, line.clone()) else {
            self.at = self.body.len();
            return Some(Err(BulkError { at: line.start, number: self.number }));
        };
        item.number = self.number;
        item.index = item.index.or(self.default_index.map(Cow::Borrowed));
        if item.action != Action::Delete {
            item.source = self.line();
        }
        item.whole = line.start..self.at;
        self.number += 1;
        Some(Ok(item))
    }
}

impl Lines<'_> {
    /// The next line without its line end; the last one may have none.
    fn line(&mut self) -> Option<Range<usize>> {
        let from = self.at;
        let rest = self.body.get(from..).filter(|rest| !rest.is_empty())?;
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.at = (from + len + 1).min(self.body.len());
        let end = from + len;
        let carriage_return = len > 0 && self.body[end - 1] == b'\r';
        Some(from..end - usize::from(carriage_return))
    }
}

/// `{"index":{"_index":"logs","_id":"17"}}`
fn action_line(body: &[u8], line: Range<usize>) -> Option<BulkItem<'_>> {
    let mut scanner = Scanner { bytes: &body[..line.end], at: line.start };
    if !scanner.take(b'{') {
        return None;
    }
    let action = Action::of(&scanner.name()?.text()?)?;
    if !scanner.take(b'{') {
        return None;
    }
    let mut item = BulkItem {
        action,
        number: 0,
        whole: line.clone(),
        line,
        metadata: scanner.at,
        source: None,
        index: None,
        id: None,
        doc_type: None,
        routing: None,
        sequence_condition: false,
        versioned: false,
        pipeline: false,
    };
    let mut first = true;
    while !scanner.take(b'}') {
        if !first && !scanner.take(b',') {
            return None;
        }
        first = false;
        let name = scanner.name()?;
        metadata(&mut item, name, &mut scanner)?;
    }
    (scanner.take(b'}') && scanner.peek().is_none()).then_some(item)
}

fn metadata<'a>(item: &mut BulkItem<'a>, name: Raw<'a>, scanner: &mut Scanner<'a>) -> Option<()> {
    let key = if name.escaped {
        Cow::Owned(name.text()?.into_owned().into_bytes())
    } else {
        Cow::Borrowed(name.bytes)
    };
    match key.as_ref() {
        b"_index" => item.index = text(scanner.plain()?)?,
        b"_id" => item.id = text(scanner.plain()?)?,
        b"_type" => item.doc_type = text(scanner.plain()?)?,
        b"routing" | b"_routing" => item.routing = text(scanner.plain()?)?,
        b"if_seq_no" | b"if_primary_term" => {
            item.sequence_condition = true;
            scanner.plain()?;
        }
        b"version" | b"_version" => {
            item.versioned = true;
            scanner.plain()?;
        }
        b"pipeline" => {
            item.pipeline = true;
            scanner.plain()?;
        }
        b"op_type" | b"_op_type" => {
            if text(scanner.plain()?)?.as_deref() == Some("create") && item.action == Action::Index
            {
                item.action = Action::Create;
            }
        }
        _ => scanner.skip_value()?,
    }
    Some(())
}

/// The servers take a number where text is due. `null` is no text, and that is no fault.
#[allow(clippy::option_option, reason = "no fault, and then no text")]
fn text(value: Plain<'_>) -> Option<Option<Cow<'_, str>>> {
    match value {
        Plain::Text(raw) => raw.text().map(Some),
        Plain::Word(b"null") => Some(None),
        Plain::Word(word) => std::str::from_utf8(word).ok().map(|word| Some(Cow::Borrowed(word))),
    }
}
