//! The items of a bulk's reply, sorted into what passes and what stays; and the bulk with only some of its items.
//!
//! Owns the classes of item errors. Knows nothing of attempts.

use std::collections::BTreeSet;

use super::{FailedItem, Policy};
use crate::es::answer::{self, AnswerItem};
use crate::es::body::{self, BodyError, DECODED_BYTES_MAX};
use crate::es::bulk::{self, Action};

/// What a bulk's reply says, by the places of items in the attempt it answers.
pub(super) struct BulkReply {
    /// Items that another attempt may mend.
    pub passing: Vec<Passing>,
    /// Items that failed for good.
    pub finals: Vec<FailedItem>,
    /// It says that something failed and not what.
    pub unclear: bool,
}

/// An item that another attempt may mend.
pub(super) struct Passing {
    pub failed: FailedItem,
    /// It was refused for lack of room.
    pub full: bool,
}

impl BulkReply {
    /// `own`: a document that stands where an item was to create it may be the item's own.
    pub(super) fn of(policy: &Policy, body: &[u8], own: bool) -> Self {
        let mut reply = Self { passing: Vec::new(), finals: Vec::new(), unclear: false };
        if answer::errors_at_front(body) == Some(false) {
            return reply;
        }
        // What cannot be read and came with a 200 is believed, as of any other request.
        let Ok(answer) = answer::bulk(body) else { return reply };
        if answer.errors == Some(false) {
            return reply;
        }
        let items = answer.items.unwrap_or_default();
        let mut failures = 0;
        for (place, item) in items.iter().enumerate() {
            // A delete of what is not there has a 404 and no error.
            let Some(error) = &item.written.error else { continue };
            failures += 1;
            if own && is_own(item) {
                continue;
            }
            let status = item.written.status.unwrap_or(0);
            let kind = error.kind.as_deref().unwrap_or("").to_owned();
            let full = matches!(status, 429 | 503) || FULL_TYPES.contains(&kind.as_str());
            let is_final = !full && error.is_object && policy.final_types.contains(&kind);
            let failed = FailedItem { number: place, status, kind };
            if is_final {
                reply.finals.push(failed);
            } else {
                reply.passing.push(Passing { failed, full });
            }
        }
        reply.unclear = answer.errors == Some(true) && failures == 0;
        reply
    }
}

fn is_own(item: &AnswerItem<'_>) -> bool {
    match item.action {
        Some(Action::Create) => item.written.status == Some(409),
        _ => false,
    }
}

/// The message of a bulk with only the items of these numbers, rising; everything else of it stays.
///
/// # Errors
/// [`BodyError`] when its body cannot be read, or has no item of such a number: then all of it has to go again.
pub fn subset(
    message: &[u8],
    head_bytes: usize,
    chunked: bool,
    numbers: &[usize],
) -> Result<Vec<u8>, BodyError> {
    let body = body::decoded(message, head_bytes, chunked, DECODED_BYTES_MAX)?;
    let wanted: BTreeSet<usize> = numbers.iter().copied().collect();
    let mut out = Vec::with_capacity(body.len());
    let mut found = 0;
    for item in bulk::lines(&body, None) {
        let item = item.map_err(|fault| BodyError::Corrupt(fault.to_string()))?;
        if wanted.contains(&item.number) {
            out.extend_from_slice(&body[item.whole]);
            found += 1;
        }
    }
    if found != wanted.len() {
        return Err(BodyError::Corrupt(format!(
            "{} items of the bulk are to go again and it has {found} of them",
            wanted.len()
        )));
    }
    body::rebuilt(message, head_bytes, chunked, None, Some(&out))
}

/// Of a full queue and of shards that are moving, whatever status they come with.
const FULL_TYPES: [&str; 2] = ["es_rejected_execution_exception", "unavailable_shards_exception"];
