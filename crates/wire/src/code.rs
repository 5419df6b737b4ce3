//! Every name and number by which the protocol says why: error codes, close codes, leave reasons.
//!
//! What clients do after each is in `fixtures/codes.json`, which the documentation and both client
//! libraries are tested from. It knows nothing of when a code is used beyond what is written beside it.

use std::fmt;

/// Why a request failed. The connection stays open unless the variant says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ErrorCode {
    /// The frame's text is no JSON, is nested too deeply, or holds a number no double can hold.
    InvalidJson,
    /// The message's `type` is none that a client sends.
    UnknownType,
    /// The JSON is no object, has no string `type`, or has a `ref` of the wrong kind or size.
    InvalidMessage,
    /// The message names no channel, or a text that cannot be one.
    InvalidChannel,
    /// The channel's rule asks for a user and the connection has not authenticated.
    NotAuthenticated,
    /// The channel's rule refuses this user.
    ChannelAccessDenied,
    /// The connection does not subscribe to the channel.
    NotSubscribed,
    /// The state's compact form is longer than [`State::MAX_BYTES`](crate::State::MAX_BYTES).
    StateTooLarge,
    /// The state is missing or no object.
    InvalidState,
    /// The channel holds as many members as it may.
    MemberLimit,
    /// The connection uses as many channels as it may.
    ChannelLimit,
    /// The connection sends faster than it may. The message was not carried out; send it later.
    RateLimited,
    /// The first token of the connection is bad. Close 4002 follows.
    AuthFailed,
    /// No token came in time. Close 4001 follows.
    AuthTimeout,
    /// A later token is bad. The earlier one stays in force until it expires.
    AuthRefreshFailed,
    /// A later token is of another user. The earlier one stays in force.
    AuthUserMismatch,
    /// The token ran out and was not refreshed. Close 4002 follows.
    AuthExpired,
    /// A fault of the server's. The request may be sent again.
    ServerError,
    /// A backend has removed the connection or its user, and `retryAfterMs` says for how long. With a
    /// channel: from that channel. Without one: from the server, and close 4005 follows.
    Kicked,
}

impl ErrorCode {
    /// All codes, in the order of their declaration.
    pub const ALL: [Self; 19] = [
        Self::InvalidJson,
        Self::UnknownType,
        Self::InvalidMessage,
        Self::InvalidChannel,
        Self::NotAuthenticated,
        Self::ChannelAccessDenied,
        Self::NotSubscribed,
        Self::StateTooLarge,
        Self::InvalidState,
        Self::MemberLimit,
        Self::ChannelLimit,
        Self::RateLimited,
        Self::AuthFailed,
        Self::AuthTimeout,
        Self::AuthRefreshFailed,
        Self::AuthUserMismatch,
        Self::AuthExpired,
        Self::ServerError,
        Self::Kicked,
    ];

    /// The code as it is written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "INVALID_JSON",
            Self::UnknownType => "UNKNOWN_TYPE",
            Self::InvalidMessage => "INVALID_MESSAGE",
            Self::InvalidChannel => "INVALID_CHANNEL",
            Self::NotAuthenticated => "NOT_AUTHENTICATED",
            Self::ChannelAccessDenied => "CHANNEL_ACCESS_DENIED",
            Self::NotSubscribed => "NOT_SUBSCRIBED",
            Self::StateTooLarge => "STATE_TOO_LARGE",
            Self::InvalidState => "INVALID_STATE",
            Self::MemberLimit => "MEMBER_LIMIT",
            Self::ChannelLimit => "CHANNEL_LIMIT",
            Self::RateLimited => "RATE_LIMITED",
            Self::AuthFailed => "AUTH_FAILED",
            Self::AuthTimeout => "AUTH_TIMEOUT",
            Self::AuthRefreshFailed => "AUTH_REFRESH_FAILED",
            Self::AuthUserMismatch => "AUTH_USER_MISMATCH",
            Self::AuthExpired => "AUTH_EXPIRED",
            Self::ServerError => "SERVER_ERROR",
            Self::Kicked => "KICKED",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a socket is closed, and with that whether its client should come back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CloseCode {
    /// Answers a client's own close. Reconnect: only if the client wants to.
    Normal,
    /// The server or this part of it goes away. Reconnect: yes, with backoff.
    GoingAway,
    /// A frame breaks RFC 6455. Reconnect: yes, after a long wait, since the fault may be a proxy's.
    ProtocolError,
    /// A binary frame; the protocol is text only. Reconnect: yes, after a long wait, since the fault may be a proxy's.
    BinaryFrame,
    /// A text message is not UTF-8. Reconnect: yes, after a long wait, since the fault may be a proxy's.
    InvalidUtf8,
    /// A message is longer than the server takes. Reconnect: yes, after a long
    /// wait, since the same message would end the same way.
    MessageTooBig,
    /// The server restarts; the reason is JSON with `retryAfterMs`. Reconnect: yes, after that time.
    Restart,
    /// The server has no room for more. Reconnect: yes, after a long wait.
    Overloaded,
    /// No token came in time. Reconnect: yes, after a long wait, with a token.
    AuthTimeout,
    /// The token is bad or ran out. Reconnect: only with another token.
    AuthFailed,
    /// The server has no key to verify tokens with. Reconnect: yes, after a long wait, since its
    /// operator must act.
    NoKeyConfigured,
    /// A backend has disconnected the user. Reconnect: only with another token.
    Kicked,
    /// The connection was silent for the whole presence TTL. Reconnect: yes, at once.
    PresenceTimeout,
    /// From a client: its page was left or is loaded again, and the next page may resume. Answers a
    /// client's own close, as `Normal` does. Reconnect: only if the client wants to.
    PageLeft,
    /// The connection sent far more than it may for too long. Reconnect: yes, after a long
    /// wait.
    Abuse,
}

impl CloseCode {
    /// All codes, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::BinaryFrame,
        Self::InvalidUtf8,
        Self::MessageTooBig,
        Self::Restart,
        Self::Overloaded,
        Self::AuthTimeout,
        Self::AuthFailed,
        Self::NoKeyConfigured,
        Self::Kicked,
        Self::PresenceTimeout,
        Self::PageLeft,
        Self::Abuse,
    ];

    /// The number in the close frame.
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::BinaryFrame => 1003,
            Self::InvalidUtf8 => 1007,
            Self::MessageTooBig => 1009,
            Self::Restart => 1012,
            Self::Overloaded => 1013,
            Self::AuthTimeout => 4001,
            Self::AuthFailed => 4002,
            Self::NoKeyConfigured => 4003,
            Self::Kicked => 4005,
            Self::PresenceTimeout => 4008,
            Self::PageLeft => 4010,
            Self::Abuse => 4029,
        }
    }
}

/// Why a member left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LeaveReason {
    /// Its connection closed, in whichever way.
    Disconnect,
    /// Its connection was silent for the whole presence TTL.
    Timeout,
    /// The client untracked or unsubscribed.
    Leave,
    /// The user lost the right to track, or a backend removed the user or the connection.
    Kicked,
}

impl LeaveReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::Disconnect, Self::Timeout, Self::Leave, Self::Kicked];

    /// The reason as it is written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Timeout => "timeout",
            Self::Leave => "leave",
            Self::Kicked => "kicked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_codes_share_a_name_or_a_number_and_the_tables_are_in_order() {
        for pair in ErrorCode::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
        }
        for pair in CloseCode::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        let mut names = ErrorCode::ALL.map(ErrorCode::as_str);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
