//! The sink thread: takes finished records from the workers and makes them durable, in the capture log or in Kafka.
//!
//! It knows records, not connections, and nothing of HTTP. A record goes back to its worker when it is done with: a
//! held one only when it is durable, any other one when the sink no longer needs its memory.

mod kafka;
mod lend;
mod link;
mod local;
mod partition;
mod report;
mod topic;

#[cfg(test)]
mod tests;

pub use kafka::KafkaSink;
pub use link::{Batch, SinkEnd, WorkerEnd, link};
pub use local::LogSink;
pub use report::{SinkCounters, SinkState};
pub use topic::{KafkaError, KafkaSettings, TopicCheck};
