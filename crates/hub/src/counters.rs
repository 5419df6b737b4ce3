//! What a hub counts. Plain numbers, which the shell publishes.

use herenow_core::{Instant, LeaveCounts};
use herenow_wire::ErrorCode;

/// See the module. Since the start, unless a field says "now".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections now.
    pub connections: usize,
    /// Sessions now that have lost their socket and may come back.
    pub detached_sessions: usize,
    /// Since when the oldest of them has had no socket.
    pub oldest_detached: Option<Instant>,
    /// Members now, over the channels of this hub's shards.
    pub members: usize,
    /// Members now in lists whose changes another node decides.
    pub copied_members: usize,
    /// Subscriptions of this hub's connections now.
    pub subscriptions: usize,
    /// Channels in use now, of this hub's shards.
    pub channels: usize,
    /// Connections that were opened.
    pub connections_accepted: usize,
    /// Whole frames that came.
    pub frames_in: usize,
    /// Writes. Each carries all that waits for a socket at the time.
    pub writes: usize,
    /// Bytes that came.
    pub bytes_in: usize,
    /// Bytes that were written or wait for a slow socket.
    pub bytes_out: usize,
    /// Flushes of a channel.
    pub flushes: usize,
    /// Flushes handed to another hub that has subscribers of the channel.
    pub flushes_forwarded: usize,
    /// Updates that a newer one of the same member replaced before anybody was told.
    pub updates_merged: usize,
    /// Times a slow subscriber's deltas were dropped for one snapshot.
    pub slow_subscriber_drops: usize,
    /// Members that have left the channels of this hub's shards.
    pub leaves: LeaveCounts,
    /// Times that the lists of subscribers had to be sent again.
    pub resyncs: Resyncs,
    /// Refusals sent, of all codes together. [`Hub::errors`](crate::Hub::errors) has each.
    pub errors: usize,
}

/// Why lists of members were sent again, or the states in them were asked for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resyncs {
    /// A subscriber has lost changes since its socket takes too little: once for each subscription.
    pub slow: usize,
    /// A client has asked for a list that it had.
    pub requested: usize,
    /// A channel's map was freed after a long silence, or lost by a fault: once for each channel.
    pub rebuilt: usize,
}

/// Refusals sent since the start, in the order of [`ErrorCode::ALL`]. Apart from the counters, which
/// are published every turn: errors are rare.
pub type ErrorCounts = [usize; ErrorCode::ALL.len()];
