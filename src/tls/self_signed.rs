//! The certificate that tapline makes for itself when nobody gives it one: kept in the state directory, so that clients
//! can pin it, and made anew only when it is about to expire or cannot be used.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use super::{certificate, files};

/// The two files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemPair {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The pair of `dir`, made if there is none that is good for [`RENEW_BEFORE_DAYS`] more. True when it was made now.
/// `names`: host names and addresses under which clients may come.
pub(super) fn ensure(
    dir: &Path,
    names: &[String],
    now: Timestamp,
) -> Result<(PemPair, bool), String> {
    let pair = pair(dir);
    if is_good(&pair, now) {
        return Ok((pair, false));
    }
    let (certificate, key) = make(names, now)?;
    let write = |path: &Path, text: &str, mode| {
        write_whole(path, text, mode)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    write(&pair.key, &key, 0o600)?;
    write(&pair.certificate, &certificate, 0o644)?;
    Ok((pair, true))
}

/// Where the pair of this directory is kept.
pub fn pair(dir: &Path) -> PemPair {
    PemPair { certificate: dir.join("self-signed.crt"), key: dir.join("self-signed.key") }
}

fn is_good(pair: &PemPair, now: Timestamp) -> bool {
    let usable = || {
        let chain = files::certificates(&pair.certificate).ok()?;
        let key = files::key(&pair.key).ok()?;
        let validity = certificate::validity(chain.first()?).ok()?;
        super::acceptor::check_pair(&chain, key).ok()?;
        Some(validity.not_after)
    };
    let least = now + (RENEW_BEFORE_DAYS * 24).hours();
    usable().is_some_and(|not_after| not_after > least)
}

fn make(names: &[String], now: Timestamp) -> Result<(String, String), String> {
    let fail = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    let mut params = CertificateParams::new(names).map_err(fail)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "tapline capture");
    params.distinguished_name = name;
    let day = |days: i64| {
        let date = (now + (days * 24).hours()).to_zoned(TimeZone::UTC).date();
        date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8)
    };
    // A day of grace for clients whose clock is behind.
    (params.not_before, params.not_after) = (day(-1), day(GOOD_FOR_DAYS));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?;
    let certificate = params.self_signed(&key).map_err(fail)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Whole or not at all: into a new file beside it, then in its place.
fn write_whole(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// A self-signed certificate is made anew when it is good for less than this.
const RENEW_BEFORE_DAYS: i64 = 30;
/// With the day of grace a year: Mozilla's advice is less than 366 days, and some clients take no more than 398.
const GOOD_FOR_DAYS: i64 = 364;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names() -> Vec<String> {
        vec!["localhost".into(), "127.0.0.1".into(), "::1".into()]
    }

    #[test]
    fn a_certificate_stays_until_it_is_about_to_expire() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let (pair, made) = ensure(dir.path(), &names(), now).unwrap();
        assert!(made);
        assert_eq!(fs::metadata(&pair.key).unwrap().permissions().mode() & 0o777, 0o600);
        let first = fs::read(&pair.certificate).unwrap();
        let later = now + (330 * 24).hours();
        assert!(!ensure(dir.path(), &names(), later).unwrap().1);
        assert_eq!(fs::read(&pair.certificate).unwrap(), first);
        assert!(ensure(dir.path(), &names(), later + (10 * 24).hours()).unwrap().1);
        assert_ne!(fs::read(&pair.certificate).unwrap(), first);
    }

    #[test]
    fn a_pair_that_does_not_fit_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let (pair, _) = ensure(dir.path(), &names(), now).unwrap();
        let other = make(&names(), now).unwrap();
        fs::write(&pair.key, other.1).unwrap();
        assert!(ensure(dir.path(), &names(), now).unwrap().1);
        fs::write(&pair.certificate, "nothing").unwrap();
        assert!(ensure(dir.path(), &names(), now).unwrap().1);
        assert!(!ensure(dir.path(), &names(), now).unwrap().1);
    }
}
