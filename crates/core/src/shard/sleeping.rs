//! Channels that hibernate, at a home and at the copies of its lists: the copies are freed with the
//! list, and a message for the channel at any node wakes it.

use std::time::Duration;

use herenow_wire::link::Position;
use herenow_wire::{ChannelName, ConnectionId};

use super::{Hibernating, Map, NextFlush, PeerSubscription, Shard};
use crate::change::Owner;
use crate::channel::{Channel, ListPosition};
use crate::collecting::{Collecting, Tracker};
use crate::command::{Effect, Peer, RequestId};
use crate::since::Since;
use crate::time::Instant;

/// Whether the home of a list is to be asked for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// It is.
    List,
    /// Nobody here waits for the list.
    Nothing,
}

/// A channel whose members are known, and not what they show.
pub(crate) struct Sleeping<'a> {
    pub(crate) name: &'a ChannelName,
    pub(crate) trackers: Vec<(ConnectionId, Owner)>,
    /// How many users they are.
    pub(crate) users: usize,
    pub(crate) position: Position,
}

impl Shard {
    /// The channels that have had no message for so long, and owe nobody anything.
    pub(crate) fn silent(&self, now: Instant, hibernate_after: Duration) -> Vec<ChannelName> {
        let silent = self.channels.iter().filter(|(_, slot)| match &slot.map {
            Map::Live(channel) => {
                !slot.announced
                    && channel.has_no_pending()
                    && now.since(slot.heard_at.instant()) >= hibernate_after
            }
            Map::Hibernating(_) | Map::Collecting(_) => false,
        });
        silent.map(|(name, _)| name.clone()).collect()
    }

    /// Whether the map of a channel has been freed after a long silence.
    pub(crate) fn is_asleep(&self, name: &ChannelName) -> bool {
        let map = self.channels.get(name).map(|slot| &slot.map);
        matches!(map, Some(Map::Hibernating(_)))
    }

    /// The home of a list has freed it, and so does this node. A list that somebody here is still owed is
    /// asked for, and one of which the last changes are missing.
    pub(crate) fn free_asleep(
        &mut self,
        (name, position): (&ChannelName, Option<Position>),
        out: &mut Vec<Effect>,
    ) -> Need {
        let Some(slot) = self.channels.get(name) else { return Need::Nothing };
        let is_whole = |channel: &Channel| {
            let here = Position { epoch: channel.epoch(), seq: channel.seq() };
            position.is_none_or(|position| position == here)
        };
        match &slot.map {
            Map::Live(channel) if !slot.announced && is_whole(channel) => {
                let peers = slot.peers();
                self.hibernate(name);
                out.push(Effect::Hibernated { channel: name.clone(), peers });
                Need::Nothing
            }
            Map::Hibernating(_) => Need::Nothing,
            Map::Live(_) | Map::Collecting(_) => self.expect_anew(name),
        }
    }

    /// What is known here of a list is not true any more: nothing is told of it before the home has said
    /// what it is.
    pub(crate) fn expect_anew(&mut self, name: &ChannelName) -> Need {
        let Some(slot) = self.channels.get_mut(name) else { return Need::Nothing };
        match &slot.map {
            Map::Live(channel) => self.members -= channel.len(),
            Map::Hibernating(_) => {}
            Map::Collecting(_) => return Need::List,
        }
        slot.map = Map::Collecting(Box::new(Collecting::of_anybody(Instant::NEVER)));
        self.collecting += 1;
        Need::List
    }

    /// Whether the home should hear that a list was used here: it has heard nothing of that for so long.
    pub(crate) fn is_use_due(
        &mut self,
        name: &ChannelName,
        hear_every: Duration,
        now: Instant,
    ) -> bool {
        let Some(slot) = self.channels.get_mut(name) else { return false };
        let is_due = now.since(slot.heard_at.instant()) >= hear_every;
        if is_due {
            slot.heard_at = Since::not_before(now);
        }
        is_due
    }

    /// A channel that hibernates at this home from here on, as nodes have reported it. Whether this node wants
    /// its list and does not know that it sleeps.
    pub(crate) fn adopt_asleep(&mut self, sleeping: Sleeping<'_>, now: Instant) -> Need {
        let Sleeping { name, trackers, users, position } = sleeping;
        let Position { epoch, seq } = position;
        self.seq = self.seq.max(seq);
        let is_used_here = self.channels.contains_key(name);
        let slot = Self::slot(&mut self.channels, name, (epoch, seq), now);
        let need = match &slot.map {
            Map::Live(_) if !is_used_here => Need::Nothing,
            Map::Live(channel) => {
                self.members -= channel.len();
                Need::List
            }
            Map::Hibernating(_) => Need::Nothing,
            Map::Collecting(_) => {
                self.collecting -= 1;
                Need::List
            }
        };
        let since = Since::default();
        let trackers = trackers.into_iter().map(|(id, owner)| (id, Tracker { owner, since }));
        let position = Some(ListPosition { epoch, seq, changes: 0 });
        slot.map = Map::Hibernating(Hibernating { trackers: trackers.collect(), users, position });
        need
    }

    /// A node is told of the changes of a channel, which does not wake for that.
    pub(crate) fn note_node(&mut self, name: &ChannelName, peer: Peer) {
        if let Some(slot) = self.channels.get_mut(name) {
            let (request_id, next_flush) = (RequestId(0), NextFlush::Deltas);
            slot.note(PeerSubscription { peer, request_id, next_flush });
        }
    }

    /// Says who vouches for a member of a channel that hibernates. Whether it is known there.
    pub(crate) fn vouch_asleep(
        &mut self,
        name: &ChannelName,
        (connection, owner): (ConnectionId, Owner),
    ) -> bool {
        match self.channels.get_mut(name).map(|slot| &mut slot.map) {
            Some(Map::Hibernating(freed)) => {
                let tracker = freed.trackers.get_mut(&connection);
                tracker.map(|tracker| tracker.owner = owner).is_some()
            }
            _ => false,
        }
    }
}
