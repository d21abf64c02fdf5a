//! Addresses and listening sockets.
//!
//! Makes sockets and hands them over; reads and writes none but the one on which two processes do that, and starts no
//! thread.

mod addresses;
mod doors;
pub mod handover;
mod listen;
pub mod proxy_protocol;
mod source;

pub use addresses::Addresses;
pub use doors::{AdoptError, Doors, Share};
pub use listen::ListenError;
pub use source::{SourceUrl, SourceUrlError};
