//! Members that leave: one of them, or all of a lost process. Counts them by reason.

use herenow_wire::{ChannelName, ConnectionId, LeaveReason};

use super::{Hibernating, Map, Shard, Slot};
use crate::change::Owner;
use crate::collecting::{lose_owner, owned_by};
use crate::command::Effect;
use crate::decision::{Decision, is_up_to};
use crate::leaves::LeaveCounts;
use crate::time::Instant;

impl Shard {
    /// Whether a member has left since [`Shard::take_leaves`] was last called. Asked after every
    /// command.
    #[inline]
    pub fn has_leaves(&self) -> bool {
        self.has_leaves
    }

    /// The members that have left since the last call.
    pub fn take_leaves(&mut self) -> LeaveCounts {
        self.has_leaves = false;
        std::mem::take(&mut self.leaves)
    }

    /// The channels in which an owner has members.
    pub fn channels_of(&self, owner: Owner) -> Vec<ChannelName> {
        let channels = self.channels.iter().filter(|(_, slot)| !slot.owned_by(owner).is_empty());
        channels.map(|(name, _)| name.clone()).collect()
    }

    /// Takes every member of an owner in a channel away.
    pub fn remove_owner(
        &mut self,
        name: &ChannelName,
        (owner, reason): (Owner, LeaveReason),
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let owned = self.channels.get(name).map(|slot| slot.owned_by(owner));
        for connection in owned.into_iter().flatten() {
            self.remove(name, connection, (owner, reason), now, out);
        }
    }

    /// An owner is lost, and its members in a channel stay for now: without a socket, and for the node that
    /// shows something for their connections. Subscribers hear nothing of it.
    pub(crate) fn lose_owner(&mut self, name: &ChannelName, owner: Owner) {
        match self.channels.get_mut(name).map(|slot| &mut slot.map) {
            Some(Map::Live(channel)) => channel.lose_owner(owner),
            Some(Map::Hibernating(freed)) => lose_owner(&mut freed.trackers, owner),
            Some(Map::Collecting(collecting)) => collecting.lose_owner(owner),
            None => {}
        }
    }

    /// Gives the members of an owner in a channel to another one. Their generation is the one before, so that
    /// a node that shows the same takes the member over. Gives the connections, and what generation each has now.
    pub(crate) fn give_members(
        &mut self,
        (from, to): (Owner, Owner),
        name: &ChannelName,
    ) -> Vec<(ConnectionId, u32)> {
        match self.channels.get_mut(name).map(|slot| &mut slot.map) {
            Some(Map::Live(channel)) => channel.give_members(from, to),
            Some(Map::Hibernating(_) | Map::Collecting(_)) | None => Vec::new(),
        }
    }

    /// Which of the sockets that have had its id has shown a connection's member, where that is known.
    pub(crate) fn generation_of(
        &self,
        name: &ChannelName,
        connection: ConnectionId,
    ) -> Option<u32> {
        self.list(name)?.member(connection).map(|(member, _)| member.generation)
    }

    /// Whether a connection's member is of a later socket than that which had this generation.
    pub(super) fn is_of_later(
        &self,
        name: &ChannelName,
        connection: ConnectionId,
        generation: u32,
    ) -> bool {
        self.generation_of(name, connection).is_some_and(|of| !is_up_to(of, generation))
    }

    pub(super) fn remove(
        &mut self,
        name: &ChannelName,
        connection: ConnectionId,
        (owner, reason): (Owner, LeaveReason),
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        match self.channels.get(name).map(|slot| &slot.map) {
            None => return,
            // Only a loss that subscribers must hear of is worth waking them for.
            Some(Map::Hibernating(freed)) if !freed.has(connection, owner) => return,
            Some(_) => self.wake(name, now, out),
        }
        let Some(slot) = self.channels.get_mut(name) else { return };
        match &mut slot.map {
            Map::Live(channel) => {
                let decision = channel.decide_remove(connection, owner, reason, self.seq + 1);
                if let Decision::Change(change) = decision {
                    self.seq += 1;
                    channel.apply(change);
                    self.members -= 1;
                    self.has_leaves = true;
                    self.leaves.add_to(reason, 1);
                    slot.announce(name, out);
                }
            }
            Map::Collecting(collecting) => {
                collecting.forget(connection, owner);
                self.rebuild_if_complete(name, now, out);
            }
            Map::Hibernating(_) => unreachable!("`wake` ran before"),
        }
    }
}

impl Slot {
    /// The connections of an owner that have members, in a fixed order.
    fn owned_by(&self, owner: Owner) -> Vec<ConnectionId> {
        match &self.map {
            Map::Live(channel) => channel.owned_by(owner),
            Map::Hibernating(freed) => owned_by(&freed.trackers, owner),
            Map::Collecting(collecting) => owned_by(&collecting.trackers(), owner),
        }
    }
}

impl Hibernating {
    fn has(&self, connection: ConnectionId, owner: Owner) -> bool {
        self.trackers.get(&connection).is_some_and(|tracker| tracker.owner == owner)
    }
}
