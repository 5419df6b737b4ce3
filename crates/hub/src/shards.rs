//! The shards that live on one hub, which of their channels are to be flushed when, and what a
//! fault in one of them costs.

mod acknowledging;
mod lost_homes;
mod nodes;
mod owing;
mod speaking;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound;
use std::time::Duration;

use herenow_core::{
    Command, Contents, Counted, Effect, Flush, Instant, LeaveCounts, Peer, Replica, Shard, Showing,
    Since,
};
use herenow_wire::{ChannelName, ConnectionId, SHARDS};

use self::nodes::Nodes;
use crate::fault::contain;
use crate::hub::{Config, Membership};
use crate::mail::LostShard;
use crate::sessions::OWNER;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shards {
    /// Every `hubs`-th shard, beginning with this hub's index.
    shards: Vec<Replica>,
    hubs: u16,
    due: BinaryHeap<Reverse<(Instant, ChannelName)>>,
    /// The planned flush of each channel in `due`. A channel whose flush was brought forward stands
    /// in the heap twice; this says which of the two counts.
    planned: BTreeMap<ChannelName, Planned>,
    counts: Counts,
    /// The index of this hub, and so of its first shard.
    first: u16,
    lost: Vec<LostShard>,
    /// How many faults there have been.
    faults: u32,
    /// The lost shards of which not every hub, this one included, has said what it knows.
    awaiting: BTreeMap<u16, Awaiting>,
    /// See [`Config::fault_on_channel`].
    fault_on: Option<ChannelName>,
    fails_next: Option<ChannelName>,
    /// Of a node that is one of several.
    nodes: Option<Box<Nodes>>,
}

/// A flush that is to come.
#[derive(Debug, Clone, Copy)]
struct Planned {
    due: Instant,
    /// When the oldest of its changes was made.
    since: Instant,
}

#[derive(Debug)]
struct Awaiting {
    fault: u32,
    hubs: u16,
}

/// A shard that this node has begun to decide.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) shard: u16,
    /// Its members that no home has told of.
    pub(crate) unannounced: Vec<(ChannelName, ConnectionId)>,
}

/// What the shards of a hub hold and have seen, kept as a sum: adding 1024 shards up each turn would cost more
/// than a turn.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) members: usize,
    /// In lists whose changes another node decides.
    pub(crate) copied_members: usize,
    pub(crate) channels: usize,
    /// Members that have left since the start.
    pub(crate) leaves: LeaveCounts,
}

impl Counts {
    /// Each member counts for one node, the home of its channel, so that the sum over all nodes is right.
    #[inline]
    fn members_of(&mut self, replica: &Replica) -> &mut usize {
        if replica.is_copy() { &mut self.copied_members } else { &mut self.members }
    }
}

impl Shards {
    /// This hub's share.
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        let (first, hubs) = (config.me.0, config.hubs);
        let shards = (first..SHARDS).step_by(usize::from(hubs));
        let shard = |number| {
            let mut shard = Shard::new(config.epoch_base).with_user_index(config.user_index);
            if let Some(time) = config.gather_for {
                shard.gather_until(now + time);
            }
            match config.membership {
                Membership::Alone => Replica::alone(number, shard, OWNER),
                Membership::OneOfSeveral => {
                    let mut replica = Replica::new(number, shard);
                    if let Some(time) = config.hibernate_after {
                        replica.hibernate_after(time);
                    }
                    replica
                }
            }
        };
        let shards: Vec<Replica> = shards.map(shard).collect();
        let nodes = match config.membership {
            Membership::Alone => None,
            Membership::OneOfSeveral => Some(Box::new(Nodes::new(shards.len()))),
        };
        Self {
            shards,
            nodes,
            hubs,
            due: BinaryHeap::new(),
            planned: BTreeMap::new(),
            counts: Counts::default(),
            first,
            lost: Vec::new(),
            faults: 0,
            awaiting: BTreeMap::new(),
            fault_on: config.fault_on_channel.clone(),
            fails_next: None,
        }
    }

    /// The hub that a shard lives on.
    pub(crate) fn home(&self, shard: u16) -> Peer {
        Peer(shard % self.hubs)
    }

    pub(crate) fn handle(&mut self, command: Command, now: Instant, out: &mut Vec<Effect>) {
        let at = self.at(command.channel());
        let is_fault = self.is_fault(&command);
        self.with(at, |shard| {
            shard.handle(command, now, out);
            assert!(!is_fault, "a fault was asked for, with its work half done");
        });
    }

    /// Plans a flush of changes that have waited since `since`, or brings a planned one forward.
    pub(crate) fn plan(&mut self, channel: ChannelName, due: Instant, since: Instant) {
        let planned = self.planned.entry(channel.clone());
        planned.and_modify(|planned| planned.due = due).or_insert(Planned { due, since });
        self.due.push(Reverse((due, channel)));
    }

    /// When the next flush is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.due.peek().map_or(Instant::NEVER, |Reverse((due, _))| *due)
    }

    /// The next channel whose flush is due, and since when its changes have waited.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<(ChannelName, Instant)> {
        while self.due.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Reverse((due, channel)) = self.due.pop()?;
            if let Some(planned) = self.planned.get(&channel)
                && planned.due == due
            {
                let since = planned.since;
                self.planned.remove(&channel);
                return Some((channel, since));
            }
        }
        None
    }

    /// Moves the pending changes of a channel into `out`.
    pub(crate) fn flush(&mut self, channel: &ChannelName, now: Instant, out: &mut Flush) {
        let at = self.at(channel);
        self.with(at, |shard| shard.flush(channel, now, out));
    }

    /// What this hub's shard holds of a channel.
    pub(crate) fn contents(&self, channel: &ChannelName) -> Contents<'_> {
        self.lists(channel).contents(channel)
    }

    /// See [`Shard::counted`].
    pub(crate) fn counted(&mut self, channel: &ChannelName, now: Instant) -> Option<Counted> {
        let at = self.at(channel);
        let mut counted = None;
        self.with(at, |shard| counted = shard.counted(channel, now));
        counted
    }

    /// The position of a channel that its shard does not hold.
    pub(crate) fn position(&self, channel: &ChannelName) -> (u64, u64) {
        self.lists(channel).position()
    }

    /// See [`Shard::since_of`].
    pub(crate) fn since_of(
        &self,
        channel: &ChannelName,
        connection: ConnectionId,
    ) -> Option<Since> {
        self.lists(channel).since_of(channel, connection)
    }

    /// See [`Shard::wake_to_look`].
    pub(crate) fn wake_to_look(
        &mut self,
        channel: &ChannelName,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let at = self.at(channel);
        self.with(at, |shard| shard.wake_to_look(channel, now, out));
    }

    /// The channels of this hub that begin with `prefix`, by name, from the first after `after`.
    pub(crate) fn channels_after<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = &'a ChannelName> {
        // What begins with the prefix stands together, and begins with the prefix itself.
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let parts = self.shards.iter().map(move |shard| {
            let names = shard.shard().channels_after(from);
            names.take_while(move |name| name.as_str().starts_with(prefix))
        });
        merge(parts)
    }

    /// Ends collections whose time is over, and lets silent channels hibernate.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        hibernate_after: Option<Duration>,
        out: &mut Vec<Effect>,
    ) {
        for at in 0..self.shards.len() {
            if self.shards[at].has_deadlines(hibernate_after) {
                self.with(at, |shard| shard.handle_timeout(now, hibernate_after, out));
            }
        }
        if let Some(nodes) = &mut self.nodes {
            nodes.renew_lost(now);
        }
    }

    /// Members and channels now, and who has left.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    fn is_fault(&mut self, command: &Command) -> bool {
        let Command::Put { channel, .. } = command else { return false };
        self.fault_on.as_ref() == Some(channel)
            || self.fails_next.take_if(|next| next == channel).is_some()
    }

    /// See [`Replica::showing`].
    pub(crate) fn showing(&self, channel: &ChannelName, connection: ConnectionId) -> Showing<'_> {
        self.shards[self.at(channel)].showing(channel, connection)
    }

    /// See [`Replica::generation_of`].
    pub(crate) fn generation_of(
        &self,
        channel: &ChannelName,
        connection: ConnectionId,
    ) -> Option<u32> {
        self.shards[self.at(channel)].generation_of(channel, connection)
    }

    fn lists(&self, channel: &ChannelName) -> &Shard {
        self.shards[self.at(channel)].shard()
    }

    fn at(&self, channel: &ChannelName) -> usize {
        usize::from(channel.shard() / self.hubs)
    }

    /// The shards lost by a fault since this was last asked.
    pub(crate) fn take_lost(&mut self) -> Vec<LostShard> {
        std::mem::take(&mut self.lost)
    }

    /// See [`crate::Hub::fail_next_put`].
    pub(crate) fn fail_next_put(&mut self, channel: ChannelName) {
        if self.home(channel.shard()) == Peer(self.first) {
            self.fails_next = Some(channel);
        }
    }

    /// How many flushes are planned.
    pub(crate) fn planned(&self) -> usize {
        self.planned.len()
    }

    /// How many flushes are planned, each counted again for every time that it was brought forward.
    pub(crate) fn due(&self) -> usize {
        self.due.len()
    }

    /// Of how many lost shards not every hub has said what it knows.
    pub(crate) fn awaiting(&self) -> usize {
        self.awaiting.len()
    }

    /// Whether a fault has not been recovered from.
    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// A hub has said what it knows of a lost shard.
    pub(crate) fn reported(&mut self, lost_shard: LostShard, now: Instant, out: &mut Vec<Effect>) {
        let Some(awaiting) = self.awaiting.get_mut(&lost_shard.shard) else { return };
        if awaiting.fault != lost_shard.fault {
            return;
        }
        awaiting.hubs -= 1;
        if awaiting.hubs == 0 {
            self.awaiting.remove(&lost_shard.shard);
            let at = usize::from(lost_shard.shard / self.hubs);
            self.with(at, |shard| shard.all_have_reported(now, out));
        }
    }

    /// Every call to a shard goes through here. A fault in it ends with it: an empty successor
    /// takes its place, and all hubs are to tell that one what they know.
    fn with(&mut self, at: usize, call: impl FnOnce(&mut Replica)) {
        let replica = self.shards.get_mut(at).expect("a hub is only asked for its own shards");
        *self.counts.members_of(replica) -= replica.shard().members();
        self.counts.channels -= replica.shard().channels();
        // What the fault left half done is thrown away whole, so nothing broken is seen.
        if contain(|| call(&mut *replica)).is_err() {
            let index = at as u16 * self.hubs + self.first;
            match &mut self.nodes {
                None => replica.lose_maps(),
                Some(nodes) => {
                    replica.lose_everything();
                    nodes.lose(at, index);
                }
            }
            self.faults += 1;
            let awaiting = Awaiting { fault: self.faults, hubs: self.hubs };
            self.awaiting.insert(index, awaiting);
            self.lost.push(LostShard { shard: index, fault: self.faults });
        }
        if let Some(nodes) = &mut self.nodes {
            nodes.post(at, replica.take_outgoing());
        }
        *self.counts.members_of(replica) += replica.shard().members();
        self.counts.channels += replica.shard().channels();
        if replica.shard().has_leaves() {
            self.count_leaves(at);
        }
    }

    /// Apart, since most calls are none of a leave.
    #[cold]
    fn count_leaves(&mut self, at: usize) {
        let leaves = self.shards[at].take_leaves();
        if !self.shards[at].is_copy() {
            self.counts.leaves.add(&leaves);
        }
    }
}

/// What several sorted iterators give, sorted.
fn merge<'a>(
    parts: impl Iterator<Item = impl Iterator<Item = &'a ChannelName>>,
) -> impl Iterator<Item = &'a ChannelName> {
    let mut parts: Vec<_> = parts.collect();
    let next_of = |(at, part): (usize, &mut _)| Some(Reverse((Iterator::next(part)?, at)));
    let mut heads: BinaryHeap<_> = parts.iter_mut().enumerate().filter_map(next_of).collect();
    std::iter::from_fn(move || {
        let Reverse((name, at)) = heads.pop()?;
        heads.extend(next_of((at, &mut parts[at])));
        Some(name)
    })
}
