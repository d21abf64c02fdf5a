//! A real broker that lets in only whom it knows: SCRAM-SHA-512 over TLS, or a certificate of the client's.
//!
//! Beside these listeners it has the plain one, for the rig itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::kafka::{Extras, Kafka};
use super::{java, port};

/// The broker. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Guarded {
    /// By the plain listener.
    pub(crate) kafka: Kafka,
    scram: u16,
    mutual: u16,
    iam: u16,
    files: TempDir,
}

impl Guarded {
    /// With a certificate for 127.0.0.1, and users with their passwords.
    pub(crate) fn start(users: &[(&str, &str)]) -> Self {
        Self::with(users, false)
    }

    /// With a listener that takes the tokens of Amazon MSK's IAM too, for a region and a secret of the rig's.
    pub(crate) fn start_with_iam() -> Self {
        Self::with(&[], true)
    }

    fn with(users: &[(&str, &str)], wants_iam: bool) -> Self {
        let files = tempfile::tempdir().unwrap();
        certificates(files.path());
        let [plain, scram, mutual, iam] = [(); 4].map(|()| port::free());
        let file = |name: &str| files.path().join(name).display().to_string();
        let listeners = format!(
            "PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{},SCRAM://127.0.0.1:{scram},\
             MUTUAL://127.0.0.1:{mutual},IAM://127.0.0.1:{iam}",
            port::free()
        );
        let controller = listeners.split(',').nth(1).unwrap().trim_start_matches("CONTROLLER://");
        let advertised = format!(
            "PLAINTEXT://127.0.0.1:{plain},SCRAM://127.0.0.1:{scram},MUTUAL://127.0.0.1:{mutual},\
             IAM://127.0.0.1:{iam}"
        );
        let classes = wants_iam.then(|| {
            java::compile("IamValidator.java", &Kafka::jars(), files.path())
                .unwrap_or_else(|error| panic!("{error}"));
            files.path().to_path_buf()
        });
        // Without its class nobody is let in there.
        let validator = if wants_iam { "IamValidator" } else { UNSECURED };
        let properties = [
            ("listeners", listeners.as_str()),
            ("advertised.listeners", &advertised),
            ("controller.quorum.voters", &format!("1@{controller}")),
            (
                "listener.security.protocol.map",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL,IAM:SASL_SSL",
            ),
            ("listener.name.scram.sasl.enabled.mechanisms", "SCRAM-SHA-512"),
            (
                "listener.name.scram.scram-sha-512.sasl.jaas.config",
                "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            ),
            ("listener.name.mutual.ssl.client.auth", "required"),
            ("listener.name.iam.sasl.enabled.mechanisms", "OAUTHBEARER"),
            (
                "listener.name.iam.oauthbearer.sasl.jaas.config",
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
            ),
            ("listener.name.iam.oauthbearer.sasl.server.callback.handler.class", validator),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &file("broker.pem")),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &file(CA)),
        ];
        let users = users.iter().map(|(name, word)| ((*name).into(), (*word).into())).collect();
        let kafka = Kafka::start_with(plain, &properties, Extras { users, classes, small: false });
        Self { kafka, scram, mutual, iam, files }
    }

    /// The listener for users with passwords.
    pub(crate) fn scram(&self) -> String {
        format!("127.0.0.1:{}", self.scram)
    }

    /// The listener for clients with certificates.
    pub(crate) fn mutual(&self) -> String {
        format!("127.0.0.1:{}", self.mutual)
    }

    /// The listener for tokens.
    pub(crate) fn iam(&self) -> String {
        format!("127.0.0.1:{}", self.iam)
    }

    /// The authority of brokers and clients.
    pub(crate) fn ca(&self) -> PathBuf {
        self.files.path().join(CA)
    }

    /// Another one, which signed nothing here.
    pub(crate) fn other_ca(&self) -> PathBuf {
        self.files.path().join("other.pem")
    }

    /// A client's certificate and its key.
    pub(crate) fn client(&self) -> (PathBuf, PathBuf) {
        (self.files.path().join("client.pem"), self.files.path().join("client.key"))
    }
}

/// An authority and what it signs: one file of key and chain for the broker, and a client's.
fn certificates(dir: &Path) {
    let authority = |name: &str| {
        let mut wanted = CertificateParams::default();
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(wanted, KeyPair::generate().unwrap()).unwrap()
    };
    let (ca, other) = (authority("rig"), authority("other"));
    let write = |name: &str, text: String| fs::write(dir.join(name), text).unwrap();
    write(CA, ca.pem());
    write("other.pem", other.pem());
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut wanted = CertificateParams::new([name.to_owned()]).unwrap();
        wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
        (wanted.signed_by(&key, &ca).unwrap().pem(), key.serialize_pem())
    };
    let (chain, key) = signed("127.0.0.1");
    write("broker.pem", format!("{key}{chain}"));
    let (chain, key) = signed("tapline");
    write("client.pem", chain);
    write("client.key", key);
    fs::set_permissions(dir.join("client.key"), fs::Permissions::from_mode(0o600)).unwrap();
}

const UNSECURED: &str = "org.apache.kafka.common.security.oauthbearer.internals.unsecured.\
                         OAuthBearerUnsecuredValidatorCallbackHandler";
const CA: &str = "ca.pem";
