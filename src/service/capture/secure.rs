//! TLS of the process: certificates at the start, at SIGHUP and when their files change, and what is said about them.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;

use super::{
    board::Extras,
    expiry::{self, Warned},
    reload::{Apply, Hook},
};
use crate::{
    admin::{Cause, Kind, Severity},
    config::{CaptureConfig, TlsMode},
    observe::{Counter, Counters, Failure},
    sys::names,
    tls::{Acceptor, ClientCertificates, Identity, PemPair, Trust},
};

/// What clients are accepted with; `None` with `--tls off`.
pub(super) fn acceptor(config: &CaptureConfig) -> Result<Option<Acceptor>, Failure> {
    let Some((identity, clients)) = identity(config) else {
        tracing::warn!(
            event = "tls.off",
            "clients speak to this port in plaintext: whoever is in between can read and change everything"
        );
        return Ok(None);
    };
    let acceptor = Acceptor::new(identity, clients).map_err(Failure::configuration)?;
    say_certificate(&acceptor);
    Ok(Some(acceptor))
}

/// Whom we trust to be the source; `None` for an http:// source.
pub(super) fn trust(config: &CaptureConfig) -> Result<Option<Trust>, Failure> {
    if !config.source.tls {
        return Ok(None);
    }
    let trust = make_trust(config).map_err(Failure::configuration)?;
    if config.source_tls.insecure {
        tracing::warn!(
            event = "tls.source_insecure",
            "--source-insecure: whoever answers at {} is taken for the source",
            config.source
        );
    }
    Ok(Some(trust))
}

fn make_trust(config: &CaptureConfig) -> Result<Trust, String> {
    let tls = &config.source_tls;
    let identity = tls.certificate.as_deref().zip(tls.key.as_deref());
    Trust::new(&config.source.host, tls.ca.as_deref(), identity, tls.insecure)
}

fn identity(config: &CaptureConfig) -> Option<(Identity, Option<ClientCertificates>)> {
    let tls = &config.tls;
    let identity = match (tls.mode, &tls.certificate, &tls.key) {
        (TlsMode::Files, Some(certificate), Some(key)) => {
            Identity::Files(PemPair { certificate: certificate.clone(), key: key.clone() })
        }
        (TlsMode::SelfSigned, ..) => {
            let mut names = names::all();
            let own = config.listen.iter().filter(|address| !address.ip().is_unspecified());
            names.extend(own.map(|address| address.ip().to_string()));
            names.sort();
            names.dedup();
            Identity::SelfSigned { dir: config.state_dir.clone(), names }
        }
        _ => return None,
    };
    let clients = tls
        .client_ca
        .as_ref()
        .map(|ca| ClientCertificates { ca: ca.clone(), required: tls.client_certificate_required });
    Some((identity, clients))
}

/// What changes at SIGHUP.
pub(super) fn hooks(
    acceptor: Option<&Acceptor>,
    trust: Option<&Trust>,
) -> Vec<Hook<CaptureConfig>> {
    let mut hooks: Vec<Hook<CaptureConfig>> = Vec::new();
    if let Some(acceptor) = acceptor.cloned() {
        let prepare = move |config: &CaptureConfig| -> Result<Apply, String> {
            let Some((identity, clients)) = identity(config) else {
                return Err("TLS to clients cannot be turned off while they are connected; restart for that".into());
            };
            let next = acceptor.prepare(identity, clients)?;
            let acceptor = acceptor.clone();
            Ok(Box::new(move || {
                if acceptor.install(next) {
                    say_certificate(&acceptor);
                }
            }))
        };
        let settings = &["tls", "tls-cert", "tls-key", "tls-client-ca", "tls-require-client-cert"];
        hooks.push(Hook { name: "TLS to clients", settings, prepare: Box::new(prepare) });
    }
    if let Some(trust) = trust.cloned() {
        let prepare = move |config: &CaptureConfig| -> Result<Apply, String> {
            let next = make_trust(config)?;
            let trust = trust.clone();
            Ok(Box::new(move || trust.replace(&next)))
        };
        let settings = &["source-ca", "source-cert", "source-key", "source-insecure"];
        hooks.push(Hook { name: "TLS to the source", settings, prepare: Box::new(prepare) });
    }
    hooks
}

/// What the admin endpoint says of TLS.
pub(super) fn extras(acceptor: Option<&Acceptor>, config: &CaptureConfig) -> Extras {
    let mut extras = Extras::default();
    if config.source.tls && config.source_tls.insecure {
        let detail = "--source-insecure: whoever answers is taken for the source".to_owned();
        let cause = Cause { name: "source_insecure", severity: Severity::Note, detail };
        extras.causes.push(Box::new(move || vec![cause.clone()]));
    }
    if let Some(acceptor) = acceptor.cloned() {
        let expiring = acceptor.clone();
        extras.causes.push(Box::new(move || {
            let now = Timestamp::now().as_second();
            expiry::cause(expiring.not_after(), &expiring.certificate(), now).into_iter().collect()
        }));
        extras.metrics.push(Box::new(move |out| {
            let help = "Unix time at which the certificate that clients are shown ends.";
            let not_after = acceptor.not_after() as f64;
            out.single("cert_expiry_timestamp_seconds", Kind::Gauge, help, not_after);
        }));
    }
    extras
}

/// Whether TLS can be had; makes no certificate.
pub(super) fn check(config: &CaptureConfig) -> Result<String, Failure> {
    trust(config)?;
    match identity(config) {
        None => Ok("plaintext to clients".into()),
        Some((Identity::SelfSigned { dir, .. }, _)) => {
            Ok(format!("to clients with a certificate of our own, kept in {}", dir.display()))
        }
        Some((identity, clients)) => {
            let acceptor = Acceptor::new(identity, clients).map_err(Failure::configuration)?;
            Ok(format!(
                "to clients with {}, good until {}",
                acceptor.certificate().display(),
                expiry::time(acceptor.not_after())
            ))
        }
    }
}

fn say_certificate(acceptor: &Acceptor) {
    tracing::info!(
        event = "tls.certificate",
        certificate = %acceptor.certificate().display(),
        sha256 = acceptor.fingerprint(),
        not_after = %expiry::time(acceptor.not_after()),
        "the certificate that clients are shown"
    );
}

/// Looks after certificates and handshakes for as long as the process runs.
pub(super) async fn watch(acceptor: Option<Acceptor>, counters: Vec<Arc<Counters>>) {
    let mut files = acceptor.map(Files::new);
    let mut failures = Failures::new(counters);
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(files) = &mut files {
            files.look();
        }
        failures.look(Instant::now());
    }
}

/// The certificate files of the server, as they were last seen.
struct Files {
    acceptor: Acceptor,
    /// As the files were when they were last read.
    read: Stamp,
    /// As they were at the last look: they are read once they have been still from one look to the next, since a
    /// certificate and its key do not change at the same moment.
    seen: Stamp,
    warned: Warned,
}

/// Of each file, when it changed and its length.
type Stamp = Vec<Option<(SystemTime, u64, u64)>>;

impl Files {
    fn new(acceptor: Acceptor) -> Self {
        let stamp = stamp(&acceptor.files());
        Self { acceptor, read: stamp.clone(), seen: stamp, warned: Warned::default() }
    }

    fn look(&mut self) {
        let now = stamp(&self.acceptor.files());
        let still = now == self.seen;
        self.seen.clone_from(&now);
        if still && now != self.read {
            self.read = now;
            self.reload();
        }
        self.look_at_expiry(Timestamp::now().as_second());
    }

    fn reload(&mut self) {
        match self.acceptor.reload() {
            Ok(true) => say_certificate(&self.acceptor),
            Ok(false) => {}
            Err(error) => tracing::error!(
                event = "tls.reload_failed",
                "the changed certificate cannot be used: {error}. The one in use stays; put a good pair in place"
            ),
        }
    }

    fn look_at_expiry(&mut self, now: i64) {
        let not_after = self.acceptor.not_after();
        let Some(left) = self.warned.due(not_after, now) else { return };
        if self.acceptor.is_self_signed() {
            // It is made anew in time.
            return self.reload();
        }
        let certificate = self.acceptor.certificate();
        let (certificate, not_after) = (certificate.display(), expiry::time(not_after));
        if left <= 0 {
            tracing::error!(
                event = "tls.expired", %certificate, %not_after,
                "the certificate has expired: clients that check it are failing. Put a new pair in place"
            );
        } else {
            tracing::warn!(
                event = "tls.expires", %certificate, %not_after, days_left = left / expiry::DAY,
                "the certificate expires soon. Put a new pair in place; it is read without a restart"
            );
        }
    }
}

fn stamp(files: &[PathBuf]) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let look = |file: &PathBuf| {
        let meta = std::fs::metadata(file).ok()?;
        Some((meta.modified().ok()?, meta.len(), meta.ino()))
    };
    files.iter().map(look).collect()
}

/// Failed handshakes, of which one line a minute is said: they come from outside, in any number.
struct Failures {
    counters: Vec<Arc<Counters>>,
    said: Vec<u64>,
    /// No line before this.
    next: Option<Instant>,
}

impl Failures {
    fn new(counters: Vec<Arc<Counters>>) -> Self {
        Self { counters, said: vec![0; KINDS.len()], next: None }
    }

    fn look(&mut self, now: Instant) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        let sum = |kind| self.counters.iter().map(|counters| counters.get(kind)).sum::<u64>();
        let sums: Vec<u64> = KINDS.iter().map(|(kind, _)| sum(*kind)).collect();
        let news = KINDS.iter().zip(sums.iter().zip(&self.said));
        let news: Vec<String> = news
            .filter(|(_, (sum, said))| sum > said)
            .map(|((_, what), (sum, said))| format!("{} {what}", *sum - *said))
            .collect();
        if news.is_empty() {
            return;
        }
        self.said = sums;
        self.next = Some(now + QUIET);
        tracing::warn!(event = "tls.failures", "TLS came to nothing: {}", news.join("; "));
    }
}

/// The kinds of failure and what an operator can do about them.
const KINDS: [(Counter, &str); 11] = [
    (Counter::TlsFailedPlaintext, "clients spoke plain HTTP to a port for TLS (use https://)"),
    (Counter::TlsFailedVersion, "clients offered no version of TLS from 1.2 on"),
    (
        Counter::TlsFailedOffer,
        "clients offered nothing that is spoken here (TLS 1.2 and 1.3 with sealing suites, HTTP/1.1 only)",
    ),
    (
        Counter::TlsFailedCertificate,
        "clients showed no certificate, or one that --tls-client-ca does not cover",
    ),
    (
        Counter::TlsFailedAlert,
        "clients gave up, most likely because they do not trust the certificate",
    ),
    (Counter::TlsFailedMalformed, "clients sent what is no TLS"),
    (Counter::TlsFailedTimeout, "clients did not finish the handshake in time"),
    (Counter::TlsFailedClosed, "clients went within the handshake"),
    (Counter::TlsBroken, "connections broke since what came could not be opened"),
    (
        Counter::TlsUnexpected,
        "clients spoke TLS to a port for plaintext (leave out --tls off, or use http://)",
    ),
    (Counter::SourceTlsFailed, "connections to the source (the 502 of the client has the reason)"),
];

/// How often files and counters are looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// How long nothing is said after a line about failures.
const QUIET: Duration = Duration::from_mins(1);
