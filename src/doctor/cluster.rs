//! Source and target: whether they answer, what they are, and that they are not one and the same.

use super::Finding;
use crate::{
    ask::{Asker, Cluster, Trust},
    config::{DoctorConfig, replay::TargetTls},
    net::SourceUrl,
};

/// What was seen of one of them.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// `source` or `target`.
    pub(super) role: &'static str,
    pub(super) url: SourceUrl,
    /// Status of the answer, and who it says it is; or why there is none.
    pub(super) answer: Result<(u16, Option<Cluster>), String>,
    /// Any certificate was taken.
    pub(super) insecure: bool,
}

pub(super) fn look(config: &DoctorConfig) -> Vec<Facts> {
    let both = [
        ("source", &config.source, &config.source_tls),
        ("target", &config.target, &config.target_tls),
    ];
    both.into_iter()
        .filter_map(|(role, url, tls)| {
            let url = url.clone()?;
            Some(Facts { role, answer: ask(&url, tls), insecure: tls.insecure && url.tls, url })
        })
        .collect()
}

fn ask(url: &SourceUrl, tls: &TargetTls) -> Result<(u16, Option<Cluster>), String> {
    url.resolve().map_err(|error| format!("{} has no address: {error}", url.host))?;
    let identity = tls.cert.as_deref().zip(tls.key.as_deref());
    let trust = Trust { ca: tls.ca.as_deref(), identity, insecure: tls.insecure };
    let (status, body) = Asker::trusting(trust)?.get(&format!("{url}/"))?;
    Ok((status, Cluster::parse(&body)))
}

pub(super) fn judge(both: &[Facts]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = both.iter().map(one).collect();
    if let [source, target] = both {
        findings.push(apart(source, target));
    }
    findings
}

fn one(facts: &Facts) -> Finding {
    let Facts { role, url, answer, insecure } = facts;
    match answer {
        Err(why) => {
            let fix = if why.contains("certificate") || why.contains("PEM") {
                format!("name the authority that signed its certificate: --{role}-ca FILE")
            } else if url.tls {
                format!("curl -v {url}/ from this host; does it speak TLS on this port?")
            } else {
                format!(
                    "curl -v {url}/ from this host; is it up, and does a firewall or security group let you in?"
                )
            };
            Finding::fail(*role, format!("no answer: {why}"), fix)
        }
        Ok((_, Some(cluster))) if *insecure => Finding::warn(
            *role,
            format!("{cluster}, at {url}, whose certificate nobody verifies"),
            format!("--{role}-ca FILE instead of --{role}-insecure"),
        ),
        Ok((_, Some(cluster))) => Finding::ok(*role, format!("{cluster}, at {url}")),
        // Clients bring their own credentials, and so does replay.
        Ok((401 | 403, None)) => {
            Finding::ok(*role, format!("{url} answers and asks for credentials"))
        }
        Ok((status, None)) if *status >= 500 => Finding::fail(
            *role,
            format!("{url} answers {status}"),
            format!("curl -v {url}/: what stands in front of the cluster cannot reach it"),
        ),
        Ok((status, None)) => Finding::warn(
            *role,
            format!("{url} answers {status}, but not like a cluster"),
            format!("is --{role} the cluster itself, and not a dashboard or another service?"),
        ),
    }
}

fn apart(source: &Facts, target: &Facts) -> Finding {
    let check = "target.apart";
    let fix = "--target names the new cluster";
    let same = |why: String| {
        Finding::fail(
            check,
            format!("target and source are the same ({why}): everything would be done twice"),
            fix,
        )
    };
    if source.url == target.url {
        return same(format!("both are {}", source.url));
    }
    let uuid = |facts: &Facts| facts.answer.as_ref().ok()?.1.as_ref()?.uuid().map(str::to_owned);
    match (uuid(source), uuid(target)) {
        (Some(one), Some(other)) if one == other => same(format!("both say cluster_uuid {one}")),
        (Some(_), Some(_)) => Finding::ok(check, "two clusters"),
        _ => Finding::warn(
            check,
            "whether target and source are two clusters cannot be told: one of them does not say who it is",
            "compare by hand: curl -u USER CLUSTER/ shows cluster_uuid",
        ),
    }
}
