//! The target by which load balancers ask the proxy itself how it is.

use std::str::FromStr;

use crate::http::{Method, RequestHead, RequestLines};

/// A path that GET and HEAD ask of the proxy and not of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPath(Vec<u8>);

impl HealthPath {
    /// A query does not make another path of it: some load balancers add one to get around caches.
    pub(super) fn is_asked(&self, request: &RequestHead, lines: &RequestLines<'_>) -> bool {
        if !matches!(request.method, Method::Get | Method::Head) || request.upgrade {
            return false;
        }
        let rest = lines.target().strip_prefix(&self.0[..]);
        rest.is_some_and(|rest| matches!(rest, [] | [b'?', ..]))
    }
}

impl FromStr for HealthPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
        if text.len() < 2 || !text.starts_with('/') || !text.bytes().all(plain) {
            return Err("give a path of its own without a query, as /_tapline/health".to_owned());
        }
        Ok(Self(text.as_bytes().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_its_own_will_do() {
        for bad in ["", "/", "health", "/a?b", "/a b", "/a#b", "/ü", "/a\r\n"] {
            assert!(HealthPath::from_str(bad).is_err(), "{bad:?}");
        }
        assert!(HealthPath::from_str("/_tapline/health").is_ok());
    }
}
