//! The connections of a hub by slot. Slots are the shell's small numbers, so that what belongs to a
//! connection elsewhere can be a dense array.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use herenow_wire::{ChannelName, ConnectionId, DefaultChannel};

use crate::connection::Connection;
use crate::hub::Membership;

/// See the module.
#[derive(Default)]
pub(crate) struct Connections {
    slots: Vec<Option<Connection>>,
    len: usize,
    /// How often a slot was looked at.
    looks: Cell<u64>,
    /// Those that named a default channel, by that channel.
    by_default_channel: BTreeMap<ChannelName, BTreeSet<u32>>,
    /// By the connection's id, if other nodes ask for them by it.
    by_id: Option<BTreeSet<(ConnectionId, u32)>>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Connections {
    pub(crate) fn new(membership: Membership) -> Self {
        let by_id = match membership {
            Membership::Alone => None,
            Membership::OneOfSeveral => Some(BTreeSet::new()),
        };
        Self { by_id, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn insert(&mut self, slot: u32, connection: Connection) {
        let slot = slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if let DefaultChannel::Named(channel) = connection.default_channel() {
            let named = self.by_default_channel.entry(channel.clone()).or_default();
            named.insert(slot as u32);
        }
        if let Some(by_id) = &mut self.by_id {
            by_id.insert((connection.session.connection(), slot as u32));
        }
        debug_assert!(self.slots[slot].is_none(), "a slot is used again only once it was closed");
        self.slots[slot] = Some(connection);
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Connection> {
        let connection = self.slots.get_mut(slot as usize)?.take()?;
        self.len -= 1;
        if let Some(by_id) = &mut self.by_id {
            by_id.remove(&(connection.session.connection(), slot));
        }
        if let DefaultChannel::Named(channel) = connection.default_channel()
            && let Some(named) = self.by_default_channel.get_mut(channel)
        {
            named.remove(&slot);
            if named.is_empty() {
                self.by_default_channel.remove(channel);
            }
        }
        Some(connection)
    }

    /// The session in `slot` has taken over the id of another, in the place of this one.
    pub(crate) fn rename(&mut self, slot: u32, before: ConnectionId) {
        let now = self.get(slot).map(|connection| connection.session.connection());
        if let (Some(by_id), Some(now)) = (&mut self.by_id, now) {
            by_id.remove(&(before, slot));
            by_id.insert((now, slot));
        }
    }

    /// The slots of a connection: more than one while a later socket has come back from another node. Empty
    /// on a node that is alone.
    pub(crate) fn slots_of(&self, id: ConnectionId) -> Vec<u32> {
        let of_id = self.by_id.iter().flat_map(|by_id| by_id.range((id, 0)..=(id, u32::MAX)));
        of_id.map(|(_, slot)| *slot).collect()
    }

    /// Those that named `channel` as their default.
    pub(crate) fn named(&self, channel: &ChannelName) -> impl Iterator<Item = u32> {
        self.by_default_channel.get(channel).into_iter().flatten().copied()
    }

    /// How many channels are the default of a connection.
    pub(crate) fn named_channels(&self) -> usize {
        self.by_default_channel.len()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Connection> {
        self.looks.set(self.looks.get() + 1);
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Connection> {
        *self.looks.get_mut() += 1;
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The first slot above all that were used.
    pub(crate) fn slots_end(&self) -> usize {
        self.slots.len()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().flatten()
    }

    /// How often a slot was looked at since the start.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.get()
    }

    /// Every slot in use. Walks all connections: for what happens once, such as a reload.
    pub(crate) fn slots(&self) -> Vec<u32> {
        self.looks.set(self.looks.get() + self.slots.len() as u64);
        (0u32..).zip(&self.slots).filter_map(|(slot, taken)| taken.as_ref().map(|_| slot)).collect()
    }
}
