//! Addresses and listening sockets.
//!
//! Makes sockets and hands them over; never reads or writes one, and starts no thread.

mod listen;
mod source;

pub use listen::{Bind, ListenError};
pub use source::{SourceUrl, SourceUrlError};
