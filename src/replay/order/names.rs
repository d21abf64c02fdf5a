//! Which index a name stands for, as far as the source's answers have told.
//!
//! A write under a name that no answer has explained yet could be a write to any index. Until its own answer is read,
//! what was answered after it was admitted waits (at the *gate*); then the name is known and both are ordered by
//! document. So the price is paid once per name, in captured time that is read ahead anyway.
//!
//! Limits: a name means what its first answer said until a request changes names (creates, deletes, aliases); that an
//! alias was moved by the cluster itself (life-cycle rollover) is not noticed. A name whose answers are cut by
//! `filter_path` stays unknown, and is taken for an index of its own.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::documents::Mixed;
use super::locks::Slot;

/// What is known of names, and who waits to know.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<u64, u64, Mixed>,
    /// Unfinished requests that use a name which was not known when they were admitted.
    users: HashMap<u64, Vec<Slot>, Mixed>,
    /// When the unanswered ones of them were admitted.
    open: BTreeSet<u64>,
    /// Those that wait, and when they were answered, which is in rising order.
    gate: VecDeque<(u64, u64)>,
}

impl Names {
    /// The index a name stands for, or the name.
    pub(super) fn index_of(&self, name: u64) -> u64 {
        self.known.get(&name).copied().unwrap_or(name)
    }

    pub(super) fn is_known(&self, name: u64) -> bool {
        self.known.contains_key(&name)
    }

    /// Positively known to be the index's own name.
    pub(super) fn is_index(&self, name: u64) -> bool {
        self.known.get(&name) == Some(&name)
    }

    /// A request uses these names, none of which is known.
    pub(super) fn uses(&mut self, slot: Slot, admitted: u64, names: impl Iterator<Item = u64>) {
        for name in names {
            let users = self.users.entry(name).or_default();
            if users.last() != Some(&slot) {
                users.push(slot);
            }
        }
        self.open.insert(admitted);
    }

    /// Somebody's name is not known, so that who is answered now must wait.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// A request admitted then has told what it can.
    pub(super) fn close(&mut self, admitted: u64) {
        self.open.remove(&admitted);
    }

    /// It uses none of these names any more.
    pub(super) fn forget_user(&mut self, slot: Slot, names: impl Iterator<Item = u64>) {
        for name in names {
            if let Some(users) = self.users.get_mut(&name) {
                users.retain(|user| *user != slot);
                if users.is_empty() {
                    self.users.remove(&name);
                }
            }
        }
    }

    /// A name is an index's, and these used it when nobody knew.
    pub(super) fn learn(&mut self, name: u64, index: u64) -> Vec<Slot> {
        if self.known.len() >= NAMES_MAX {
            self.known.clear();
        }
        self.known.insert(name, index);
        self.known.insert(index, index);
        self.users.remove(&name).unwrap_or_default()
    }

    /// What names stand for may change.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Waits at the gate, `id` for the caller to know it by.
    pub(super) fn wait(&mut self, answered: u64, id: u64) {
        self.gate.push_back((answered, id));
    }

    /// The next that the gate lets through.
    pub(super) fn pass(&mut self) -> Option<u64> {
        let (answered, id) = *self.gate.front()?;
        if self.open.first().is_some_and(|&admitted| admitted < answered) {
            return None;
        }
        self.gate.pop_front();
        Some(id)
    }

    /// Somebody waits at the gate for one admitted then.
    pub(super) fn is_awaited(&self, admitted: u64) -> bool {
        self.open.contains(&admitted) && !self.gate.is_empty()
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.users.is_empty() && self.open.is_empty() && self.gate.is_empty()
    }
}

/// Names that are remembered; beyond it all are learnt anew.
const NAMES_MAX: usize = 65_536;
