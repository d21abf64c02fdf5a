//! Certificates and keys from PEM files, with errors that say which file and what to do.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// What helps against a file that cannot be read.
const MEND: &str = "it has to be a PEM file that the user tapline runs as may read";

/// All certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(format!("{} holds no PEM certificate", path.display())),
        Err(error) => {
            Err(format!("the certificates in {} cannot be read: {error}; {MEND}", path.display()))
        }
    }
}

/// The first private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        format!("the private key in {} cannot be read: {error}; {MEND}", path.display())
    })
}

/// The authorities of a file, or the system's.
pub(super) fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if let Some(path) = ca {
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| {
                format!("{} holds a certificate that is no authority: {error}", path.display())
            })?;
        }
        return Ok(store);
    }
    let found = rustls_native_certs::load_native_certs();
    let (_, _) = store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "this host has no certificate authorities{why}. Install ca-certificates, or name them by file"
        ));
    }
    Ok(store)
}
