//! The connections that have taken a session over and for which the access rules have not answered
//! yet: they are sent nothing of those channels and cannot answer a resync, so the hub does it for
//! them. Found by channel, and forgotten channel by channel as the rules answer.

use std::collections::{BTreeMap, BTreeSet};

use herenow_wire::ChannelName;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct TakenOver {
    by_channel: BTreeMap<ChannelName, BTreeSet<u32>>,
    by_slot: BTreeMap<u32, Vec<ChannelName>>,
}

impl TakenOver {
    /// How many connections wait for the rules.
    pub(crate) fn len(&self) -> usize {
        self.by_slot.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    /// The connection in `slot` waits for the rules of these channels.
    pub(crate) fn insert(&mut self, slot: u32, channels: Vec<ChannelName>) {
        self.forget(slot);
        if channels.is_empty() {
            return;
        }
        for channel in &channels {
            self.by_channel.entry(channel.clone()).or_default().insert(slot);
        }
        self.by_slot.insert(slot, channels);
    }

    /// The connections that wait for the rules of `channel`.
    pub(crate) fn in_channel(&self, channel: &ChannelName) -> impl Iterator<Item = u32> {
        self.by_channel.get(channel).into_iter().flatten().copied()
    }

    /// The channels that a connection waits for.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.by_channel.keys()
    }

    /// The rules have answered for one channel of a connection.
    pub(crate) fn settle(&mut self, slot: u32, channel: &ChannelName) {
        let Some(channels) = self.by_slot.get_mut(&slot) else { return };
        channels.retain(|waiting| waiting != channel);
        if channels.is_empty() {
            self.by_slot.remove(&slot);
        }
        self.remove(slot, channel);
    }

    /// The connection is gone: its slot may soon be another's.
    pub(crate) fn forget(&mut self, slot: u32) {
        for channel in self.by_slot.remove(&slot).into_iter().flatten() {
            self.remove(slot, &channel);
        }
    }

    fn remove(&mut self, slot: u32, channel: &ChannelName) {
        if let Some(slots) = self.by_channel.get_mut(channel) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.by_channel.remove(channel);
            }
        }
    }
}
