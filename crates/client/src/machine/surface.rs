//! What the machine is told, and what it answers. Plain data, so that a simulation can log and
//! replay it.

use std::sync::Arc;
use std::time::Instant;

use herenow_wire::{ChannelName, State};

use crate::protocol::{Counts, Failure};
use crate::roster::RosterEvent;

/// When something happens, and the random number that may be used for it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The present.
    pub now: Instant,
    /// From 0 up to, not including, 1.
    pub random: f64,
}

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin, or begin again after a failure.
    Start,
    /// The socket stands.
    Opened,
    /// A text frame came.
    Text(String),
    /// The socket is gone, or never came to be.
    Closed(Closed),
    /// Receive the channel's events. Takes the place of `Count`.
    Listen(ChannelName),
    /// Receive only how many are in the channel. Takes the place of `Listen`.
    Count(ChannelName),
    /// Receive neither any longer.
    Unlisten(ChannelName),
    /// Make this client a member, or replace its state.
    Track(ChannelName, State),
    /// End this client's membership.
    Untrack(ChannelName),
    /// Use this token from now on, also on the socket that stands.
    Token(Box<str>),
    /// Close and stay closed.
    Stop,
}

/// How a socket ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// The close code; `None` where there was no close frame.
    pub code: Option<u16>,
    /// The close frame's text.
    pub reason: String,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a socket.
    Connect,
    /// Send a text frame.
    Send(String),
    /// Close the socket with code 1000.
    Close,
    /// Drop the socket without waiting for the peer, which does not answer.
    Abandon,
    /// Tell the application.
    Event(Event),
}

/// What the application is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection's condition changed.
    Status(Status),
    /// The server took the token and gave this connection its id.
    SignedIn {
        /// The token's user.
        user_id: Arc<str>,
        /// This connection.
        connection_id: Arc<str>,
    },
    /// A difference in a channel's list.
    Roster {
        /// Which channel.
        channel: ChannelName,
        /// What changed.
        event: RosterEvent,
    },
    /// A channel's list reads differently now, or is known for the first time.
    Changed {
        /// Which channel.
        channel: ChannelName,
    },
    /// How many are in a channel that is counted.
    Counted(Counts),
    /// The server refused something.
    Refused(Failure),
}

/// The connection's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The first attempt runs.
    Connecting,
    /// A socket stands.
    Connected,
    /// The socket was lost; another one is coming.
    Reconnecting,
    /// The server refused the token or disconnected its user: only another token helps.
    Failed,
    /// Closed by the application.
    Closed,
}
