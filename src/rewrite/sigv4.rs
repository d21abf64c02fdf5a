//! Signatures for Amazon's services (Signature Version 4).
//!
//! Owns which fields are signed and what stands in the head for it; the signature itself is the work of `aws-sigv4`.
//! Never fetches credentials and never shows them.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;

use super::edits::CRLF;
use super::message::Message;

/// Who signs.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's id.
    pub key_id: String,
    /// The secret of the access key.
    pub secret: String,
    /// The token of a session, for credentials that last a while.
    pub session_token: Option<String>,
    /// When they end, Unix seconds; `None` for those that do not.
    pub expires_unix_s: Option<i64>,
}

impl Credentials {
    /// Can they still sign at `now_unix_s`?
    pub fn hold_at(&self, now_unix_s: i64) -> bool {
        self.expires_unix_s.is_none_or(|expires| now_unix_s < expires)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("key_id", &self.key_id)
            .field("expires_unix_s", &self.expires_unix_s)
            .finish_non_exhaustive()
    }
}

/// Signs the requests of a run.
pub(super) struct Signer {
    service: String,
    region: String,
}

impl Signer {
    pub(super) fn new(service: &str, region: &str) -> Result<Self, String> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !is_name(service) || !is_name(region) {
            return Err(format!(
                "--sigv4 {service},{region}: give service and region such as es,us-east-1 or aoss,eu-central-1"
            ));
        }
        Ok(Self { service: service.to_owned(), region: region.to_owned() })
    }

    /// `message`, which is not chunked and has none of [`FIELDS`], with the fields of the signature behind the others.
    pub(super) fn sign(
        &self,
        message: &Message<'_>,
        now_unix_s: i64,
        credentials: &Credentials,
    ) -> Result<Vec<u8>, String> {
        let fault = |what: &str| format!("the request cannot be signed: {what}");
        let seconds = u64::try_from(now_unix_s).map_err(|_| fault("the clock is before 1970"))?;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| fault("it is not UTF-8"));

        let mut settings = SigningSettings::default();
        // The serverless service wants it with every request, the others with a body.
        if !message.body().is_empty() || self.service == "aoss" {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let identity = AwsCredentials::new(
            &credentials.key_id,
            &credentials.secret,
            credentials.session_token.clone(),
            None,
            "tapline",
        )
        .into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(UNIX_EPOCH + Duration::from_secs(seconds))
            .settings(settings)
            .build()
            .map_err(|error| fault(&error.to_string()))?
            .into();

        let signed = |name: &[u8]| {
            name.eq_ignore_ascii_case(b"host") || name.eq_ignore_ascii_case(b"content-type")
        };
        let mut fields = Vec::with_capacity(2);
        for field in message.fields.iter().filter(|field| signed(field.name)) {
            fields.push((text(field.name)?, text(field.value)?));
        }
        let request = SignableRequest::new(
            text(message.method)?,
            text(message.target)?,
            fields.into_iter(),
            SignableBody::Bytes(message.body()),
        )
        .map_err(|error| fault(&error.to_string()))?;
        let (instructions, _) =
            sign(request, &params).map_err(|error| fault(&error.to_string()))?.into_parts();
        let (headers, _) = instructions.into_parts();

        let head_end = message.head.head_bytes - CRLF.len();
        let mut out = Vec::with_capacity(message.bytes.len() + SIGNATURE_BYTES);
        out.extend_from_slice(&message.bytes[..head_end]);
        for header in headers {
            for part in [header.name(), ": ", header.value(), "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(&message.bytes[head_end..]);
        Ok(out)
    }
}

/// Fields of an older signature, which give way.
pub(super) const FIELDS: [&str; 4] =
    ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];

/// Room for the fields of a signature; a session token makes it grow once.
const SIGNATURE_BYTES: usize = 512;
