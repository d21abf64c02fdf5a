//! Where a name leads: the addresses that hold now, told by whoever looks the name up to those who connect.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Addresses of one peer, tried in turn. Shared by threads; a change costs those who connect one load per look.
#[derive(Debug)]
pub struct Addresses {
    current: Mutex<Arc<[SocketAddr]>>,
    changes: AtomicU64,
}

impl Addresses {
    /// These, to begin with.
    pub fn new(addresses: Vec<SocketAddr>) -> Arc<Self> {
        Arc::new(Self { current: Mutex::new(addresses.into()), changes: AtomicU64::new(0) })
    }

    /// Those that hold now.
    pub fn current(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.lock())
    }

    /// These from now on. False when they are those that hold, in whatever order: resolvers rotate them.
    pub fn replace(&self, addresses: Vec<SocketAddr>) -> bool {
        let mut current = self.lock();
        let sorted = |addresses: &[SocketAddr]| {
            let mut sorted = addresses.to_vec();
            sorted.sort_unstable();
            sorted
        };
        if addresses.is_empty() || sorted(&current) == sorted(&addresses) {
            return false;
        }
        *current = addresses.into();
        self.changes.fetch_add(1, Ordering::Release);
        true
    }

    /// How often they changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The addresses, if they changed since there had been `seen` changes; counts them there.
    pub fn since(&self, seen: &mut u64) -> Option<Arc<[SocketAddr]>> {
        let changes = self.changes();
        if changes == *seen {
            return None;
        }
        *seen = changes;
        Some(self.current())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<[SocketAddr]>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_addresses_are_a_change() {
        let list = |text: &str| -> Vec<SocketAddr> {
            text.split_whitespace().map(|address| address.parse().expect("an address")).collect()
        };
        let addresses = Addresses::new(list("10.0.0.1:1 10.0.0.2:1"));
        let mut seen = 0;
        assert_eq!(addresses.since(&mut seen), None);
        assert!(!addresses.replace(list("10.0.0.2:1 10.0.0.1:1")), "the order is no change");
        assert!(!addresses.replace(Vec::new()), "a name without addresses leads nowhere else");
        assert!(addresses.replace(list("10.0.0.3:1")));
        assert_eq!(addresses.since(&mut seen).as_deref(), Some(&list("10.0.0.3:1")[..]));
        assert_eq!((addresses.since(&mut seen), addresses.changes()), (None, 1));
    }
}
