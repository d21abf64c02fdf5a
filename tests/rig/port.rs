//! Free ports on the loopback, outside the range the kernel hands to outgoing connections.
//!
//! A port from the ephemeral range could be taken by any client between choosing and binding it.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that nobody listens on now and that this run gives out only once.
pub(crate) fn free() -> u16 {
    for _ in 0..SPAN {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % SPAN;
        // Runs side by side start at different places.
        let start = (std::process::id() as u16).wrapping_mul(131) % SPAN;
        let port = FIRST + (start + step) % SPAN;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + SPAN);
}

static NEXT: AtomicU16 = AtomicU16::new(0);
const FIRST: u16 = 17_000;
const SPAN: u16 = 14_000;

#[test]
fn ports_are_free_and_given_once() {
    let ports: Vec<u16> = (0..50).map(|_| free()).collect();
    let distinct: std::collections::BTreeSet<u16> = ports.iter().copied().collect();
    assert_eq!(distinct.len(), ports.len());
    for port in ports {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port can be bound");
    }
}
