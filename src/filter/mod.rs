//! What `tapline capture` changes and leaves out: field lines set in what is forwarded, requests left out of the
//! records, and credentials hidden in them.
//!
//! Sans-IO and made at the start and at each reload: a [`Filter`] says of a request head what becomes of it, and makes
//! the head that is forwarded, the one that is recorded, and the body that is recorded. Never changes a request line or
//! a field that decides framing, and never what is forwarded but for the fields that were asked for.

mod edits;
mod health;
mod redaction;
mod secret_calls;
mod suppression;
#[cfg(test)]
mod tests;

pub use edits::{HeaderEdit, HeaderEdits};
pub use health::HealthPath;
pub use redaction::{Block, FieldName, HiddenBody, KEY_BYTES, Redaction};
pub use suppression::{HeaderPattern, Pattern, Suppression};

use std::net::IpAddr;

use edits::forwarded_for;

use crate::http::{RequestHead, RequestLines};

/// Everything that a worker is to change and to leave out.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// On what is forwarded.
    pub edits: HeaderEdits,
    /// Append the client's address to `X-Forwarded-For`.
    pub forwarded_for: bool,
    /// On what is recorded.
    pub suppression: Suppression,
    /// On what is recorded: credentials that are not to be there.
    pub redaction: Option<Redaction>,
    /// A target that tapline answers by itself.
    pub health_path: Option<HealthPath>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is forwarded and recorded.
    Record,
    /// It is forwarded and left out of the records, with its answer.
    LeaveOut,
    /// tapline answers it by itself.
    Answer,
}

impl Filter {
    /// Nothing is ever changed, left out or answered.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
            && !self.forwarded_for
            && self.suppression.is_empty()
            && self.redaction.is_none()
            && self.health_path.is_none()
    }

    /// The head as it is to be forwarded, or `None` when that is how it is. `client`: whose address is appended, where
    /// that is asked for.
    pub fn edited(&self, head: &[u8], client: Option<IpAddr>) -> Option<Vec<u8>> {
        let edited = self.edits.apply(head);
        match client.filter(|_| self.forwarded_for) {
            None => edited,
            Some(client) => Some(forwarded_for(edited.as_deref().unwrap_or(head), client)),
        }
    }

    /// What becomes of the request with this complete head.
    pub fn judge(&self, request: &RequestHead, head: &[u8]) -> Verdict {
        let lines = RequestLines::new(head);
        if self.health_path.as_ref().is_some_and(|path| path.is_asked(request, &lines)) {
            return Verdict::Answer;
        }
        if self.suppression.matches(&lines) { Verdict::LeaveOut } else { Verdict::Record }
    }
}
