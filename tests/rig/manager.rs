//! A stand-in for the service manager: the socket that `NOTIFY_SOCKET` names, and what was said on it.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A socket that keeps what it is told.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
    dir: TempDir,
}

impl Manager {
    /// Listens.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket can be bound");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
        Self { socket, heard: Vec::new(), dir }
    }

    /// What `NOTIFY_SOCKET` is to be.
    pub(crate) fn address(&self) -> PathBuf {
        self.dir.path().join("notify")
    }

    /// All lines heard so far, in order.
    pub(crate) fn heard(&mut self) -> &[String] {
        self.listen();
        &self.heard
    }

    /// Forgets what was heard.
    pub(crate) fn forget(&mut self) {
        self.listen();
        self.heard.clear();
    }

    /// Waits for a line that begins with `start`; whether it came.
    pub(crate) fn hears(&mut self, start: &str, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            self.listen();
            if self.heard.iter().any(|line| line.starts_with(start)) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
        }
    }

    fn listen(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(n) = self.socket.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..n]);
            self.heard.extend(text.lines().map(ToOwned::to_owned));
        }
    }
}
