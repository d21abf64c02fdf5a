//! Credentials for signatures, from where Amazon's programs find them.
//!
//! Owns a thread that fetches them and fetches them again before they end, and the newest ones. Never signs, never
//! writes a secret anywhere, and never lets a failed fetch take away credentials that still hold.

mod chain;
mod keeper;

pub use keeper::Keeper;
