//! What a hub holds, collection by collection, and how often it has looked at things: for tests that
//! nothing grows without a bound, that all of it goes, and that no event costs a walk over everything.

use herenow_core::{Channel, Contents};
use herenow_wire::ChannelName;

use crate::connection::Connection;
use crate::hub::Hub;

/// See the module. Each field counts what one collection holds, or says the most that one
/// connection has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Connections with a socket.
    pub connections: usize,
    /// Sessions without one.
    pub detached: usize,
    /// Connections that have taken a session over.
    pub taken_over: usize,
    /// Channels that a connection named as its default.
    pub default_channels: usize,
    /// Users whose sessions without one are counted here.
    pub detached_users: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Channels that a connection subscribes to.
    pub audience_channels: usize,
    /// Channels of this hub's shards.
    pub channels: usize,
    /// Members in them.
    pub members: usize,
    /// Flushes that are planned.
    pub planned: usize,
    /// Deliveries of which some is written.
    pub deliveries: usize,
    /// Connections with the lease of a channel.
    pub channel_leases: usize,
    /// Sessions whose rights are to be asked again.
    pub reviews: usize,
    /// What backends have asked and is not answered.
    pub requests: usize,
    /// Members that have no connection.
    pub keyed_members: usize,
    /// Channels that are followed from outside and have members.
    pub followed: usize,
    /// Users and connections that a backend keeps out.
    pub kicks: usize,
    /// Sockets and texts that a history keeps while they are in use.
    pub remembered: usize,
    /// What a history keeps for ten minutes.
    pub records: usize,
    /// Connections of which something was read and not looked at.
    pub unread: usize,
    /// Connections that wait for a snapshot, or have been sent many of late.
    pub snapshot_requests: usize,
    /// Mail that waits for room.
    pub mail: usize,
    /// Batches of other nodes that are applied and not told.
    pub unacknowledged: usize,
    /// Lost shards of which not every hub has said what it knows.
    pub lost_shards: usize,
    /// Near deadlines of sessions that are planned.
    pub near_deadlines: usize,
    /// Flushes that are planned, those included that were brought forward since.
    pub due: usize,
    /// Channels whose next flush waits for a delivery.
    pub postponed: usize,
    /// What is kept of counts: channels, what is due, and sockets that are told later.
    pub counts: usize,
    /// Members with fields that end by themselves.
    pub expiring: usize,
    /// Subscribers that are still to be written to, of the deliveries of which some is written.
    pub recipients: usize,
    /// Connections that hold a large piece, or wait for room to begin one.
    pub large_pieces: usize,
    /// Connections with replies of this turn. None is left after a turn.
    pub replied: usize,
    /// Bytes of replies that wait for one socket.
    pub most_reply_bytes: usize,
    /// Bytes of flushes that wait for one socket, without the largest of them.
    pub most_flush_bytes: usize,
    /// Bytes of one connection that were read and are kept: the beginning of a message, and what
    /// has not been looked at.
    pub most_read_bytes: usize,
    /// Bytes of what one session was told and has not done yet.
    pub most_waiting_bytes: usize,
}

/// What a hub has looked at since its start. Each step is of constant cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Looks at the connection in a slot.
    pub connections: u64,
    /// What requests have cost, in looks. See [`LOOKS_PER_TURN`](crate::LOOKS_PER_TURN).
    pub requests: u64,
    /// Looks at the subscribers of a channel to find one of them.
    pub subscribers: u64,
}

impl Hub {
    /// Counts its steps.
    pub fn steps(&self) -> Steps {
        Steps {
            connections: self.connections.looks(),
            requests: self.requests.looks(),
            subscribers: self.audience.looks(),
        }
    }

    /// Leaves that subscribers were told of and whose cause was recorded, since the start.
    pub fn noted_leaves(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| history.noted_leaves())
    }

    /// Whether this node decides now what changes in a channel of one of this hub's shards.
    pub fn decides(&self, channel: &ChannelName) -> bool {
        self.shards.is_home_of(channel)
    }

    /// The list of a channel of one of this hub's shards, as this node knows it.
    pub fn list(&self, channel: &ChannelName) -> Option<&Channel> {
        match self.shards.contents(channel) {
            Contents::Live(list) => Some(list),
            Contents::Nothing | Contents::Freed { .. } => None,
        }
    }

    /// Counts what it holds. Walks much of it: not for every turn of a server.
    pub fn holdings(&self) -> Holdings {
        let shards = self.shards.counts();
        let most = |of: fn(&Connection) -> usize| self.connections.iter().map(of).max();
        Holdings {
            connections: self.connections.len(),
            detached: self.detached.len(),
            taken_over: self.taken_over.len(),
            default_channels: self.connections.named_channels(),
            detached_users: self.detached_users.len(),
            subscriptions: self.audience.subscriptions(),
            audience_channels: self.audience.channels(),
            channels: shards.channels,
            members: shards.members,
            planned: self.shards.planned(),
            deliveries: self.deliveries.len(),
            channel_leases: self.channel_leases.len(),
            reviews: self.reviews.len(),
            requests: self.requests.len(),
            keyed_members: self.keyed_members.len(),
            followed: self.announcements.len(),
            kicks: self.policy.kicks().len(),
            remembered: self.history.as_ref().map_or(0, |history| history.open()),
            records: self.history.as_ref().map_or(0, |history| history.records()),
            unread: self.unread.len(),
            snapshot_requests: self.snapshot_requests.len(),
            mail: self.outgoing.len(),
            unacknowledged: self.shards.unacknowledged(),
            lost_shards: self.shards.awaiting(),
            near_deadlines: self.near_deadlines.len(),
            due: self.shards.due(),
            postponed: self.deliveries.postponed(),
            recipients: self.deliveries.recipients(),
            expiring: self.expiring.len(),
            counts: self.counts.len(),
            large_pieces: self.held.len(),
            replied: self.replies.len(),
            most_reply_bytes: most(Connection::queued_reply_bytes).unwrap_or(0),
            most_flush_bytes: most(Connection::queued_flush_bytes).unwrap_or(0),
            most_read_bytes: most(|one| one.reader.held_bytes()).unwrap_or(0),
            most_waiting_bytes: most(|one| one.session.waiting_bytes()).unwrap_or(0),
        }
    }

    /// Which connection subscribes to which channel.
    pub fn subscriptions(&self) -> impl Iterator<Item = (u32, &ChannelName)> {
        self.audience.all().map(|(channel, slot)| (slot, channel))
    }

    /// The channels in which a connection shows something.
    pub fn shown(&self, slot: u32) -> impl Iterator<Item = &ChannelName> {
        self.connections.get(slot).into_iter().flat_map(|one| one.session.tracked())
    }

    /// The connections whose sockets take bytes and that wait for a snapshot all the same, and of
    /// which channel. Walks all subscriptions.
    pub fn awaiting_snapshot(&self) -> impl Iterator<Item = (u32, &ChannelName)> {
        let takes_bytes = |slot| {
            self.connections.get(slot).is_some_and(|one| one.is_open() && !one.has_send_queue())
        };
        let waiting = self.audience.awaiting_snapshot().filter(move |(_, slot)| takes_bytes(*slot));
        waiting.map(|(channel, slot)| (slot, channel))
    }
}
