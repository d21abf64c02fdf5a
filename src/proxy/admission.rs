//! Who may connect: how many connections there are, of one process and of one address.
//!
//! Shared by the workers of a process and touched only when a connection begins and ends.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The caps and what is open.
#[derive(Debug, Default)]
pub struct Admission {
    /// Connections of the process; 0: as many as there are descriptors for.
    connections_max: usize,
    /// Connections of one address; 0: no cap.
    per_address_max: usize,
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Admission {
    /// With these caps; 0 means none.
    pub fn new(connections_max: usize, per_address_max: usize) -> Self {
        Self { connections_max, per_address_max, ..Self::default() }
    }

    /// One more connection; false when there are too many. Either way it has to [`Self::leave`].
    pub(super) fn enter(&self) -> bool {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        self.connections_max == 0 || before < self.connections_max
    }

    /// The address of a connection is known. `None` when it has too many; else it has to [`Self::leave_address`].
    pub(super) fn enter_address(&self, address: IpAddr) -> Option<Counted> {
        if self.per_address_max == 0 {
            return Some(Counted(None));
        }
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let open = all.entry(address).or_default();
        if *open >= self.per_address_max {
            return None;
        }
        *open += 1;
        Some(Counted(Some(address)))
    }

    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn leave_address(&self, counted: &Counted) {
        let Some(address) = counted.0 else { return };
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = all.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                all.remove(&address);
            }
        }
    }

    /// Addresses have to be known.
    pub(super) fn asks_address(&self) -> bool {
        self.per_address_max > 0
    }
}

/// A connection that counts for its address.
#[derive(Debug, Default)]
pub(super) struct Counted(Option<IpAddr>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_hold_and_are_given_back() {
        let admission = Admission::new(2, 1);
        assert!(admission.enter() && admission.enter() && !admission.enter());
        admission.leave();
        assert!(!admission.enter(), "the one that was turned away is still there");
        (0..3).for_each(|_| admission.leave());
        assert!(admission.enter());
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().expect("an address"));
        let first = admission.enter_address(a).expect("the first");
        assert!(admission.enter_address(a).is_none());
        assert!(admission.enter_address(b).is_some());
        admission.leave_address(&first);
        assert!(admission.enter_address(a).is_some());
        let open = Admission::new(0, 0);
        assert!((0..100).all(|_| open.enter() && open.enter_address(a).is_some()));
        assert!(open.by_address.lock().expect("a lock").is_empty());
    }
}
