//! Tokens for Amazon MSK's IAM access control.
//!
//! A token is the base64url (RFC 4648 section 5, no padding) of a URL that asks for `kafka-cluster:Connect`, presigned
//! with Signature Version 4; the brokers check the signature with IAM. That is what Amazon's `aws-msk-iam-sasl-signer`
//! makes. Reads no clock and fetches no credentials.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4::SigningParams,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::rewrite::Credentials;

/// How long a token can be used for a connection; what the brokers take at most.
const LIFETIME_S: i64 = 900;

/// A token, and when it ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) ends_unix_ms: i64,
}

/// A token for the brokers of a region.
pub(super) fn token(
    region: &str,
    credentials: &Credentials,
    now_unix_s: i64,
) -> Result<Token, String> {
    let fault = |what: String| format!("the token cannot be signed: {what}");
    let seconds =
        u64::try_from(now_unix_s).map_err(|_| fault("the clock is before 1970".into()))?;
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(LIFETIME_S.unsigned_abs()));
    let Credentials { key_id, secret, session_token, expires_unix_s } = credentials;
    let identity =
        AwsCredentials::new(key_id, secret, session_token.clone(), None, "tapline").into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("kafka-cluster")
        .time(UNIX_EPOCH + Duration::from_secs(seconds))
        .settings(settings)
        .build()
        .map_err(|error| fault(error.to_string()))?
        .into();
    let mut url = format!("https://kafka.{region}.amazonaws.com/?Action=kafka-cluster%3AConnect");
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(b""))
        .map_err(|error| fault(error.to_string()))?;
    let (instructions, _) =
        sign(request, &params).map_err(|error| fault(error.to_string()))?.into_parts();
    let (_, parameters) = instructions.into_parts();
    for (name, value) in parameters {
        url.push('&');
        url.push_str(name);
        url.push('=');
        escape(&value, &mut url);
    }
    // For Amazon's logs; not signed, as their own signers have it.
    url.push_str(concat!("&User-Agent=tapline%2F", env!("CARGO_PKG_VERSION")));
    let ends_unix_s = (now_unix_s + LIFETIME_S).min(expires_unix_s.unwrap_or(i64::MAX));
    Ok(Token { text: BASE64_URL_SAFE_NO_PAD.encode(url), ends_unix_ms: ends_unix_s * 1000 })
}

/// Everything but RFC 3986's unreserved characters by its number, as Signature Version 4 wants it.
fn escape(value: &str, into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            let digits = [byte >> 4, byte & 15].map(|half| char::from(DIGITS[usize::from(half)]));
            into.extend(['%', digits[0], digits[1]]);
        }
    }
}

/// The region in names such as `b-1.demo.a1b2c3.c2.kafka.us-east-1.amazonaws.com:9098`.
pub(super) fn region_of(brokers: &str) -> Option<&str> {
    brokers.split(',').find_map(|broker| {
        let host = broker.trim().rsplit_once(':').map_or(broker.trim(), |(host, _)| host);
        let mut labels = host.split('.').skip_while(|label| !label.starts_with("kafka"));
        labels.next()?;
        let region = labels.next()?;
        (labels.next()? == "amazonaws").then_some(region)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(credentials: &Credentials) -> String {
        let token = token("us-east-1", credentials, NOW).unwrap();
        String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token.text).unwrap()).unwrap()
    }

    fn credentials(session_token: Option<&str>) -> Credentials {
        Credentials {
            key_id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: session_token.map(str::to_owned),
            expires_unix_s: None,
        }
    }

    /// The URLs that botocore 1.43.11 signs with `SigV4QueryAuth("kafka-cluster", "us-east-1", expires=900)` for the
    /// same credentials at the same time, which is how Amazon's signer for Python makes its tokens.
    #[test]
    fn botocore_signs_the_same() {
        let common = "https://kafka.us-east-1.amazonaws.com/?Action=kafka-cluster%3AConnect&X-Amz-Algorithm=\
                      AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261127%2Fus-east-1%2Fkafka-cluster%2F\
                      aws4_request&X-Amz-Date=20261127T120000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host";
        let session = "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJHMEUCIQ+/=";
        let plain =
            "&X-Amz-Signature=67f3b7649bdee81af323aa99709abe545ba65c14a961d84c37eebf9dabc4f7d5";
        let of_session = "&X-Amz-Security-Token=IQoJb3JpZ2luX2VjEJr%2F%2F%2F%2F%2F%2F%2F%2F%2F%2FwEaCXVzLWVhc3QtMSJH\
                          MEUCIQ%2B%2F%3D&X-Amz-Signature=\
                          982c4c7fa94432e6f8a581452916b4dec5aeedb80db297177b6cc4a597c82c2c";
        // In whatever order: the signature is over the sorted ones.
        let sorted = |url: &str| {
            let (place, query) = url.split_once('?').expect("a query");
            let mut query: Vec<String> = query.split('&').map(str::to_owned).collect();
            query.sort();
            (place.to_owned(), query)
        };
        for (token, rest) in [(None, plain), (Some(session), of_session)] {
            let agent = concat!("&User-Agent=tapline%2F", env!("CARGO_PKG_VERSION"));
            let expected = sorted(&format!("{common}{rest}{agent}"));
            assert_eq!(sorted(&url(&credentials(token))), expected);
        }
    }

    #[test]
    fn a_token_ends_with_the_credentials_that_signed_it() {
        let mut credentials = credentials(None);
        let ends = |credentials: &Credentials| {
            token("eu-central-1", credentials, NOW).unwrap().ends_unix_ms
        };
        assert_eq!(ends(&credentials), (NOW + 900) * 1000);
        credentials.expires_unix_s = Some(NOW + 60);
        assert_eq!(ends(&credentials), (NOW + 60) * 1000);
    }

    #[test]
    fn regions_are_read_off_the_names_of_brokers() {
        for (brokers, region) in [
            ("b-1.demo.a1.c2.kafka.us-east-1.amazonaws.com:9098", Some("us-east-1")),
            ("x:1,boot-a1.c3.kafka-serverless.eu-west-2.amazonaws.com:9098", Some("eu-west-2")),
            ("b-1.demo.a1.c2.kafka.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("kafka.example.com:9092", None),
            ("127.0.0.1:9092", None),
        ] {
            assert_eq!(region_of(brokers), region, "{brokers}");
        }
    }

    /// 2026-11-27T12:00:00Z.
    const NOW: i64 = 1_795_780_800;
}
