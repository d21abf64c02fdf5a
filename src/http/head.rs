//! Collecting a head that may arrive in pieces.
//!
//! Owns the limits on lines and heads, and the copy of a head that is not complete yet. A head that
//! lies in one buffer is read in place and copied nowhere. Never keeps more than `head_bytes_max`.

use super::bytes::{CR, LF};
use super::fields::{Fields, Side, Step};
use super::{Limits, Refusal};

/// The first line of a head: what requests and responses do not share.
pub(super) trait StartLine: Sized {
    /// What is reported when the head is faulty.
    type Fault: From<Refusal>;
    /// Whose head it is.
    const SIDE: Side;
    /// Empty lines that may stand before the start line.
    const EMPTY_LINES_MAX: u8;
    /// The fault of a start line above `line_bytes_max`.
    const TOO_LONG: Self::Fault;

    /// Reads the line at the front of `window`: `None` until its line end is there, then the line
    /// and its length in bytes with the line end.
    fn read(window: &[u8]) -> Result<Option<(Self, usize)>, Self::Fault>;
}

/// A head whose blank line has been read.
pub(super) struct Complete<L> {
    pub start_line: L,
    pub fields: Fields,
    /// Bytes of the whole head, the empty lines before it included.
    pub head_bytes: usize,
    /// Bytes of it that the last input held.
    pub len: usize,
}

/// The head of the message that is arriving on one side of a connection.
pub(super) struct HeadReader<L> {
    kept: Vec<u8>,
    unfinished: Option<Box<Unfinished<L>>>,
}

impl<L: StartLine> HeadReader<L> {
    pub(super) fn new() -> Self {
        Self { kept: Vec::new(), unfinished: None }
    }

    /// Reads on. `None` when the head goes on behind `input`, of which a copy is kept then.
    #[inline]
    pub(super) fn next(
        &mut self,
        limits: &Limits,
        input: &[u8],
    ) -> Result<Option<Complete<L>>, L::Fault> {
        if let Some(unfinished) = self.unfinished.take() {
            return self.resume(unfinished, limits, input);
        }
        self.release();
        let mut scan: Scan<L> = Scan::new();
        let (read, done) = scan.read(limits, input)?;
        if done {
            return Ok(scan.complete(read));
        }
        self.kept.extend_from_slice(input);
        self.unfinished = Some(Box::new(Unfinished { scan, line_start: read }));
        Ok(None)
    }

    /// Bytes of the head from earlier inputs: of an unfinished head, or of the one that has just
    /// become complete or was found faulty.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    pub(super) fn take_kept(&mut self) -> Vec<u8> {
        self.unfinished = None;
        std::mem::take(&mut self.kept)
    }

    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Nothing of a message has been seen, empty lines before it apart.
    pub(super) fn is_at_start(&self) -> bool {
        self.unfinished.as_ref().is_none_or(|unfinished| {
            unfinished.scan.start_line.is_none() && unfinished.line_start == self.kept.len()
        })
    }

    /// Gives the memory of a complete head back.
    #[inline]
    pub(super) fn release(&mut self) {
        if self.kept.capacity() != 0 {
            self.kept = Vec::new();
        }
    }

    /// Joins the line that was cut with its rest; all other lines are read where they lie.
    fn resume(
        &mut self,
        mut unfinished: Box<Unfinished<L>>,
        limits: &Limits,
        input: &[u8],
    ) -> Result<Option<Complete<L>>, L::Fault> {
        let earlier = self.kept.len();
        let rest = memchr::memchr(LF, input).map_or(input.len(), |at| at + 1);
        let rest = rest.min(limits.line_bytes_max.saturating_add(CRLF_BYTES));
        self.kept.extend_from_slice(&input[..rest]);
        let scan = &mut unfinished.scan;
        let joined = scan.read(limits, &self.kept[unfinished.line_start..]);
        self.kept.truncate(earlier);
        let (read, mut done) = joined?;
        let mut line_start = unfinished.line_start + read;
        let mut len = rest;
        if read != 0 && !done {
            let (read, ended) = scan.read(limits, &input[rest..])?;
            line_start += read;
            len += read;
            done = ended;
        }
        if done {
            return Ok(unfinished.scan.complete(len));
        }
        self.kept.extend_from_slice(input);
        unfinished.line_start = line_start;
        self.unfinished = Some(unfinished);
        Ok(None)
    }
}

struct Unfinished<L> {
    scan: Scan<L>,
    /// Where in the kept bytes the line starts whose end has not arrived.
    line_start: usize,
}

/// What the complete lines of a head have said so far.
struct Scan<L> {
    start_line: Option<L>,
    fields: Fields,
    /// Bytes of all complete lines.
    bytes: usize,
    empty_lines: u8,
}

impl<L: StartLine> Scan<L> {
    fn new() -> Self {
        Self { start_line: None, fields: Fields::default(), bytes: 0, empty_lines: 0 }
    }

    /// Reads all complete lines at the front of `input`: how many bytes they have, and whether the
    /// last of them ended the head.
    #[inline]
    fn read(&mut self, limits: &Limits, input: &[u8]) -> Result<(usize, bool), L::Fault> {
        let mut at = 0;
        loop {
            // A line is judged by at most the bytes it may have, so that a limit strikes at the
            // same byte however the input was cut.
            let line_room = limits.line_bytes_max.saturating_add(CRLF_BYTES);
            let head_room = limits.head_bytes_max.saturating_sub(self.bytes);
            let room = line_room.min(head_room);
            let rest = &input[at..];
            let window = &rest[..rest.len().min(room)];
            let line_bytes = match self.line(limits, window)? {
                Step::Line(bytes) => bytes,
                Step::End => {
                    self.bytes += CRLF_BYTES;
                    return Ok((at + CRLF_BYTES, true));
                }
                Step::Incomplete if window.len() < room => return Ok((at, false)),
                Step::Incomplete if head_room <= line_room => {
                    return Err(Refusal::HeadTooLarge.into());
                }
                Step::Incomplete if self.start_line.is_none() => return Err(L::TOO_LONG),
                Step::Incomplete => return Err(Refusal::FieldLineTooLong.into()),
            };
            at += line_bytes;
            self.bytes += line_bytes;
        }
    }

    #[inline]
    fn line(&mut self, limits: &Limits, window: &[u8]) -> Result<Step, L::Fault> {
        if self.start_line.is_some() {
            return Ok(self.fields.line(L::SIDE, limits.fields_max, window)?);
        }
        if L::EMPTY_LINES_MAX > 0 && window.first() == Some(&CR) {
            return self.empty_line(window);
        }
        let Some((start_line, bytes)) = L::read(window)? else { return Ok(Step::Incomplete) };
        self.start_line = Some(start_line);
        Ok(Step::Line(bytes))
    }

    fn empty_line(&mut self, window: &[u8]) -> Result<Step, L::Fault> {
        if self.empty_lines == L::EMPTY_LINES_MAX {
            return Err(Refusal::EmptyLines.into());
        }
        match window.get(1) {
            None => Ok(Step::Incomplete),
            Some(&LF) => {
                self.empty_lines += 1;
                Ok(Step::Line(CRLF_BYTES))
            }
            Some(_) => Err(Refusal::BareCr.into()),
        }
    }

    #[inline]
    fn complete(self, len: usize) -> Option<Complete<L>> {
        let start_line = self.start_line?;
        Some(Complete { start_line, fields: self.fields, head_bytes: self.bytes, len })
    }
}

const CRLF_BYTES: usize = 2;
