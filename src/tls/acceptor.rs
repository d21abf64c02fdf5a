//! Our side of connections that clients make: one certificate for all workers, exchanged while they run.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{
        ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};

use super::{PemPair, certificate, files, self_signed};

/// Where the server's certificate comes from.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Made by tapline for these names and addresses and kept in this directory.
    SelfSigned {
        /// The directory.
        dir: PathBuf,
        /// Host names and addresses.
        names: Vec<String>,
    },
    /// Given by the operator.
    Files(PemPair),
}

/// Which certificates of clients are asked for.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// The authorities that clients' certificates must come from.
    pub ca: PathBuf,
    /// Clients without one are turned away.
    pub required: bool,
}

/// What new connections are accepted with. Clones share it; [`Acceptor::reload`] exchanges it for all of them, while
/// connections that are open live on.
#[derive(Clone)]
pub struct Acceptor {
    shared: Arc<Shared>,
}

struct Shared {
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    identity: Identity,
    clients: Option<ClientCertificates>,
    config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    authorities: Vec<CertificateDer<'static>>,
    not_after: Timestamp,
}

/// A change that is ready to be made.
pub struct Prepared(Current);

impl Acceptor {
    /// Reads the certificate, or makes it.
    pub fn new(identity: Identity, clients: Option<ClientCertificates>) -> Result<Self, String> {
        let current = load(identity, clients, None)?;
        Ok(Self { shared: Arc::new(Shared { current: RwLock::new(current) }) })
    }

    /// Reads the files again. If anything about them is wrong, everything stays as it was. True when something changed.
    pub fn reload(&self) -> Result<bool, String> {
        let (identity, clients) =
            self.current(|current| (current.identity.clone(), current.clients.clone()));
        Ok(self.install(self.prepare(identity, clients)?))
    }

    /// Reads the files that are named, without any effect yet.
    pub fn prepare(
        &self,
        identity: Identity,
        clients: Option<ClientCertificates>,
    ) -> Result<Prepared, String> {
        let before = self.current(Clone::clone);
        let next = load(identity, clients, Some(&before))?;
        let now = Timestamp::now();
        if next.not_after <= now && before.not_after > now {
            return Err(format!(
                "the certificate expired at {}, the one in use is good until {}",
                next.not_after, before.not_after
            ));
        }
        Ok(Prepared(next))
    }

    /// Puts into effect what was prepared; true when it differs from what was in use.
    pub fn install(&self, Prepared(next): Prepared) -> bool {
        let mut current = self.shared.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = !Arc::ptr_eq(&next.config, &current.config);
        *current = next;
        changed
    }

    /// Whether tapline made the certificate itself.
    pub fn is_self_signed(&self) -> bool {
        self.current(|current| matches!(current.identity, Identity::SelfSigned { .. }))
    }

    /// When the certificate in use expires, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.current(|current| current.not_after.as_second())
    }

    /// SHA-256 of the certificate in use, as `openssl x509 -fingerprint -sha256` writes it.
    pub fn fingerprint(&self) -> String {
        self.current(|current| {
            current.chain.first().map_or_else(String::new, |der| certificate::fingerprint(der))
        })
    }

    /// The file of the certificate, for clients that are to trust it.
    pub fn certificate(&self) -> PathBuf {
        self.current(|current| pair(&current.identity).certificate)
    }

    /// Every file whose change is a reason to [`Acceptor::reload`].
    pub fn files(&self) -> Vec<PathBuf> {
        self.current(|current| {
            let PemPair { certificate, key } = pair(&current.identity);
            let ca = current.clients.iter().map(|clients| clients.ca.clone());
            [certificate, key].into_iter().chain(ca).collect()
        })
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.current(|current| Arc::clone(&current.config))
    }

    fn current<T>(&self, read: impl FnOnce(&Current) -> T) -> T {
        read(&self.shared.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Acceptor({})", self.certificate().display())
    }
}

fn pair(identity: &Identity) -> PemPair {
    match identity {
        Identity::SelfSigned { dir, .. } => self_signed::pair(dir),
        Identity::Files(pair) => pair.clone(),
    }
}

fn load(
    identity: Identity,
    clients: Option<ClientCertificates>,
    before: Option<&Current>,
) -> Result<Current, String> {
    if let Identity::SelfSigned { dir, names } = &identity {
        self_signed::ensure(dir, names, Timestamp::now())?;
    }
    let PemPair { certificate, key } = &pair(&identity);
    let chain = files::certificates(certificate)?;
    let secret = files::key(key)?;
    let not_after = certificate::validity(&chain[0])
        .map_err(|error| format!("{}: {error}", certificate.display()))?
        .not_after;
    check_pair(&chain, secret.clone_key()).map_err(|error| {
        format!("{} and {} do not fit together: {error}", certificate.display(), key.display())
    })?;
    let authorities =
        clients.as_ref().map_or(Ok(Vec::new()), |clients| files::certificates(&clients.ca))?;
    let required = |clients: &Option<ClientCertificates>| {
        clients.as_ref().is_some_and(|clients| clients.required)
    };
    let same_clients = |before: &&Current| {
        before.authorities == authorities && required(&before.clients) == required(&clients)
    };
    if let Some(before) = before.filter(same_clients)
        && before.chain == chain
    {
        return Ok(Current { identity, clients, ..before.clone() });
    }
    // A session that was begun under other authorities must not be taken up again under these.
    let memory = match before.filter(same_clients) {
        Some(Current { config, .. }) => Memory {
            tickets: Arc::clone(&config.ticketer),
            sessions: Arc::clone(&config.session_storage),
        },
        None => Memory::new()?,
    };
    let config = config(&chain, secret, clients.as_ref(), &authorities, memory)?;
    let config = Arc::new(config);
    Ok(Current { identity, clients, config, chain, authorities, not_after })
}

/// What lets a client take up an earlier session again.
struct Memory {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Memory {
    fn new() -> Result<Self, String> {
        // One key for the tickets of all workers, exchanged every six hours; nothing is kept here per client, but for
        // clients of TLS 1.2 that know no tickets.
        let tickets = ring::Ticketer::new().map_err(|error| unset(&error))?;
        Ok(Self { tickets, sessions: ServerSessionMemoryCache::new(SESSIONS_MAX) })
    }
}

/// Sessions kept for clients that know no tickets.
const SESSIONS_MAX: usize = 1024;

fn unset(error: &rustls::Error) -> String {
    format!("TLS cannot be set up: {error}")
}

fn config(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    clients: Option<&ClientCertificates>,
    authorities: &[CertificateDer<'static>],
    memory: Memory,
) -> Result<ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unset(&error))?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            builder.with_client_cert_verifier(verifier(clients, authorities, &provider)?)
        }
    };
    let mut config =
        builder.with_single_cert(chain.to_vec(), key).map_err(|error| unset(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (config.ticketer, config.session_storage) = (memory.tickets, memory.sessions);
    // A write in 0-RTT data could be replayed by anybody.
    config.max_early_data_size = 0;
    config.enable_secret_extraction = true;
    Ok(config)
}

fn verifier(
    clients: &ClientCertificates,
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| no_authority(&clients.ca, &error))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| format!("{} cannot be used: {error}", clients.ca.display()))
}

fn no_authority(path: &Path, error: &rustls::Error) -> String {
    format!("{} holds a certificate that is no authority: {error}", path.display())
}

/// That the key is the certificate's.
pub(super) fn check_pair(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
) -> Result<(), String> {
    CertifiedKey::from_der(chain.to_vec(), key, &ring::default_provider())
        .map(drop)
        .map_err(|error| error.to_string())
}
