//! What can be set, and every bound of what cannot.

mod capture;
pub mod limits;
pub mod units;

pub use capture::{CaptureConfig, KafkaConfig, TlsMode};
