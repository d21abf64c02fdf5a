//! Who may touch an index, and who waits until others are done with it.
//!
//! One queue per index and one for the whole cluster: sharers side by side, one that wants it alone when those before
//! it are done. Knows requests by their slots, never what they want the index for.

use std::collections::VecDeque;

/// A request, by its slot in the schedule.
pub(super) type Slot = u32;

/// The queue of one index.
#[derive(Debug, Default)]
pub(super) struct Lock {
    /// Granted sharers.
    shared: u32,
    /// The one that has it alone.
    alone: Option<Slot>,
    waiting: VecDeque<Group>,
}

/// Requests that will be let in together.
#[derive(Debug)]
struct Group {
    /// When the first of them was admitted.
    since: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Shared(Vec<Slot>),
    Alone(Slot),
}

impl Lock {
    /// Nobody has it and nobody wants it.
    pub(super) fn is_idle(&self) -> bool {
        self.shared == 0 && self.alone.is_none() && self.waiting.is_empty()
    }

    /// Takes a place at the end of the queue; true when that is granted at once.
    pub(super) fn enter(&mut self, slot: Slot, alone: bool, admitted: u64) -> bool {
        if alone {
            if self.shared == 0 && self.alone.is_none() && self.waiting.is_empty() {
                self.alone = Some(slot);
                return true;
            }
            self.waiting.push_back(Group { since: admitted, kind: Kind::Alone(slot) });
            return false;
        }
        if self.alone.is_none() && self.waiting.is_empty() {
            self.shared += 1;
            return true;
        }
        self.join(self.waiting.len(), slot, admitted);
        false
    }

    /// Takes the place among sharers it would have had, had it come when it was admitted; true when that is granted at
    /// once.
    pub(super) fn enter_late(&mut self, slot: Slot, admitted: u64) -> bool {
        let behind = self.waiting.iter().take_while(|group| group.since <= admitted).count();
        if behind == 0 && self.alone.is_none() {
            self.shared += 1;
            return true;
        }
        self.join(behind, slot, admitted);
        false
    }

    /// Gives a granted place back, and says who is let in.
    pub(super) fn leave(&mut self, slot: Slot, granted: &mut Vec<Slot>) {
        if self.alone == Some(slot) {
            self.alone = None;
        } else {
            self.shared = self.shared.checked_sub(1).expect("invariant: who leaves was let in");
        }
        self.let_in(granted);
    }

    /// Gives up a place that is not granted yet.
    pub(super) fn give_up(&mut self, slot: Slot, granted: &mut Vec<Slot>) {
        self.waiting.retain_mut(|group| match &mut group.kind {
            Kind::Alone(waiting) => *waiting != slot,
            Kind::Shared(slots) => {
                slots.retain(|waiting| *waiting != slot);
                !slots.is_empty()
            }
        });
        self.let_in(granted);
    }

    /// A sharer lets the next one that wants the index alone go first, and waits behind it. False when there is none,
    /// or when the sharer cannot have come after that.
    pub(super) fn step_back(
        &mut self,
        slot: Slot,
        may_follow: impl Fn(Slot) -> bool,
        granted: &mut Vec<Slot>,
    ) -> bool {
        let Some(&Group { since, kind: Kind::Alone(next) }) = self.waiting.front() else {
            return false;
        };
        if self.shared == 0 || !may_follow(next) {
            return false;
        }
        self.join(1, slot, since);
        self.leave(slot, granted);
        true
    }

    /// The one that has the index alone.
    pub(super) fn alone(&self) -> Option<Slot> {
        self.alone
    }

    /// Somebody is waiting.
    pub(super) fn is_wanted(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Joins the sharers that stand at a place of the queue, or those just before it, or becomes the first there.
    fn join(&mut self, at: usize, slot: Slot, admitted: u64) {
        for at in [at.checked_sub(1), Some(at)].into_iter().flatten() {
            if let Some(Group { kind: Kind::Shared(slots), .. }) = self.waiting.get_mut(at) {
                slots.push(slot);
                return;
            }
        }
        self.waiting.insert(at, Group { since: admitted, kind: Kind::Shared(vec![slot]) });
    }

    fn let_in(&mut self, granted: &mut Vec<Slot>) {
        while self.alone.is_none() {
            match self.waiting.front() {
                Some(Group { kind: Kind::Alone(_), .. }) if self.shared > 0 => return,
                None => return,
                Some(_) => {}
            }
            match self.waiting.pop_front().map(|group| group.kind) {
                Some(Kind::Alone(slot)) => {
                    self.alone = Some(slot);
                    granted.push(slot);
                }
                Some(Kind::Shared(slots)) => {
                    self.shared += slots.len() as u32;
                    granted.extend(slots);
                }
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(lock: &mut Lock, slot: Slot) -> Vec<Slot> {
        let mut granted = Vec::new();
        lock.leave(slot, &mut granted);
        granted
    }

    #[test]
    fn sharers_go_side_by_side_and_one_goes_alone() {
        let mut lock = Lock::default();
        assert!(lock.enter(1, false, 1) && lock.enter(2, false, 2));
        assert!(!lock.enter(3, true, 3) && !lock.enter(4, false, 4) && !lock.enter(5, false, 5));
        assert!(leave(&mut lock, 2).is_empty());
        assert_eq!(leave(&mut lock, 1), [3]);
        assert_eq!(lock.alone(), Some(3));
        assert_eq!(leave(&mut lock, 3), [4, 5]);
        assert!(leave(&mut lock, 4).is_empty() && leave(&mut lock, 5).is_empty());
        assert!(lock.is_idle());
    }

    #[test]
    fn who_gives_up_lets_those_behind_in() {
        let mut lock = Lock::default();
        assert!(lock.enter(1, false, 1));
        assert!(!lock.enter(2, true, 2) && !lock.enter(3, false, 3));
        let mut granted = Vec::new();
        lock.give_up(2, &mut granted);
        assert_eq!(granted, [3]);
    }

    #[test]
    fn who_steps_back_waits_behind_one() {
        let mut lock = Lock::default();
        assert!(lock.enter(1, false, 1));
        let mut granted = Vec::new();
        assert!(!lock.step_back(1, |_| true, &mut granted));
        assert!(!lock.enter(2, true, 2) && !lock.enter(3, true, 3));
        assert!(!lock.step_back(1, |next| next == 3, &mut granted));
        assert!(lock.step_back(1, |next| next == 2, &mut granted));
        assert_eq!(granted, [2]);
        assert_eq!(leave(&mut lock, 2), [1]);
        assert_eq!(leave(&mut lock, 1), [3]);
    }

    #[test]
    fn who_comes_late_stands_where_it_was_admitted() {
        let mut lock = Lock::default();
        assert!(lock.enter(1, false, 1));
        assert!(!lock.enter(5, true, 5) && !lock.enter(7, false, 7) && !lock.enter(9, true, 9));
        assert!(lock.enter_late(2, 2));
        assert!(!lock.enter_late(6, 6) && !lock.enter_late(10, 10));
        assert!(leave(&mut lock, 1).is_empty());
        assert_eq!(leave(&mut lock, 2), [5]);
        assert_eq!(leave(&mut lock, 5), [7, 6]);
        assert!(leave(&mut lock, 7).is_empty());
        assert_eq!(leave(&mut lock, 6), [9]);
        assert_eq!(leave(&mut lock, 9), [10]);
    }
}
