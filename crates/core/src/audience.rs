//! Who of one loop's connections subscribes to what, and what each gets: deltas, a snapshot,
//! or nothing until its socket drains. This is the receiving end of a flush; a shard knows loops, only
//! an audience knows connections.

mod counting;
mod subscribers;

use std::cell::Cell;
use std::collections::BTreeMap;

use herenow_wire::ChannelName;

use crate::command::{RequestId, SnapshotFor};
pub use counting::Counting;
use subscribers::Subscribers;

/// Every subscription of one loop.
#[derive(Debug, Default)]
pub struct Audience {
    channels: BTreeMap<ChannelName, Subscribers>,
    counting: Counting,
    asked: u32,
    subscriptions: usize,
    /// How often a subscriber was looked at to find one.
    looks: Cell<u64>,
}

/// One connection's subscription to one channel. 12 bytes: there may be many millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscriber {
    /// The loop's handle of the connection.
    pub slot: u32,
    /// What it is sent next.
    pub phase: Phase,
}

/// What a subscriber is sent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It has a snapshot and every delta since.
    Live,
    /// It waits for a snapshot, and gets nothing before.
    Requested(RequestId),
    /// It has not taken what it was sent. It asks for a snapshot once its socket has drained.
    Lagging,
}

/// What to write to a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The changes since the last flush.
    Deltas,
    /// The channel whole.
    Snapshot,
}

impl Audience {
    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions + self.counting.subscriptions()
    }

    /// How many channels have a subscriber here.
    pub fn channels(&self) -> usize {
        let only_counted = self.counting.channels().filter(|name| !self.has_list(name));
        self.channels.len() + only_counted.count()
    }

    /// Those that are only told how many are in a channel.
    pub fn counting(&self) -> &Counting {
        &self.counting
    }

    /// The same, to be changed.
    pub fn counting_mut(&mut self) -> &mut Counting {
        &mut self.counting
    }

    /// Whether a connection here receives the channel's list.
    pub fn has_list(&self, channel: &ChannelName) -> bool {
        self.channels.contains_key(channel)
    }

    /// The name as it is stored here, so that a channel's name is kept once, not per connection.
    pub fn canonical(&self, channel: ChannelName) -> ChannelName {
        match self.channels.get_key_value(&channel) {
            Some((known, _)) => known.clone(),
            None => self.counting.canonical(&channel).cloned().unwrap_or(channel),
        }
    }

    /// `slot`, which does not yet, subscribes. Returns the number of its request for a snapshot. Looks for no
    /// duplicate: the session knows what it subscribes to.
    pub fn listen(&mut self, channel: &ChannelName, slot: u32) -> RequestId {
        let request_id = self.next_request_id();
        let new = Subscriber { slot, phase: Phase::Requested(request_id) };
        self.subscriptions += 1;
        match self.channels.get_mut(channel) {
            Some(subscribers) => subscribers.insert(new, &self.looks),
            None => {
                self.channels.insert(channel.clone(), Subscribers::of(new));
            }
        }
        request_id
    }

    /// `slot` wants a fresh snapshot. `None` where its socket has yet to drain: it will ask by
    /// itself when it has.
    pub fn request_again(&mut self, channel: &ChannelName, slot: u32) -> Option<RequestId> {
        let request_id = self.next_request_id();
        match self.find(channel, slot)? {
            Subscriber { phase: Phase::Lagging, .. } => None,
            subscriber => {
                subscriber.phase = Phase::Requested(request_id);
                Some(request_id)
            }
        }
    }

    /// `slot` is no subscriber any more. True where it was the last one here.
    pub fn unlisten(&mut self, channel: &ChannelName, slot: u32) -> bool {
        let Some(subscribers) = self.channels.get_mut(channel) else { return false };
        if !subscribers.remove(slot, &self.looks) {
            return false;
        }
        self.subscriptions -= 1;
        let is_last = subscribers.is_empty();
        if is_last {
            self.channels.remove(channel);
        }
        is_last
    }

    /// What waited for `slot` was dropped: it gets nothing of the channel until it has drained.
    pub fn lag(&mut self, channel: &ChannelName, slot: u32) {
        if let Some(subscriber) = self.find(channel, slot) {
            subscriber.phase = Phase::Lagging;
        }
    }

    /// `slot` has drained. Returns the number of its request for the snapshot that takes the place of what was
    /// dropped; `None` where it is no subscriber any more.
    pub fn catch_up(&mut self, channel: &ChannelName, slot: u32) -> Option<RequestId> {
        let request_id = self.next_request_id();
        let subscriber = self.find(channel, slot)?;
        (subscriber.phase == Phase::Lagging).then(|| {
            subscriber.phase = Phase::Requested(request_id);
            request_id
        })
    }

    /// Every subscriber, and of which channel.
    pub fn all(&self) -> impl Iterator<Item = (&ChannelName, u32)> {
        let subscribers = self.channels.iter();
        let lists =
            subscribers.flat_map(|(channel, all)| all.iter().map(move |one| (channel, one.slot)));
        lists.chain(self.counting.all())
    }

    /// Every subscriber that waits for a snapshot, and of which channel. Walks all of them.
    pub fn awaiting_snapshot(&self) -> impl Iterator<Item = (&ChannelName, u32)> {
        let all =
            self.channels.iter().flat_map(|(channel, all)| all.iter().map(move |s| (channel, s)));
        all.filter(|(_, one)| one.phase != Phase::Live).map(|(channel, one)| (channel, one.slot))
    }

    /// The channels of one shard that have a subscriber here.
    pub fn channels_of(&self, shard: u16) -> Vec<ChannelName> {
        let only_counted = self.counting.channels().filter(|name| !self.has_list(name));
        let all = self.channels.keys().chain(only_counted);
        all.filter(|channel| channel.shard() == shard).cloned().collect()
    }

    /// The shard has lost the channel's map: what it sends until it has heard from here is of
    /// another life and would not fit to what the subscribers have. Returns the
    /// number of the request whose answer all of them wait for.
    pub fn request_for_all(&mut self, channel: &ChannelName) -> RequestId {
        let request_id = self.next_request_id();
        for subscriber in self.subscribers(channel) {
            if subscriber.phase != Phase::Lagging {
                subscriber.phase = Phase::Requested(request_id);
            }
        }
        request_id
    }

    /// The subscribers of `channel` here, in the order of their slots.
    pub fn subscribers(&mut self, channel: &ChannelName) -> impl Iterator<Item = &mut Subscriber> {
        self.channels.get_mut(channel).into_iter().flat_map(Subscribers::iter_mut)
    }

    /// The slots of the subscribers of `channel` here, those included that only count.
    pub fn slots(&self, channel: &ChannelName) -> impl Iterator<Item = u32> {
        let lists = self.channels.get(channel).into_iter().flat_map(Subscribers::iter);
        lists.map(|one| one.slot).chain(self.counting.slots_from(channel, 0))
    }

    /// How many receive the list of `channel` here.
    pub fn count(&self, channel: &ChannelName) -> usize {
        self.channels.get(channel).map_or(0, Subscribers::len)
    }

    /// How many subscribe to `channel` here, those included that only count.
    pub fn subscribers_of(&self, channel: &ChannelName) -> usize {
        self.count(channel) + self.counting.count(channel)
    }

    /// How often a subscriber was looked at to find one, since the start.
    pub fn looks(&self) -> u64 {
        self.looks.get()
    }

    fn next_request_id(&mut self) -> RequestId {
        self.asked = self.asked.wrapping_add(1);
        RequestId(self.asked)
    }

    fn find(&mut self, channel: &ChannelName, slot: u32) -> Option<&mut Subscriber> {
        self.channels.get_mut(channel)?.find(slot, &self.looks)
    }
}

impl Subscriber {
    /// What this subscriber gets of a flush. Who gets the snapshot is up to date from then on.
    pub fn take(&mut self, snapshot_for: SnapshotFor) -> Option<Part> {
        let is_served = match (self.phase, snapshot_for) {
            (Phase::Lagging, _) => return None,
            (Phase::Live, SnapshotFor::All(_)) => true,
            (
                Phase::Requested(request_id),
                SnapshotFor::UpTo(answered) | SnapshotFor::All(answered),
            ) => request_id.is_answered_by(answered),
            _ => false,
        };
        if is_served {
            self.phase = Phase::Live;
            return Some(Part::Snapshot);
        }
        (self.phase == Phase::Live).then_some(Part::Deltas)
    }
}
