//! Requests changed by what the source made of them, so that the target ends in the source's state.
//!
//! Owns three changes: an id that the source made is given to the target; what the source refused is left out; a
//! condition on a sequence number that the source found true is dropped, since the target counts its own. Everything
//! else of a request stays byte for byte, and one that needs none of this is not even read.

mod bulk;
mod single;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::exchange::{Answer, Request};
use crate::es::body::{self, DECODED_BYTES_MAX};
use crate::es::bulk::BulkItem;
use crate::es::endpoint::{Endpoint, Kind};
use crate::es::request_target;
use crate::http::{
    Answering, Limits, RequestFraming, RequestHead, RequestPart, ResponseFraming, ResponsePart,
};

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whose ids are used where the client gave none.
    pub ids: Ids,
    /// What happens to what the source refused.
    pub refused: Refused,
    /// What happens to conditions on sequence numbers that the source found true.
    pub conditions: Conditions,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ids: Ids::Source, refused: Refused::Skip, conditions: Conditions::Drop }
    }
}

/// Whose ids are used where the client gave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// The source's, so that later requests find the document.
    Source,
    /// The target makes its own.
    Target,
}

/// What happens to what the source refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is left out.
    Skip,
    /// It is sent.
    Send,
}

/// What happens to conditions on sequence numbers that the source found true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// They go.
    Drop,
    /// They stay.
    Keep,
}

/// What the lines of a bulk call for. Whoever reads the lines for another reason collects it on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// An item leaves its id to the server.
    pub ids: bool,
    /// An item has a condition on a sequence number.
    pub conditions: bool,
}

impl Needs {
    /// Whatever the lines say.
    pub const UNKNOWN: Self = Self { ids: true, conditions: true };

    /// Takes an item in.
    pub fn add(&mut self, item: &BulkItem<'_>) {
        self.ids |= item.wants_id();
        self.conditions |= item.sequence_condition;
    }
}

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Amended {
    /// The request as it was captured.
    Untouched,
    /// Another one.
    Changed(Change),
    /// The request as it was captured, although it calls for a change: to be counted.
    Unable(Why),
    /// Nothing.
    Leave(Reason),
}

/// A changed request.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// The request.
    pub bytes: Vec<u8>,
    /// What its head says now.
    pub head: RequestHead,
    /// What was changed.
    pub what: Counts,
    /// Of a bulk: the numbers, as captured, of the items that are left, rising; `None` when all are.
    pub kept: Option<Vec<usize>>,
}

/// How much was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents that were given the source's id.
    pub ids: u32,
    /// Items that were left out.
    pub left_out: u32,
    /// Writes whose conditions were dropped.
    pub conditions: u32,
}

/// Why a change could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The records hold no answer of the source, or not all of it.
    NoAnswer,
    /// The source's answer cannot be read, or leaves out what is needed (`filter_path`).
    AnswerUnreadable,
    /// The request's own body cannot be read.
    RequestUnreadable,
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The source refused it with this status.
    RefusedBySource(u16),
    /// The source refused every item of the bulk.
    AllItemsRefused,
}

/// What to send for `request`, given the source's answer. `uncertain_items` are the items, 0 for a request that is no
/// bulk, whose place among overlapping writes is not known: where the source refused one, whatever the status, it is
/// left out. `needs` is what the lines of a bulk call for; [`Needs::UNKNOWN`] has them read where it matters.
pub fn amend(
    request: &Request,
    answer: Option<&Answer>,
    settings: Settings,
    uncertain_items: &[usize],
    needs: Needs,
) -> Amended {
    if request.head.safe {
        return Amended::Untouched;
    }
    let Some(target) = request_target(&request.bytes) else { return Amended::Untouched };
    let endpoint = Endpoint::of(request.head.method, target);
    let done = match endpoint.kind {
        Kind::Bulk => bulk::amend(request, &endpoint, answer, settings, uncertain_items, needs),
        kind if kind.is_single_write() => {
            single::amend(request, &endpoint, answer, settings, !uncertain_items.is_empty())
        }
        kind => return whole(kind, answer, settings),
    };
    done.unwrap_or_else(Amended::Unable)
}

/// What touches indices as a whole, or the cluster: where the source refused it nothing has changed there. On a target
/// that is more lenient, or with other credentials, it could delete what the source still has.
fn whole(kind: Kind, answer: Option<&Answer>, settings: Settings) -> Amended {
    let harmless = kind.is_read() || matches!(kind, Kind::Context | Kind::Maintenance);
    match answer.map(|answer| answer.status) {
        // After others, part of it may have been done.
        Some(status @ (400 | 401 | 403 | 404 | 405))
            if !harmless && settings.refused == Refused::Skip =>
        {
            Amended::Leave(Reason::RefusedBySource(status))
        }
        _ => Amended::Untouched,
    }
}

/// The source refused a write in one of the ways that leave the document as it was, and of which the target knows
/// nothing: its load and its users are others, and its documents may be, when a write comes to it for a second time. A
/// deletion of what was not there is none.
fn is_refusal(status: u16, deleted: bool) -> bool {
    matches!(status, 401 | 403 | 409 | 429 | 503) || status == 404 && !deleted
}

/// The decoded body of an answer that is there as a whole.
fn answer_body(answer: &Answer) -> Result<Cow<'_, [u8]>, Why> {
    if !answer.whole {
        return Err(Why::NoAnswer);
    }
    let head = answer.bytes.get(..answer.head_bytes).filter(|head| !head.is_empty());
    let head = head.ok_or(Why::NoAnswer)?;
    let piece = ResponseFraming::new().next(&Limits::default(), Answering::Other, head);
    let Ok(ResponsePart::Head(facts)) = piece.map(|piece| piece.what) else {
        return Err(Why::AnswerUnreadable);
    };
    body::decoded(&answer.bytes, answer.head_bytes, facts.chunked, DECODED_BYTES_MAX)
        .map_err(|_| Why::AnswerUnreadable)
}

/// The request with another start line or body, read anew.
fn changed(
    request: &Request,
    start_line: Option<&[u8]>,
    body: Option<&[u8]>,
    what: Counts,
    kept: Option<Vec<usize>>,
) -> Result<Amended, Why> {
    let RequestHead { head_bytes, chunked, .. } = request.head;
    let bytes = body::rebuilt(&request.bytes, head_bytes, chunked, start_line, body)
        .map_err(|_| Why::RequestUnreadable)?;
    let piece = RequestFraming::new().next(&limits(), &bytes);
    let Ok(RequestPart::Head(head)) = piece.map(|piece| piece.what) else {
        return Err(Why::RequestUnreadable);
    };
    Ok(Amended::Changed(Change { bytes, head, what, kept }))
}

/// What the head of a request that was changed here is read with. Its line may be longer than a client's may be: an id
/// of 512 bytes can have 1,536 in a path.
pub(super) fn limits() -> Limits {
    Limits { line_bytes_max: LINE_BYTES_MAX, ..Limits::default() }
}

const LINE_BYTES_MAX: usize = 16 * 1024;
