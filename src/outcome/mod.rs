//! What is left of a replayed request: tuples, quarantine, the journal of what was sent.
//!
//! Owns the files below `--tuples`, `--quarantine` and `<state-dir>/replay`, and the outcome thread that writes the
//! first two. Writes what it is given; never decides whether a request is done with, never opens a socket.
//!
//! ```text
//! conductor ── batches of Outcome ──▶ Desk ──▶ tuples-….log.gz, quarantine-….jsonl
//!     ▲                                │
//!     └──── ids whose files are safe ──┘          conductor ──▶ Journal (no thread of its own)
//! ```

mod content;
mod counter;
mod desk;
mod error;
mod files;
mod head;
mod journal;
mod json;
mod payload;
mod quarantine;
mod recovery;
mod render;
#[cfg(test)]
mod tests;
mod tuple;
mod tuple_file;

pub use counter::{Counter, Counts};
pub use desk::{Desk, DeskSettings, Outcome, open};
pub use error::OutcomeError;
pub use journal::{Entry, Journal, Lanes, Members, Stage};
pub use quarantine::{Misfit, Quarantine, Raw};
pub use recovery::Recovered;
pub use render::Renderer;
pub use tuple::{Attempt, Message, Reply, TargetRequest, Tuple};
pub use tuple_file::{TupleFiles, TupleLimits, Written};
