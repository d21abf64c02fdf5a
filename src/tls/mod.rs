//! TLS over bytes that somebody else moves: every type of rustls stays in this room.
//!
//! Sans-IO except for reading certificate files when settings are made. Never opens a socket, never decides who is
//! spoken to.

mod client;
mod files;

pub use client::{ClientTls, TlsFault, Trust};
