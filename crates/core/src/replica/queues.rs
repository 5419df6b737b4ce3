//! How many puts of each member wait for the home. An outage of it costs bounded memory.

use std::collections::BTreeMap;

use herenow_wire::{ChannelName, ConnectionId};

/// Puts of one member that wait at most. Above that a newer one takes the place of the last.
const MAX_WAITING_PER_MEMBER: u32 = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queues {
    by_member: BTreeMap<(ConnectionId, ChannelName), Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    count: u32,
    last_ticket: u32,
}

impl Queues {
    /// The put whose place a further one of the member takes.
    pub(super) fn replaced_by_next(
        &self,
        connection: ConnectionId,
        channel: &ChannelName,
    ) -> Option<u32> {
        let queue = self.by_member.get(&(connection, channel.clone()))?;
        (queue.count >= MAX_WAITING_PER_MEMBER).then_some(queue.last_ticket)
    }

    /// Whether a put of the member waits.
    pub(super) fn has(&self, connection: ConnectionId, channel: &ChannelName) -> bool {
        self.by_member.contains_key(&(connection, channel.clone()))
    }

    /// A put waits under this ticket.
    pub(super) fn add(&mut self, connection: ConnectionId, channel: &ChannelName, ticket: u32) {
        let queue = self.by_member.entry((connection, channel.clone())).or_default();
        queue.count += 1;
        queue.last_ticket = ticket;
    }

    /// A put waits no more.
    pub(super) fn remove(&mut self, connection: ConnectionId, channel: &ChannelName) {
        let member = (connection, channel.clone());
        if let Some(queue) = self.by_member.get_mut(&member) {
            queue.count -= 1;
            if queue.count == 0 {
                self.by_member.remove(&member);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.by_member.clear();
    }
}
