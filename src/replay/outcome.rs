//! How requests end, and what is left of them for tuples, quarantine and journal.

use std::rc::Rc;

use super::{
    exchange::{Answer, ConnectionName, Mark, Request},
    table::Attempt,
};
use crate::feed::Place;

/// What is to be written about one request or one piece of trouble. Until it is reported as written, the position does
/// not move past it.
#[derive(Debug)]
pub struct Outcome {
    /// Comes back when it is written.
    pub number: u64,
    /// What it is.
    pub what: What,
}

/// What an outcome is about.
#[derive(Debug)]
pub enum What {
    /// A request.
    Finished(Box<Finished>),
    /// Something in the records that is no request.
    Oddity(Box<Oddity>),
}

/// A request that has ended.
#[derive(Debug)]
pub struct Finished {
    /// As it was captured.
    pub request: Request,
    /// Where in the records it became complete.
    pub place: Place,
    /// What the source answered.
    pub answer: Option<Answer>,
    /// What was sent last, where that is not what was captured.
    pub sent: Option<Sent>,
    /// All tries.
    pub attempts: Vec<Attempt>,
    /// How it ended.
    pub fate: Fate,
    /// It may have reached the target twice.
    pub possible_duplicate: bool,
    /// What was done to it, as stable words.
    pub notes: Vec<&'static str>,
}

/// What was sent for a request, where that is not what was captured.
#[derive(Debug)]
pub enum Sent {
    /// This head in place of the captured one.
    Head(Vec<u8>),
    /// This message.
    Whole(Vec<u8>),
}

impl Sent {
    /// Memory that it holds, bytes.
    pub fn bytes(&self) -> usize {
        let (Self::Head(bytes) | Self::Whole(bytes)) = self;
        bytes.capacity()
    }
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The target has answered, no worse than the source.
    Done,
    /// The target has answered for good, and worse than the source: what for, in words.
    Failed(String),
    /// It could not be made or sent: a stable code, and why.
    Unsendable(&'static str, String),
    /// It was left out on purpose.
    Skipped(Skip),
}

/// Why a request was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// `--only`.
    Only,
    /// `--request-filter`, or a transform that gave nothing.
    Filtered,
    /// The source refused it and so it had no effect there.
    Refused,
    /// It never reached the source.
    Undelivered,
    /// It names a scroll, a point in time or an asynchronous search of the source, which the target does not know.
    Context,
    /// An earlier run has sent it.
    Known,
}

impl Skip {
    /// A stable word for tuples.
    pub fn note(self) -> &'static str {
        match self {
            Self::Only => "left-out-only",
            Self::Filtered => "left-out-filtered",
            Self::Refused => "left-out-refused-by-source",
            Self::Undelivered => "left-out-undelivered",
            Self::Context => "left-out-context-of-source",
            Self::Known => "left-out-sent-before",
        }
    }
}

/// Something in the records that is no request: quarantined.
#[derive(Debug)]
pub struct Oddity {
    /// Where it lies.
    pub place: Place,
    /// The connection, where it is known.
    pub name: Option<Rc<ConnectionName>>,
    /// A stable code.
    pub reason: &'static str,
    /// In words.
    pub detail: String,
    /// The bytes: of a record, or what there is of a request.
    pub bytes: Vec<u8>,
    /// They are a record's.
    pub is_record: bool,
}

/// A line of the journal: a request that must not be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The request's.
    pub fingerprint: u64,
    /// Its tuple is written, or none is.
    pub written: bool,
    /// The record it begins in.
    pub mark: Mark,
}
