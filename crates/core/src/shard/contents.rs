//! Looking into a shard without changing it: for those who ask and do not subscribe.

use std::ops::Bound;

use herenow_wire::{ChannelName, ConnectionId};

use super::{Map, Shard};
use crate::by_user::UserIndex;
use crate::channel::{Channel, ListPosition};
use crate::command::Effect;
use crate::since::Since;
use crate::time::Instant;

/// What a shard holds of a channel.
#[derive(Debug)]
pub enum Contents<'a> {
    /// Nobody uses it.
    Nothing,
    /// Its map.
    Live(&'a Channel),
    /// Its map hibernates, or is being rebuilt: the numbers of before.
    Freed {
        /// How many users were in it.
        users: usize,
        /// How many connections were in it.
        connections: usize,
        /// How far it had come; `None` while it is being rebuilt.
        position: Option<ListPosition>,
    },
}

/// How many are in a channel, and where its list stood then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The life of the map.
    pub epoch: u64,
    /// The last change.
    pub seq: u64,
    /// Users.
    pub users: usize,
    /// Members.
    pub connections: usize,
}

impl Shard {
    /// Rebuilds the map of a channel that hibernates, so that its members can be listed.
    pub fn wake_to_look(&mut self, channel: &ChannelName, now: Instant, out: &mut Vec<Effect>) {
        if self.channels.contains_key(channel) {
            self.wake(channel, now, out);
        }
    }

    /// What it holds of `channel`.
    pub fn contents(&self, channel: &ChannelName) -> Contents<'_> {
        match self.channels.get(channel).map(|slot| &slot.map) {
            None => Contents::Nothing,
            Some(Map::Live(live)) => Contents::Live(live),
            Some(Map::Hibernating(freed)) => Contents::Freed {
                users: freed.users,
                connections: freed.trackers.len(),
                position: freed.position,
            },
            Some(Map::Collecting(collecting)) => {
                let connections = collecting.len();
                // After a fault nobody knows; a user has at least one connection.
                let known = Some(collecting.users()).filter(|users| *users > 0);
                Contents::Freed {
                    users: known.unwrap_or(connections).min(connections),
                    connections,
                    position: None,
                }
            }
        }
    }

    /// How many are in `channel`; `None` while nobody can say, since its map is being rebuilt or the
    /// clients of another process are still to come back. Users of a large channel are counted by an
    /// index from here on.
    pub fn counted(&mut self, channel: &ChannelName, now: Instant) -> Option<Counted> {
        if self.awaits_reports || self.gathers_until.is_some_and(|until| now < until) {
            return None;
        }
        if let Some(Map::Live(live)) = self.channels.get_mut(channel).map(|slot| &mut slot.map) {
            live.index_users(UserIndex::LargeChannels);
        }
        Some(match self.contents(channel) {
            Contents::Nothing => {
                let (epoch, seq) = self.position();
                Counted { epoch, seq, users: 0, connections: 0 }
            }
            Contents::Live(live) => {
                let (users, connections) = (live.users(), live.len());
                Counted { epoch: live.epoch(), seq: live.seq(), users, connections }
            }
            Contents::Freed { users, connections, position } => {
                let ListPosition { epoch, seq, .. } = position?;
                Counted { epoch, seq, users, connections }
            }
        })
    }

    /// The list of a channel, if it is known.
    pub(crate) fn list(&self, channel: &ChannelName) -> Option<&Channel> {
        match self.contents(channel) {
            Contents::Live(list) => Some(list),
            Contents::Nothing | Contents::Freed { .. } => None,
        }
    }

    /// Since when a connection has a member in `channel`, whatever has become of the map; `None` if it
    /// has none.
    pub fn since_of(&self, channel: &ChannelName, connection: ConnectionId) -> Option<Since> {
        match &self.channels.get(channel)?.map {
            Map::Live(live) => live.member(connection).map(|(_, since)| since),
            Map::Hibernating(freed) => freed.trackers.get(&connection).map(|one| one.since),
            Map::Collecting(collecting) => collecting.since_of(connection),
        }
    }

    /// Its channels by name, from the first after `after`.
    pub fn channels_after(&self, after: Bound<&str>) -> impl Iterator<Item = &ChannelName> {
        let range = self.channels.range::<str, _>((after, Bound::Unbounded));
        range.map(|(name, _)| name)
    }
}
