//! The conversations that are open, by name and by age.
//!
//! A group is what one run of a node put into one lane. Its conversations stand in a chain, the one touched longest
//! ago first: captured time never goes back, so that the chain is in order and expiry looks at its front only.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{Hash, Hasher},
    rc::Rc,
};

use foldhash::fast::RandomState;

use super::{conversation::Conversation, window::Window};
use crate::{proto::RecordView, replay::exchange::ConnectionName};

pub(super) struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    names: HashMap<Key, u32, RandomState>,
    groups: Vec<Option<Group>>,
    of_node: HashMap<Box<str>, Vec<u32>, RandomState>,
    /// Before this captured time nothing expires.
    check_ns: i64,
    /// The group that a search for what has expired goes on with, and what is due next of those before it.
    searched: usize,
    due_ns: i64,
    now_ns: Option<i64>,
    timeout_ns: i64,
    window: usize,
}

struct Slot {
    conversation: Conversation,
    group: u32,
    older: u32,
    newer: u32,
    touched_ns: i64,
}

struct Group {
    lane: u32,
    incarnation: Option<u64>,
    oldest: u32,
    newest: u32,
    touched_ns: i64,
    /// The last run of the node in the lane that was seen to accept a connection.
    leads: bool,
    /// Another run leads.
    superseded: bool,
    workers: Vec<(u32, Window)>,
}

impl Table {
    pub(super) fn new(timeout_ns: i64, window: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            names: HashMap::default(),
            groups: Vec::new(),
            of_node: HashMap::default(),
            check_ns: i64::MIN,
            searched: 0,
            due_ns: i64::MAX,
            now_ns: None,
            timeout_ns,
            window,
        }
    }

    pub(super) fn now_ns(&self) -> i64 {
        self.now_ns.unwrap_or(0)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn find(&self, node: &str, id: &str) -> Option<u32> {
        self.names.get(&(node, id) as &dyn Named).copied()
    }

    pub(super) fn conversation(&self, at: u32) -> &Conversation {
        &self.slot(at).conversation
    }

    pub(super) fn conversation_mut(&mut self, at: u32) -> &mut Conversation {
        &mut self.slot_mut(at).conversation
    }

    /// The group of a record, which is that of its conversation if nothing has changed.
    pub(super) fn group(&mut self, slot: Option<u32>, lane: u32, record: &RecordView<'_>) -> u32 {
        let incarnation = record.provenance.as_ref().map(|origin| origin.incarnation);
        let is_it = |group: &Group| group.lane == lane && group.incarnation == incarnation;
        if let Some(at) = slot {
            let group = self.slot(at).group;
            if is_it(self.group_at(group)) {
                return group;
            }
        }
        let of_node = self.of_node.get(record.node_id).map_or(&[][..], Vec::as_slice);
        if let Some(group) = of_node.iter().find(|at| is_it(self.group_at(**at))) {
            return *group;
        }
        let group = Group {
            lane,
            incarnation,
            oldest: NONE,
            newest: NONE,
            touched_ns: self.now_ns(),
            leads: false,
            superseded: false,
            workers: Vec::new(),
        };
        let at = self.groups.iter().position(Option::is_none).unwrap_or_else(|| {
            self.groups.push(None);
            self.groups.len() - 1
        });
        self.groups[at] = Some(group);
        let at = at as u32;
        self.of_node.entry(record.node_id.into()).or_default().push(at);
        at
    }

    /// Notes the record's sequence; true when it had been there. A lane that is read again is another lane, so that
    /// what was not finished then is not taken for a duplicate.
    pub(super) fn is_repeated(&mut self, group: u32, record: &RecordView<'_>) -> bool {
        let Some(origin) = record.provenance.as_ref().filter(|origin| origin.sequence > 0) else {
            return false;
        };
        let window = self.window;
        let workers = &mut self.group_at_mut(group).workers;
        let at = workers.iter().position(|(worker, _)| *worker == origin.worker);
        let at = at.unwrap_or_else(|| {
            workers.push((origin.worker, Window::default()));
            workers.len() - 1
        });
        !workers[at].1.insert(origin.sequence, window)
    }

    /// A run of a node accepts connections: the others in the lane are over, or about to be. (Incarnations are random:
    /// their order is that of their first connections.)
    pub(super) fn accepts_connections(&mut self, at: u32, node: &str) {
        let group = self.group_at(at);
        if group.leads || group.incarnation.is_none() {
            return;
        }
        let lane = group.lane;
        for other in self.of_node.get(node).map_or(&[][..], Vec::as_slice) {
            let Some(group) = self.groups[*other as usize].as_mut() else { continue };
            if group.lane == lane && group.incarnation.is_some() {
                group.leads = *other == at;
                group.superseded = !group.leads;
            }
        }
        self.check_ns = i64::MIN;
    }

    /// The captured time goes on, never back.
    pub(super) fn advance(&mut self, newest_ns: Option<i64>) {
        self.now_ns = self.now_ns.max(newest_ns);
    }

    /// Whether the conversation had expired before a record that begins at `first_ns`.
    pub(super) fn is_expired(&self, at: u32, first_ns: Option<i64>) -> bool {
        let slot = self.slot(at);
        let now = self.now_ns.max(first_ns).unwrap_or(0);
        now.saturating_sub(slot.touched_ns) > self.timeout_of(self.group_at(slot.group))
    }

    /// The next conversation that has expired by now.
    pub(super) fn next_expired(&mut self) -> Option<u32> {
        let now = self.now_ns();
        if now < self.check_ns {
            return None;
        }
        while let Some(group) = self.groups.get(self.searched) {
            if let Some(group) = group {
                if group.oldest != NONE {
                    let touched = self.slot(group.oldest).touched_ns;
                    let due = touched.saturating_add(self.timeout_of(group));
                    if due < now {
                        return Some(group.oldest);
                    }
                    self.due_ns = self.due_ns.min(due);
                } else if !group.leads && now.saturating_sub(group.touched_ns) > self.timeout_ns {
                    self.remove_group(self.searched as u32);
                }
            }
            self.searched += 1;
        }
        self.searched = 0;
        // Not at every record that moves the time on by a little.
        let soonest = now.saturating_add(self.timeout_ns / CHECKS_PER_TIMEOUT);
        self.check_ns = std::mem::replace(&mut self.due_ns, i64::MAX).max(soonest);
        None
    }

    pub(super) fn newest_ns_of(&self, at: u32) -> i64 {
        self.slot(at).touched_ns
    }

    /// The conversation has something new.
    pub(super) fn touch(&mut self, at: u32, group: u32) {
        self.unchain(at);
        self.slot_mut(at).group = group;
        self.chain(at);
    }

    pub(super) fn insert(&mut self, group: u32, conversation: Conversation) -> u32 {
        let key = Key(Rc::clone(conversation.name()));
        let slot = Slot { conversation, group, older: NONE, newer: NONE, touched_ns: 0 };
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[at as usize] = Some(slot);
        self.names.insert(key, at);
        self.chain(at);
        let due = self.now_ns().saturating_add(self.timeout_of(self.group_at(group)));
        self.check_ns = self.check_ns.min(due);
        at
    }

    pub(super) fn remove(&mut self, at: u32) -> Conversation {
        self.unchain(at);
        let slot = self.slots[at as usize].take().expect(TAKEN);
        self.free.push(at);
        let name = slot.conversation.name();
        self.names.remove(&(&*name.node, &*name.id) as &dyn Named);
        slot.conversation
    }

    /// All that are there, oldest place first.
    pub(super) fn slots(&self) -> Vec<u32> {
        (0..self.slots.len() as u32).filter(|at| self.slots[*at as usize].is_some()).collect()
    }

    pub(super) fn slots_of_lane(&self, lane: u32) -> Vec<u32> {
        let mut slots = self.slots();
        slots.retain(|at| self.group_at(self.slot(*at).group).lane == lane);
        slots
    }

    /// Forgets what came in the lane; its conversations are gone.
    pub(super) fn drop_lane(&mut self, lane: u32) {
        for at in 0..self.groups.len() {
            if self.groups[at].as_ref().is_some_and(|group| group.lane == lane) {
                self.remove_group(at as u32);
            }
        }
    }

    fn remove_group(&mut self, at: u32) {
        self.groups[at as usize] = None;
        self.of_node.retain(|_, groups| {
            groups.retain(|group| *group != at);
            !groups.is_empty()
        });
    }

    fn timeout_of(&self, group: &Group) -> i64 {
        if group.superseded { self.timeout_ns.min(DRAIN_NS) } else { self.timeout_ns }
    }

    fn unchain(&mut self, at: u32) {
        let Slot { group, older, newer, .. } = *self.slot(at);
        match older {
            NONE => self.group_at_mut(group).oldest = newer,
            older => self.slot_mut(older).newer = newer,
        }
        match newer {
            NONE => self.group_at_mut(group).newest = older,
            newer => self.slot_mut(newer).older = older,
        }
    }

    fn chain(&mut self, at: u32) {
        let now = self.now_ns();
        let group = self.slot(at).group;
        let of = self.group_at_mut(group);
        of.touched_ns = now;
        let older = std::mem::replace(&mut of.newest, at);
        if older == NONE {
            of.oldest = at;
        } else {
            self.slot_mut(older).newer = at;
        }
        let slot = self.slot_mut(at);
        (slot.older, slot.newer, slot.touched_ns) = (older, NONE, now);
    }

    fn slot(&self, at: u32) -> &Slot {
        self.slots[at as usize].as_ref().expect(TAKEN)
    }

    fn slot_mut(&mut self, at: u32) -> &mut Slot {
        self.slots[at as usize].as_mut().expect(TAKEN)
    }

    fn group_at(&self, at: u32) -> &Group {
        self.groups[at as usize].as_ref().expect(GROUPED)
    }

    fn group_at_mut(&mut self, at: u32) -> &mut Group {
        self.groups[at as usize].as_mut().expect(GROUPED)
    }
}

/// A name that is looked up without being put together.
trait Named {
    fn pair(&self) -> (&str, &str);
}

struct Key(Rc<ConnectionName>);

impl Named for Key {
    fn pair(&self) -> (&str, &str) {
        (&self.0.node, &self.0.id)
    }
}

impl Named for (&str, &str) {
    fn pair(&self) -> (&str, &str) {
        *self
    }
}

impl Hash for dyn Named + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pair().hash(state);
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.pair() == other.pair()
    }
}

impl Eq for dyn Named + '_ {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pair().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.pair() == other.pair()
    }
}

impl Eq for Key {}

impl<'a> Borrow<dyn Named + 'a> for Key {
    fn borrow(&self) -> &(dyn Named + 'a) {
        self
    }
}

/// What an idle conversation takes beside its name, without what the map and the list have to spare.
#[cfg(test)]
pub(super) const SLOT_BYTES: usize = size_of::<Option<Slot>>() + size_of::<(Key, u32)>() + 1;

/// No slot.
const NONE: u32 = u32::MAX;
const TAKEN: &str = "invariant: the slot is taken";
const GROUPED: &str = "invariant: a conversation's group is there";
/// How long the connections of a run may be silent after another run has taken over, in captured time: they are gone
/// with their process, unless that still drains.
const DRAIN_NS: i64 = 30_000_000_000;
/// Expiry comes late by at most this part of the timeout.
const CHECKS_PER_TIMEOUT: i64 = 64;
