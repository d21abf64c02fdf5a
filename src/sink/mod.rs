//! The sink thread: takes finished records from the workers and makes them durable, in the capture log or in Kafka,
//! and in a spool while Kafka does not take them.
//!
//! It knows records, not connections, and nothing of HTTP. A record goes back to its worker when it is done with: a
//! held one only when it is durable, any other one when the sink no longer needs its memory.

mod fifo;
mod kafka;
mod lane;
mod lease;
mod ledger;
mod lend;
mod link;
mod local;
mod partition;
mod producer;
mod report;
mod sides;
mod spool;
mod topic;

#[cfg(test)]
mod tests;

pub use kafka::{KafkaSink, SinkError};
pub use link::{Batch, SinkEnd, WorkerEnd, link};
pub use local::LogSink;
pub use report::{SinkCounters, SinkState, SpoolBacklog};
pub use spool::LogSpool;
pub use topic::{KafkaError, KafkaSettings, TopicCheck};
