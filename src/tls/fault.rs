//! Why a connection cannot go on: a label for counters, a sentence for people.

use std::fmt;

use rustls::{AlertDescription, Error, PeerIncompatible};

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFault {
    kind: FaultKind,
    text: String,
}

/// The kinds of fault, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The peer speaks HTTP without TLS.
    Plaintext,
    /// No version of TLS that both speak.
    Version,
    /// No cipher suite, key exchange, signature or application protocol that both speak.
    Offer,
    /// The peer's certificate is missing or not to be trusted.
    Certificate,
    /// The peer gave up and said so in an alert.
    Alert,
    /// What came is no TLS, or against its rules.
    Malformed,
}

impl TlsFault {
    pub(super) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    pub(super) fn malformed(text: impl Into<String>) -> Self {
        Self::new(FaultKind::Malformed, text)
    }

    /// What to count it as.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Error> for TlsFault {
    fn from(error: Error) -> Self {
        let advice = match &error {
            Error::InvalidCertificate(_) => {
                ". Name the authority that signed the peer's certificate, or the host name that stands in it"
            }
            Error::InvalidMessage(_) => ". Does the server speak TLS on this port?",
            Error::AlertReceived(AlertDescription::CertificateRequired) => {
                ". The server wants a certificate of ours: name one and its key"
            }
            _ => "",
        };
        Self::new(kind(&error), format!("{error}{advice}"))
    }
}

fn kind(error: &Error) -> FaultKind {
    match error {
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13,
        ) => FaultKind::Version,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => FaultKind::Offer,
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => FaultKind::Certificate,
        Error::AlertReceived(_) => FaultKind::Alert,
        _ => FaultKind::Malformed,
    }
}
