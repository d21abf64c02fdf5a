//! What a connection knows of a request: while it arrives, and until it is answered.

use super::hold::Mark;
use crate::{capture::LeftOut, http::Answering};

/// What the records are to say of a request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// All of it.
    Record,
    /// Nothing for want of memory: a gap.
    Miss,
    /// Nothing, on purpose.
    LeaveOut(LeftOut),
}

impl Telling {
    /// What becomes of it when memory is far gone.
    pub(super) fn without_memory(self) -> Self {
        if self == Self::Record { Self::Miss } else { self }
    }
}

/// How the bytes of a request travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// At once.
    Free,
    /// Not before they are durable.
    Held,
    /// Nowhere: tapline answers it by itself.
    Own,
}

/// A request between its head and its end.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; they combine freely")]
pub(super) struct Arriving {
    pub(super) way: Way,
    pub(super) telling: Telling,
    /// It is not positively known to be a read.
    pub(super) write: bool,
    pub(super) first_line_bytes: i32,
    pub(super) headers_bytes: i32,
    /// Where its first byte stands in the held queue.
    pub(super) mark: Mark,
    /// Some of it was recorded or queued for the source.
    pub(super) forwarded: bool,
    /// Some of it went on without ever having stood in the held queue.
    pub(super) gone: bool,
    pub(super) answering: Answering,
    /// The client ends the connection with it.
    pub(super) close: bool,
    /// It counts as let through before its record was stored.
    pub(super) early: bool,
    /// The client has asked for a 100 and has got none.
    pub(super) waits_for_100: bool,
}

impl Arriving {
    pub(super) fn held(&self) -> bool {
        self.way == Way::Held
    }
}

/// A request without a complete answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) answering: Answering,
    pub(super) telling: Telling,
    /// It stands in the records, or is about to, whatever becomes of its answer.
    pub(super) recorded: bool,
    /// Where it stands in the held queue, if it was not sent at once.
    pub(super) waits: Option<Mark>,
    /// The records are not to show the content of its body and of its answer's.
    pub(super) hides_body: bool,
    /// tapline's own answer, for when the earlier ones are complete.
    pub(super) own: Option<Box<OwnAnswer>>,
}

impl Asked {
    /// Its answer is not to be passed on in one piece with one of this telling.
    pub(super) fn differs_from(&self, telling: Telling) -> bool {
        self.own.is_some() || self.telling != telling
    }
}

/// An answer that tapline gives in the source's place, in the order of the pipeline.
#[derive(Debug)]
pub(super) struct OwnAnswer {
    pub(super) bytes: Vec<u8>,
    /// The connection ends with it.
    pub(super) close: bool,
}
