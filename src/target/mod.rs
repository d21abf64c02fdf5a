//! The connections to the target: a pool per worker thread, one request in flight on each.
//!
//! Knows jobs and replies; nothing of what they mean. Does no I/O and reads no clock: it asks a [`crate::ring::Ring`]
//! and is told the time, so the same code runs on the real ring and on the simulated one. Never sends a job twice,
//! never sends a byte that is not the job's, and never pipelines.
//!
//! ```text
//! conductor ──jobs──▶ link ──▶ waiting ──▶ idle or new connection ──send──▶ target
//!     ▲                                          │
//!     └──────replies◀── link ◀───────────────── answer ◀──recv── target
//! ```
//!
//! Invariants:
//! - every job that was published gets exactly one reply, with its memory;
//! - a connection is used again only when request and answer were whole, the answer let it, and nothing came behind it;
//! - a descriptor is closed only when no operation is under way on it.

mod answer;
mod connection;
mod core;
mod counters;
mod job;
mod link;
mod pool;
mod settings;
#[cfg(test)]
mod tests;
mod worker;

pub use counters::{Counter, Counters};
pub use job::{Broken, Job, Reply, Response};
pub use link::{ConductorEnd, WorkerEnd, link};
pub use settings::Settings;
pub use worker::{Parts, Worker};
