//! The lines of `--kafka-config`: librdkafka's properties, and those of Java's clients where they have another name.

use std::{fs, path::Path};

use crate::{observe::Failure, sys::secret};

/// What a property file says.
#[derive(Clone, Default)]
pub(super) struct Properties {
    pub(super) lines: Vec<Line>,
    /// It asks for Amazon's IAM, which librdkafka has no word for.
    pub(super) msk_iam: bool,
    /// What somebody should know.
    pub(super) warnings: Vec<String>,
}

/// One property, where it stands, under librdkafka's name. The value may be a secret.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) place: String,
    pub(super) name: String,
    pub(super) value: String,
}

/// Reads a file. The error names line and property, never the value.
pub(super) fn read(path: &Path) -> Result<Properties, Failure> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::configuration(format!("cannot read --kafka-config {name}: {error}"))
    })?;
    let mut found = Properties::default();
    let mut secret_there = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let place = format!("{name}:{}", number + 1);
        let Some((key, value)) = line.split_once('=') else {
            return Err(Failure::configuration(format!("{place}: write name=value")));
        };
        let (key, value) = (key.trim(), value.trim());
        secret_there |= SECRETS.contains(&key);
        let meaning = meaning(key, value, &text)
            .map_err(|why| Failure::configuration(format!("{place}: {key}: {why}")))?;
        match meaning {
            Meaning::MskIam => found.msk_iam = true,
            Meaning::Nothing => {}
            Meaning::Properties(pairs) => {
                let line = |(name, value)| Line { place: place.clone(), name, value };
                found.lines.extend(pairs.into_iter().map(line));
            }
        }
    }
    if secret_there && secret::is_open_to_others(path) {
        found.warnings.push(format!(
            "{name} holds a secret and every user of this host can read it; chmod o-r {name}"
        ));
    }
    Ok(found)
}

/// What a line sets.
enum Meaning {
    Properties(Vec<(String, String)>),
    MskIam,
    /// Something that only Java's clients have.
    Nothing,
}

/// Java's names in librdkafka's. The error says what to write.
fn meaning(key: &str, value: &str, text: &str) -> Result<Meaning, String> {
    let set = |pairs: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Ok(Meaning::Properties(pairs.iter().map(owned).collect()))
    };
    match key {
        "sasl.mechanism" | "sasl.mechanisms" if value == "AWS_MSK_IAM" => Ok(Meaning::MskIam),
        "sasl.jaas.config" if value.contains("IAMLoginModule") => Ok(Meaning::MskIam),
        "sasl.jaas.config" => match (quoted(value, "username"), quoted(value, "password")) {
            (Some(user), Some(password)) => {
                set(&[("sasl.username", user), ("sasl.password", password)])
            }
            _ => Err("it names no user and password; write sasl.username, sasl.password".into()),
        },
        "ssl.truststore.location" if is_pem(text, "ssl.truststore.type") => {
            set(&[("ssl.ca.location", value)])
        }
        "ssl.truststore.location" => Err(KEYSTORE.into()),
        "ssl.keystore.location" if is_pem(text, "ssl.keystore.type") => {
            set(&[("ssl.certificate.location", value), ("ssl.key.location", value)])
        }
        "ssl.endpoint.identification.algorithm" if value.is_empty() => set(&[(key, "none")]),
        _ if JAVA_ONLY.contains(&key) => Ok(Meaning::Nothing),
        _ => set(&[(key, value)]),
    }
}

/// The value in `name="value"` of a login module's options.
fn quoted<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = options.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// Whether another line of the file says that the store is in PEM.
fn is_pem(text: &str, name: &str) -> bool {
    let says = |line: &str| {
        line.split_once('=').is_some_and(|(key, value)| {
            key.trim() == name && value.trim().eq_ignore_ascii_case("PEM")
        })
    };
    text.lines().any(says)
}

const KEYSTORE: &str = "a Java keystore is not read. Write the authorities as PEM: keytool -exportcert -rfc -keystore \
                        STORE -alias ALIAS > ca.pem, and name that file with --kafka-ca";
/// Properties whose values are secrets.
const SECRETS: [&str; 7] = [
    "sasl.password",
    "sasl.jaas.config",
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.key.pem",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
];
/// What Java's clients have and librdkafka does without.
const JAVA_ONLY: [&str; 12] = [
    "sasl.client.callback.handler.class",
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "ssl.truststore.type",
    "ssl.truststore.password",
    "ssl.keystore.type",
    "buffer.memory",
    "max.block.ms",
    "max.request.size",
    "max.poll.records",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(text: &str) -> Result<Vec<(String, String)>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let read = read(file.path()).map_err(|failure| failure.to_string())?;
        let mut pairs: Vec<_> =
            read.lines.into_iter().map(|line| (line.name, line.value)).collect();
        if read.msk_iam {
            pairs.push(("msk-iam".into(), String::new()));
        }
        Ok(pairs)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn java_properties_mean_what_they_mean_there() {
        let scram = "# c\nsecurity.protocol = SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=\
                     org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u\" password=\"p=\";\n\
                     key.serializer=x\nssl.truststore.type=PEM\nssl.truststore.location=/ca.pem\n";
        let expected = [
            pair("security.protocol", "SASL_SSL"),
            pair("sasl.mechanism", "SCRAM-SHA-512"),
            pair("sasl.username", "u"),
            pair("sasl.password", "p="),
            pair("ssl.ca.location", "/ca.pem"),
        ];
        assert_eq!(read_of(scram).unwrap(), expected);
        assert_eq!(read_of("sasl.mechanism=AWS_MSK_IAM").unwrap(), [pair("msk-iam", "")]);
        let jks = read_of("\nssl.truststore.location=/a.jks").unwrap_err();
        assert!(jks.contains(":2:") && jks.contains("keytool"), "{jks}");
        let other = read_of("sasl.jaas.config=x.Krb5LoginModule required hush;").unwrap_err();
        assert!(other.contains("sasl.username") && !other.contains("hush"), "{other}");
    }

    #[test]
    fn a_secret_that_everybody_can_read_is_warned_of() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut warned = Vec::new();
        for (text, mode) in
            [("sasl.password=p", 0o644), ("sasl.password=p", 0o600), ("acks=1", 0o644)]
        {
            fs::write(file.path(), text).unwrap();
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            warned.push(!read(file.path()).unwrap().warnings.is_empty());
        }
        assert_eq!(warned, [true, false, false]);
    }
}
