//! How every client of Kafka reaches its brokers: the operator's properties, who we are, and what is wrong when they
//! do not let us in.
//!
//! Owns passwords and tokens on their way from a file or from AWS to librdkafka, and shows them to nobody else: not to
//! logs, error texts or `Debug`. Reads and writes no records.
//!
//! ```text
//! access   KafkaConfig ─▶ librdkafka's properties        file     the lines of --kafka-config
//! login    the password or token of a running client     iam      tokens of AWS
//! witness  what a client complains of, counted           trouble  what that means, and what mends it
//! metadata the first question to the brokers             native   calls that the binding has no word for
//! ```

mod access;
mod file;
mod iam;
mod login;
mod metadata;
mod native;
mod trouble;
mod witness;

pub use access::{Access, Rules};
pub use login::Login;
pub use metadata::metadata;
pub use trouble::{Kind, Trouble, error_name};
pub use witness::Witness;
