//! The default chain of credentials: environment, profile files (assumed roles and SSO included), web identity, the
//! container's endpoint, the instance's.
//!
//! Owns the client that asks them: rustls with ring and the system's roots, on a runtime of the calling thread. Never
//! runs a program for credentials (`credential_process`).

use std::time::{Duration, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::runtime::Runtime;

use crate::rewrite::Credentials;

/// The chain, ready to be asked.
pub(super) struct Chain {
    runtime: Runtime,
    provider: SharedCredentialsProvider,
}

impl Chain {
    /// Reads the configuration. The error says what to do.
    pub(super) fn new(region: &str) -> Result<Self, String> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().map_err(|error| {
            format!("no runtime for fetching credentials: {error}; free file descriptors or memory")
        })?;
        let client = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .http_client(client);
        let config = runtime.block_on(loader.load());
        let provider = config.credentials_provider().ok_or_else(|| HINT.to_owned())?;
        Ok(Self { runtime, provider })
    }

    /// Asks the chain, for [`FETCH_MAX`] at most. The error says what to do.
    pub(super) fn fetch(&mut self) -> Result<Credentials, String> {
        let provider = &self.provider;
        let fetched = self.runtime.block_on(async {
            tokio::time::timeout(FETCH_MAX, provider.provide_credentials()).await
        });
        match fetched {
            Err(_) => Err(format!("no answer within {} s; {HINT}", FETCH_MAX.as_secs())),
            Ok(Err(error)) => Err(format!("{}; {HINT}", causes(&error))),
            Ok(Ok(found)) => Ok(Credentials {
                key_id: found.access_key_id().to_owned(),
                secret: found.secret_access_key().to_owned(),
                session_token: found.session_token().map(str::to_owned),
                expires_unix_s: found.expiry().map(|expiry| {
                    expiry.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
                }),
            }),
        }
    }
}

/// The error and what caused it; the first alone says little.
fn causes(error: &CredentialsError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Longer than the instance's endpoint takes to be given up, with its retries.
const FETCH_MAX: Duration = Duration::from_secs(30);

const HINT: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or AWS_PROFILE with \
                    ~/.aws/config, or give the task, pod or instance a role; or choose another way of \
                    authentication";
