//! Addresses and listening sockets.

mod listen;
mod source;

pub use listen::{Bind, ListenError};
pub use source::{SourceUrl, SourceUrlError};
