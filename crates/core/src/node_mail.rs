//! What the loops of a node and its exchange tell each other. The exchange holds the links to the
//! other nodes; each loop holds the replicas of its shards. Both directions keep their order.

use std::collections::BTreeSet;
use std::sync::Arc;

use herenow_wire::ChannelName;
use herenow_wire::link::{Incarnation, Item, Ticket};

use crate::change::Owner;
use crate::command::Peer;
use crate::replica::From;

/// What a loop is told of the other nodes. It acts on each before the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeEvent {
    /// This node vouches for its connections as `owner` from here on, and is the home of nothing. All
    /// that it had asked of other nodes and not been answered is asked again when a home wants a report.
    Out {
        /// Never used before by this process.
        owner: Owner,
    },
    /// The nodes of a newer view, this one included if it is among them. What follows from the view is told
    /// next.
    View {
        /// Its number.
        number: u64,
        /// The owners that speak for their connections.
        speaking: Arc<BTreeSet<Owner>>,
    },
    /// These nodes have joined, and this one has been there for longest: it tells them which kicks are in
    /// force. Said to one loop alone, as each knows all of them.
    Joined(Vec<From>),
    /// A node has left the view. Its `peer` speaks of no other node for a long time.
    Gone(From),
    /// This node is the home of a shard from here on, and does not know everything yet.
    Home {
        /// Which shard.
        shard: u16,
        /// Its term.
        term: Term,
    },
    /// Every node has reported what it has of the shard.
    Opened {
        /// Which shard.
        shard: u16,
        /// Its term.
        term: Term,
    },
    /// Another node is the home of a shard from here on.
    Moved {
        /// Which shard.
        shard: u16,
        /// Its term.
        term: Term,
        /// The home.
        home: From,
    },
    /// The home of these shards asks for what this loop has in them.
    ReportWanted {
        /// The home.
        home: From,
        /// Each shard, and its term.
        shards: Vec<(u16, Term)>,
    },
    /// A batch came from a node. Answered by [`NodeMail::Told`].
    Received {
        /// The sender.
        from: From,
        /// The number of the batch.
        batch: u64,
        /// What of it concerns this loop.
        items: Vec<Item>,
    },
    /// The home has applied these puts, and told of them.
    Done(Vec<(u16, Ticket)>),
    /// A stream begins anew. Answered by [`NodeMail::Contents`].
    ResetWanted {
        /// The receiver of the stream.
        to: From,
        /// Comes back with the answer.
        request: u32,
    },
    /// A stream has room again for what it could not take. Answered by [`NodeMail::Owed`], also if
    /// there is nothing to send.
    OwedWanted {
        /// The receiver of the stream.
        to: From,
        /// What of it concerns this loop.
        owed: Owed,
    },
}

/// What a stream could not take: reports and snapshots replace it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owed {
    /// The shards that need a report.
    pub shards: Vec<u16>,
    /// The channels that need a snapshot.
    pub channels: Vec<ChannelName>,
}

/// What a loop has for other nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeMail {
    /// For one node, in order, as one flush.
    Items {
        /// Which.
        to: Peer,
        /// What.
        items: Vec<Item>,
    },
    /// For every other node in the view, in order.
    ToAll {
        /// What.
        items: Vec<Item>,
    },
    /// The answer to [`NodeEvent::OwedWanted`]. What concerns these shards and channels and stands
    /// before it is not sent, as this replaces it.
    Owed {
        /// The receiver of the stream.
        to: Peer,
        /// What was asked for, as it came.
        owed: Owed,
        /// The reports, again the puts that wait in their shards, and the snapshots.
        items: Vec<Item>,
    },
    /// Everything of a node up to this batch has been applied, and what follows from it stands before this.
    Told {
        /// Whose batch.
        from: Peer,
        /// Its number.
        batch: u64,
    },
    /// Everything that this loop owes a node: the answer to [`NodeEvent::ResetWanted`].
    Contents {
        /// Comes from the question.
        request: u32,
        /// The reports of the shards whose home the node is, and again the puts that wait.
        items: Vec<Item>,
        /// The channels of this home that it wants: their snapshots are asked for later.
        channels: Vec<ChannelName>,
    },
    /// A fault has cost the home its maps of a shard: it is to ask all nodes anew, in a later term.
    Lost {
        /// Which shard.
        shard: u16,
        /// The term in which it was lost.
        term: Term,
    },
}

/// The time during which a node is the home of a shard. Compared by epoch, then by home: after the
/// bucket was restored from a copy two views may have one number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Term {
    /// The number of the view that made it the home.
    pub epoch: u64,
    /// The home; [`Term::NOBODY`] if there is none.
    pub home: Incarnation,
}

/// Bits of a map's epoch that count its lives within one term.
const LIFE_BITS: u32 = 20;

impl Term {
    /// In place of the home of a shard that has none.
    pub const NOBODY: Incarnation = Incarnation(0);
    /// Before the first.
    pub const NONE: Self = Self { epoch: 0, home: Self::NOBODY };

    /// The epoch of the first maps of this term.
    pub fn first_life(self) -> u64 {
        self.epoch << LIFE_BITS
    }

    /// The term in which a home has given a map this epoch.
    pub fn of_life(epoch: u64, home: Incarnation) -> Self {
        Self { epoch: epoch >> LIFE_BITS, home }
    }
}
