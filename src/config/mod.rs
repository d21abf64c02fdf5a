//! What can be set, and every bound of what cannot.
//!
//! Values only: nothing is opened, resolved or started here.

mod admin;
mod capture;
mod clients;
mod doctor;
mod effective;
mod kafka;
mod lifecycle;
mod tls;
mod trouble;

pub mod limits;
pub mod replay;
pub mod units;

pub use admin::{AdminAddress, AdminConfig, CAPTURE_ADMIN_PORT, REPLAY_ADMIN_PORT, otlp_endpoint};
pub use capture::{CaptureConfig, RedactionConfig};
pub use clients::{Caps, Deadlines, ProxyProtocol};
pub use doctor::DoctorConfig;
pub use effective::{Effective, Loaded, Provenance, Setting};
pub use kafka::{KafkaAuth, KafkaConfig, KafkaTls};
pub use lifecycle::Lifecycle;
pub use tls::{SourceTlsConfig, TlsConfig, TlsMode};
pub use trouble::{Policy, TroubleConfig};
