//! Short questions to clusters and other servers, outside of the data path: who are you, is the snapshot complete.
//!
//! Blocks until there is an answer or [`ANSWER_MAX`] is over. Never asks for anything that changes something.

use std::{fs, path::Path, time::Duration};

use serde::Deserialize;
use ureq::{
    Agent,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, parse_pem},
};

use crate::net::SourceUrl;

/// How long an answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// An answer longer than this is none that was asked for.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What a cluster says of itself on `GET /`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
// The names are those of the answer.
#[allow(clippy::struct_field_names)]
pub struct Cluster {
    /// Its name.
    pub cluster_name: String,
    /// What tells it from every other.
    pub cluster_uuid: String,
    /// Its software.
    pub version: Version,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
/// The software of a cluster.
pub struct Version {
    /// `opensearch`; absent for Elasticsearch.
    pub distribution: String,
    /// As `7.10.2`.
    pub number: String,
}

impl Cluster {
    /// Out of the body of an answer; `None` when it is no cluster's.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let cluster: Self = serde_json::from_slice(body).ok()?;
        (!cluster.cluster_uuid.is_empty() || !cluster.version.number.is_empty()).then_some(cluster)
    }

    /// The uuid, when it tells anything: a node that has not joined a cluster yet says `_na_`.
    pub fn uuid(&self) -> Option<&str> {
        Some(self.cluster_uuid.as_str()).filter(|uuid| !uuid.is_empty() && *uuid != "_na_")
    }
}

impl std::fmt::Display for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let software =
            if self.version.distribution == "opensearch" { "OpenSearch" } else { "Elasticsearch" };
        write!(
            f,
            "{software} {}, cluster '{}' ({})",
            self.version.number, self.cluster_name, self.cluster_uuid
        )
    }
}

/// Whom an https server is verified against, and what it is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust<'a> {
    /// Authorities instead of the system's.
    pub ca: Option<&'a Path>,
    /// Our certificate and its key.
    pub identity: Option<(&'a Path, &'a Path)>,
    /// Take any certificate.
    pub insecure: bool,
}

/// Asks by GET.
pub struct Asker(Agent);

impl Default for Asker {
    fn default() -> Self {
        Self::new()
    }
}

impl Asker {
    /// Verifies https against the system's authorities.
    pub fn new() -> Self {
        Self::with(TlsConfig::builder().root_certs(system()).build())
    }

    /// Verifies https as it is told; an error names the file that cannot be used.
    pub fn trusting(trust: Trust<'_>) -> Result<Self, String> {
        let roots = match trust.ca {
            Some(file) => RootCerts::new_with_certs(&certificates(file)?),
            None => system(),
        };
        let identity = match trust.identity {
            Some((certificate, key)) => {
                let secret = PrivateKey::from_pem(&read(key)?).map_err(|error| {
                    format!("the private key in {} cannot be read: {error}", key.display())
                })?;
                Some(ClientCert::new_with_certs(&certificates(certificate)?, secret))
            }
            None => None,
        };
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .client_cert(identity)
            .disable_verification(trust.insecure)
            .build();
        Ok(Self::with(tls))
    }

    fn with(tls: TlsConfig) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .http_status_as_error(false)
            .proxy(None)
            .tls_config(tls)
            .build();
        Self(config.new_agent())
    }

    /// Status and body.
    pub fn get(&self, url: &str) -> Result<(u16, Vec<u8>), String> {
        let mut answer = self.0.get(url).call().map_err(|error| format!("{url}: {error}"))?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok((answer.status().as_u16(), body.map_err(|error| format!("{url}: {error}"))?))
    }

    /// What the cluster says of itself; an error says why nothing is known.
    pub fn cluster(&self, url: &SourceUrl) -> Result<Cluster, String> {
        let (status, body) = self.get(&format!("{url}/"))?;
        if status != 200 {
            return Err(format!("{url} answered {status}"));
        }
        Cluster::parse(&body).ok_or_else(|| format!("{url} does not answer like a cluster"))
    }
}

fn system() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    let certificates: Vec<_> =
        found.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    RootCerts::new_with_certs(&certificates)
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = read(file)?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(format!("{} holds no PEM certificate", file.display()));
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_told_apart_by_what_they_say() {
        let es = br#"{"name":"n","cluster_name":"c","cluster_uuid":"u-1","version":{"number":"7.10.2"},"tagline":"x"}"#;
        let es = Cluster::parse(es).unwrap();
        assert_eq!(
            (es.uuid(), es.to_string().as_str()),
            (Some("u-1"), "Elasticsearch 7.10.2, cluster 'c' (u-1)")
        );
        let os =
            br#"{"cluster_uuid":"_na_","version":{"distribution":"opensearch","number":"2.19.6"}}"#;
        let os = Cluster::parse(os).unwrap();
        assert_eq!(os.uuid(), None);
        assert!(os.to_string().starts_with("OpenSearch 2.19.6"));
        assert_eq!(Cluster::parse(b"{}"), None);
        assert_eq!(Cluster::parse(b"<html>"), None);
    }
}
