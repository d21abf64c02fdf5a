//! What a certificate file says of itself: until when it holds, for which names, and whether a key belongs to it.

use std::path::Path;

use rustls::{crypto::ring, sign::CertifiedKey};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use super::files;

/// What the first certificate of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Seconds since 1970 before which it does not hold.
    pub not_before: i64,
    /// Seconds since 1970 after which it does not hold any more.
    pub not_after: i64,
    /// Host names and addresses that it is for.
    pub names: Vec<String>,
}

/// Reads the first certificate of a PEM file.
pub fn inspect(path: &Path) -> Result<Inspection, String> {
    let chain = files::certificates(path)?;
    let (_, certificate) = X509Certificate::from_der(&chain[0]).map_err(|error| {
        format!("the first certificate in {} cannot be read: {error}", path.display())
    })?;
    let mut names = Vec::new();
    if let Ok(Some(others)) = certificate.subject_alternative_name() {
        for name in &others.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push((*name).to_owned()),
                GeneralName::IPAddress([a, b, c, d]) => names.push(format!("{a}.{b}.{c}.{d}")),
                GeneralName::IPAddress(bytes) => {
                    let bytes: Option<[u8; 16]> = (*bytes).try_into().ok();
                    names.extend(bytes.map(|b| std::net::Ipv6Addr::from(b).to_string()));
                }
                _ => {}
            }
        }
    }
    let validity = certificate.validity();
    Ok(Inspection {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        names,
    })
}

/// Whether the key of one file belongs to the certificate of another; an error says why not.
pub fn belongs(certificate: &Path, key: &Path) -> Result<(), String> {
    let chain = files::certificates(certificate)?;
    let secret = files::key(key)?;
    CertifiedKey::from_der(chain, secret, &ring::default_provider()).map(drop).map_err(|error| {
        format!("{} does not belong to {}: {error}", key.display(), certificate.display())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_certificate_says_its_dates_and_names_and_knows_its_key() {
        let dir = tempfile::tempdir().expect("temp dir");
        let make = |name: &str| {
            let made =
                rcgen::generate_simple_self_signed(["es.example".to_owned(), "10.0.0.7".into()])
                    .expect("made");
            let (cert, key) =
                (dir.path().join(format!("{name}.pem")), dir.path().join(format!("{name}.key")));
            fs::write(&cert, made.cert.pem()).expect("written");
            fs::write(&key, made.signing_key.serialize_pem()).expect("written");
            (cert, key)
        };
        let ((cert, key), (_, other)) = (make("a"), make("b"));
        let seen = inspect(&cert).expect("read");
        assert_eq!(seen.names, ["es.example", "10.0.0.7"]);
        assert!(seen.not_before < seen.not_after);
        assert_eq!(belongs(&cert, &key), Ok(()));
        assert!(belongs(&cert, &other).is_err_and(|why| why.contains("b.key does not belong")));
        assert!(inspect(&key).is_err_and(|why| why.contains("a.key")));
    }
}
