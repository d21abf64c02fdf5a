//! TLS of `tapline capture`: to clients and to the source.

use std::path::PathBuf;

/// TLS to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Whether, and with whose certificate.
    pub mode: TlsMode,
    /// The certificate chain, with [`TlsMode::Files`].
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Authorities of clients' certificates; `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Clients without a certificate are turned away.
    pub client_certificate_required: bool,
}

/// Whose certificate clients are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsMode {
    /// A certificate made once and kept in the state directory.
    SelfSigned,
    /// Plaintext.
    Off,
    /// A certificate and key from files.
    Files,
}

/// TLS to the source; only looked at when its URL is https.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTlsConfig {
    /// Authorities instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate chain, for a source that asks for one.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Any certificate will do.
    pub insecure: bool,
}
