//! HAProxy in front of tapline: what a balancer that speaks the PROXY protocol sends.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::Process;
use super::{port, services, wait};

/// A running HAProxy that passes TCP connections on.
#[derive(Debug)]
pub(crate) struct Haproxy {
    process: Process,
    port: u16,
    _dir: TempDir,
}

impl Haproxy {
    /// Passes connections on to a port on 127.0.0.1, with these words behind the server's address.
    pub(crate) fn to(server: u16, words: &str) -> Self {
        Self::to_all(&[server], words)
    }

    /// Passes connections on to these ports in turn.
    pub(crate) fn to_all(servers: &[u16], words: &str) -> Self {
        let program = services::program("haproxy", "apt-get install haproxy");
        let program = program.unwrap_or_else(|error| panic!("{error}"));
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let port = port::free();
        let mut config = format!(
            "global\n  maxconn 500\ndefaults\n  mode tcp\n  retries 3\n  option redispatch 1\n  timeout connect 5s\n  timeout client 1m\n\
             \x20 timeout server 1m\nfrontend in\n  bind 127.0.0.1:{port}\n  default_backend out\n\
             backend out\n"
        );
        for (number, server) in servers.iter().enumerate() {
            let _ = writeln!(config, "  server tapline-{number} 127.0.0.1:{server} {words}");
        }
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, config).expect("the directory is writable");
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(&file);
        let mut process = Process::spawn(&mut command, &dir.path().join("output"), dir.path());
        let listens = wait::until(START, || {
            process.ended().is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        assert!(listens && process.ended().is_none(), "haproxy: {}", process.last_words());
        Self { process, port, _dir: dir }
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it.
    pub(crate) fn stop(mut self) {
        self.process.kill();
    }
}

const START: Duration = Duration::from_secs(20);
