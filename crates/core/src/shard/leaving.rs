//! Members that leave: one of them, or all of a lost process. Counts them by reason.

use herenow_wire::{ChannelName, ConnectionId, LeaveReason};

use super::{Hibernating, Map, Shard};
use crate::change::Owner;
use crate::collecting::owned_by;
use crate::command::Effect;
use crate::decision::Decision;
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

    /// Takes every member of a lost process away.
    pub fn remove_owner(
        &mut self,
        owner: Owner,
        reason: LeaveReason,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let mut gone = Vec::new();
        for (name, slot) in &self.channels {
            let connections = match &slot.map {
                Map::Live(channel) => channel.owned_by(owner),
                Map::Hibernating(freed) => owned_by(&freed.trackers, owner),
                Map::Collecting(collecting) => owned_by(&collecting.trackers(), owner),
            };
            gone.extend(connections.into_iter().map(|connection| (name.clone(), connection)));
        }
        for (name, connection) in gone {
            self.remove(&name, connection, (owner, reason), now, out);
        }
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

impl Hibernating {
    fn has(&self, connection: ConnectionId, owner: Owner) -> bool {
        self.trackers.get(&connection).is_some_and(|tracker| tracker.owner == owner)
    }
}
