//! What can be set, and every bound of what cannot.
//!
//! Values only: nothing is opened, resolved or started here.

mod capture;
mod lifecycle;

pub mod limits;
pub mod replay;
pub mod units;

pub use capture::{CaptureConfig, KafkaConfig, TlsMode};
pub use lifecycle::Lifecycle;
