//! What clients may do: how long they may take, how many there may be, and who tells where they come from.

use std::time::Duration;

/// Deadlines of client connections. `None`: for ever.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the first byte of a head to its last.
    pub head: Option<Duration>,
    /// A body must bring so many bytes per second, over [`Self::body_window`]; 0: any pace will do.
    pub body_bytes_per_second: u64,
    /// Over how long that is measured, so that a pause is no fault.
    pub body_window: Duration,
    /// Nothing asked, nothing owed.
    pub idle: Option<Duration>,
    /// The client takes nothing of what it is due.
    pub write_stall: Option<Duration>,
}

impl Default for Deadlines {
    /// What `tapline capture` does unless told otherwise.
    fn default() -> Self {
        Self {
            head: Some(Duration::from_secs(30)),
            body_bytes_per_second: 500,
            body_window: Duration::from_secs(20),
            idle: None,
            write_stall: Some(Duration::from_mins(2)),
        }
    }
}

impl Deadlines {
    /// How often connections are looked at: often enough that none is late by more than a quarter, and seldom enough
    /// to cost nothing. `None`: never.
    pub fn period(&self) -> Option<Duration> {
        let body = (self.body_bytes_per_second > 0).then_some(self.body_window);
        let shortest =
            [self.head, body, self.idle, self.write_stall].into_iter().flatten().min()?;
        Some((shortest / 4).clamp(Duration::from_millis(250), Duration::from_secs(5)))
    }
}

/// Caps on client connections; 0: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caps {
    /// Of the process.
    pub connections: usize,
    /// Of one client address.
    pub per_address: usize,
}

/// Whether a balancer in front says whose connection it passes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProxyProtocol {
    /// No.
    #[default]
    Off,
    /// It may; a client that reaches tapline by itself may then claim any address.
    Accept,
    /// It has to.
    Require,
}
