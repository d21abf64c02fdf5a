//! Where captured records come from, and how far they are done with: capture log, Kafka group, lines.
//!
//! Owns positions: which record a restart begins with. Decodes nothing, drops nothing, sends
//! nothing, and never stores a position before it was told that everything up to it is done.
//!
//! A *lane* is a row of records in their order with one position: the whole of a log or a file, or
//! one partition for as long as it is assigned to us. Records of a lane are numbered from 0.
//!
//! Delivery is at least once: what was handed out and not stored as done comes again after a
//! restart, or goes to the member of the group that gets the partition.
//!
//! A follower of a live capture log may be handed a record before the capture has made it durable.
//! Should that host lose power at this moment, the record is gone from the log though it was
//! replayed; its client had no answer yet, and may not have been served by the source at all.

mod capture_log;
mod kafka;
mod line_feed;
mod lines;
mod track;

use std::{fmt, sync::Arc, time::Instant};

pub use capture_log::{LogFeed, LogOptions, check_log, log_failure, lost_records};
pub use kafka::{KafkaFeed, KafkaOptions};
pub use line_feed::LinesFeed;
pub use lines::{Line, Lines};

use crate::observe::Failure;

/// What a feed has to say.
#[derive(Debug)]
pub enum Next<'a> {
    /// A record.
    Record(Record<'a>),
    /// The source had something here and has it no more; what follows is given next.
    Loss {
        /// What happened, and what to do about it.
        text: String,
        /// How many records, where that is known.
        records: Option<u64>,
    },
    /// The lane ends: its partition goes to another member of the group. Nothing more of it comes.
    /// Finish or abandon what is in flight, say what is done, then [`Feed::release`] it, within 10 s.
    LaneClosing {
        /// Which.
        lane: u32,
    },
    /// The lane is gone already, and another member may have it: drop everything of it. What is
    /// said of it from now on is ignored.
    LaneLost {
        /// Which.
        lane: u32,
    },
    /// Nothing now: ask again in a moment. Asking costs system calls, so do not spin.
    Idle,
    /// The end that was asked for is reached. Only a rebalance can bring more.
    End,
}

/// A record as it lies in its source.
#[derive(Debug)]
pub struct Record<'a> {
    /// The lane it belongs to. A lane's number is never used again.
    pub lane: u32,
    /// Its number in the lane: from 0, rising by one.
    pub number: u64,
    /// The bytes of a `TrafficStream`; those that were found, when [`Self::poison`] says something.
    pub payload: &'a [u8],
    /// Where it lies.
    pub place: Place,
    /// Why this cannot be a record.
    pub poison: Option<String>,
}

/// Where a record lies, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a capture log.
    Log {
        /// The writer's life.
        incarnation: u64,
        /// The frame in it, from 0.
        sequence: u64,
    },
    /// In a topic.
    Kafka {
        /// The partition.
        partition: i32,
        /// The offset in it.
        offset: i64,
    },
    /// In a text.
    Line {
        /// What the text is called.
        name: Arc<str>,
        /// The line, from 1.
        line: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log { incarnation, sequence } => {
                write!(f, "frame {sequence} of incarnation {incarnation:016x}")
            }
            Self::Kafka { partition, offset } => {
                write!(f, "offset {offset} of partition {partition}")
            }
            Self::Line { name, line } => write!(f, "line {line} of {name}"),
        }
    }
}

/// How much the source has that was not handed out yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Records, where the source counts them.
    pub records: Option<u64>,
    /// Bytes as they lie in the source, where it measures them.
    pub bytes: Option<u64>,
    /// Whether everything there is was handed out, and more may come.
    pub at_live_end: bool,
}

/// A source of records that remembers how far it was read.
pub trait Feed: Send {
    /// What comes next. With `want_records` false it only keeps its place in the group and tells
    /// of lanes; a caller that wants no records must go on asking at least once a second. Blocks
    /// for an answer of the brokers at most: one second, while partitions are being assigned.
    fn next(&mut self, want_records: bool, now: Instant) -> Result<Next<'_>, Failure>;

    /// The group had no position: nothing it did before counts.
    fn is_new(&self) -> bool {
        false
    }

    /// Every record of the lane before `number` has its outcome on disk. Never goes back.
    fn done(&mut self, lane: u32, number: u64);

    /// Stores what is done. With `wait` it is stored on return; otherwise it will be soon, and a
    /// store that fails is logged and tried again with the next call.
    fn save(&mut self, wait: bool) -> Result<(), Failure>;

    /// Lanes whose stored position has moved since this was last asked, each with the number of its first record behind
    /// that position: a restart begins there or later.
    fn stored(&mut self) -> Vec<(u32, u64)> {
        Vec::new()
    }

    /// What keeps records from coming, while something does.
    fn trouble(&self) -> Option<&str> {
        None
    }

    /// The closing lane has nothing in flight any more.
    fn release(&mut self, lane: u32);

    /// What is left. Costs a look into the source: ask about once a second.
    fn backlog(&mut self) -> Backlog;

    /// Stores what is done and leaves the group.
    fn close(self: Box<Self>) -> Result<(), Failure>;
}
