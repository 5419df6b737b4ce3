//! The commands that a shard takes and the effects that it returns, as plain data.

use herenow_wire::{ChannelName, ConnectionId, ExpiringFields, LeaveReason, Ref, State};

use crate::audience::Audience;
use crate::change::{Op, Owner, Snapshot};
use crate::decision::Put;
use crate::session::Session;
use crate::time::Instant;

/// A receiver of flushes: one loop of this process, or another node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Peer(pub u16);

impl Peer {
    /// The bit that marks a node.
    const NODE: u16 = 1 << 15;

    /// Keeps a copy of a channel that is only counted, and is sent nothing.
    pub const COUNTER: Self = Self(Self::NODE - 1);

    /// Another node, by the number that this process has given it.
    pub const fn node(number: u16) -> Self {
        Self(Self::NODE | number)
    }

    /// Whether it is a loop of this process.
    pub const fn is_loop(self) -> bool {
        self.0 < Self::COUNTER.0
    }

    /// The number of another node; `None` for a loop.
    pub const fn as_node(self) -> Option<u16> {
        if self.0 & Self::NODE == 0 { None } else { Some(self.0 & !Self::NODE) }
    }
}

/// The number of a request for a snapshot. Grows per peer and wraps. A snapshot says up to which
/// request it answers: one that crosses with a newer request must not count as its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct RequestId(pub u32);

impl RequestId {
    /// Whether a snapshot that answers the requests up to `answered` answers this one.
    pub fn is_answered_by(self, answered: RequestId) -> bool {
        answered.0.wrapping_sub(self.0) < u32::MAX / 2
    }
}

/// Whom an answer is for that may come later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// The loop that holds the connection.
    pub peer: Peer,
    /// The loop's own handle of it, given back unread.
    pub slot: u32,
    /// The connection itself: its slot may change hands before the answer comes.
    pub connection: ConnectionId,
    /// Which of the sockets that have had its id: one that takes it over, in the same slot too, is
    /// not to hear what the one before it has asked.
    pub generation: u32,
}

impl Asker {
    /// The connection in `slot` of the loop `peer`, whose session this is.
    pub fn new(peer: Peer, slot: u32, session: &Session) -> Self {
        let (connection, generation) = (session.connection(), session.generation());
        Self { peer, slot, connection, generation }
    }

    /// Whether this session, on the socket that it has now, is the one that asked.
    pub fn is(&self, session: &Session) -> bool {
        (self.connection, self.generation) == (session.connection(), session.generation())
    }
}

/// A command to a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// A connection tracks.
    Put {
        /// Where.
        channel: ChannelName,
        /// Who and what.
        put: Put,
        /// Which fields of the state end by themselves. The caller of the shard sees to that, and says
        /// so with [`Command::Restate`].
        expire: Expire,
        /// How many members the channel may hold.
        max_members: u32,
        /// Who wants to hear of it.
        asker: Asker,
        /// The client's `ref`, which comes back with the answer.
        reference: Option<Ref>,
    },
    /// A connection without a socket showed this in a map that was lost, and cannot send it again
    /// itself. It never takes another's place.
    Keep {
        /// Where.
        channel: ChannelName,
        /// Who and what.
        put: Put,
        /// How many members the channel may hold.
        max_members: u32,
    },
    /// Fields of a member's state have ended: it shows this from here on, if it is there. Nobody has said
    /// anything, so the channel counts as silent all the same.
    Restate {
        /// Where.
        channel: ChannelName,
        /// Whose.
        connection: ConnectionId,
        /// Which of the sockets that have had the connection's id. The member of another stays as it is.
        generation: u32,
        /// What.
        state: State,
    },
    /// A member's connection has lost its socket: in a full channel it is the first to give way,
    /// until the connection is heard of again by a [`Command::Put`].
    Detach {
        /// Where.
        channel: ChannelName,
        /// Whose.
        connection: ConnectionId,
        /// Who vouches for it.
        owner: Owner,
        /// Which of the sockets that have had the connection's id. A member of a later one stays.
        generation: u32,
    },
    /// A member goes, if it is there.
    Remove {
        /// Where.
        channel: ChannelName,
        /// Whose.
        connection: ConnectionId,
        /// Who vouched for it.
        owner: Owner,
        /// Which of the sockets that have had the connection's id. A member of a later one stays.
        generation: u32,
        /// Why.
        reason: LeaveReason,
    },
    /// A peer wants the channel's changes from here on, and a snapshot first.
    Subscribe {
        /// Which.
        channel: ChannelName,
        /// Who.
        peer: Peer,
        /// The number of the request for the snapshot.
        request_id: RequestId,
    },
    /// A channel's map was lost by a fault; a peer says what it knows of it, and owns a part in
    /// its being rebuilt.
    Recover {
        /// Which.
        channel: ChannelName,
        /// Who knows.
        peer: Peer,
        /// The newest request of the peer's subscribers.
        request_id: RequestId,
        /// Who of its connections showed something there.
        trackers: Vec<(ConnectionId, Owner)>,
    },
    /// A peer has no subscriber left.
    Unsubscribe {
        /// Of which channel.
        channel: ChannelName,
        /// Who.
        peer: Peer,
    },
}

impl Command {
    /// What a peer says of a channel whose map was lost: all of its subscribers request a snapshot anew.
    /// `tracker` tells for a subscriber's slot who shows something in the channel.
    pub fn recover(
        (channel, peer): (ChannelName, Peer),
        audience: &mut Audience,
        tracker: impl Fn(u32) -> Option<(ConnectionId, Owner)>,
    ) -> Self {
        let trackers = audience.slots(&channel).filter_map(tracker).collect();
        let request_id = audience.request_for_all(&channel);
        Self::Recover { channel, peer, request_id, trackers }
    }

    /// The channel it is about, which says what shard it goes to.
    pub fn channel(&self) -> &ChannelName {
        match self {
            Command::Put { channel, .. }
            | Command::Keep { channel, .. }
            | Command::Restate { channel, .. }
            | Command::Detach { channel, .. }
            | Command::Remove { channel, .. }
            | Command::Subscribe { channel, .. }
            | Command::Recover { channel, .. }
            | Command::Unsubscribe { channel, .. } => channel,
        }
    }
}

/// Which fields of a state end by themselves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Expire {
    /// None.
    #[default]
    Never,
    /// These, after their times.
    After(Box<ExpiringFields>),
    /// The state is said again for the client: what has not ended stays until its time is up.
    AsBefore,
}

/// Whether the connection of a member has a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Connectivity {
    Connected,
    Detached,
}

/// What became of a [`Command::Put`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutResult {
    /// It is so.
    Done,
    /// The channel holds as many members as it may; nothing changed.
    Full,
    /// A later socket of the connection shows something already; nothing changed.
    Superseded,
}

/// What a shard wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The channel has pending changes or a snapshot to send. Said once until it is flushed.
    Dirty {
        /// Which.
        channel: ChannelName,
        /// When it was last flushed.
        flushed_at: Instant,
    },
    /// A dirty channel has so many pending changes that waiting for more gains little.
    FlushNow {
        /// Which.
        channel: ChannelName,
        /// When it was last flushed.
        flushed_at: Instant,
    },
    /// The answer to a request that asked for one, or that failed.
    Answer {
        /// To whom.
        asker: Asker,
        /// The client's `ref`.
        reference: Option<Ref>,
        /// Of which channel.
        channel: ChannelName,
        /// What became of it.
        result: PutResult,
    },
    /// The channel's map is lost: every client that tracks sends its state again.
    Resync {
        /// Which.
        channel: ChannelName,
        /// Whom to tell.
        peers: Vec<Peer>,
    },
    /// The channel's map was freed after a long silence: the states in it are to go elsewhere too.
    Hibernated {
        /// Which.
        channel: ChannelName,
        /// Who has subscribers of it.
        peers: Vec<Peer>,
    },
}

/// What a channel sends at one moment. Made once, for all receivers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Flush {
    /// The changes since the last flush, merged, oldest first.
    pub ops: Vec<Op>,
    /// The life of the channel's map; 0 if there is none to flush.
    pub epoch: u64,
    /// The epoch is another than at the last flush: each receiver of the changes is to be told so first.
    pub is_epoch_new: bool,
    /// The position of the channel before the changes.
    pub prev: u64,
    /// The position of the channel after the changes.
    pub seq: u64,
    /// Updates that a newer one of the same member has replaced.
    pub merged: usize,
    /// The channel after them, if any receiver needs it.
    pub snapshot: Option<Snapshot>,
    /// Who receives it, and which requests the snapshot answers.
    pub to: Vec<Receiver>,
}

/// A receiver of one flush.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receiver {
    /// Who.
    pub peer: Peer,
    /// Which of its subscribers the snapshot is for.
    pub snapshot_for: SnapshotFor,
}

/// Which subscribers the snapshot of a flush is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotFor {
    /// None: the deltas bring all of them up to date.
    None,
    /// Those whose request it answers.
    UpTo(RequestId),
    /// The map was rebuilt, and deltas would not lead there: all that are up to date, and those
    /// whose request it answers. A request that is still on its way is not among them: what its
    /// sender sent before it is not in the snapshot either.
    All(RequestId),
}
