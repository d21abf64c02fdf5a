//! Flags for how Kafka is reached, which everything that opens a client of it shares.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{
    config::{KafkaAuth, KafkaConfig, KafkaTls},
    observe::Failure,
    sys::secret,
};

/// Variables of the environment are given to these by [`super::command`], after the subcommand's name.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "these texts are the help that users see")]
#[allow(clippy::struct_field_names, reason = "they are the names of the flags")]
pub(super) struct KafkaArguments {
    /// File of librdkafka's or Java's client properties, one name=value per line; the flags below win over it
    #[arg(long, value_name = "FILE")]
    kafka_config: Option<PathBuf>,

    /// Who we are to the brokers; all but none speak TLS [default: none, or what --kafka-config says]
    #[arg(long, value_name = "WAY", value_enum)]
    kafka_auth: Option<Way>,

    /// User for --kafka-auth scram-sha-512
    #[arg(long, value_name = "NAME")]
    kafka_user: Option<String>,

    /// File with its password, one line [default: the systemd credential kafka-password]
    #[arg(long, value_name = "FILE")]
    kafka_password_file: Option<PathBuf>,

    /// Region for --kafka-auth msk-iam [default: what the brokers' names say, else AWS_REGION]
    #[arg(long, value_name = "NAME")]
    kafka_region: Option<String>,

    /// Certificate authorities of the brokers, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    kafka_ca: Option<PathBuf>,

    /// Our certificate for the brokers, PEM
    #[arg(long, value_name = "FILE")]
    kafka_cert: Option<PathBuf>,

    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    kafka_key: Option<PathBuf>,
}

/// The values of --kafka-auth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Nothing but what --kafka-config says
    None,
    /// A user and a password, over TLS
    #[value(name = "scram-sha-512")]
    ScramSha512,
    /// A role of AWS, for Amazon MSK
    MskIam,
    /// TLS alone, with a certificate of ours if --kafka-cert names one
    Ssl,
}

impl KafkaArguments {
    /// The topic at these brokers, if there are any. Combinations without a sense are refused.
    pub(super) fn config(
        self,
        brokers: Option<String>,
        topic: String,
    ) -> Result<Option<KafkaConfig>, Failure> {
        let refuse = |text: String| Err(Failure::configuration(text));
        let is_file = self.kafka_config.is_some();
        let given = [
            ("--kafka-user", self.kafka_user.is_some()),
            ("--kafka-password-file", self.kafka_password_file.is_some()),
            ("--kafka-region", self.kafka_region.is_some()),
            ("--kafka-ca", self.kafka_ca.is_some()),
            ("--kafka-cert", self.kafka_cert.is_some()),
            ("--kafka-key", self.kafka_key.is_some()),
        ];
        let first = |names: &[&str]| {
            given.iter().find(|(name, there)| *there && names.contains(name)).map(|(name, _)| *name)
        };
        let Some(brokers) = brokers else {
            let auth = self.kafka_auth.map(|_| "--kafka-auth");
            let file = is_file.then_some("--kafka-config");
            return match auth.or(file).or_else(|| first(&given.map(|(name, _)| name))) {
                Some(flag) => {
                    refuse(format!("{flag} needs --kafka-brokers; name them, or leave it out"))
                }
                None => Ok(None),
            };
        };
        if self.kafka_cert.is_some() != self.kafka_key.is_some() {
            return refuse(
                "--kafka-cert and --kafka-key belong together: name both, or neither".into(),
            );
        }
        let way = self.kafka_auth.unwrap_or(Way::None);
        let (user, region) =
            (&["--kafka-user", "--kafka-password-file"][..], &["--kafka-region"][..]);
        let files = &["--kafka-ca", "--kafka-cert", "--kafka-key"][..];
        let (stray, want) = match way {
            Way::None => (
                first(&[user, region, files].concat()),
                "--kafka-auth, which says how to use it: scram-sha-512, msk-iam or ssl",
            ),
            Way::ScramSha512 => (first(region), "--kafka-auth msk-iam"),
            Way::MskIam => (first(user), "--kafka-auth scram-sha-512"),
            Way::Ssl => (first(&[user, region].concat()), "--kafka-auth scram-sha-512 or msk-iam"),
        };
        if let Some(flag) = stray {
            return refuse(format!("{flag} needs {want}; add that, or leave it out"));
        }
        let auth = match way {
            Way::None => KafkaAuth::None,
            Way::Ssl => KafkaAuth::Ssl,
            Way::MskIam => KafkaAuth::MskIam { region: self.kafka_region },
            Way::ScramSha512 => {
                let Some(user) = self.kafka_user else {
                    return refuse(
                        "--kafka-auth scram-sha-512 needs a user: name it with --kafka-user".into(),
                    );
                };
                let file = self.kafka_password_file.or_else(|| secret::credential(CREDENTIAL));
                let Some(password_file) = file else {
                    return refuse(format!(
                        "--kafka-auth scram-sha-512 needs a password: name its file with --kafka-password-file, or \
                         give it to the unit as LoadCredential={CREDENTIAL}:FILE"
                    ));
                };
                KafkaAuth::ScramSha512 { user, password_file }
            }
        };
        let tls = KafkaTls { ca: self.kafka_ca, cert: self.kafka_cert, key: self.kafka_key };
        Ok(Some(KafkaConfig { brokers, topic, file: self.kafka_config, auth, tls }))
    }
}

/// The variables of each of these flags: for capture and doctor, and for replay.
pub(super) const VARIABLES: [(&str, &str, &str); 8] = [
    ("kafka_config", "TAPLINE_CAPTURE_KAFKA_CONFIG", "TAPLINE_REPLAY_KAFKA_CONFIG"),
    ("kafka_auth", "TAPLINE_CAPTURE_KAFKA_AUTH", "TAPLINE_REPLAY_KAFKA_AUTH"),
    ("kafka_user", "TAPLINE_CAPTURE_KAFKA_USER", "TAPLINE_REPLAY_KAFKA_USER"),
    (
        "kafka_password_file",
        "TAPLINE_CAPTURE_KAFKA_PASSWORD_FILE",
        "TAPLINE_REPLAY_KAFKA_PASSWORD_FILE",
    ),
    ("kafka_region", "TAPLINE_CAPTURE_KAFKA_REGION", "TAPLINE_REPLAY_KAFKA_REGION"),
    ("kafka_ca", "TAPLINE_CAPTURE_KAFKA_CA", "TAPLINE_REPLAY_KAFKA_CA"),
    ("kafka_cert", "TAPLINE_CAPTURE_KAFKA_CERT", "TAPLINE_REPLAY_KAFKA_CERT"),
    ("kafka_key", "TAPLINE_CAPTURE_KAFKA_KEY", "TAPLINE_REPLAY_KAFKA_KEY"),
];

/// The name of systemd's credential.
const CREDENTIAL: &str = "kafka-password";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        kafka: KafkaArguments,
    }

    fn config(line: &str) -> Result<Option<KafkaConfig>, String> {
        let words = ["t"].into_iter().chain(line.split_whitespace());
        let flags = Flags::try_parse_from(words).unwrap();
        let config = flags.kafka.config(Some("b:9".into()), "t".into());
        config.map_err(|failure| failure.to_string())
    }

    #[test]
    fn each_way_has_its_flags_and_no_others() {
        let scram = config("--kafka-auth scram-sha-512 --kafka-user u --kafka-password-file p");
        let auth = KafkaAuth::ScramSha512 { user: "u".into(), password_file: "p".into() };
        assert_eq!(scram.unwrap().unwrap().auth, auth);
        let tls = config("--kafka-auth ssl --kafka-cert c --kafka-key k --kafka-ca a").unwrap();
        assert_eq!(tls.unwrap().tls.cert, Some("c".into()));
        let iam = config("--kafka-auth msk-iam --kafka-region r").unwrap().unwrap().auth;
        assert_eq!(iam, KafkaAuth::MskIam { region: Some("r".into()) });
        assert_eq!(config("").unwrap().unwrap().auth, KafkaAuth::None);
        for (line, named) in [
            ("--kafka-user u", "--kafka-auth"),
            ("--kafka-ca a", "--kafka-auth"),
            ("--kafka-auth none --kafka-region r", "--kafka-auth"),
            ("--kafka-auth ssl --kafka-cert c", "--kafka-key"),
            ("--kafka-auth ssl --kafka-user u", "scram-sha-512"),
            ("--kafka-auth msk-iam --kafka-user u", "scram-sha-512"),
            ("--kafka-auth scram-sha-512 --kafka-password-file p", "--kafka-user"),
            ("--kafka-auth scram-sha-512 --kafka-user u", "--kafka-password-file"),
        ] {
            let error = config(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn without_brokers_they_have_no_sense() {
        let flags = Flags::try_parse_from(["t", "--kafka-key", "k"]).unwrap();
        let error = flags.kafka.config(None, "t".into()).unwrap_err().to_string();
        assert!(error.contains("--kafka-key needs --kafka-brokers"), "{error}");
        let nothing = Flags::try_parse_from(["t"]).unwrap().kafka.config(None, "t".into());
        assert!(nothing.unwrap().is_none());
    }
}
