//! The replayer's core: captured records become requests, requests become jobs in an order that leads the target to
//! the source's state, replies become outcomes.
//!
//! Sans-IO: no sockets, no files, no clock, no threads; `service` carries records in and jobs out. Owns what was read
//! and is not finished, and bounds it in bytes.
//!
//! ```text
//! record ─▶ assembly ─▶ requests, answers ─▶ order (footprints, schedule) ─▶ amend ─▶ job
//!              │                                                                      │
//!             pins ◀────────────────────── outcome ◀── retry ◀── reply ◀──────────────┘
//! ```

pub mod amend;
mod arrivals;
pub mod assembly;
pub mod conductor;
mod denial;
pub mod exchange;
pub mod job;
pub mod limiter;
mod look;
pub mod order;
pub mod outcome;
pub mod pace;
pub mod pins;
pub mod retry;
mod sending;
mod table;
#[cfg(test)]
mod tests;
pub mod totals;

pub use look::Look;
pub use table::{Attempt, AttemptAnswer};
