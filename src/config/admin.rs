//! The settings of the admin endpoint.

use std::{
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use crate::net::SourceUrl;

/// Where the admin endpoint listens, and how patient it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Its address; `None`: there is none.
    pub listen: Option<SocketAddr>,
    /// Somebody asked for that address: without it the process does not start. The default may be another's.
    pub insist: bool,
    /// How long a cause must last before `/readyz` answers 503.
    pub patience: Duration,
    /// Where metrics are pushed as OTLP over HTTP, as `http://collector:4318`.
    pub otlp: Option<String>,
}

impl AdminConfig {
    /// What the flags say; `port` on the loopback by default.
    pub fn new(
        address: Option<AdminAddress>,
        port: u16,
        patience: Duration,
        otlp: Option<String>,
    ) -> Self {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            listen: address.map_or(Some(default), |AdminAddress(a)| a),
            insist: address.is_some(),
            patience,
            otlp,
        }
    }
}

/// The port of capture's admin endpoint.
pub const CAPTURE_ADMIN_PORT: u16 = 9600;
/// The port of replay's admin endpoint.
pub const REPLAY_ADMIN_PORT: u16 = 9601;

/// The value of `--admin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminAddress(pub Option<SocketAddr>);

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => text.parse().map(|address| Self(Some(address))).map_err(|_| {
                format!("'{text}' is no address; write 127.0.0.1:9600, [::1]:9600 or off")
            }),
        }
    }
}

/// The value of `--otlp-endpoint`.
pub fn otlp_endpoint(text: &str) -> Result<String, String> {
    match text.parse::<SourceUrl>() {
        Ok(_) => Ok(text.trim_end_matches('/').to_owned()),
        Err(_) => Err(format!("'{text}' is no collector; write http://host:4318")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_off() {
        assert!(otlp_endpoint("http://otel:4318/").is_ok_and(|url| url == "http://otel:4318"));
        assert!(otlp_endpoint("otel:4318").is_err_and(|error| error.contains("http://host:4318")));
        assert_eq!("off".parse(), Ok(AdminAddress(None)));
        assert_eq!("[::1]:1".parse::<AdminAddress>().unwrap().0.unwrap().port(), 1);
        assert!(
            "9600".parse::<AdminAddress>().is_err_and(|error| error.contains("127.0.0.1:9600"))
        );
    }
}
