//! Short questions to clusters and other servers, outside of the data path: who are you, is the snapshot complete.

use std::time::Duration;

use serde::Deserialize;
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
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
pub(super) struct Cluster {
    /// Its name.
    pub(super) cluster_name: String,
    /// What tells it from every other.
    pub(super) cluster_uuid: String,
    /// Its software.
    pub(super) version: Version,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    /// `opensearch`; absent for Elasticsearch.
    pub(super) distribution: String,
    /// As `7.10.2`.
    pub(super) number: String,
}

impl Cluster {
    /// Out of the body of an answer; `None` when it is no cluster's.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let cluster: Self = serde_json::from_slice(body).ok()?;
        (!cluster.cluster_uuid.is_empty() || !cluster.version.number.is_empty()).then_some(cluster)
    }

    /// The uuid, when it tells anything: a node that has not joined a cluster yet says `_na_`.
    pub(super) fn uuid(&self) -> Option<&str> {
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

/// Asks by GET. Verifies https against the system's authorities.
pub(super) struct Asker(Agent);

impl Asker {
    pub(super) fn new() -> Self {
        let found = rustls_native_certs::load_native_certs().certs;
        let certificates: Vec<_> =
            found.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let roots = RootCerts::new_with_certs(&certificates);
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .http_status_as_error(false)
            .proxy(None)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Self(config.new_agent())
    }

    /// Status and body.
    pub(super) fn get(&self, url: &str) -> Result<(u16, Vec<u8>), String> {
        let mut answer = self.0.get(url).call().map_err(|error| format!("{url}: {error}"))?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok((answer.status().as_u16(), body.map_err(|error| format!("{url}: {error}"))?))
    }

    /// What the cluster says of itself; an error says why nothing is known.
    pub(super) fn cluster(&self, url: &SourceUrl) -> Result<Cluster, String> {
        let (status, body) = self.get(&format!("{url}/"))?;
        if status != 200 {
            return Err(format!("{url} answered {status}"));
        }
        Cluster::parse(&body).ok_or_else(|| format!("{url} does not answer like a cluster"))
    }
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
