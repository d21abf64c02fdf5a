//! Who a running client is to the brokers: nobody, a user with a password, a role of AWS.
//!
//! Never waits, so that the thread that serves a client may ask: tokens are signed with the credentials that a keeper
//! has, and the file of a password is read only when the brokers have refused the last one.

use std::{
    error::Error,
    fmt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientContext,
    client::{Client, OAuthToken},
};

use super::{iam, native};
use crate::{credentials::Keeper, sys::secret};

/// See the file.
pub struct Login(Way);

enum Way {
    /// What the properties say.
    Properties,
    Password {
        user: String,
        file: PathBuf,
        password: Mutex<String>,
    },
    Iam {
        region: String,
        keeper: Keeper,
    },
}

impl fmt::Debug for Login {
    /// Never shows a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Properties => f.write_str("Properties"),
            Way::Password { user, file, .. } => {
                f.debug_struct("Password").field("user", user).field("file", file).finish()
            }
            Way::Iam { region, .. } => f.debug_struct("Iam").field("region", region).finish(),
        }
    }
}

impl Login {
    pub(super) fn properties() -> Self {
        Self(Way::Properties)
    }

    pub(super) fn password(user: &str, file: PathBuf, password: String) -> Self {
        Self(Way::Password { user: user.to_owned(), file, password: Mutex::new(password) })
    }

    /// Begins to fetch credentials for tokens.
    pub(super) fn iam(region: &str) -> Result<Self, String> {
        let keeper = Keeper::begin(region)?;
        Ok(Self(Way::Iam { region: region.to_owned(), keeper }))
    }

    /// Waits for credentials, if there are to be any. The error says what was tried.
    pub(super) fn wait(&self, at_most: Duration) -> Result<(), String> {
        match &self.0 {
            Way::Iam { keeper, .. } => keeper.wait(at_most),
            _ => Ok(()),
        }
    }

    /// Tells a client that was just made what has changed since its properties were written.
    pub fn adopt<C: ClientContext>(&self, client: &Client<C>) {
        let result = match &self.0 {
            Way::Properties => Ok(()),
            Way::Password { user, password, .. } => {
                let password = password.lock().unwrap_or_else(PoisonError::into_inner);
                native::set_credentials(client, user, &password)
            }
            // Without one the client asks for it as soon as it is polled.
            Way::Iam { .. } => match self.token() {
                Ok(token) => native::set_token(client, &token),
                Err(_) => Ok(()),
            },
        };
        if let Err(why) = result {
            tracing::debug!(event = "kafka.login", why, "librdkafka does not take it");
        }
    }

    /// The brokers have refused this client: a password is read again from its file and counts from the next connection
    /// on, which librdkafka makes by itself.
    pub fn renew<C: ClientContext>(&self, client: &Client<C>) {
        let Way::Password { file, password, .. } = &self.0 else { return };
        match secret::read(file) {
            Ok(newest) => {
                let mut known = password.lock().unwrap_or_else(PoisonError::into_inner);
                if *known != newest {
                    tracing::info!(
                        event = "kafka.password",
                        file = %file.display(),
                        "the password was changed; the new one is used from now on"
                    );
                    *known = newest;
                }
            }
            // As it may be while somebody writes it.
            Err(why) => tracing::debug!(event = "kafka.password", why, "the old one is kept"),
        }
        self.adopt(client);
    }

    /// A token for a client that asks for one.
    pub(super) fn token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let Way::Iam { region, keeper } = &self.0 else {
            return Err("tokens are made with --kafka-auth msk-iam only".into());
        };
        let Some(credentials) = keeper.current() else {
            return Err(keeper.trouble().unwrap_or_else(|| FETCHING.into()).into());
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        if !credentials.hold_at(now) {
            let why = keeper.trouble().unwrap_or_default();
            return Err(format!(
                "the AWS credentials have ended, and there are no new ones: {why}"
            )
            .into());
        }
        let token = iam::token(region, &credentials, now)?;
        Ok(OAuthToken {
            token: token.text,
            // The brokers read it off the token; librdkafka only wants one.
            principal_name: "msk-iam".into(),
            lifetime_ms: token.ends_unix_ms,
        })
    }
}

const FETCHING: &str = "AWS credentials are being fetched";
