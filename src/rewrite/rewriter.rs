//! One request through all that is asked of it.
//!
//! Owns the order of the steps and what becomes of a request at which one of them failed.

use super::edits::Edits;
use super::settings::{OnError, Settings};
use crate::http::{Method, RequestHead};

/// Rewrites the requests of a run, one after another.
pub struct Rewriter {
    edits: Edits,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// It goes out byte for byte.
    Untouched,
    /// It goes out as this.
    Changed(Changed),
    /// It is not sent: the filter or a transform says so.
    Filtered,
    /// A program failed on it.
    Failed {
        /// What happened, for the log and the tuple.
        why: String,
        /// What goes out instead.
        instead: Instead,
    },
}

/// A request that differs from what was captured.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed {
    /// The whole message.
    pub bytes: Vec<u8>,
    /// Its method is HEAD: the answer has no body.
    pub head_request: bool,
}

/// What goes out for a request on which a program failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Instead {
    /// The captured bytes.
    Untouched,
    /// The captured request with the header edits alone.
    Changed(Changed),
    /// Nothing; it is put aside.
    Quarantine,
}

impl Rewriter {
    /// Checks the settings and compiles the programs. The error says what is wrong and what to do.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self { edits: Edits::new(settings)? })
    }

    /// Every request goes out byte for byte.
    pub fn is_identity(&self) -> bool {
        self.edits.is_empty()
    }

    /// Rewrites `request`, one whole message whose head says `head`.
    pub fn apply(&mut self, request: &[u8], head: &RequestHead) -> Rewritten {
        match self.edits.apply(request, head, 0) {
            None => Rewritten::Untouched,
            Some(bytes) => {
                Rewritten::Changed(Changed { bytes, head_request: head.method == Method::Head })
            }
        }
    }
}
