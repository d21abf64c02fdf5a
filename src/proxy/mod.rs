//! The worker of `tapline capture`: client side, source side, what flows between them, and what is held.
//!
//! Does no I/O and reads no clock: it asks a [`crate::ring::Ring`] and is told the time. The same code runs on the real
//! ring and on the simulated one.
//!
//! ```text
//!  client ──recv──▶ intake ──record──▶ batch ──▶ sink
//!                     │ safe: at once      │ durable
//!                     ▼                    ▼
//!                   out ◀── release ── held queue
//!                     └─send─▶ source ──recv──▶ relay ──▶ client
//! ```
//!
//! Invariants:
//! - no byte of a held request is queued for the source before the record that contains it came back durable, and none
//!   before all bytes of the connection that precede it;
//! - bytes are forwarded as they came but for the head fields that a filter sets, in the order in which they came, or
//!   not at all;
//! - a connection's descriptors are closed only when no operation is under way on them.

mod accepting;
mod admission;
mod arrival;
mod connection;
mod control;
mod core;
mod deadlines;
mod drain;
mod ends;
mod expire;
mod filtered;
mod gaps;
mod heartbeat;
mod hold;
mod intake;
mod outstanding;
mod passing;
mod recording;
mod relay;
mod request;
mod seal;
mod secure;
mod settings;
mod settle;
mod slab;
#[cfg(test)]
mod tests;
mod timers;
mod veil;
mod worker;

pub use self::core::Now;
pub use accepting::Listener;
pub use admission::Admission;
pub use control::{Control, Haste};
pub use settings::Settings;
pub use worker::{Parts, Worker};
