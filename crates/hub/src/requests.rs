//! What a backend asks of a hub, and the answers, as plain data.

use std::time::Duration;

use herenow_core::{ListPosition, Since, Target};
use herenow_wire::{ChannelName, ConnectionId, State, User, UserId};
use serde::{Deserialize, Serialize};

use crate::history::{MemberFacts, UserFacts};
use crate::keyed_members::MemberKey;

/// What a backend asks of one hub. Nobody asks but the server itself, which bounds how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// What is here. Answered over as many turns as it takes.
    Read(ReadRequest),
    /// A change. Made, and answered, when it comes.
    Write(WriteRequest),
}

/// What a backend wants to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadRequest {
    /// The channels of this hub's shards of which this node is the home, by name.
    ListChannels {
        /// What their bare names begin with.
        prefix: Box<str>,
        /// The last one that is known.
        after: Option<ChannelName>,
        /// How many are wanted at most.
        limit: usize,
    },
    /// What these channels of this hub's shards hold.
    CountMembers {
        /// Which.
        channels: Vec<ChannelName>,
    },
    /// How many of this hub's connections subscribe to each of these channels.
    CountSubscribers {
        /// Which.
        channels: Vec<ChannelName>,
    },
    /// The members of a channel of this hub's shards, in the order of a snapshot.
    ListMembers {
        /// Which channel.
        channel: ChannelName,
        /// The `seq` of the last one that is known.
        after: Option<u64>,
        /// How many are wanted at most. With 0 only the position and the numbers are.
        limit: usize,
    },
    /// The channels in which connections of this hub, or members of its shards that have no
    /// connection, show a user.
    FindUser {
        /// Who.
        user: UserId,
    },
    /// What a user shows in channels of this hub's shards.
    ListUser {
        /// Who.
        user: UserId,
        /// Where.
        channels: Vec<ChannelName>,
    },
    /// What is known of a user in a channel of this hub's shards, and why its members have left.
    ExplainMember {
        /// Where.
        channel: ChannelName,
        /// Who.
        user: UserId,
    },
    /// What is known of the connections of a user that this hub has or had, with regard to a channel.
    ExplainUser {
        /// Where.
        channel: ChannelName,
        /// Who.
        user: UserId,
    },
    /// How many connections show each of these users: in a channel of this hub's shards, or of
    /// this hub's connections anywhere.
    CountUsers {
        /// Who.
        users: Vec<UserId>,
        /// Where.
        channel: Option<ChannelName>,
    },
}

/// What a backend wants changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteRequest {
    /// Shows a member that has no connection, in a channel of this hub's shards.
    PutMember(PutMember),
    /// Takes such a member away.
    RemoveMember {
        /// Where.
        channel: ChannelName,
        /// Which.
        key: MemberKey,
        /// Its id on the wire, if another node holds it.
        connection: ConnectionId,
    },
    /// Removes a user or a connection from a channel, wherever it is, and keeps it out.
    Kick {
        /// From which.
        channel: ChannelName,
        /// Whom.
        target: Target,
        /// For how long it is kept out.
        time: Duration,
    },
    /// Closes all connections of a user, and keeps it out.
    Disconnect {
        /// Whom.
        user: UserId,
        /// For how long.
        time: Duration,
    },
}

/// Which loops a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerns<'a> {
    /// That of one channel.
    Channel(&'a ChannelName),
    /// Those of several channels, each of which is asked about its own.
    Channels(&'a [ChannelName]),
    /// All, since each has a part of the answer.
    Everything,
}

impl Request {
    /// Which loops it is for.
    pub fn concerns(&self) -> Concerns<'_> {
        match self {
            Self::Read(read) => read.concerns(),
            Self::Write(
                WriteRequest::PutMember(PutMember { channel, .. })
                | WriteRequest::RemoveMember { channel, .. },
            ) => Concerns::Channel(channel),
            Self::Write(WriteRequest::Kick { .. } | WriteRequest::Disconnect { .. }) => {
                Concerns::Everything
            }
        }
    }

    /// The same about other channels; `None` if it is not about several.
    pub fn about(&self, channels: Vec<ChannelName>) -> Option<Self> {
        match self {
            Self::Read(ReadRequest::CountMembers { .. }) => {
                Some(ReadRequest::CountMembers { channels }.into())
            }
            Self::Read(ReadRequest::ListUser { user, .. }) => {
                Some(ReadRequest::ListUser { user: user.clone(), channels }.into())
            }
            _ => None,
        }
    }
}

impl ReadRequest {
    pub(crate) fn concerns(&self) -> Concerns<'_> {
        match self {
            Self::ListMembers { channel, .. }
            | Self::ExplainMember { channel, .. }
            | Self::CountUsers { channel: Some(channel), .. } => Concerns::Channel(channel),
            Self::CountMembers { channels } | Self::ListUser { channels, .. } => {
                Concerns::Channels(channels)
            }
            Self::ListChannels { .. }
            | Self::CountSubscribers { .. }
            | Self::FindUser { .. }
            | Self::ExplainUser { .. }
            | Self::CountUsers { channel: None, .. } => Concerns::Everything,
        }
    }
}

impl From<ReadRequest> for Request {
    fn from(read: ReadRequest) -> Self {
        Self::Read(read)
    }
}

impl From<WriteRequest> for Request {
    fn from(write: WriteRequest) -> Self {
        Self::Write(write)
    }
}

/// A member that has no connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutMember {
    /// Where.
    pub channel: ChannelName,
    /// The backend's name for it.
    pub key: MemberKey,
    /// Whom it shows.
    pub user: UserId,
    /// What it shows.
    pub state: State,
    /// For how long, unless it is put again.
    pub ttl: Duration,
    /// Its id on the wire, if this hub does not hold the key yet. Of several nodes all give a key the same.
    pub connection: ConnectionId,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To [`ReadRequest::ListChannels`] and [`ReadRequest::CountMembers`].
    Channels(Vec<ChannelCount>),
    /// To [`ReadRequest::CountSubscribers`] and [`ReadRequest::CountUsers`], in the order of the
    /// request; to [`WriteRequest::Kick`] and [`WriteRequest::Disconnect`], how many connections it
    /// concerned.
    Counts(Vec<usize>),
    /// To [`ReadRequest::ListMembers`].
    Members(MemberPage),
    /// To [`ReadRequest::FindUser`], sorted.
    ChannelNames(Vec<ChannelName>),
    /// To [`ReadRequest::ListUser`]: the channels where the user is, in the order of the request.
    UserMembers(Vec<(ChannelName, Vec<ListedMember>)>),
    /// To [`ReadRequest::ExplainMember`].
    MemberFacts(Box<MemberFacts>),
    /// To [`ReadRequest::ExplainUser`].
    UserFacts(Box<UserFacts>),
    /// The member is shown.
    Put {
        /// Its id on the wire.
        connection: ConnectionId,
        /// Whether it was not there before.
        is_new: bool,
    },
    /// The channel, or the table of such members or kicks, holds as many as it may.
    Full,
    /// The member has left.
    Removed,
    /// There is none, or the hub remembers nothing.
    NotFound,
    /// Another node is the home of a channel of the request, or this one does not know yet all that it
    /// holds. Nothing was done.
    NotHome,
}

/// How many are in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelCount {
    /// Which.
    pub channel: ChannelName,
    /// Different users.
    pub users: usize,
    /// Members.
    pub connections: usize,
    /// How far the list had come; `None` if nobody uses the channel, or while it is being rebuilt.
    pub position: Option<ListPosition>,
}

/// Some members of a channel at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPage {
    /// How far the list had come at that moment; `None` if nobody uses the channel.
    pub position: Option<ListPosition>,
    /// Different users in the whole channel.
    pub users: usize,
    /// Members of the whole channel.
    pub connections: usize,
    /// In the order of a snapshot.
    pub members: Vec<ListedMember>,
    /// Whether more follow.
    pub has_more: bool,
}

/// One member of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedMember {
    /// Whom it shows.
    pub user: User,
    /// Its id on the wire.
    pub connection: ConnectionId,
    /// What it shows.
    pub state: State,
    /// Since when it is in the channel.
    pub since: Since,
    /// The change that last set the state.
    pub seq: u64,
}

/// The shell's number for a request.
pub type QueryId = u64;
