//! Connections by index, with a generation per slot so that a late completion of an old connection is told apart.

/// A slab of boxed values.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<(u16, Option<Box<T>>)>,
    unused: Vec<u32>,
    len: usize,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), unused: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Inserts what `make` builds from its index and generation.
    pub(super) fn insert(&mut self, make: impl FnOnce(u32, u16) -> T) -> u32 {
        let index = self.unused.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.1 = Some(Box::new(make(index, slot.0)));
        self.len += 1;
        index
    }

    pub(super) fn get(&mut self, index: u32, generation: u16) -> Option<&mut T> {
        let slot = self.slots.get_mut(index as usize)?;
        if slot.0 == generation { slot.1.as_deref_mut() } else { None }
    }

    pub(super) fn at(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.1.as_deref_mut()
    }

    pub(super) fn remove(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.1.take().is_some() {
            slot.0 = slot.0.wrapping_add(1);
            self.unused.push(index);
            self.len -= 1;
        }
    }

    /// The indexes of all that are occupied.
    pub(super) fn indexes(&self) -> Vec<u32> {
        let occupied = self.slots.iter().enumerate().filter(|(_, slot)| slot.1.is_some());
        occupied.map(|(index, _)| index as u32).collect()
    }
}
