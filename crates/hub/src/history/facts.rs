//! What is remembered of connections and members so that a backend can be told why a user is, or is
//! not, in a channel: plain data, in which the shell finds the words. Holds no state of a member and
//! no token.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use herenow_core::{Heard, Instant, Right, Since};
use herenow_wire::{ChannelName, ConnectionId, ErrorCode, UserId};
use serde::{Deserialize, Serialize};

use crate::keyed_members::MemberKey;

/// Where a connection comes from, as the shell has learned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub address: Address,
    /// The `User-Agent` of the request, of which only the beginning is kept.
    pub agent: Option<Box<str>>,
}

/// The address of a client, as trusted proxies name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// The client's own.
    Ip(IpAddr),
    /// Not known: a trusted proxy with this address forwards for it and names none.
    Behind(IpAddr),
    /// Not known: the connection came over a Unix socket, and no address was named.
    Unix,
    /// Not known: the connection is the server's own.
    Internal,
}

/// What the shell says of a token beside the result of its verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFacts {
    /// The key that the token names or fits, in words that hold nothing secret.
    pub key: Option<Box<str>>,
    /// Whom a refused token names. A claim without proof.
    pub named: Option<UserId>,
    /// How long before its verification a refused token expired, in milliseconds.
    pub expired_for_ms: Option<u64>,
}

/// What an access rule that was run has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleOutcome {
    /// Which of the two rules of a pattern.
    pub rule: Right,
    /// What came of it.
    pub said: Said,
}

/// What came of an access rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It returned true.
    True,
    /// It returned false.
    False,
    /// It threw, returned something else, or used more time or memory than it may.
    Failed,
    /// It could not be run.
    Nothing,
}

/// How a socket has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketEnd {
    /// The client sent a close frame with this code; 1005 if it had none.
    ClientClosed(u16),
    /// The client ended the socket without a close frame.
    Finished,
    /// The socket was reset, or broke otherwise.
    Broken,
    /// The server closed it with this code.
    ServerClosed(u16),
    /// Another socket took its session over, and the server closed it with 1001.
    TakenOver,
}

/// The life of one socket up to now, or up to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// When it was opened.
    pub opened: Instant,
    /// Where from.
    pub address: Address,
    /// The beginning of its `User-Agent`.
    pub agent: Option<Arc<str>>,
    /// When it authenticated.
    pub signed_in: Option<Instant>,
    /// The key of the token with which it did.
    pub key: Option<Arc<str>>,
    /// It has taken over the session of a socket that broke.
    pub has_resumed: bool,
    /// When the last frame came.
    pub heard_at: Instant,
    /// What that was.
    pub heard: Heard,
}

/// Why a member has left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The client sent `presence_leave`.
    Untracked,
    /// The client unsubscribed.
    Unsubscribed,
    /// The client untracked or unsubscribed with a message that had waited.
    Left,
    /// Its socket ended, and the channel allows no time to come back.
    SocketEnded(SocketEnd),
    /// Nothing was heard for the whole lease of its connection.
    LeaseEnded {
        /// For how long, pauses of the server left out.
        silent: Duration,
    },
    /// Nothing was heard for the lease of the channel, which is shorter than that of connections.
    ChannelLeaseEnded {
        /// For how long, pauses of the server left out.
        silent: Duration,
    },
    /// The socket had ended, and nobody came back in time.
    GraceEnded(Lost),
    /// The socket had ended, and the session gave way before its time was over.
    GaveWay(Lost, GaveWayTo),
    /// The channel was full, and a member without a socket gives way first.
    Evicted,
    /// A backend kicked it from the channel.
    Kicked {
        /// For how long it is kept out.
        time: Duration,
    },
    /// A backend disconnected its user.
    Disconnected {
        /// For how long it is kept out.
        time: Duration,
    },
    /// A rule does not grant any more what it had granted.
    RightLost(Option<RuleOutcome>),
    /// A backend took the member away that it had shown under a key.
    KeyRemoved(MemberKey),
    /// A backend did not renew the member in time that it had shown under a key.
    KeyEnded(MemberKey),
    /// A backend kicked the member that it had shown under a key.
    KeyKicked(MemberKey),
}

/// A socket that a session has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// When.
    pub at: Instant,
    /// How.
    pub end: SocketEnd,
}

/// What a session without a socket has given way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GaveWayTo {
    /// A new connection, for which there was no other place.
    Connection,
    /// A later session of the same user, which had as many as it may.
    SessionOfUser,
    /// The socket that had claimed it, which was gone by then.
    Claimant,
}

/// A member that has left a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastMember {
    /// Whom it showed.
    pub user: UserId,
    /// Its id on the wire.
    pub connection: ConnectionId,
    /// Since when it had been there. Noted at the home of its channel.
    pub joined: Option<Since>,
    /// Why it left.
    pub cause: Cause,
    /// The pattern whose settings and rules held for it; `None` if none matched.
    pub pattern: Option<Arc<str>>,
    /// The life of its socket; `None` for a member without one, and where it is not known.
    pub life: Option<Life>,
}

/// What has happened to a user's connections, beside leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserEvent {
    /// A socket has ended.
    Ended {
        /// Whose.
        connection: ConnectionId,
        /// How.
        end: SocketEnd,
        /// Its life.
        life: Life,
    },
    /// A request was refused, or a subscription was ended.
    Refused(RefusedRequest),
}

/// A request that was refused, as often as it was in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRequest {
    /// Of which connection, the last time.
    pub connection: ConnectionId,
    /// For which channel, if it named one.
    pub channel: Option<ChannelName>,
    /// The code that the client was sent.
    pub code: ErrorCode,
    /// Whether a subscription was ended by it.
    pub is_end_of_subscription: bool,
    /// What the access rule said, if that was the reason and one was run.
    pub rule: Option<RuleOutcome>,
    /// The pattern of that rule.
    pub pattern: Option<Arc<str>>,
    /// How often.
    pub count: u32,
    /// When it was refused first.
    pub first: Instant,
}

/// A token that names a user and was refused, as often as it was for this reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedToken {
    /// From where, the last time.
    pub address: Address,
    /// Why.
    pub reason: Cow<'static, str>,
    /// The key that it names or fits.
    pub key: Option<Arc<str>>,
    /// How long before it had expired, in milliseconds.
    pub expired_for_ms: Option<u64>,
    /// How often.
    pub count: u32,
    /// When it was refused first.
    pub first: Instant,
}

/// Something that has happened, and when, the last time if it was several times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past<R> {
    /// When.
    pub at: Instant,
    /// What.
    pub what: R,
}

/// A member that is in the channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentMember {
    /// Its id on the wire.
    pub connection: ConnectionId,
    /// Since when it is there.
    pub joined: Since,
    /// The backend's key for it and when it ends, if it has no connection.
    pub key: Option<(MemberKey, Instant)>,
}

/// A connection of the user that is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentConnection {
    /// Its id on the wire.
    pub connection: ConnectionId,
    /// The life of its socket, which may have ended.
    pub life: Life,
    /// The socket that it has lost, if it waits for another.
    pub lost: Option<Lost>,
    /// Whether it subscribes to the channel.
    pub is_subscriber: bool,
    /// Whether it has tracked in the channel.
    pub is_tracking: bool,
}

/// What a hub knows of the connections of a user, with regard to a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserFacts {
    /// When it was asked.
    pub now: Instant,
    /// The user's connections on this hub, [`MAX_EXPLAINED`] at most.
    pub connections: Vec<PresentConnection>,
    /// How many there are.
    pub count: usize,
    /// What has happened to the user's connections, the oldest first.
    pub events: Vec<Past<UserEvent>>,
    /// Refused tokens that name the user, the oldest first.
    pub refused_tokens: Vec<Past<RefusedToken>>,
    /// For how much longer a backend keeps the user out of the server.
    pub kept_out: Option<Duration>,
    /// The records of this hub about the user reach back to here.
    pub complete_since: Instant,
    /// Connections of this hub that were closed since no good token came in time.
    pub never_authenticated: u64,
}

/// What the home of a channel knows of a user there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// The user's members in the list, [`MAX_EXPLAINED`] at most.
    pub members: Vec<PresentMember>,
    /// How many there are.
    pub count: usize,
    /// The user's members that have left, the oldest first.
    pub left: Vec<Past<PastMember>>,
    /// The pattern whose settings and rules hold in the channel; `None` if none matches.
    pub pattern: Option<Arc<str>>,
    /// For how much longer a backend keeps the user out of the channel.
    pub kept_out: Option<Duration>,
    /// The records of the channel reach back to here.
    pub complete_since: Instant,
}

/// Connections, and members, of one user that are told one by one.
pub const MAX_EXPLAINED: usize = 64;

impl UserEvent {
    /// The channel that it is about, if it is about one.
    pub fn channel(&self) -> &Option<ChannelName> {
        match self {
            Self::Ended { .. } => &None,
            Self::Refused(refused) => &refused.channel,
        }
    }
}

impl SocketEnd {
    /// What stands in place of a code where a close frame has none, by RFC 6455.
    pub const NO_CODE: u16 = 1005;
}
