//! What a batch carries, as plain data: no handle, no moment of a local clock, no local index.

use crate::code::LeaveReason;
use crate::ids::{ChannelName, ConnectionId, UserId};
use crate::state::State;
use crate::user::User;

/// One thing that a node tells another. The *owner* of a member is the node of its connection, the
/// *home* of a channel is the node that decides its changes, a *copy* is kept by each node that has
/// subscribers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// Owner to home: all that the owner has in a shard. Replaces what the home had of it.
    Report(Report),
    /// Owner to home: a connection tracks.
    Put(Put),
    /// Owner to home: a member goes, if it is there.
    Remove {
        /// Where.
        channel: ChannelName,
        /// Whose member.
        connection: ConnectionId,
        /// Which of the sockets that have had the connection's id.
        generation: u32,
        /// Why.
        reason: LeaveReason,
    },
    /// Owner to home: a member's connection has lost its socket and may come back.
    Detach {
        /// Where.
        channel: ChannelName,
        /// Whose member.
        connection: ConnectionId,
        /// Which of the sockets that have had the connection's id.
        generation: u32,
    },
    /// Copy to home: whether the node has subscribers of a channel.
    Interest {
        /// Of which channel.
        channel: ChannelName,
        /// What the node wants of it.
        interest: Interest,
    },
    /// Home to copy: the whole of a channel.
    Snap(Snap),
    /// Home to copy: what has changed since the last flush.
    Change(Change),
    /// Home to owner: a put was refused. What is not refused is done when its batch is
    /// acknowledged.
    Refused(Refused),
    /// Home to the old owner: the connection has come back at another node. Its session ends
    /// without a leave.
    Taken {
        /// Whose session.
        connection: ConnectionId,
        /// The generation that the other node has shown.
        generation: u32,
    },
    /// Copy to home: the channel was used, so it is not to hibernate.
    Heard {
        /// Which.
        channel: ChannelName,
    },
    /// Home to copy: the channel hibernates; the copy and the states in it are to be freed.
    Hibernated {
        /// Which.
        channel: ChannelName,
        /// How far its list was, if that is known.
        position: Option<Position>,
    },
    /// Home to every node: the channel's map is being rebuilt; its sockets are asked for their
    /// states, those too that only named it as their default.
    Woke {
        /// Which.
        channel: ChannelName,
    },
    /// To every node: a backend keeps somebody out.
    Kick(Kick),
}

impl Item {
    /// The shard that it is about; `None` if it concerns every loop of the receiver.
    pub fn shard(&self) -> Option<u16> {
        let channel = match self {
            Self::Report(report) => return Some(report.shard),
            Self::Put(put) => &put.channel,
            Self::Snap(snap) => &snap.channel,
            Self::Change(change) => &change.channel,
            Self::Refused(refused) => &refused.channel,
            Self::Remove { channel, .. }
            | Self::Detach { channel, .. }
            | Self::Interest { channel, .. }
            | Self::Heard { channel }
            | Self::Hibernated { channel, .. }
            | Self::Woke { channel } => channel,
            Self::Taken { .. } | Self::Kick(_) => return None,
        };
        Some(channel.shard())
    }

    /// Every owner that it names.
    pub fn for_each_owner(&mut self, mut each: impl FnMut(&mut OwnerId)) {
        match self {
            Self::Snap(snap) => snap.rows.iter_mut().for_each(|row| each(&mut row.owner)),
            Self::Change(change) => {
                for op in &mut change.ops {
                    if let Op::Put(row) = op {
                        each(&mut row.owner);
                    }
                }
            }
            Self::Report(report) => {
                let copied = report.channels.iter_mut().filter_map(|one| one.copied.as_mut());
                copied.flat_map(|one| &mut one.rows).for_each(|row| each(&mut row.owner));
            }
            _ => {}
        }
    }
}

/// See [`Item::Report`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Of which shard.
    pub shard: u16,
    /// The epoch in which the receiver is its home, as far as the owner knows.
    pub epoch: u64,
    /// The last change that the owner has decided as the home of the shard, if it has been that. It has
    /// taken over the members that were left without a node until then.
    pub decided: Option<Position>,
    /// The channels of the shard in which the owner has members or subscribers.
    pub channels: Vec<Channel>,
}

/// What an owner has of one channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Channel {
    /// Which.
    pub name: ChannelName,
    /// What the node wants of it.
    pub interest: Interest,
    /// Its connections' members.
    pub members: Vec<Reported>,
    /// Connections whose puts follow, and whose members are not above: the home may have some of them already.
    pub waiting: Vec<ConnectionId>,
    /// What its copy says of members of other nodes, if that may be needed.
    pub copied: Option<Copied>,
}

/// What the copy of a node says of members that no node may speak for any more: if their home has died with
/// their node, the next home learns of them by this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// How far the copy is.
    pub position: Position,
    /// The members, in any order.
    pub rows: Vec<Row>,
}

/// A member in a [`Report`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reported {
    /// Whose it is.
    pub presence: Presence,
    /// What it shows.
    pub shown: Shown,
    /// Where in the order of an earlier home the owner has seen it: the new home keeps that order.
    /// `None` where no home has told of it yet.
    pub seen: Option<Position>,
}

/// Whose a member is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Presence {
    /// The member's key within its channel.
    pub connection: ConnectionId,
    /// Which of the sockets that have had the connection's id. A lower one is refused.
    pub generation: u32,
    /// The user of the verified token, with what that says of it.
    pub user: User,
    /// Whether its connection has a socket.
    pub attachment: Attachment,
    /// Since when it is here, in milliseconds of Unix time; 0 where that is not known.
    pub since_ms: u64,
}

/// Whether the connection of a member has a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attachment {
    /// It has.
    Socket,
    /// It has not, and its grace runs.
    Detached,
}

/// What a reported member shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    /// This.
    State(State),
    /// Its channel hibernates: nobody has its state but its client.
    Sleeping,
}

/// A place in the one order of a channel's changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Position {
    /// The life of the map.
    pub epoch: u64,
    /// The change within it.
    pub seq: u64,
}

/// See [`Item::Put`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    /// Where.
    pub channel: ChannelName,
    /// Whose.
    pub presence: Presence,
    /// What it shows.
    pub state: State,
    /// How many members the channel may hold.
    pub max_members: u32,
    /// Given back unread with a refusal. `None` where nobody waits for an answer.
    pub ticket: Option<Ticket>,
}

/// The owner's own number for a request that waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Ticket(pub u64);

/// What a node wants of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Nothing.
    Nothing,
    /// A snapshot, and the changes after it.
    Changes,
    /// The same, but the node knows that the channel hibernates: it does not wake for this.
    Asleep,
}

/// See [`Item::Snap`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snap {
    /// Of which channel.
    pub channel: ChannelName,
    /// The life of the map, and the last change that it holds.
    pub position: Position,
    /// Every member, the one tracked longest ago first.
    pub rows: Vec<Row>,
}

/// A member in a [`Snap`] or a [`Change`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Whose.
    pub presence: Presence,
    /// Who speaks for its connection.
    pub owner: OwnerId,
    /// What it shows.
    pub state: State,
    /// The change that last set the state.
    pub seq: u64,
}

/// Who speaks for connections: one life of a node. Between nodes this is its incarnation. The loops of a
/// process have shorter numbers of their own, which its exchange puts here and takes away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OwnerId(pub u64);

impl OwnerId {
    /// In place of one that is not known.
    pub const NOBODY: Self = Self(0);
}

/// See [`Item::Change`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Of which channel.
    pub channel: ChannelName,
    /// The channel's `seq` before it: it is applied only where nothing is missing.
    pub prev: u64,
    /// The life of the map, and the channel's `seq` after it.
    pub position: Position,
    /// What it does, oldest first.
    pub ops: Vec<Op>,
}

/// What a change does to one member. What stood there before is known to each copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// It stands there now.
    Put(Row),
    /// It is gone.
    Remove {
        /// Whose member.
        connection: ConnectionId,
        /// Why.
        reason: LeaveReason,
        /// The change that took it away.
        seq: u64,
    },
}

/// See [`Item::Refused`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Where.
    pub channel: ChannelName,
    /// Whose put.
    pub connection: ConnectionId,
    /// Which of the sockets that have had the connection's id.
    pub generation: u32,
    /// The number that came with the put.
    pub ticket: Option<Ticket>,
    /// Why.
    pub why: RefusedWhy,
}

/// Why a home refused a put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusedWhy {
    /// The channel holds as many members as it may.
    Full,
    /// The connection has shown a higher generation, at another node.
    OlderGeneration,
    /// A fault of the home's.
    Fault,
    /// The node is not the channel's home, as far as it knows. The put is sent again, under another
    /// ticket, to the home that asks for a report next. This answer may come after that.
    NotHome,
}

/// See [`Item::Kick`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kick {
    /// Who.
    pub target: KickTarget,
    /// From where; `None` means from the server.
    pub channel: Option<ChannelName>,
    /// For how many milliseconds.
    pub for_ms: u64,
}

/// Who is kept out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KickTarget {
    /// Every connection of a user.
    User(UserId),
    /// One connection.
    Connection(ConnectionId),
}
