//! The names of the protocol as types that can only be built valid. What was checked once is
//! never checked again.

use std::fmt;
use std::sync::Arc;

/// A channel's bare name, without `presence:`. 1 to 200 bytes, no control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChannelName(Arc<str>);

/// Why a text names no channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChannelError {
    /// The message names none and the connection has no default.
    Missing,
}

/// The server's own name of a connection: 128 random bits, 22 characters of base64url on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId([u8; 16]);

/// The `sub` of a verified token: 1 to 256 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserId(Arc<str>);

/// A tracked state: a JSON object in the server's own compact form, at most 1024 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State(Arc<str>);

/// A client's `ref`, as the JSON it came in: given back unread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ref(Box<str>);

impl ChannelName {
    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ConnectionId {
    /// From 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
