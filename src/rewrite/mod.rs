//! What is changed in a request before it goes to the target: header fields, Host, credentials, and what the user's
//! programs and the type mapping make of it.
//!
//! Sans-IO: one whole message in, one whole message out; the time and the credentials are handed in. Owns the rule
//! that nothing changes beyond what was asked: header edits copy every other byte, a body is decoded only for a
//! program that reads it and encoded only when it came back different. Never lets a line end from a setting or a
//! program into a head: what a program made is framed again before it may go out.
//!
//! ```text
//! request ─▶ filter ─▶ transforms, in order ─▶ header edits (Host, fields, agent, auth) ─▶ signature ─▶ job
//! ```

mod edits;
mod message;
mod object;
mod payload;
mod program;
mod rewriter;
mod settings;
mod sigv4;
#[cfg(test)]
mod tests;
mod type_mapping;

pub use rewriter::{Changed, EditedHead, Instead, Rewriter, Rewritten};
pub use settings::{Auth, Host, OnError, Settings, Transform};
pub use sigv4::Credentials;
pub use type_mapping::{TypeMapping, TypeTarget};
