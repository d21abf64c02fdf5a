//! Where Kafka is, and who we are to it. Names of files and users only: what is secret is read where it is used.

use std::path::PathBuf;

/// A topic, and how its brokers are reached.
#[derive(Clone, Debug, Default)]
pub struct KafkaConfig {
    /// Bootstrap servers.
    pub brokers: String,
    /// Topic.
    pub topic: String,
    /// Properties of librdkafka, or of Java's clients.
    pub file: Option<PathBuf>,
    /// Who we are to the brokers.
    pub auth: KafkaAuth,
    /// How they are known, and we by certificate.
    pub tls: KafkaTls,
}

impl KafkaConfig {
    /// A topic of brokers that ask for nothing.
    pub fn new(brokers: impl Into<String>, topic: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), topic: topic.into(), ..Self::default() }
    }
}

/// Who we are to the brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KafkaAuth {
    /// What the property file says; without one, nobody, in plaintext.
    #[default]
    None,
    /// Nobody, or whom our certificate names, over TLS.
    Ssl,
    /// A user with a password, by SCRAM-SHA-512 (RFC 5802) over TLS.
    ScramSha512 {
        /// The user.
        user: String,
        /// The file that holds the password.
        password_file: PathBuf,
    },
    /// A role of AWS, by OAUTHBEARER (RFC 7628) with signed tokens over TLS, as Amazon MSK takes them.
    MskIam {
        /// The region of the brokers; by default the one that their names or the environment say.
        region: Option<String>,
    },
}

/// Files of TLS to the brokers, PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaTls {
    /// Authorities of the brokers instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}
