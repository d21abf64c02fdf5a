//! What requests to Elasticsearch and `OpenSearch` and their answers say: endpoints, bodies, bulk lines, bulk items.
//!
//! Owns the dialect of Elasticsearch 6 to 8 and `OpenSearch` 1 to 3, read from whole messages that lie in memory.
//! Knows nothing of order, retries or amendments, and changes no message but where it is told the new body
//! ([`body::rebuilt`]). What it cannot read it says so of ([`endpoint::Kind::Unknown`], the errors); it never
//! guesses.

pub mod answer;
pub mod body;
pub mod bulk;
mod coding;
pub mod endpoint;
mod indices;
mod json;
mod query;
#[cfg(test)]
mod tests;
mod text;

pub use indices::Indices;
pub use query::Query;
pub use text::{percent_encoded_into, request_target};
