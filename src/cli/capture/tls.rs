//! The flags of TLS, to clients and to the source.

use std::path::PathBuf;

use clap::Args;

use crate::{
    config::{SourceTlsConfig, TlsConfig, TlsMode},
    observe::Failure,
};

/// TLS to clients.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "these texts are the help that users see")]
pub(super) struct TlsArguments {
    /// TLS to clients: with a certificate of tapline's own, kept in the state directory; with one from files; or none
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_TLS",
        value_name = "MODE",
        value_enum,
        default_value = "self-signed"
    )]
    tls: TlsMode,

    /// PEM file of the certificate chain, the server's own first; read again when it changes
    #[arg(long, env = "TAPLINE_CAPTURE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// PEM file of its private key
    #[arg(long, env = "TAPLINE_CAPTURE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// PEM file of the authorities of clients' certificates: clients may show one, and a wrong one is refused
    #[arg(long, env = "TAPLINE_CAPTURE_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// Turn clients without a certificate away
    #[arg(long, env = "TAPLINE_CAPTURE_TLS_REQUIRE_CLIENT_CERT")]
    tls_require_client_cert: bool,
}

/// TLS to the source.
#[derive(Debug, Args)]
#[allow(clippy::struct_field_names, reason = "they are named as their flags are")]
pub(super) struct SourceTlsArguments {
    /// PEM file of the authorities that the source's certificate must come from [default: the system's]
    #[arg(long, env = "TAPLINE_CAPTURE_SOURCE_CA", value_name = "FILE")]
    source_ca: Option<PathBuf>,

    /// PEM file of the certificate chain to show the source
    #[arg(long, env = "TAPLINE_CAPTURE_SOURCE_CERT", value_name = "FILE")]
    source_cert: Option<PathBuf>,

    /// PEM file of its private key
    #[arg(long, env = "TAPLINE_CAPTURE_SOURCE_KEY", value_name = "FILE")]
    source_key: Option<PathBuf>,

    /// Take any certificate of the source: whoever is in between can read and change everything
    #[arg(long, env = "TAPLINE_CAPTURE_SOURCE_INSECURE")]
    source_insecure: bool,
}

impl TlsArguments {
    pub(super) fn config(self) -> Result<TlsConfig, Failure> {
        let files = [&self.tls_cert, &self.tls_key].map(Option::is_some);
        match self.tls {
            TlsMode::Files if files != [true; 2] => {
                return Err(Failure::configuration(
                    "--tls files needs both --tls-cert and --tls-key",
                ));
            }
            TlsMode::SelfSigned | TlsMode::Off if files != [false; 2] => {
                return Err(Failure::configuration(
                    "--tls-cert and --tls-key are only read with --tls files",
                ));
            }
            _ => {}
        }
        if self.tls == TlsMode::Off && self.tls_client_ca.is_some() {
            return Err(Failure::configuration("--tls-client-ca needs TLS: leave out --tls off"));
        }
        if self.tls_require_client_cert && self.tls_client_ca.is_none() {
            return Err(Failure::configuration(
                "--tls-require-client-cert needs --tls-client-ca, the authorities of clients' certificates",
            ));
        }
        Ok(TlsConfig {
            mode: self.tls,
            certificate: self.tls_cert,
            key: self.tls_key,
            client_ca: self.tls_client_ca,
            client_certificate_required: self.tls_require_client_cert,
        })
    }
}

impl SourceTlsArguments {
    /// `tls`: the source's URL is https.
    pub(super) fn config(self, tls: bool) -> Result<SourceTlsConfig, Failure> {
        let config = SourceTlsConfig {
            ca: self.source_ca,
            certificate: self.source_cert,
            key: self.source_key,
            insecure: self.source_insecure,
        };
        if !tls && config != SourceTlsConfig::default() {
            return Err(Failure::configuration(
                "--source-ca, --source-cert, --source-key and --source-insecure need an https:// source",
            ));
        }
        if config.certificate.is_some() != config.key.is_some() {
            return Err(Failure::configuration("--source-cert and --source-key go together"));
        }
        if config.insecure && config.ca.is_some() {
            return Err(Failure::configuration(
                "--source-insecure takes any certificate, so --source-ca would not be looked at: leave out one of them",
            ));
        }
        Ok(config)
    }
}
