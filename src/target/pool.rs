//! The connections of a worker by index, each with a generation, so that a late completion of an old one is told apart.
//!
//! Owns which address comes next.

use super::connection::Connection;
use crate::ring::Token;

/// Connections in place: a slot is used again when its connection is gone.
pub(super) struct Pool {
    slots: Vec<Slot>,
    unused: Vec<u32>,
    /// The address that the next connection tries first.
    address: usize,
}

struct Slot {
    generation: u16,
    connection: Option<Connection>,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), unused: Vec::new(), address: 0 }
    }

    /// Connections there are, those on their way out included.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.unused.len()
    }

    /// The address for the next new connection, of `count`.
    pub(super) fn next_address(&mut self, count: usize) -> usize {
        let address = self.address % count;
        self.address = address + 1;
        address
    }

    /// A new connection.
    pub(super) fn add(&mut self) -> &mut Connection {
        let index = self.unused.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, connection: None });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.connection.insert(Connection::new(Token::new(index, slot.generation, 0)))
    }

    /// The connection that a completion names, if it is still there.
    pub(super) fn find(&mut self, token: Token) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(token.index() as usize)?;
        if slot.generation == token.generation() { slot.connection.as_mut() } else { None }
    }

    pub(super) fn at(&mut self, index: u32) -> Option<&mut Connection> {
        self.slots.get_mut(index as usize)?.connection.as_mut()
    }

    pub(super) fn remove(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.connection.take().is_some() {
            slot.generation = slot.generation.wrapping_add(1);
            self.unused.push(index);
        }
    }

    /// All there are.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slots.iter_mut().filter_map(|slot| slot.connection.as_mut())
    }
}
