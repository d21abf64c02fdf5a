//! The writer: appends batches, makes them durable, begins new segments.
//!
//! Owns the live incarnation and its lock. Runs on one thread and blocks; never retries a sync,
//! never acknowledges a part of a batch, and after an error it cannot undo answers every call with
//! that error.

use std::fs::File;
use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::Settings;
use super::directory::{
    Incarnation, LOCK_NAME, check_versions, create_file, incarnation_name, incarnations,
    lock_exclusive, lock_setup, make_directory, prepare, sync_directory,
};
use super::disk::{Disk, Kernel};
use super::error::LogError;
use super::format::{
    END, FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES, Header, NODE_BYTES_MAX, PAYLOAD_BYTES_MAX,
    RECORD, salt, stride,
};
use super::position::Position;
use super::segment::Segment;

/// The one writer of an incarnation of the log.
pub struct Writer {
    settings: Settings,
    disk: Box<dyn Disk>,
    incarnation: Incarnation,
    node: String,
    started: SystemTime,
    since: Instant,
    segment: Segment,
    segment_first: u64,
    next: u64,
    /// Records before this are durable.
    synced: u64,
    bytes_appended: u64,
    poison: Option<Arc<LogError>>,
    staged: Vec<u8>,
    plan: Vec<Part>,
    /// Held for the writer's life: it tells readers and recovery that the incarnation is alive.
    _lock: File,
}

impl Writer {
    /// Creates the incarnation directory and its first segment, durably. `node` is at most 64
    /// bytes; `started` is the caller's wall clock, and names the directory (moved behind the
    /// newest directory there is, should the clock have been set back).
    pub fn create(
        settings: Settings,
        node: &str,
        incarnation: u64,
        started: SystemTime,
    ) -> Result<Self, LogError> {
        Self::create_on(Box::new(Kernel), settings, node, incarnation, started)
    }

    /// Appends each payload as one record, in order; returns their sequences. The batch goes into
    /// one segment with as few writes as possible, and is not durable before [`Self::sync`].
    ///
    /// On a full disk ([`LogError::is_disk_full`]) the whole batch is undone and the writer goes on
    /// working: the same batch may be tried again once there is space. Any other error of the disk
    /// poisons the writer.
    pub fn append(&mut self, payloads: &[&[u8]]) -> Result<Range<u64>, LogError> {
        self.check()?;
        let first = self.next;
        if let Some(large) = payloads.iter().find(|payload| payload.len() > PAYLOAD_BYTES_MAX) {
            return Err(LogError::TooLarge { bytes: large.len(), bytes_max: PAYLOAD_BYTES_MAX });
        }
        let bytes: u64 = payloads.iter().map(|payload| stride(payload.len())).sum();
        if !self.segment.has_room(bytes) {
            self.roll(bytes)?;
        }
        if let Err(error) = self.write_batch(payloads) {
            return Err(self.undo(error));
        }
        self.segment.accept(bytes);
        self.next += payloads.len() as u64;
        self.bytes_appended += bytes;
        Ok(first..self.next)
    }

    /// Makes everything appended durable. Only `Ok` means so. An error poisons: the kernel may have
    /// dropped the pages, and a second fdatasync could succeed without them.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.check()?;
        let synced = self.segment.sync(&mut *self.disk);
        self.poison_on(synced)?;
        self.synced = self.next;
        Ok(())
    }

    /// Writes the closing frame, gives unused space back and makes all of it durable. Dropping the
    /// writer instead leaves an incarnation for [`super::recover`].
    pub fn close(mut self) -> Result<(), LogError> {
        // First: a closing frame says that everything before it is there.
        self.sync()?;
        let head = FrameHead::seal(self.next, END, 0, 0, salt(self.incarnation.id), &[]);
        if let Err(error) = self.segment.write(&mut *self.disk, &mut [IoSlice::new(&head)], 0) {
            return Err(self.undo(error));
        }
        self.segment.accept(stride(0));
        self.segment.trim(&mut *self.disk)?;
        self.segment.sync(&mut *self.disk)
    }

    /// Bytes of frames appended so far, headers of frames and padding included.
    pub fn bytes_appended(&self) -> u64 {
        self.bytes_appended
    }

    /// The sequence the next record gets.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The position behind the last record appended.
    pub fn position(&self) -> Position {
        Position {
            incarnation: self.incarnation.name.clone(),
            segment: self.segment_first,
            offset: self.segment.written,
            next: self.next,
        }
    }

    /// The directory of this incarnation.
    pub fn directory(&self) -> &Path {
        &self.incarnation.path
    }

    pub(super) fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    pub(super) fn create_on(
        mut disk: Box<dyn Disk>,
        settings: Settings,
        node: &str,
        id: u64,
        started: SystemTime,
    ) -> Result<Self, LogError> {
        if node.is_empty() || node.len() > NODE_BYTES_MAX {
            return Err(LogError::BadName { name: node.into(), why: "a node has 1 to 64 bytes" });
        }
        prepare(&settings.dir)?;
        let setup = lock_setup(&settings.dir)?;
        check_versions(&settings.dir)?;
        let newest = incarnations(&settings.dir)?.pop();
        let name = incarnation_name(started, id, newest.as_ref().map(|newest| &*newest.name));
        let path = settings.dir.join(&name);
        make_directory(&path, false)?;
        let lock_path = path.join(LOCK_NAME);
        let lock = create_file(&lock_path)?;
        lock_exclusive(&lock, &lock_path)?;
        sync_directory(&path)?;
        drop(setup);
        let header = Header { node: node.to_owned(), incarnation: id, first: 0, created: started };
        let bytes = segment_bytes(&settings, 0)?;
        let segment = Segment::create(&mut *disk, &path, &header, bytes)?;
        Ok(Self {
            settings,
            disk,
            incarnation: Incarnation { name, path, id },
            node: header.node,
            started,
            since: Instant::now(),
            segment,
            segment_first: 0,
            next: 0,
            synced: 0,
            bytes_appended: 0,
            poison: None,
            staged: Vec::new(),
            plan: Vec::new(),
            _lock: lock,
        })
    }

    fn check(&self) -> Result<(), LogError> {
        match &self.poison {
            Some(cause) => Err(LogError::Poisoned { cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }

    fn poison_on<T>(&mut self, result: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(error) = &result {
            self.poison = Some(Arc::new(error.clone()));
        }
        result
    }

    /// After a failed write: back to the last whole frame if only space is lacking, else the end.
    fn undo(&mut self, error: LogError) -> LogError {
        let mut undone = self.segment.undo(&mut *self.disk);
        if error.is_disk_full() && undone.is_ok() {
            // Else the power could mix what was undone with what is written in its place.
            undone = self.segment.sync(&mut *self.disk);
        }
        if !error.is_disk_full() || undone.is_err() {
            self.poison = Some(Arc::new(error.clone()));
        }
        error
    }

    /// Begins the next segment. The old one is made durable first, so that only the last segment of
    /// an incarnation can be torn; it stays in use when there is no space for a new one.
    fn roll(&mut self, batch_bytes: u64) -> Result<(), LogError> {
        self.sync()?;
        if self.segment.is_empty() {
            // Same first sequence, same name: the empty segment simply grows beyond its limit.
            return Ok(());
        }
        let bytes = segment_bytes(&self.settings, batch_bytes)?;
        let header = Header {
            node: self.node.clone(),
            incarnation: self.incarnation.id,
            first: self.next,
            created: self.started + self.since.elapsed(),
        };
        let made = Segment::create(&mut *self.disk, &self.incarnation.path, &header, bytes);
        let fresh = match made {
            Err(error) if error.is_disk_full() => return Err(error),
            other => self.poison_on(other)?,
        };
        let mut old = std::mem::replace(&mut self.segment, fresh);
        self.segment_first = self.next;
        let trimmed = old.trim(&mut *self.disk);
        self.poison_on(trimmed)
    }

    fn write_batch(&mut self, payloads: &[&[u8]]) -> Result<(), LogError> {
        let mut ahead = 0;
        let mut from = 0;
        self.staged.clear();
        self.plan.clear();
        for (index, payload) in payloads.iter().enumerate() {
            let sequence = self.next + index as u64;
            self.stage(index, sequence, payload);
            if self.staged.len() >= STAGED_BYTES_MAX {
                ahead += self.flush(payloads, ahead)?;
                from = index + 1;
            }
        }
        if from < payloads.len() {
            self.flush(payloads, ahead)?;
        }
        Ok(())
    }

    /// Adds one frame to the plan: small payloads are copied, large ones only referred to.
    fn stage(&mut self, index: usize, sequence: u64, payload: &[u8]) {
        let begin = self.staged.len();
        let (unsynced, salt) = (sequence - self.synced, salt(self.incarnation.id));
        let head = FrameHead::seal(sequence, RECORD, 0, unsynced, salt, payload);
        self.staged.extend_from_slice(&head);
        let padding = stride(payload.len()) as usize - FRAME_HEAD_BYTES - payload.len();
        if payload.len() <= COPIED_BYTES_MAX {
            self.staged.extend_from_slice(payload);
        } else {
            self.plan_staged(begin);
            self.plan.push(Part::Payload(index));
        }
        let begin = if payload.len() <= COPIED_BYTES_MAX { begin } else { self.staged.len() };
        self.staged.extend_from_slice(&[0; 8][..padding]);
        self.plan_staged(begin);
    }

    /// Adds the staged bytes from `begin` on, joined to the part before where they touch.
    fn plan_staged(&mut self, begin: usize) {
        let end = self.staged.len();
        match self.plan.last_mut() {
            Some(Part::Staged(range)) if range.end == begin => range.end = end,
            _ if begin == end => {}
            _ => self.plan.push(Part::Staged(begin..end)),
        }
    }

    fn flush(&mut self, payloads: &[&[u8]], ahead: u64) -> Result<u64, LogError> {
        let mut bytes = 0;
        let mut parts: Vec<IoSlice<'_>> = self
            .plan
            .iter()
            .map(|part| match part {
                Part::Staged(range) => IoSlice::new(&self.staged[range.clone()]),
                Part::Payload(index) => IoSlice::new(payloads[*index]),
            })
            .inspect(|part| bytes += part.len() as u64)
            .collect();
        self.segment.write(&mut *self.disk, &mut parts, ahead)?;
        self.staged.clear();
        self.plan.clear();
        Ok(bytes)
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("position", &self.position()).finish_non_exhaustive()
    }
}

/// A piece of the next gathering write.
#[derive(Debug)]
enum Part {
    Staged(Range<usize>),
    Payload(usize),
}

/// How long the next segment becomes: as set, as long as the batch needs, and shorter when little
/// space is left above the reserve.
fn segment_bytes(settings: &Settings, batch_bytes: u64) -> Result<u64, LogError> {
    let needed = HEADER_BYTES as u64 + batch_bytes;
    let wanted = settings.segment_bytes.max(needed);
    let space = rustix::fs::statvfs(&settings.dir)
        .map_err(|error| LogError::io(&settings.dir, "statvfs", error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let usable = free.saturating_sub(settings.reserve_bytes);
    if usable < needed {
        return Err(LogError::DiskFull {
            path: settings.dir.clone(),
            doing: "new segment above the reserve",
        });
    }
    Ok(wanted.min(usable))
}

/// Payloads up to this are copied next to their head: cheaper than one more part of the write.
const COPIED_BYTES_MAX: usize = 16 << 10;
/// Copied bytes of a batch after which what is there is written.
const STAGED_BYTES_MAX: usize = 4 << 20;
