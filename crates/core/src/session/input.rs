//! The inputs that a session takes and the effects that it returns, as plain data.

use std::borrow::Cow;
use std::time::Duration;

use herenow_wire::encode::Reply;
use herenow_wire::{
    ChannelName, CloseCode, Incoming, LeaveReason, Ref, Refusal, State, User, UserId,
};
use serde::{Deserialize, Serialize};

use super::Session;
use super::resume::{Claim, Claimed};
use crate::auth::Auth;
use crate::command::{Asker, Expire, PutResult};
use crate::policy::{ChannelSettings, CurrentPolicy};
use crate::rate::RateLimit;
use crate::time::Instant;

/// What every session of a server must keep to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long a connection may stay without a token and without a public channel.
    pub auth_timeout: Duration,
    /// For how long a token still counts after its `exp`.
    pub expiry_leeway: Duration,
    /// How fast a connection may talk.
    pub rate: RateLimit,
    /// Channels that one connection may subscribe to.
    pub max_channels: usize,
    /// Messages that wait behind a decision.
    pub max_waiting_messages: usize,
    /// Memory that the waiting messages of an authenticated connection may use, in bytes.
    pub max_waiting_bytes: usize,
    /// The same for a connection that has not authenticated.
    pub max_unauthenticated_waiting_bytes: usize,
}

/// What holds at the moment at which a session is told something.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// When it is told.
    pub now: Instant,
    /// What it must keep to.
    pub limits: &'a Limits,
    /// What holds in its channels.
    pub policy: &'a CurrentPolicy,
}

impl Context<'_> {
    /// When the time to show a token is over that begins now.
    pub(super) fn auth_deadline(&self) -> Instant {
        self.now + self.limits.auth_timeout
    }
}

/// An input of a session.
#[derive(PartialEq, Eq, Debug)]
pub enum Input {
    /// A whole frame of any kind has arrived. Counts towards abuse only.
    Frame,
    /// A message that makes sense.
    Message(Incoming),
    /// The outcome of [`SessionEffect::Verify`].
    Verified(Verification),
    /// A message that makes none.
    Refused(Refusal),
    /// The decision that was asked for.
    Decision {
        /// The channel in question, as the loop stores its name.
        channel: ChannelName,
        /// What was decided.
        ruling: Ruling,
    },
    /// A shard's answer to a track.
    Answer {
        /// Where.
        channel: ChannelName,
        /// The message's `ref`.
        reference: Option<Ref>,
        /// What became of it.
        result: PutResult,
    },
    /// The rules have changed: everything granted is to be asked again.
    Review,
    /// A channel hibernates: its states are freed, this session's too. The client has its own.
    Hibernated {
        /// Which.
        channel: ChannelName,
    },
    /// The time has come that [`Session::poll_timeout`] named.
    Timeout,
    /// Nothing has been heard for so long: members of channels with a shorter TTL leave. The
    /// connection itself has a lease of its own.
    Silent {
        /// For how long.
        silent: Duration,
    },
    /// Nothing has been heard for the whole lease.
    LeaseEnded,
    /// The socket is closed, whichever way, and the client does not come back to this session.
    Closed,
    /// The socket broke without a close frame. Members of channels that allow grace stay for it;
    /// with none, the session ends.
    SocketLost,
    /// The client's page was left or is loaded again. As [`Input::SocketLost`], but members stay for
    /// [`PAGE_GRACE`](crate::PAGE_GRACE) at most.
    PageLeft,
    /// Another connection has claimed this session: it is handed over, and what stays behind has
    /// ended.
    Claimed {
        /// Who has.
        by: Asker,
    },
    /// What became of [`SessionEffect::TakeOver`].
    TakenOver {
        /// What there still is of it. If nothing, this is a new connection.
        claimed: Claimed,
    },
    /// A backend removes the connection from a channel, and keeps it out for a time.
    Kicked {
        /// From which.
        channel: ChannelName,
        /// For how long.
        time: Duration,
    },
    /// A backend disconnects the user, and keeps it out for a time.
    Disconnected {
        /// For how long.
        time: Duration,
    },
    /// The process was paused for so long: no client could come back meanwhile.
    Paused {
        /// For how long.
        pause: Duration,
    },
}

/// What came of verifying a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    /// Whom the token speaks for, or why it was refused.
    pub result: Result<Auth, AuthRefusal>,
    /// What the resume token claims, if one came along and it is valid for this user.
    /// Boxed, since it is rare and every input has room for the largest.
    pub claim: Option<Box<Claim>>,
    /// The wall clock now, in milliseconds since the Unix epoch. The rest of the token's lifetime
    /// is measured from here on the monotonic clock, so a later change of the wall clock does not
    /// move the deadline.
    pub unix_ms: u64,
}

/// Why a token was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthRefusal {
    /// It is not good. The sentence helps its developer and holds nothing secret.
    Bad(Cow<'static, str>),
    /// The server has no key to check it with.
    NoKey,
    /// The server could not verify it now. It may be good.
    Unavailable,
}

/// What an access rule is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The channel in question.
    pub channel: ChannelName,
    /// What is wanted.
    pub right: Right,
    /// Who wants it; `None` for an anonymous observer.
    pub user: Option<UserId>,
}

/// What one may be allowed to do in a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub enum Right {
    /// See who is here.
    Subscribe,
    /// Be seen.
    Track,
}

/// What an access rule says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// Yes.
    Granted,
    /// No.
    Denied,
    /// Nobody could say: neither a yes nor a no.
    Unavailable,
}

/// What a session wants done, in this order.
#[derive(PartialEq, Eq, Debug)]
pub enum SessionEffect {
    /// Send this, with the `ref` of the message it answers.
    Reply(Reply, Option<Ref>),
    /// Verify this token; the session takes no further message until it hears
    /// [`Input::Verified`].
    Verify {
        /// The token as the client sent it.
        token: Box<str>,
        /// The resume token that came with it.
        resume: Option<Box<str>>,
    },
    /// Ask the rules; the session takes no further message until it hears [`Input::Decision`].
    Authorize(Question),
    /// The connection subscribes from now on, a snapshot first.
    Listen {
        /// To which channel.
        channel: ChannelName,
    },
    /// The connection is told how many are in the channel, now and when that changes. Said again, it
    /// is told now.
    Count {
        /// In which channel.
        channel: ChannelName,
    },
    /// A subscriber requests another snapshot.
    RequestSnapshot {
        /// Of which channel.
        channel: ChannelName,
    },
    /// The connection subscribes no more.
    Unlisten {
        /// To which channel.
        channel: ChannelName,
    },
    /// Tell the channel's shard what the connection shows.
    Put {
        /// Where.
        channel: ChannelName,
        /// What.
        state: State,
        /// Which fields of it end by themselves.
        expire: Expire,
        /// For whom.
        user: User,
        /// Comes back with the answer.
        reference: Option<Ref>,
        /// What holds in the channel.
        settings: ChannelSettings,
    },
    /// Tell the channel's shard that it shows nothing any more.
    Remove {
        /// Where.
        channel: ChannelName,
        /// Why.
        reason: LeaveReason,
    },
    /// Tell the channel's shard that the connection has no socket: what it shows stays for a while.
    Detach {
        /// Where.
        channel: ChannelName,
    },
    /// Find the session that is claimed, wherever it is; the session takes no further message
    /// until it hears [`Input::TakenOver`].
    TakeOver {
        /// Which.
        claim: Claim,
        /// Who claims it.
        user: UserId,
    },
    /// The session has lost its socket and may be claimed: keep it until it has ended.
    Detached,
    /// The session was claimed: give it away, and close the socket that it had.
    HandedOver {
        /// To whom.
        to: Asker,
        /// The session.
        session: Box<Session>,
    },
    /// Not every rule could be asked: tell the session to review again in a while.
    ReviewLater,
    /// The connection has authenticated or subscribes to a public channel: it no longer counts as
    /// unauthenticated.
    Admitted,
    /// Close the socket. The session has ended.
    Close {
        /// Why.
        code: CloseCode,
    },
}
