//! The values that were there before: kept in `/run`, which is as short-lived as what they describe.

use std::io;

use serde::{Deserialize, Serialize};

use crate::sys::tree::Tree;

/// Readable for root alone; a directory of its own, so that no other user can put a file in its place.
pub(super) const FILE: &str = "run/tapline-tune/former.json";

/// One file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Former {
    /// The tuner.
    pub(super) tuner: String,
    /// As operators know it.
    pub(super) name: String,
    /// Without the leading slash.
    pub(super) file: String,
    /// Its text; `None` when there was no such file.
    pub(super) value: Option<String>,
    /// What was put there instead.
    pub(super) applied: String,
}

/// Everything that was changed and not yet taken back, oldest change first.
pub(super) fn read(tree: &Tree) -> Result<Vec<Former>, String> {
    let Some(text) = tree.read(FILE) else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|error| {
        format!(
            "/{FILE} cannot be read: {error}. Remove it; a restart of the host brings the former values back"
        )
    })
}

/// An empty list leaves no file.
pub(super) fn write(tree: &Tree, formers: &[Former]) -> io::Result<()> {
    if formers.is_empty() {
        return tree.remove(FILE);
    }
    let text = serde_json::to_string_pretty(formers).map_err(io::Error::other)?;
    tree.put(FILE, &format!("{text}\n"), 0o600)
}
