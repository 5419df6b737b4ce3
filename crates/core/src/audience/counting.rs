//! Who of one loop's connections is only told how many are in a channel. Apart from the subscribers of
//! lists, so that a flush of a channel that very many count walks only those that receive it.

use std::collections::{BTreeMap, BTreeSet};

use herenow_wire::ChannelName;

/// See the module.
#[derive(Debug, Default)]
pub struct Counting {
    channels: BTreeMap<ChannelName, BTreeSet<u32>>,
    subscriptions: usize,
}

impl Counting {
    /// `slot` counts from here on. True if it is the first one in the channel.
    pub fn insert(&mut self, channel: &ChannelName, slot: u32) -> bool {
        let known = self.channels.get_mut(channel);
        let is_first = known.is_none();
        let is_new = match known {
            Some(slots) => slots.insert(slot),
            None => self.channels.insert(channel.clone(), BTreeSet::from([slot])).is_none(),
        };
        self.subscriptions += usize::from(is_new);
        is_first
    }

    /// `slot` counts no more. `None` if it did not; true if it was the last one in the channel.
    pub fn remove(&mut self, channel: &ChannelName, slot: u32) -> Option<bool> {
        let slots = self.channels.get_mut(channel)?;
        if !slots.remove(&slot) {
            return None;
        }
        self.subscriptions -= 1;
        let is_last = slots.is_empty();
        if is_last {
            self.channels.remove(channel);
        }
        Some(is_last)
    }

    /// Those that count in a channel, in the order of their slots, from this one on.
    pub fn slots_from(&self, channel: &ChannelName, from: u32) -> impl Iterator<Item = u32> {
        let slots = self.channels.get(channel);
        slots.into_iter().flat_map(move |slots| slots.range(from..).copied())
    }

    /// How many count in a channel.
    pub fn count(&self, channel: &ChannelName) -> usize {
        self.channels.get(channel).map_or(0, BTreeSet::len)
    }

    /// Whether nobody counts in any channel.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// The channels that are counted.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.channels.keys()
    }

    /// Every subscription: the channel and the slot.
    pub fn all(&self) -> impl Iterator<Item = (&ChannelName, u32)> {
        let channels = self.channels.iter();
        channels.flat_map(|(channel, slots)| slots.iter().map(move |slot| (channel, *slot)))
    }

    /// The name as it is stored here.
    pub(super) fn canonical(&self, channel: &ChannelName) -> Option<&ChannelName> {
        self.channels.get_key_value(channel).map(|(known, _)| known)
    }
}
