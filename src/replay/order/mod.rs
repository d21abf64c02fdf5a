//! Which requests may run side by side on the target, and which must wait for which.
//!
//! Owns the conflict order: what a request touches ([`footprint`]), and who goes when ([`schedule`]). Sends nothing and
//! looks into no body but through `es`. What it cannot tell is ordered as if it touched everything.
//!
//! - Requests of one captured connection go one after the other.
//! - Operations on one document go in the order in which the source applied them. Of two that were not under way at the
//!   same time that is the order of the records; of two that were, the source's `_seq_no` (or `_version`) tells. Where
//!   nothing tells, the order of the records is taken, and counted.
//! - What touches an index as a whole goes alone among all that touch the index; what may touch anything goes alone
//!   among all but searches.
//! - A bulk whose items cannot all go before or after another's goes in parts.

mod documents;
pub mod facts;
pub mod footprint;
mod lives;
mod locks;
mod names;
mod places;
mod requests;
pub mod schedule;
pub mod status;
mod tangle;
#[cfg(test)]
mod tests;

pub use facts::{Fact, Facts, facts};
pub use footprint::{Change, Document, Footprint, Item, footprint};
pub use schedule::{Order, Ready, Schedule};
pub use status::{Blocked, Counters, Wait};
