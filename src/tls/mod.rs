//! TLS over bytes that somebody else moves: every type of rustls stays in this room.
//!
//! Sans-IO except for reading and writing certificate files when settings are made. Never opens a socket, never decides
//! who is spoken to.
//!
//! [`Session`] is what the proxy uses, on both sides: a handshake by rustls, then records opened where they lie and
//! sealed from where their parts lie. [`ClientTls`] is rustls' own buffered connection, which replay uses.

mod acceptor;
mod certificate;
mod client;
mod fault;
mod files;
mod handshake;
mod inspection;
mod record;
mod self_signed;
mod session;
#[cfg(test)]
mod tests;
mod traffic;

pub use acceptor::{Acceptor, ClientCertificates, Identity, Prepared};
pub use client::{ClientTls, Trust};
pub use fault::{FaultKind, TlsFault};
pub use inspection::{Inspection, belongs, inspect};
pub use self_signed::{PemPair, pair as self_signed_pair};
pub use session::{Established, Opened, Session};
