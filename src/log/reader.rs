//! The reader: every record of the log in order, from a position on, of a finished log as well as
//! of one being written.
//!
//! Owns the walk over frames, segments and incarnations. Never writes, never waits, and never
//! passes over a lost frame in silence: a loss is an error of one call, after which reading goes on
//! behind it ([`LogError::is_loss`]).
//!
//! A reader of a live log may see a record before it is durable. After a loss of power such a
//! record can be gone, and its sequence with it; the position then lies behind the closing frame
//! that recovery wrote, and reading goes on with the next incarnation.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::directory::{
    Incarnation, SegmentFile, check_rights, check_versions, incarnations, open_to_read, read_header,
};
use super::error::LogError;
use super::format::{END, FRAME_ALIGN, HEADER_BYTES, salt};
use super::position::Position;
use super::tail::search;
use super::window::{Found, Window};

/// Reads frames from a position on.
#[derive(Debug)]
pub struct Reader {
    root: PathBuf,
    position: Position,
    open: Option<Open>,
    /// The segment whose damaged header was reported.
    reported: Option<PathBuf>,
    /// Where a dead writer's log was searched for frames behind its end, without finding any.
    searched: Option<Position>,
    /// Never goes on with a later incarnation.
    confined: bool,
}

/// One frame of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The writer's life the frame belongs to.
    pub incarnation: u64,
    /// The node that wrote it; empty when the header that said so is damaged.
    pub node: &'a str,
    /// Strictly rising by one within an incarnation.
    pub sequence: u64,
    /// What the payload is; [`super::RECORD`] today.
    pub kind: u8,
    /// The payload.
    pub payload: &'a [u8],
    /// The position behind this frame, to store when it is done with.
    pub after: &'a Position,
}

impl Reader {
    /// Opens the log in `dir` at a position.
    pub fn open(dir: &Path, from: &Position) -> Result<Self, LogError> {
        check_rights(dir, true)?;
        check_versions(dir)?;
        let reader = Self {
            root: dir.to_path_buf(),
            position: from.clone(),
            open: None,
            reported: None,
            searched: None,
            confined: false,
        };
        reader.check_position()?;
        Ok(reader)
    }

    /// As [`Self::open`], but ends where the incarnation of the position ends.
    pub(super) fn confined(dir: &Path, from: &Position) -> Result<Self, LogError> {
        let mut reader = Self::open(dir, from)?;
        reader.confined = true;
        Ok(reader)
    }

    /// The next record; `None` when there is nothing more now: call again to follow a live log.
    /// Nothing is allocated per frame. After an error that [`LogError::is_loss`] the next call goes
    /// on behind what was lost.
    #[allow(clippy::should_implement_trait, reason = "the frame borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, LogError> {
        let found = loop {
            match self.step()? {
                Step::Record(found) => break found,
                Step::Moved => {}
                Step::Nothing => return Ok(None),
            }
        };
        let open = self.open.as_ref().expect("invariant: a record was read from an open segment");
        Ok(Some(Frame {
            incarnation: open.incarnation.id,
            node: &open.node,
            sequence: found.head.sequence,
            kind: found.head.kind,
            payload: open.window.payload(found.payload),
            after: &self.position,
        }))
    }

    /// The position behind the last frame that [`Self::next`] gave.
    pub fn position(&self) -> Position {
        self.position.clone()
    }

    /// The sequence of the frame that [`Self::next`] gives next, where nothing is lost.
    pub fn next_sequence(&self) -> u64 {
        self.position.next
    }

    /// Whether the reader is in the newest incarnation and a writer holds that one.
    pub fn at_live_end(&self) -> bool {
        let newest = incarnations(&self.root).ok().and_then(|mut all| all.pop());
        newest.is_some_and(|newest| {
            newest.name == self.position.incarnation && newest.is_live().unwrap_or(false)
        })
    }

    fn check_position(&self) -> Result<(), LogError> {
        let position = &self.position;
        let why = if position.is_start() {
            return Ok(());
        } else if Incarnation::parse(&self.root, &position.incarnation).is_none() {
            "no incarnation has such a name"
        } else if !position.offset.is_multiple_of(FRAME_ALIGN)
            || (position.offset != 0 && position.offset < HEADER_BYTES as u64)
        {
            "no frame begins at the offset"
        } else {
            return Ok(());
        };
        Err(LogError::BadPosition { path: self.root.clone(), why: why.into() })
    }

    fn step(&mut self) -> Result<Step, LogError> {
        let open = match &mut self.open {
            Some(open) if !open.done => open,
            _ => return self.enter(),
        };
        match open.window.frame(self.position.offset)? {
            Some(found) if found.head.sequence == self.position.next => {
                if found.head.kind == END {
                    return self.leave();
                }
                self.position.offset += found.head.stride();
                self.position.next += 1;
                Ok(Step::Record(found))
            }
            _ => self.miss(),
        }
    }

    /// Opens the segment of the position.
    fn enter(&mut self) -> Result<Step, LogError> {
        if self.position.is_start() {
            return self.leave();
        }
        let Some(incarnation) = Incarnation::parse(&self.root, &self.position.incarnation) else {
            return Ok(Step::Nothing);
        };
        if !incarnation.path.exists() {
            let (path, first) = (incarnation.path, self.position.next);
            self.position = Position::start();
            return Err(LogError::Missing { path, first, end: None });
        }
        let files = incarnation.segments()?;
        let Some(file) = files.iter().find(|file| file.first >= self.position.segment) else {
            return self.leave();
        };
        if file.first > self.position.segment {
            let first = self.position.next;
            self.turn_to(file);
            self.position.next = file.first;
            return if first < file.first {
                Err(LogError::Missing { path: incarnation.path, first, end: Some(file.first) })
            } else {
                Ok(Step::Moved)
            };
        }
        let handle = match open_to_read(&file.path) {
            // Renamed by recovery or deleted since it was listed.
            Err(LogError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(Step::Moved);
            }
            other => other?,
        };
        let path = file.path.clone();
        let node = match read_header(&handle, &path) {
            Ok(header) if header.incarnation == incarnation.id && header.first == file.first => {
                header.node
            }
            Ok(_) | Err(LogError::BadHeader { .. }) => {
                // A segment that is being created, or whose creation a crash cut short.
                if files.last() == Some(file) && !file.corrupt {
                    if !incarnation.is_live()? {
                        if is_empty(&handle, file, salt(incarnation.id))? {
                            return self.leave();
                        }
                    } else if starts_blank(&handle, &path)? {
                        return Ok(Step::Nothing);
                    }
                }
                if self.reported.as_ref() != Some(&path) {
                    self.reported = Some(path.clone());
                    return Err(LogError::BadHeader { path });
                }
                node_of(&files)
            }
            Err(error) => return Err(error),
        };
        if self.position.offset == 0 {
            self.position.offset = HEADER_BYTES as u64;
            self.position.next = file.first;
        }
        let salt = salt(incarnation.id);
        let window = match self.open.take() {
            Some(open) => open.window.moved_to(handle, path.clone(), salt),
            None => Window::new(handle, path.clone(), salt),
        };
        let kept = file.corrupt;
        self.open = Some(Open { incarnation, node, path, window, kept, done: false });
        Ok(Step::Moved)
    }

    /// No good frame here: it is not written yet, the segment or the incarnation ends here, or it
    /// is damaged. What the directory says is read before the file is read again: frames written
    /// before the writer went on are then visible for certain.
    fn miss(&mut self) -> Result<Step, LogError> {
        let Some(open) = &mut self.open else { return Ok(Step::Moved) };
        let following = open
            .incarnation
            .segments()?
            .into_iter()
            .find(|file| file.first > self.position.segment);
        let live = open.incarnation.is_live()?;
        if open.read_again(&self.position)? {
            return Ok(Step::Moved);
        }
        let waiting = live && following.is_none() && open.window.is_blank(self.position.offset)?;
        if waiting {
            return Ok(Step::Nothing);
        }
        // Of a dead writer's last segment, what stands behind a batch that the power cut is not part of the log either.
        let ends = |open: &mut Open, position: &Position| {
            let found = search(&mut open.window, position.offset, position.next)?;
            Ok::<_, LogError>(found.end == position.offset)
        };
        if self.searched.as_ref() != Some(&self.position) {
            let last = !live && following.is_none() && !open.kept;
            if last && ends(open, &self.position)? {
                self.searched = Some(self.position.clone());
            } else if let Some((offset, head)) =
                open.window.seek(self.position.offset, self.position.next)?
            {
                // A write in progress may show its later pages first; what stands behind a frame
                // proves that the frame itself was written.
                if open.read_again(&self.position)? {
                    return Ok(Step::Moved);
                }
                let path = open.path.clone();
                return self.skip(offset, head.sequence, path);
            }
            if !live {
                self.searched = Some(self.position.clone());
            }
        }
        match following {
            Some(file) => {
                let path = open.path.clone();
                self.turn_to(&file);
                self.skip(0, file.first, path)
            }
            None if live => Ok(Step::Nothing),
            None => self.leave(),
        }
    }

    /// Goes on at a later frame of the segment; an error when that leaves frames out.
    fn skip(&mut self, offset: u64, sequence: u64, path: PathBuf) -> Result<Step, LogError> {
        let lost = self.position.next..sequence;
        self.position.offset = offset;
        self.position.next = sequence;
        if lost.is_empty() {
            Ok(Step::Moved)
        } else {
            Err(LogError::Corrupt { path, sequences: lost })
        }
    }

    fn turn_to(&mut self, file: &SegmentFile) {
        self.position.segment = file.first;
        self.position.offset = 0;
        self.searched = None;
        if let Some(open) = &mut self.open {
            open.done = true;
        }
    }

    /// Leaves an incarnation in which nothing more comes, if there is a later one.
    fn leave(&mut self) -> Result<Step, LogError> {
        if self.confined {
            return Ok(Step::Nothing);
        }
        for incarnation in incarnations(&self.root)? {
            if incarnation.name <= self.position.incarnation {
                continue;
            }
            if let Some(first) = incarnation.segments()?.into_iter().next() {
                self.turn_to(&first);
                self.position.incarnation = incarnation.name;
                self.position.next = first.first;
                return Ok(Step::Moved);
            }
            if incarnation.is_live()? {
                break;
            }
        }
        Ok(Step::Nothing)
    }
}

/// Whether no frame was ever written to a segment.
fn is_empty(handle: &File, file: &SegmentFile, salt: u32) -> Result<bool, LogError> {
    let handle = handle.try_clone().map_err(|error| LogError::io(&file.path, "dup", error))?;
    let mut window = Window::new(handle, file.path.clone(), salt);
    Ok(search(&mut window, 0, file.first)?.next == file.first)
}

/// Whether a file begins with zeroes, or is empty.
fn starts_blank(file: &File, path: &Path) -> Result<bool, LogError> {
    let mut bytes = [0; 64];
    file.read_at(&mut bytes, 0).map_err(|error| LogError::io(path, "read", error))?;
    Ok(bytes.iter().all(|byte| *byte == 0))
}

/// The node named by any intact header of the incarnation.
fn node_of(files: &[SegmentFile]) -> String {
    let header = |file: &SegmentFile| read_header(&open_to_read(&file.path).ok()?, &file.path).ok();
    files.iter().find_map(header).map(|header| header.node).unwrap_or_default()
}

/// What one step of the walk came to.
#[derive(Debug)]
enum Step {
    Record(Found),
    Moved,
    Nothing,
}

/// The segment being read.
#[derive(Debug)]
struct Open {
    incarnation: Incarnation,
    node: String,
    path: PathBuf,
    window: Window,
    /// Kept aside by recovery, which has judged what is missing.
    kept: bool,
    /// Read to its end; the window's buffer serves the next one.
    done: bool,
}

impl Open {
    /// Whether the file has the frame of the position now.
    fn read_again(&mut self, position: &Position) -> Result<bool, LogError> {
        self.window.forget();
        let found = self.window.frame(position.offset)?;
        Ok(found.is_some_and(|found| found.head.sequence == position.next))
    }
}
