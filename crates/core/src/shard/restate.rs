//! What a member shows changes without a word of its connection.

use herenow_wire::{ChannelName, ConnectionId, State};

use super::{Map, Shard};
use crate::command::Effect;
use crate::decision::{Decision, Put};

impl Shard {
    /// Only a map that is there knows states: what hibernates or is being rebuilt is told anew.
    pub(super) fn restate(
        &mut self,
        name: &ChannelName,
        (connection, generation): (ConnectionId, u32),
        state: State,
        out: &mut Vec<Effect>,
    ) {
        let Some(slot) = self.channels.get_mut(name) else { return };
        let Map::Live(channel) = &mut slot.map else { return };
        let Some((member, _)) = channel.member(connection) else { return };
        if member.generation != generation {
            return;
        }
        let owner = member.owner;
        let put = Put { connection, owner, generation, user: member.user.clone(), state };
        if let Decision::Change(change) = channel.decide_put(put, usize::MAX, self.seq + 1) {
            self.seq += 1;
            channel.apply(change);
            slot.announce(name, out);
        }
    }
}
