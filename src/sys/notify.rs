//! Telling the service manager how the process is doing: `sd_notify(3)`, which is a datagram to a socket that the
//! environment names. Without `NOTIFY_SOCKET` nothing is sent.

use std::{
    env,
    fmt::Write,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::Arc,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// The way to the service manager.
#[derive(Clone, Debug)]
pub struct Notifier {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// What the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    pub fn from_env() -> io::Result<Self> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self { to: None, watchdog: None });
        };
        let bytes = name.as_encoded_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(rest) => SocketAddr::from_abstract_name(rest)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not stop the control thread.
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        let text = |name: &str| env::var(name).ok();
        let ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let period = text("WATCHDOG_USEC").and_then(|text| text.parse().ok());
        let watchdog = period.filter(|usec| ours && *usec > 0).map(Duration::from_micros);
        Ok(Self { to: Some(Arc::new((socket, address))), watchdog })
    }

    /// Whether anybody listens.
    pub fn is_on(&self) -> bool {
        self.to.is_some()
    }

    /// The manager restarts the process when it hears no [`Notifier::alive`] for this long.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Everything is up.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// One line for people: `systemctl status` shows it.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// The configuration is being read again; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// The end has begun.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}", one_line(status)));
    }

    /// Starting or stopping goes on and may take so much longer from now.
    pub fn extend(&self, by: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }

    /// The watchdog is fed.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// Another process is the service from now on.
    pub fn main_process(&self, process: u32) {
        self.send(&format!("MAINPID={process}"));
    }

    /// Lost messages are the manager's to notice: its timeouts run.
    fn send(&self, message: &str) {
        if let Some(to) = &self.to {
            let _ = to.0.send_to_addr(message.as_bytes(), &to.1);
        }
    }
}

/// A line feed would begin another assignment.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

const SEND_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_the_manual_says() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        let socket = UnixDatagram::unbound().expect("a socket");
        let address = SocketAddr::from_pathname(&path).expect("an address");
        let to = Some(Arc::new((socket, address)));
        let notifier = Notifier { to, watchdog: None };
        let heard = || {
            let mut bytes = [0; 200];
            let n = manager.recv(&mut bytes).expect("a message");
            String::from_utf8_lossy(&bytes[..n]).into_owned()
        };
        notifier.ready("up\nMAINPID=1");
        assert_eq!(heard(), "READY=1\nSTATUS=up\\nMAINPID=1");
        notifier.extend(Duration::from_secs(2));
        assert_eq!(heard(), "EXTEND_TIMEOUT_USEC=2000000");
        notifier.reloading();
        assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    }
}
