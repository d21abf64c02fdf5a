//! Flags of the admin endpoint.

use std::time::Duration;

use clap::Args;

use crate::config::{AdminAddress, AdminConfig, CAPTURE_ADMIN_PORT, otlp_endpoint, units};

#[derive(Debug, Args)]
pub(super) struct AdminArguments {
    /// Address of the admin endpoint (/livez /readyz /startupz /metrics /status /config), or off [default:
    /// 127.0.0.1:9600, as soon as it is free]
    #[arg(long, env = "TAPLINE_CAPTURE_ADMIN", value_name = "ADDR|off")]
    admin: Option<AdminAddress>,

    /// How long writes must have been held up before /readyz says so with a 503
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_READINESS_PATIENCE",
        value_name = "TIME",
        default_value = "5s",
        value_parser = units::duration
    )]
    readiness_patience: Duration,

    /// Push metrics to an OpenTelemetry collector too, as OTLP over HTTP: http(s)://host:4318
    #[arg(
        long,
        env = "TAPLINE_CAPTURE_OTLP_ENDPOINT",
        value_name = "URL",
        value_parser = otlp_endpoint
    )]
    otlp_endpoint: Option<String>,
}

impl AdminArguments {
    pub(super) fn config(&self) -> AdminConfig {
        let otlp = self.otlp_endpoint.clone();
        AdminConfig::new(self.admin, CAPTURE_ADMIN_PORT, self.readiness_patience, otlp)
    }
}
