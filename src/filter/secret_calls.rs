//! Which calls carry passwords, keys or tokens in their bodies.
//!
//! The security APIs of Elasticsearch (`_security`, `_xpack/security`) and OpenSearch (`_plugins/_security/api`,
//! `_opendistro/_security/api`). Roles, mappings and privileges are not among them: they hold no secret, and a replay
//! needs them.

use std::borrow::Cow;

/// Below `_security`: first parts of paths whose requests or answers hold secrets.
const ELASTICSEARCH: [&[u8]; 10] = [
    b"api_key",
    b"cross_cluster",
    b"delegate_pki",
    b"enroll",
    b"oauth2",
    b"oidc",
    b"profile",
    b"saml",
    b"service",
    b"user",
];

/// Of these also the answers to GET.
const ANSWERS: [&[u8]; 3] = [b"enroll", b"oidc", b"saml"];

/// Below `_plugins/_security/api`.
const OPENSEARCH: [&[u8]; 8] = [
    b"account",
    b"apitokens",
    b"authtoken",
    b"generateonbehalfoftoken",
    b"internalusers",
    b"obo",
    b"securityconfig",
    b"user",
];

/// Do the bodies of this request or of its answer hold secrets?
pub(super) fn is_secret(method: &[u8], target: &[u8]) -> bool {
    let path = target.split(|&byte| matches!(byte, b'?' | b'#')).next().unwrap_or(&[]);
    let mut parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).map(decoded);
    if !path.starts_with(b"/") {
        // Absolute form: scheme and authority stand before the path.
        parts.next();
        parts.next();
    }
    let parts: Vec<Cow<'_, [u8]>> = parts.take(PARTS_MAX).collect();
    let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
    let reads = matches!(method, b"GET" | b"HEAD" | b"OPTIONS");
    match parts[..] {
        [b"_security" | b"_xpack", b"user", b"_has_privileges" | b"_privileges", ..] => false,
        [b"_security", call, ..] | [b"_xpack", b"security", call, ..] => {
            if reads {
                ANSWERS.contains(&call)
            } else {
                ELASTICSEARCH.contains(&call)
            }
        }
        [b"_plugins" | b"_opendistro", b"_security", b"api", call, ..] => {
            !reads && OPENSEARCH.contains(&call)
        }
        _ => false,
    }
}

/// As far as paths are looked at.
const PARTS_MAX: usize = 4;

/// A part of a path without its percent signs (RFC 3986 section 2.1), as servers compare it.
fn decoded(part: &[u8]) -> Cow<'_, [u8]> {
    if !part.contains(&b'%') {
        return Cow::Borrowed(part);
    }
    let mut out = Vec::with_capacity(part.len());
    let mut at = 0;
    while let Some(&byte) = part.get(at) {
        let digit = |at: usize| part.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            out.push((high << 4 | low) as u8);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_with_secrets_are_told_from_others() {
        for secret in [
            "PUT /_security/user/jack",
            "POST /_security/user/_password?refresh",
            "POST /_security/api_key",
            "PUT //_security//api_key",
            "POST /%5Fsecurity/api%5fkey/grant",
            "POST http://host:9200/_security/oauth2/token",
            "DELETE /_security/oauth2/token",
            "GET /_security/enroll/kibana",
            "POST /_xpack/security/user/jack/_password",
            "PATCH /_plugins/_security/api/internalusers/jack",
            "PUT /_opendistro/_security/api/account",
        ] {
            let (method, target) = secret.split_once(' ').expect("two parts");
            assert!(is_secret(method.as_bytes(), target.as_bytes()), "{secret}");
        }
        for open in [
            "GET /_security/user",
            "POST /_security/user/_has_privileges",
            "PUT /_security/role/admin",
            "PUT /_security/role_mapping/all",
            "PUT /_plugins/_security/api/roles/a",
            "PUT /i/_doc/_security",
            "PUT /i/_security/api_key",
            "GET /",
            "OPTIONS *",
            "POST /_securityx/api_key",
            "PUT /_security%2",
        ] {
            let (method, target) = open.split_once(' ').expect("two parts");
            assert!(!is_secret(method.as_bytes(), target.as_bytes()), "{open}");
        }
    }
}
