//! Whether a request is done after what its target made of it, or goes out again: when, and with which items.
//!
//! Owns what is passing and what is final, the back-off, and the picture of a bulk over all its attempts. Sends
//! nothing, reads no clock, and has its randomness from the caller.
//!
//! A target that cannot be reached is waited for. A write that the target refuses for lack of room (429, 503,
//! rejected items) goes again until it is taken, for a write left out is a difference that no later request mends. One
//! that it refuses for its credentials (401, 403) goes again for as long as no other write is taken: then it is not the
//! request that is wrong. Everything else gets [`Policy::attempts_max`] attempts. Of a bulk only the items that failed
//! for a passing reason go again.

mod items;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use items::subset;
pub use policy::Policy;

use crate::es::body::{self, DECODED_BYTES_MAX};
use crate::es::endpoint::{Endpoint, Kind};
use items::BulkReply;

/// What a request asked for, as far as retries depend on it.
// Independent facts, each from another part of the caller.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The kind of its endpoint, whatever its query.
    pub kind: Kind,
    /// It is not known to be safe, so it may change something.
    pub writes: bool,
    /// Its answer leaves things out (`filter_path`): the places of items in it mean nothing.
    pub filtered: bool,
    /// It was given an id that the source made, so a document in its place is its own.
    pub pinned: bool,
}

impl Asked {
    /// Of a request to this endpoint that was not amended.
    pub fn of(endpoint: &Endpoint<'_>, writes: bool) -> Self {
        let filtered = endpoint.query.is_filtered();
        Self { kind: endpoint.kind, writes, filtered, pinned: false }
    }

    /// A write that the source, which answered so, took or may have taken.
    pub fn must_be_taken(self, source: Option<u16>) -> bool {
        self.writes && source.is_none_or(|source| source < 400)
    }
}

/// What became of one attempt.
#[derive(Clone, Copy, Debug)]
pub enum Attempt<'a> {
    /// A whole response came.
    Answered(Reply<'a>),
    /// No connection could be made; nothing was sent.
    Unconnected,
    /// A connection that had served before ended without a byte of a response.
    Stale,
    /// The connection ended within the exchange.
    Lost,
    /// No byte came for too long.
    TimedOut,
    /// What came is no HTTP response.
    Malformed,
}

/// The target's response.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The status code of the final response.
    pub status: u16,
    /// Head and body, framing included.
    pub bytes: &'a [u8],
    /// Bytes of the head with its blank line.
    pub head_bytes: usize,
    /// The body is chunked.
    pub chunked: bool,
    /// Writes that the target has taken so far, of all requests.
    pub accepted: u64,
}

/// What happened to a request so far. One for each request, from its first attempt to its end.
#[derive(Debug, Default)]
pub struct Progress {
    /// Attempts that count.
    counted: u32,
    /// Delays so far, for the back-off.
    delays: u32,
    /// Connects that failed in a row.
    connects: u32,
    stale: bool,
    uncertain: bool,
    /// Writes that the target had taken when it last refused this one for its credentials.
    denied_at: Option<u64>,
    /// The items of the last attempt, in its order; `None` for all.
    sent: Option<Vec<usize>>,
    failed: BTreeMap<usize, FailedItem>,
}

impl Progress {
    /// An attempt ended without an answer, so the target may have done it already.
    pub fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    /// Attempts that count against [`Policy::attempts_max`].
    pub fn attempts_counted(&self) -> u32 {
        self.counted
    }

    fn body(&self) -> Body {
        self.sent.clone().map_or(Body::All, Body::Items)
    }
}

/// An item of a bulk that failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedItem {
    /// Its place in the bulk as it was first sent, from 0.
    pub number: usize,
    /// Its status.
    pub status: u16,
    /// The type of its error, empty when it had none.
    pub kind: String,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: the request has its outcome.
    Done(Verdict),
    /// It goes again.
    Again {
        /// After this long, counted from the end of the attempt.
        after_ns: u64,
        /// What goes.
        body: Body,
    },
}

/// What of a request goes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    All,
    /// These items of the bulk as it was first sent, rising; see [`subset`].
    Items(Vec<usize>),
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Source and target both took it.
    Same,
    /// The target took it; what the source said is not known.
    Unpaired,
    /// The target took what the source refused.
    SourceFailed,
    /// Both refused it.
    BothFailed,
    /// The target refused it for good, and the source took it or nobody knows.
    TargetFailed,
    /// The target holds what an earlier attempt of the same request brought.
    AlreadyDone,
    /// A bulk of which these items failed for good, by their number.
    PartlyFailed(Vec<FailedItem>),
    /// There was no answer, for good.
    NoAnswer,
}

impl Verdict {
    /// The target may lack what the source has: worth keeping the request.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::TargetFailed | Self::PartlyFailed(_) | Self::NoAnswer)
    }

    fn of(target: u16, source: Option<u16>) -> Self {
        match (target < 400, source.map(|source| source < 400)) {
            (true, None) => Self::Unpaired,
            (true, Some(true)) => Self::Same,
            (true, Some(false)) => Self::SourceFailed,
            (false, Some(false)) => Self::BothFailed,
            (false, None | Some(true)) => Self::TargetFailed,
        }
    }
}

/// A decision, and what the limiter is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What happens next.
    pub decision: Decision,
    /// The target refused work for lack of room.
    pub refused: bool,
}

/// What an answer calls for.
enum Call {
    Done(Verdict),
    /// As many attempts as are allowed.
    Counted(Verdict),
    /// Until it is taken.
    UntilTaken,
    /// Some items of a bulk; `progress` has been told the rest.
    Items {
        again: Vec<usize>,
        /// Not all of them were refused for lack of room only.
        counts: bool,
    },
}

impl Policy {
    /// Judges an attempt. `source` is the status that the source answered, `seed` any random number.
    pub fn decide(
        &self,
        asked: Asked,
        progress: &mut Progress,
        attempt: Attempt<'_>,
        source: Option<u16>,
        seed: u64,
    ) -> Decided {
        let again = |after_ns, progress: &Progress| Decided {
            decision: Decision::Again { after_ns, body: progress.body() },
            refused: false,
        };
        let reply = match attempt {
            Attempt::Unconnected => {
                let after_ns = self.connect_delay_ns(progress.connects, seed);
                progress.connects += 1;
                return again(after_ns, progress);
            }
            Attempt::Stale if !progress.stale => {
                progress.stale = true;
                progress.uncertain = true;
                return again(0, progress);
            }
            Attempt::Stale | Attempt::Lost | Attempt::TimedOut | Attempt::Malformed => {
                progress.uncertain = true;
                // A target that falls over comes back; one that never answers this request does not.
                let waits = asked.writes && matches!(attempt, Attempt::Stale | Attempt::Lost);
                if !waits {
                    progress.counted += 1;
                    if progress.counted >= self.attempts_max {
                        return Decided {
                            decision: Decision::Done(Verdict::NoAnswer),
                            refused: false,
                        };
                    }
                }
                let after_ns = self.next_delay_ns(progress, None, seed);
                return again(after_ns, progress);
            }
            Attempt::Answered(reply) => reply,
        };
        progress.connects = 0;
        let (call, refused) = self.call(asked, progress, reply, source);
        let counts = !matches!(call, Call::UntilTaken | Call::Items { counts: false, .. });
        progress.counted += u32::from(counts);
        let decision = match call {
            Call::Done(verdict) => Decision::Done(verdict),
            Call::Counted(verdict) if progress.counted >= self.attempts_max => {
                Decision::Done(verdict)
            }
            call => {
                if let Call::Items { again, .. } = call {
                    progress.sent = Some(again);
                }
                let head = &reply.bytes[..reply.head_bytes.min(reply.bytes.len())];
                let after_ns = self.next_delay_ns(progress, policy::retry_after_ns(head), seed);
                Decision::Again { after_ns, body: progress.body() }
            }
        };
        Decided { decision, refused }
    }

    /// What the answer calls for, and whether the target refused for lack of room.
    fn call(
        &self,
        asked: Asked,
        progress: &mut Progress,
        reply: Reply<'_>,
        source: Option<u16>,
    ) -> (Call, bool) {
        let status = reply.status;
        let full = matches!(status, 429 | 503);
        // What the source did not take either need not be taken.
        let must_be_taken = asked.must_be_taken(source);
        if must_be_taken && (full || status == 502) {
            return (Call::UntilTaken, full);
        }
        if must_be_taken && matches!(status, 401 | 403) {
            let before = progress.denied_at.replace(reply.accepted);
            let others_are_taken = before.is_some_and(|before| before < reply.accepted);
            let failed = Call::Counted(Verdict::TargetFailed);
            return (if others_are_taken { failed } else { Call::UntilTaken }, false);
        }
        if asked.kind == Kind::Bulk {
            match status {
                429 | 500.. => return (Call::Counted(Verdict::of(status, source)), full),
                200 => return self.bulk(asked, progress, reply, source),
                _ => {}
            }
        }
        let own = asked.pinned || progress.uncertain;
        let there = status == 409 && (asked.pinned || asked.kind == Kind::Create);
        let gone = status == 404 && asked.kind == Kind::Delete;
        if own && (there || gone) && source.is_none_or(|source| source < 300) {
            return (Call::Done(Verdict::AlreadyDone), false);
        }
        let verdict = Verdict::of(status, source);
        let settled = matches!(status, 200 | 201 | 401 | 403 | 300..=399);
        // A read that finds something else finds it again: an answer to compare, and nothing to wait for.
        if !asked.writes && (400..500).contains(&status) && !full {
            return (Call::Done(verdict), false);
        }
        // An answer that nobody expected is not believed at once.
        let differs = status >= 300 && source.is_none_or(|source| source < 300);
        let call = if differs && !settled { Call::Counted(verdict) } else { Call::Done(verdict) };
        (call, full)
    }

    fn bulk(
        &self,
        asked: Asked,
        progress: &mut Progress,
        reply: Reply<'_>,
        source: Option<u16>,
    ) -> (Call, bool) {
        let Reply { status, bytes, head_bytes, chunked, .. } = reply;
        let body = body::decoded(bytes, head_bytes, chunked, DECODED_BYTES_MAX).unwrap_or_default();
        let own = asked.pinned || progress.uncertain;
        let BulkReply { passing, finals, unclear } = BulkReply::of(self, &body, own);
        let refused = passing.iter().any(|item| item.full);
        if unclear {
            return (Call::Counted(Verdict::TargetFailed), refused);
        }
        if asked.filtered && !passing.is_empty() {
            // Which items these are cannot be told, so all go again.
            let failed = passing.into_iter().map(|item| item.failed).chain(finals).collect();
            return (Call::Counted(Verdict::PartlyFailed(failed)), refused);
        }
        let sent = progress.sent.take();
        let number = |place: usize| {
            sent.as_ref().map_or(Some(place), |sent| sent.get(place).copied()).unwrap_or(place)
        };
        let counts = passing.iter().any(|item| !item.full);
        let may_go_again = progress.counted + 1 < self.attempts_max;
        let mut again = Vec::new();
        for item in passing {
            let number = number(item.failed.number);
            if item.full || may_go_again {
                again.push(number);
            } else {
                progress.failed.insert(number, FailedItem { number, ..item.failed });
            }
        }
        for failed in finals {
            let number = number(failed.number);
            progress.failed.insert(number, FailedItem { number, ..failed });
        }
        progress.sent = sent;
        if !again.is_empty() {
            return (Call::Items { again, counts }, refused);
        }
        let failed: Vec<_> = std::mem::take(&mut progress.failed).into_values().collect();
        if failed.is_empty() {
            return (Call::Done(Verdict::of(status, source)), refused);
        }
        (Call::Done(Verdict::PartlyFailed(failed)), refused)
    }
}
