//! What a hub holds, collection by collection: for tests that nothing grows without a bound and
//! that all of it goes.

use crate::hub::Hub;

/// See the module. Each field counts what one collection holds.
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
    /// Connections of which something was read and not looked at.
    pub unread: usize,
    /// Connections that wait for a snapshot, or have been sent many of late.
    pub snapshot_requests: usize,
    /// Mail that waits for room.
    pub mail: usize,
    /// Lost shards of which not every hub has said what it knows.
    pub lost_shards: usize,
}

impl Hub {
    /// Counts what it holds. Walks much of it: not for every turn of a server.
    pub fn holdings(&self) -> Holdings {
        let shards = self.shards.counts();
        Holdings {
            connections: self.connections.len(),
            detached: self.detached.len(),
            taken_over: self.taken_over.len(),
            default_channels: self.connections.named_channels(),
            detached_users: self.detached_users.len(),
            subscriptions: self.audience.subscriptions(),
            audience_channels: self.audience.channels(),
            channels: shards.channels,
            members: shards.entries,
            planned: self.shards.planned(),
            deliveries: self.deliveries.len(),
            channel_leases: self.channel_leases.len(),
            reviews: self.reviews.len(),
            unread: self.unread.len(),
            snapshot_requests: self.snapshot_requests.len(),
            mail: self.outgoing.len(),
            lost_shards: self.shards.awaiting(),
        }
    }
}
