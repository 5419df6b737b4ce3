//! The connections of a loop by slot. Slots are small numbers that are used again, so that what
//! belongs to a connection elsewhere can be a dense array.

use super::connection::Connection;

/// See the module.
#[derive(Default)]
pub(super) struct Slab {
    slots: Vec<Option<Connection>>,
    free: Vec<u32>,
}

impl Slab {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot that the next connection gets.
    pub(super) fn next_slot(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.slots.len() as u32)
    }

    /// Puts a connection into [`Slab::next_slot`].
    pub(super) fn insert(&mut self, connection: Connection) {
        match self.free.pop() {
            Some(slot) => self.slots[slot as usize] = Some(connection),
            None => self.slots.push(Some(connection)),
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Connection> {
        let connection = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        Some(connection)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Connection> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().flatten()
    }

    pub(super) fn slots(&self) -> Vec<u32> {
        (0u32..).zip(&self.slots).filter_map(|(slot, taken)| taken.as_ref().map(|_| slot)).collect()
    }
}
