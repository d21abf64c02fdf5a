//! The capture log: opaque records in segment files, durable when `sync` says so.
//!
//! Owns the on-disk format, the writer, the reader, recovery after a crash, the reading positions
//! of groups, retention, and what a spool has carried off. Never looks into a payload, never knows
//! a connection, never starts a thread, never retries an fsync, and never reports a record durable
//! before fdatasync returned.
//!
//! ```text
//! <dir>/20261121T032000.123456Z-<incarnation, 16 hex>/lock            held by the live writer
//!                                                    /<first sequence, 20 digits>.seg
//!                                                    /<first sequence>.seg.corrupt   kept aside
//!                                                    /drained          of a spool: what has arrived
//! <dir>/groups/<name>                                                 one reading position
//! <dir>/setup.lock                                                    taken while creating
//! <dir>/source                                                        whose traffic this is
//! ```
//!
//! A batch never straddles two segments, and the old segment is synced before the next one is
//! created: so a crash can tear only the end of the last segment, and a batch that met a full disk
//! can be undone by cutting one file.
//!
//! Why fallocate + pwritev + fdatasync (2026-11-21, 2 vCPU, ext4 on a virtual disk limited to about
//! 150 MB/s; one commit every 8 ms; p50 latency / p99 / CPU of the writing thread per commit):
//!
//! | variant                                | 1 x 600 B             | 32 x 5 KiB            | 4 x 128 KiB             |
//! |----------------------------------------|-----------------------|-----------------------|-------------------------|
//! | fallocate, write + fdatasync (chosen)  | 296 us/0.7 ms/152 us  | 543 us/0.8 ms/258 us  | 1.5 ms/4.3 ms/884 us    |
//! | fallocate + zeroes 1-4 MiB ahead       | 302 us/0.5 ms/172 us  | 382 us/4.5 ms/535 us  | 0.6 ms/15.8 ms/1696 us  |
//! | no preallocation                       | 309 us/0.5 ms/187 us  | 532 us/1.0 ms/320 us  | 1.8 ms/3.6 ms/1323 us   |
//! | fallocate, `RWF_DSYNC` writes          | 316 us/0.6 ms/168 us  | 586 us/1.1 ms/328 us  | 1.8 ms/45.7 ms/1738 us  |
//!
//! Zeroes ahead give the better median but write every byte twice: double the CPU, half the
//! throughput of a device with a bandwidth limit, and a p99 four times as long. The other three
//! lie within the noise of repeated runs (CPU up to 40 %, first touches of fresh page cache
//! included); preallocation stays for having the space before a write is accepted.
//!
//! The same machine, alternating with a bare pwrite + fdatasync of as many bytes (device idle):
//! 32 x 5 KiB 333 us and 126 us CPU per commit, 487 MB/s, against 310 us, 125 us, 525 MB/s. On a
//! device short of operations a commit costs one more than a page-aligned one, because the last
//! page is written again. Reading with checksums from the page cache: 3.5 GB/s of CPU time with
//! records of 600 B, 5 GB/s of 5 KiB, 6 GB/s of 128 KiB and more.

mod backlog;
mod directory;
mod disk;
mod error;
mod format;
mod position;
mod reader;
mod recovery;
mod retention;
mod segment;
mod spool;
mod tail;
mod window;
mod writer;

#[cfg(test)]
mod tests;

pub use backlog::bytes_from;
pub use error::LogError;
pub use format::{FORMAT_VERSION, PAYLOAD_BYTES_MAX, RECORD};
pub use position::{Groups, Position};
pub use reader::{Frame, Reader};
pub use recovery::{Outcome, Recovered, recover};
pub use retention::{Deleted, Limits, Unread, retain};
pub use spool::{Spool, any_leftover};
pub use writer::Writer;

use std::path::PathBuf;
use std::time::Duration;

/// A file beside the incarnations: the URL of the source whose traffic the log holds, as one line. Written by
/// capture for replay, which must not send to the source; no part of the format.
pub const SOURCE_FILE: &str = "source";

/// Where the log is and how large it may become.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The log directory; created with mode 0700 when it is not there.
    pub dir: PathBuf,
    /// Length to which a segment is preallocated, and beyond which the next one is begun. A batch
    /// larger than this gets a segment of its own size.
    pub segment_bytes: u64,
    /// Total length of segments above which [`retain`] deletes the oldest; `None` for no limit.
    pub retain_bytes: Option<u64>,
    /// Age above which [`retain`] deletes a segment; `None` for no limit.
    pub retain_age: Option<Duration>,
    /// Free space of the file system the log leaves to others: a segment that would take from it
    /// is refused as if the disk were full.
    pub reserve_bytes: u64,
}

impl Settings {
    /// The defaults for a directory: segments of 256 MiB, kept for ever, 64 MiB left to others.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 256 << 20,
            retain_bytes: None,
            retain_age: None,
            reserve_bytes: 64 << 20,
        }
    }
}
