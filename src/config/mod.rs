//! What can be set, and every bound of what cannot.
//!
//! Values only: nothing is opened, resolved or started here.

mod capture;
mod lifecycle;
mod tls;

pub mod limits;
pub mod replay;
pub mod units;

pub use capture::{CaptureConfig, KafkaConfig};
pub use lifecycle::Lifecycle;
pub use tls::{SourceTlsConfig, TlsConfig, TlsMode};
