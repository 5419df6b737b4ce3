//! What a session is told and what it wants done, as plain data.

use std::borrow::Cow;
use std::time::Duration;

use herenow_wire::encode::Reply;
use herenow_wire::{ChannelName, CloseCode, Incoming, LeaveReason, Ref, Refusal, State, UserId};

use super::resume::Claim;
use crate::auth::Auth;
use crate::command::Verdict;
use crate::rate::RateLimit;

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
    /// The wall clock, in milliseconds since the Unix epoch, when the server's own clock was zero.
    pub started_at_unix_ms: u64,
}

/// What a session is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A whole frame of any kind has arrived. Counts towards abuse only.
    Frame,
    /// A message that makes sense.
    Message(Incoming),
    /// An `auth` message whose token has been verified.
    Auth {
        /// Whom it speaks for, or why nobody.
        verdict: Result<Auth, AuthRefusal>,
        /// The message's `ref`.
        reference: Option<Ref>,
    },
    /// An `auth` message whose token and resume token have been verified.
    Resume {
        /// Whom the token speaks for.
        auth: Auth,
        /// What the resume token is for.
        claim: Claim,
        /// The message's `ref`.
        reference: Option<Ref>,
    },
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
        verdict: Verdict,
    },
    /// The rules have changed: everything granted is to be asked again.
    Review,
    /// Nothing has been heard for the whole lease.
    LeaseEnded,
    /// The socket is closed, whichever way.
    Broken,
}

/// Why a token was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthRefusal {
    /// It is not good. The sentence helps its developer and holds nothing secret.
    Bad(Cow<'static, str>),
    /// The server has no key to check it with.
    NoKey,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionEffect {
    /// Send this, with the `ref` of the message it answers.
    Reply(Reply, Option<Ref>),
    /// Ask the rules; the session takes no further message until it hears [`Input::Decision`].
    Authorize(Question),
    /// The connection subscribes from now on, and is owed a snapshot.
    Listen {
        /// To which channel.
        channel: ChannelName,
    },
    /// A subscriber wants a fresh snapshot.
    AskAgain {
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
        /// For whom.
        user: UserId,
        /// Comes back with the answer.
        reference: Option<Ref>,
    },
    /// Tell the channel's shard that it shows nothing any more.
    Remove {
        /// Where.
        channel: ChannelName,
        /// Why.
        reason: LeaveReason,
    },
    /// Find the session that is claimed, wherever it is; the session takes no further message
    /// until it hears [`super::Session::taken_over`].
    TakeOver {
        /// Which.
        claim: Claim,
        /// Who claims it.
        user: UserId,
    },
    /// The session has lost its socket and may be claimed: keep it until it has ended.
    Detached,
    /// Not every rule could be asked: tell the session to review again in a while.
    ReviewLater,
    /// The connection has signed in or watches a public channel: it is no newcomer any more.
    Settled,
    /// Close the socket. The session has ended.
    Close {
        /// Why.
        code: CloseCode,
    },
}

impl AuthRefusal {
    /// For an `auth` message without a token.
    pub fn missing() -> Self {
        Self::Bad(Cow::Borrowed("`auth` must carry a `token`, and it must be a string."))
    }
}
