//! The flags of what clients may do: how long, how many, and from where.

use std::time::Duration;

use clap::Args;

use crate::config::{Caps, Deadlines, ProxyProtocol, units};

#[derive(Debug, Args)]
pub(super) struct ClientArguments {
    /// How long a request's head may take from its first byte on; 0 for no limit
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_HEADER_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        value_parser = units::duration
    )]
    header_timeout: Duration,

    /// Bytes per second that a request's body must bring, measured over 20 s in which tapline reads; 0 for no limit
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_BODY_MIN_RATE",
        value_name = "BYTES",
        default_value = "500",
        value_parser = units::bytes
    )]
    body_min_rate: u64,

    /// How long a connection may stay without a request; 0 for no limit. A balancer in front must give up earlier than
    /// this (AWS's NLB after 350 s)
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_IDLE_TIMEOUT",
        value_name = "TIME",
        default_value = "0s",
        value_parser = units::duration
    )]
    idle_timeout: Duration,

    /// How long a client may leave an answer untaken; 0 for no limit
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_WRITE_TIMEOUT",
        value_name = "TIME",
        default_value = "2m",
        value_parser = units::duration
    )]
    write_timeout: Duration,

    /// The most client connections of this process; those beyond it get 503; 0 for as many as there are descriptors for
    #[arg(long, env = "TAPLINE_CAPTURE_MAX_CONNECTIONS", value_name = "N", default_value_t = 0)]
    max_connections: usize,

    /// The most connections of one client address; 0 for no limit
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_MAX_CONNECTIONS_PER_IP",
        value_name = "N",
        default_value_t = 0
    )]
    max_connections_per_ip: usize,

    /// Whether a balancer in front sends PROXY protocol headers (versions 1 and 2) with the client's address, which is
    /// recorded. With `accept` clients that reach tapline by themselves can claim any address
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_PROXY_PROTOCOL",
        value_name = "MODE",
        value_enum,
        default_value = "off"
    )]
    proxy_protocol: ProxyProtocol,
}

impl ClientArguments {
    pub(super) fn deadlines(&self) -> Deadlines {
        let some = |time: Duration| (!time.is_zero()).then_some(time);
        Deadlines {
            head: some(self.header_timeout),
            body_bytes_per_second: self.body_min_rate,
            idle: some(self.idle_timeout),
            write_stall: some(self.write_timeout),
            ..Deadlines::default()
        }
    }

    pub(super) fn proxy_protocol(&self) -> ProxyProtocol {
        self.proxy_protocol
    }

    pub(super) fn caps(&self) -> Caps {
        Caps { connections: self.max_connections, per_address: self.max_connections_per_ip }
    }
}
