//! What `tapline demo` shows itself with: a small document server that speaks as much of the Elasticsearch API as a
//! live mix of writes and reads needs, that mix, and the whole run.
//!
//! Owns an in-memory store with versions and sequence numbers as Elasticsearch 7 gives them, blocking threads, sockets
//! on the loopback alone, and the child processes and the directory of one run. Never captures or replays anything
//! itself, and is no server for anything but a demonstration: it knows no mappings and no queries, and holds all of a
//! request in memory.

mod api;
mod run;
mod server;
mod store;
mod traffic;
mod wire;

pub use run::{Progress, Verdict, run};
pub use server::Server;
pub use store::State;
pub use traffic::{Totals, traffic};
