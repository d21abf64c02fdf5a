//! What `tapline demo` shows itself with: a small document server that speaks as much of the Elasticsearch API as a
//! live mix of writes and reads needs, and that mix.
//!
//! Owns an in-memory store with versions and sequence numbers as Elasticsearch 7 gives them, blocking threads, and
//! sockets on the loopback alone. Never captures or replays anything, never keeps anything on disk, and is no server
//! for anything but a demonstration: it knows no mappings and no queries, and holds all of a request in memory.

mod api;
mod server;
mod store;
mod traffic;
mod wire;

pub use server::Server;
pub use store::State;
pub use traffic::{Totals, traffic};
