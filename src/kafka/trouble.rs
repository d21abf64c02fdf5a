//! What librdkafka complains of, sorted by what mends it.

use std::fmt;

use rdkafka::types::RDKafkaErrorCode;

/// What kind of mending it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The brokers refuse user, password or token.
    Login,
    /// There is no token to show to them.
    Token,
    /// Their certificate is refused by us.
    BrokerCertificate,
    /// Ours is refused by them, or missing.
    ClientCertificate,
    /// The listener speaks something else.
    Listener,
    /// The user may not do this.
    Rights,
    /// Too few replicas are in sync, or nobody leads.
    Replicas,
    /// Nobody answers, or whatever else passes by itself.
    Reach,
}

/// A complaint: what happened in librdkafka's words, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What kind.
    pub kind: Kind,
    said: String,
}

impl Trouble {
    /// What an error of a client means.
    pub fn of(code: Option<RDKafkaErrorCode>, said: &str) -> Self {
        Self { kind: kind(code, said), said: said.trim_end_matches([' ', ':', '.']).to_owned() }
    }

    /// What the brokers say of a topic's replicas.
    pub fn replicas(said: String) -> Self {
        Self { kind: Kind::Replicas, said }
    }

    /// Whether somebody has to mend something: it does not pass by itself.
    pub fn is_specific(&self) -> bool {
        self.kind != Kind::Reach
    }

    /// What is wrong.
    pub fn what(&self) -> String {
        let what = match self.kind {
            Kind::Login => "authentication failed: the brokers refuse this user, password or token",
            Kind::Token => "authentication failed: there is no token for the brokers",
            Kind::BrokerCertificate => "the brokers' certificate is refused",
            Kind::ClientCertificate => "the brokers refuse our certificate, or the want of one",
            Kind::Listener => "the listener speaks something else than --kafka-auth says",
            Kind::Rights => "the brokers do not let this user do that",
            Kind::Replicas => "the topic lacks replicas in sync",
            Kind::Reach => return self.said.clone(),
        };
        format!("{what} ({})", self.said)
    }

    /// What to do.
    pub fn mend(&self) -> &'static str {
        match self.kind {
            Kind::Login => {
                "Check --kafka-user and the file of --kafka-password-file, which is read again whenever the brokers \
                 refuse it, or make the user: kafka-configs.sh --alter --entity-type users --entity-name NAME \
                 --add-config 'SCRAM-SHA-512=[password=…]'; with msk-iam, allow kafka-cluster:Connect to the role \
                 and set the clock"
            }
            Kind::Token => {
                "Give the host, task or pod a role that may kafka-cluster:Connect, or set AWS_PROFILE"
            }
            Kind::BrokerCertificate => {
                "Name the authority that signed it with --kafka-ca, and the brokers in --kafka-brokers as the \
                 certificate does"
            }
            Kind::ClientCertificate => {
                "Name a certificate that an authority of the listener has signed with --kafka-cert and --kafka-key"
            }
            Kind::Listener => {
                "Name the port of the listener that --kafka-auth is for, or set --kafka-auth as the listener's \
                 security.protocol and SASL mechanism say"
            }
            Kind::Rights => {
                "Grant it: kafka-acls.sh --add --allow-principal User:NAME --operation Describe --operation Read \
                 --operation Write --topic TOPIC"
            }
            Kind::Replicas => {
                "A partition with fewer than its min.insync.replicas, or without a leader, takes nothing: bring the \
                 brokers back that have the others (kafka-topics.sh --describe --topic TOPIC names them)"
            }
            Kind::Reach => {
                "Check --kafka-brokers, the network, whether they are up, and that --kafka-auth fits the listener"
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.what(), self.mend())
    }
}

fn kind(code: Option<RDKafkaErrorCode>, said: &str) -> Kind {
    use RDKafkaErrorCode as Code;
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let by_text = || {
        if says(&[
            "certificate verify failed",
            "Failed to verify broker certificate",
            "hostname mismatch",
        ]) {
            Some(Kind::BrokerCertificate)
        } else if says(&[
            "certificate required",
            "bad certificate",
            "unknown ca",
            "certificate unknown",
            "certificate expired",
            "handshake failure",
            "client SSL authentication might be required",
        ]) {
            Some(Kind::ClientCertificate)
        } else if says(&[
            "wrong version number",
            "packet length too long",
            "security.protocol",
            "SSL connection closed by peer",
            "not supported by broker",
            "unsupported by broker",
            "supported mechanisms",
            "broker might require SASL",
            "SASL mechanism handshake failed",
        ]) {
            Some(Kind::Listener)
        } else {
            None
        }
    };
    match code {
        Some(Code::Authentication) if said.contains("Failed to acquire SASL OAUTHBEARER token") => {
            Kind::Token
        }
        Some(Code::UnsupportedSASLMechanism) => Kind::Listener,
        Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
            by_text().unwrap_or(Kind::Login)
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed,
        ) => Kind::Rights,
        Some(Code::SSL) => by_text().unwrap_or(Kind::ClientCertificate),
        _ => by_text().unwrap_or(Kind::Reach),
    }
}

/// The name of a code for metrics: `AllBrokersDown` as `all_brokers_down`.
pub fn error_name(code: RDKafkaErrorCode) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        let begins =
            letter.is_ascii_uppercase() && name.ends_with(|c: char| c.is_ascii_lowercase());
        if begins {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
