//! tapline: durable capture and replay of live Elasticsearch and OpenSearch traffic.
//!
//! The modules stand in the order in which data flows; arrows between them point upwards only.

pub mod http;
pub mod log;
