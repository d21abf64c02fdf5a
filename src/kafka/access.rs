//! From settings to librdkafka's properties: ours, under those of the operator's file, under those of the flags, under
//! those that nobody may change.

use std::{env, path::Path, sync::Arc, time::Duration};

use rdkafka::{ClientConfig, error::KafkaError};

use super::{
    file::{self, Properties},
    iam,
    login::Login,
    witness::Witness,
};
use crate::{
    config::{KafkaAuth, KafkaConfig, KafkaTls},
    observe::Failure,
    sys::secret,
};

/// How the brokers of a configuration are reached; read once, good for any number of clients.
#[derive(Clone)]
pub struct Access {
    brokers: String,
    file: Properties,
    security: Vec<(&'static str, String)>,
    login: Arc<Login>,
}

/// What a kind of client leaves to the operator and what not.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Our values, which the file may change.
    pub ours: &'static [(&'static str, &'static str)],
    /// Values that it may not change.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Properties that it may not set.
    pub refused: &'static [&'static str],
    /// What rests on them.
    pub why: &'static str,
}

impl std::fmt::Debug for Access {
    /// Never shows a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("brokers", &self.brokers)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Reads and checks the files; warns of secrets that others can read. Credentials of AWS are waited for as long as
    /// `patience`, and then fetched on; [`Access::insist`] makes their want a failure.
    pub fn open(config: &KafkaConfig, patience: Duration) -> Result<Self, Failure> {
        let (access, warnings) = Self::with_warnings(config)?;
        for warning in warnings {
            tracing::warn!(event = "kafka.secret_open", "{warning}");
        }
        if let Err(why) = access.login.wait(patience)
            && !patience.is_zero()
        {
            tracing::warn!(
                event = "kafka.credentials",
                "there is no token for the brokers yet: {why}"
            );
        }
        Ok(access)
    }

    /// As [`Access::open`] for a command that ends when it cannot go on.
    pub fn insist(config: &KafkaConfig) -> Result<Self, Failure> {
        let access = Self::open(config, Duration::ZERO)?;
        access.wait()?;
        Ok(access)
    }

    /// Waits for credentials, if there are to be any.
    pub fn wait(&self) -> Result<(), Failure> {
        self.login.wait(CREDENTIALS_MAX).map_err(|why| {
            Failure::configuration(format!("there is no token for --kafka-auth msk-iam: {why}"))
        })
    }

    /// As [`Access::open`] without waiting; what should be warned of comes with it.
    pub fn with_warnings(config: &KafkaConfig) -> Result<(Self, Vec<String>), Failure> {
        let file = config.file.as_deref().map(file::read).transpose()?.unwrap_or_default();
        let mut warnings = file.warnings.clone();
        let by_file = (config.auth == KafkaAuth::None && file.msk_iam)
            .then_some(KafkaAuth::MskIam { region: None });
        let auth = by_file.as_ref().unwrap_or(&config.auth);
        let mut security = Vec::new();
        let mut login = Login::properties();
        match auth {
            KafkaAuth::None => {}
            KafkaAuth::Ssl => security.push(("security.protocol", "ssl".to_owned())),
            KafkaAuth::ScramSha512 { user, password_file } => {
                let password = secret::read(password_file).map_err(|why| {
                    Failure::configuration(format!("--kafka-password-file: {why}"))
                })?;
                warnings.extend(open_to_others(password_file));
                security.extend([
                    ("security.protocol", "sasl_ssl".to_owned()),
                    ("sasl.mechanism", "SCRAM-SHA-512".to_owned()),
                    ("sasl.username", user.clone()),
                    ("sasl.password", password.clone()),
                ]);
                login = Login::password(user, password_file.clone(), password);
            }
            KafkaAuth::MskIam { region } => {
                let region = region.clone().or_else(|| region_of(&config.brokers)).ok_or_else(|| {
                    Failure::configuration(
                        "--kafka-auth msk-iam needs the region of the brokers, which their names do not say: name it \
                         with --kafka-region, as us-east-1",
                    )
                })?;
                login = Login::iam(&region).map_err(Failure::configuration)?;
                security.extend([
                    ("security.protocol", "sasl_ssl".to_owned()),
                    ("sasl.mechanism", "OAUTHBEARER".to_owned()),
                ]);
            }
        }
        if *auth != KafkaAuth::None {
            security.extend(tls(&config.tls)?);
            warnings.extend(config.tls.key.as_deref().and_then(open_to_others));
        }
        let brokers = config.brokers.clone();
        Ok((Self { brokers, file, security, login: Arc::new(login) }, warnings))
    }

    /// The properties of a client of that kind.
    pub fn properties(&self, rules: Rules) -> Result<ClientConfig, Failure> {
        let Rules { ours, fixed, refused, why } = rules;
        let mut client = ClientConfig::new();
        for (name, value) in ours {
            client.set(*name, *value);
        }
        for line in &self.file.lines {
            let name = line.name.as_str();
            if refused.contains(&name) || fixed.iter().any(|(fixed, _)| *fixed == name) {
                return Err(Failure::configuration(format!(
                    "{}: {name} cannot be changed: {why}. Remove the line",
                    line.place
                )));
            }
            client.set(name, &line.value);
        }
        for (name, value) in &self.security {
            client.set(*name, value);
        }
        for (name, value) in fixed {
            client.set(*name, *value);
        }
        client.set("bootstrap.servers", &self.brokers);
        Ok(client)
    }

    /// The context of a client, or a part of it.
    pub fn witness(&self) -> Witness {
        Witness::new(Arc::clone(&self.login))
    }

    /// Who a client is.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// librdkafka cannot make a client of the properties. Values are not shown: they may be secrets.
    pub fn unusable(error: &KafkaError) -> Failure {
        let why = match error {
            KafkaError::ClientConfig(_, what, name, _) => format!("{name}: {what}"),
            KafkaError::ClientCreation(what) => what.clone(),
            other => other.to_string(),
        };
        let mend = if why.contains("ssl.key") || why.contains("rivate key") {
            "Name a key that belongs to the certificate with --kafka-key; the password of one that has one is \
             ssl.key.password in --kafka-config"
        } else if why.contains("ssl.ca") {
            "Name a PEM file of authorities with --kafka-ca"
        } else if why.contains("ssl.certificate") {
            "Name a PEM certificate with --kafka-cert"
        } else {
            "Correct --kafka-brokers or --kafka-config"
        };
        Failure::configuration(format!("librdkafka refuses the configuration: {why}. {mend}"))
    }
}

fn tls(files: &KafkaTls) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut properties = Vec::new();
    for (flag, name, file) in [
        ("--kafka-ca", "ssl.ca.location", &files.ca),
        ("--kafka-cert", "ssl.certificate.location", &files.cert),
        ("--kafka-key", "ssl.key.location", &files.key),
    ] {
        let Some(file) = file else { continue };
        if let Err(error) = std::fs::File::open(file) {
            let shown = file.display();
            return Err(Failure::configuration(format!(
                "{flag} {shown} cannot be read: {error}. Name a PEM file that this user can read"
            )));
        }
        properties.push((name, file.display().to_string()));
    }
    if files.ca.is_none() {
        // The OpenSSL that is built in knows no place of its own.
        properties.push(("ssl.ca.location", "probe".to_owned()));
    }
    Ok(properties)
}

fn open_to_others(file: &Path) -> Option<String> {
    let name = file.display();
    secret::is_open_to_others(file).then(|| {
        format!("{name} is a secret and every user of this host can read it; chmod o-r {name}")
    })
}

fn region_of(brokers: &str) -> Option<String> {
    let set = |name| env::var(name).ok().filter(|region| !region.is_empty());
    let named = iam::region_of(brokers).map(str::to_owned);
    named.or_else(|| set("AWS_REGION")).or_else(|| set("AWS_DEFAULT_REGION"))
}

/// How long a command waits for credentials of AWS: longer than the chain takes to give up.
const CREDENTIALS_MAX: Duration = Duration::from_secs(35);

#[cfg(test)]
mod tests {
    use std::{io::Write, path::PathBuf};

    use rdkafka::{config::FromClientConfigAndContext, consumer::BaseConsumer};
    use tempfile::NamedTempFile;

    use super::*;

    const RULES: Rules = Rules {
        ours: &[("linger.ms", "0")],
        fixed: &[("acks", "all")],
        refused: &["group.id"],
        why: "everything rests on it",
    };

    fn file(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn properties(config: &KafkaConfig) -> Result<ClientConfig, String> {
        Access::open(config, Duration::ZERO)
            .and_then(|access| access.properties(RULES))
            .map_err(|failure| failure.to_string())
    }

    fn scram(password_file: PathBuf) -> KafkaConfig {
        let auth = KafkaAuth::ScramSha512 { user: "u".into(), password_file };
        KafkaConfig { auth, ..KafkaConfig::new("127.0.0.1:9", "t") }
    }

    #[test]
    fn flags_win_over_the_file_and_what_is_fixed_over_both() {
        let (secret, lines) = (file("hush\n"), file("# c\nlinger.ms=5\nsasl.username=other\n"));
        let mut config = scram(secret.path().into());
        config.file = Some(lines.path().into());
        let client = properties(&config).unwrap();
        for (name, value) in [
            ("linger.ms", "5"),
            ("sasl.username", "u"),
            ("sasl.password", "hush"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "probe"),
            ("acks", "all"),
            ("bootstrap.servers", "127.0.0.1:9"),
        ] {
            assert_eq!(client.get(name), Some(value), "{name}");
        }
        for name in ["acks", "group.id"] {
            let lines = file(&format!("\n{name}=x"));
            config.file = Some(lines.path().into());
            let error = properties(&config).unwrap_err();
            assert!(error.contains(&format!(":2: {name}")) && error.contains("rests"), "{error}");
        }
    }

    #[test]
    fn a_secret_is_in_no_debug_text_and_in_no_error() {
        let secret = file("hush\n");
        let config = scram(secret.path().into());
        let access = Access::open(&config, Duration::ZERO).unwrap();
        let client = access.properties(RULES).unwrap();
        let shown = format!("{config:?} {access:?} {client:?} {:?}", access.witness());
        assert!(!shown.contains("hush"), "{shown}");
        let lines = file("sasl.pasword=hush");
        let config =
            KafkaConfig { file: Some(lines.path().into()), ..KafkaConfig::new("a:9", "t") };
        let client = properties(&config).unwrap();
        let made = BaseConsumer::<Witness>::from_config_and_context(&client, access.witness());
        let error = Access::unusable(&made.map(drop).unwrap_err()).to_string();
        assert!(error.contains("sasl.pasword") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let missing = properties(&scram("/nowhere".into())).unwrap_err();
        assert!(
            missing.contains("--kafka-password-file") && missing.contains("/nowhere"),
            "{missing}"
        );
        let mut config = KafkaConfig { auth: KafkaAuth::Ssl, ..KafkaConfig::new("a:9", "t") };
        config.tls.ca = Some("/nowhere".into());
        let missing = properties(&config).unwrap_err();
        assert!(missing.contains("--kafka-ca /nowhere"), "{missing}");
    }
}
