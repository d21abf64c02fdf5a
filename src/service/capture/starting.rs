//! A start that takes its time, for example because a log is recovered, asks the service manager for more of it: as
//! long as the process reads or writes, which a start that hangs does not.

use std::{
    fs, io,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use crate::{config::limits, sys::notify::Notifier};

/// Asks until it is dropped.
pub(super) struct Starting {
    _over: Sender<()>,
}

impl Starting {
    pub(super) fn begin(notifier: &Notifier) -> io::Result<Option<Self>> {
        if !notifier.is_on() {
            return Ok(None);
        }
        let (over, inbox) = channel();
        let notifier = notifier.clone();
        let work = move || {
            let mut before = bytes_moved();
            while inbox.recv_timeout(ASK_PERIOD) == Err(RecvTimeoutError::Timeout) {
                let now = bytes_moved();
                if now > before {
                    before = now;
                    notifier.extend(limits::EXTENSION);
                    notifier.status("recovering the log");
                }
            }
        };
        thread::Builder::new().name("starting".into()).spawn(work)?;
        Ok(Some(Self { _over: over }))
    }
}

/// What this process has read and written so far, in bytes; 0 when the host does not tell.
fn bytes_moved() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let value = |line: &str| line.split_once(": ").and_then(|(_, value)| value.parse::<u64>().ok());
    text.lines().filter(|line| line.starts_with(['r', 'w'])).filter_map(value).sum()
}

/// How often it asks; less than any sensible `TimeoutStartSec`.
const ASK_PERIOD: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_counts() {
        let before = bytes_moved();
        fs::read("/proc/self/maps").expect("it is there");
        assert!(bytes_moved() > before, "unless /proc/self/io is closed to us");
    }
}
