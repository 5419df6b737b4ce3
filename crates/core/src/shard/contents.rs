//! Looking into a shard without changing it: for those who ask and do not subscribe.

use std::ops::Bound;

use herenow_wire::{ChannelName, ConnectionId};

use super::{Map, Shard};
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
