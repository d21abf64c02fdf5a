//! The certificate that clients are shown.

use std::path::PathBuf;

use super::Finding;
use crate::{
    config::{DoctorConfig, TlsMode},
    sys::clock::Clock,
    tls::{self, Inspection},
};

const DAY_S: i64 = 86_400;
/// Days before its end at which somebody should see to it.
const SOON_DAYS: i64 = 30;

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) file: PathBuf,
    /// tapline made it, and keeps it in the state directory.
    pub(super) own: bool,
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) certificate: Result<Inspection, String>,
    /// Whether the key belongs to it; `None` when no key was named.
    pub(super) key: Option<Result<(), String>>,
}

/// `None` when clients speak plaintext, or the certificate is still to be made.
pub(super) fn look(config: &DoctorConfig) -> Option<Facts> {
    if config.tls == TlsMode::Off {
        return None;
    }
    let own = config.tls == TlsMode::SelfSigned;
    let (file, key) = if own {
        let pair = tls::self_signed_pair(&config.state_dir);
        (pair.certificate.exists().then_some(pair.certificate)?, Some(pair.key))
    } else {
        (config.tls_cert.clone()?, config.tls_key.clone())
    };
    let key = key.map(|key| tls::belongs(&file, &key));
    let now = (Clock::default().unix_ns() / 1_000_000_000) as i64;
    Some(Facts { now, certificate: tls::inspect(&file), key, file, own })
}

pub(super) fn judge(facts: Option<&Facts>) -> Vec<Finding> {
    let Some(facts) = facts else { return Vec::new() };
    let mut findings = vec![dates(facts)];
    match &facts.key {
        Some(Err(why)) => findings.push(Finding::fail(
            "certificate.key",
            why,
            if facts.own {
                AGAIN
            } else {
                "name the key that was made with the certificate: --tls-key"
            },
        )),
        Some(Ok(())) => findings.push(Finding::ok("certificate.key", "belongs to the certificate")),
        None => {}
    }
    findings
}

fn dates(facts: &Facts) -> Finding {
    let check = "certificate";
    let file = facts.file.display();
    let seen = match &facts.certificate {
        Ok(seen) => seen,
        Err(why) => {
            let fix = if facts.own { AGAIN } else { "name a PEM file: --tls-cert" };
            return Finding::fail(check, why, fix);
        }
    };
    let days = (seen.not_after - facts.now).div_euclid(DAY_S);
    let renew = if facts.own {
        AGAIN.to_owned()
    } else {
        format!("put a new certificate at {file}; it is taken up without a restart (SIGHUP)")
    };
    if facts.now < seen.not_before {
        let days = (seen.not_before - facts.now + DAY_S - 1) / DAY_S;
        return Finding::fail(
            check,
            format!("{file} holds only in {days} days: is the clock right?"),
            "timedatectl, or a certificate that holds already",
        );
    }
    if days < 0 {
        return Finding::fail(check, format!("{file} ended {} days ago", -days), renew);
    }
    let names = seen.names.join(", ");
    if days < SOON_DAYS {
        return Finding::warn(check, format!("{file} ends in {days} days ({names})"), renew);
    }
    let made =
        if facts.own { " (made by tapline; clients that verify take it as authority)" } else { "" };
    Finding::ok(check, format!("{file}, {days} days left, for {names}{made}"))
}

/// A start looks at the pair and makes a new one where it is needed; an upgrade in place is a start.
const AGAIN: &str = "tapline makes a new pair at its next start: systemctl kill --kill-whom=main --signal=SIGUSR2 \
                     tapline-capture (clients that pin the old one need the new one)";
