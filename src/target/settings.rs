//! What a worker is told once.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{http::Limits, net::Addresses, tls::Trust};

/// What to connect to, and every bound of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The target's addresses, at least one: new connections go to one after the other, and to the next where one
    /// cannot be connected to.
    pub addresses: Arc<Addresses>,
    /// TLS, and whom it trusts; `None`: plaintext.
    pub tls: Option<Trust>,
    /// How long one address may take to answer a connect, the handshake of TLS included.
    pub connect_timeout: Duration,
    /// How long nothing may come or go while a request is in flight.
    pub response_timeout: Duration,
    /// How long a connection is kept unused. Below what load balancers allow (60 s is common), so that it is this side
    /// that closes and no request meets a connection on its way out.
    pub idle_timeout: Duration,
    /// Connections at most; jobs beyond wait for one.
    pub connections_max: usize,
    /// The bounds of a response's framing.
    pub limits: Limits,
    /// Bytes of a response that are handed back at most, whatever the job asks for.
    pub response_bytes_max: usize,
}

impl Settings {
    /// The settings for a target at `addresses`.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self {
            addresses: Addresses::new(addresses),
            tls: None,
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(150),
            idle_timeout: Duration::from_secs(30),
            connections_max: 1024,
            limits: Limits::default(),
            response_bytes_max: 128 << 20,
        }
    }
}
