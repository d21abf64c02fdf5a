//! TLS over bytes that somebody else moves: every type of rustls stays in this room.
//!
//! Sans-IO except for reading certificate files when settings are made. Never opens a socket, never decides who is
//! spoken to.

mod client;
mod files;
mod inspection;

pub use client::{ClientTls, TlsFault, Trust};
pub use inspection::{Inspection, belongs, inspect};
