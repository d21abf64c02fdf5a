//! Descriptors that the service manager opened for this process: `sd_listen_fds(3)`.
#![allow(unsafe_code)]

use std::{
    env,
    os::fd::{FromRawFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

/// The first of them, by convention.
pub const FIRST: i32 = 3;

/// The descriptors that `LISTEN_FDS` counts, when `LISTEN_PID` names this process. They are handed out once.
pub fn descriptors() -> Vec<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    if number("LISTEN_PID") != Some(std::process::id() as i32)
        || TAKEN.swap(true, Ordering::Relaxed)
    {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, COUNT_MAX);
    let mut found = Vec::new();
    for descriptor in FIRST..FIRST + count {
        // What this process starts gets them only when it is handed them.
        // SAFETY: no memory is involved; a descriptor that is not open is what the result tells.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            break;
        }
        // SAFETY: it is open (above); the manager opened it for this process and nobody else in it knows it; `TAKEN`
        // sees to it that it is owned once.
        found.push(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
    found
}

/// Far more than anybody listens on.
const COUNT_MAX: i32 = 4096;
