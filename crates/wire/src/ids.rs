//! The names of the protocol as types that can only be built valid. What was checked once is
//! never checked again.
//!
//! Knows what a channel, a user, a connection and a `ref` look like; knows nothing of what they do.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Into how many shards the channels of all names divide. Part of the contract between nodes.
pub const SHARDS: u16 = 1024;

/// A channel's bare name, without `presence:`. 1 to 200 bytes, no control characters. Names are
/// compared byte by byte. A clone is a reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChannelName(Arc<str>);

/// Why a text names no channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelError {
    /// The `channel` field is something other than a string.
    NotAString,
    /// The message names none and the connection has no default.
    Missing,
    /// The text does not start with `presence:`.
    NoPrefix,
    /// Nothing follows the prefix.
    Empty,
    /// The bare name has more than [`ChannelName::MAX_BYTES`].
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// The name holds a control character (Unicode Cc).
    ControlCharacter,
    /// The name holds half of a surrogate pair and so is no text.
    LoneSurrogate,
}

/// The server's own name of a connection: 128 random bits, 22 characters of base64url on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId([u8; 16]);

/// The `sub` of a verified token: 1 to 256 bytes. A clone is a reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserId(Arc<str>);

/// Why a text is no user id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserIdError {
    /// It is empty.
    Empty,
    /// It has more than [`UserId::MAX_BYTES`].
    TooLong {
        /// How many it has.
        bytes: usize,
    },
}

/// A client's `ref`: the compact JSON of a string of at most [`Ref::MAX_BYTES`] or of a number.
/// It is given back unread.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ref(Box<str>);

impl ChannelName {
    /// The most bytes that a bare name may have.
    pub const MAX_BYTES: usize = 200;

    /// From the form on the wire, `presence:<name>` or `realtime:presence:<name>`.
    pub fn parse(wire: &str) -> Result<Self, ChannelError> {
        let canonical = wire.strip_prefix("realtime:").unwrap_or(wire);
        Self::from_bare(canonical.strip_prefix(CHANNEL_PREFIX).ok_or(ChannelError::NoPrefix)?)
    }

    /// From the bare name, without `presence:`.
    pub(crate) fn from_bare(name: &str) -> Result<Self, ChannelError> {
        if name.is_empty() {
            return Err(ChannelError::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(ChannelError::TooLong { bytes: name.len() });
        }
        if name.chars().any(char::is_control) {
            return Err(ChannelError::ControlCharacter);
        }
        Ok(Self(Arc::from(name)))
    }

    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of the [`SHARDS`] the channel belongs to, for ever and on every node: FNV-1a with
    /// 64 bits over `presence:<name>`, folded by exclusive or.
    pub fn shard(&self) -> u16 {
        let mut hash = PREFIX_HASH;
        for &byte in self.0.as_bytes() {
            hash = fnv1a_step(hash, byte);
        }
        let folded = hash ^ (hash >> 32);
        let folded = folded ^ (folded >> 16);
        // Lossless: the remainder is below SHARDS, which is a u16.
        (folded % SHARDS as u64) as u16
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CHANNEL_PREFIX)?;
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl ChannelError {
    /// What is wrong and what would be right, as a sentence for the peer.
    pub fn sentence(self) -> Cow<'static, str> {
        match self {
            Self::NotAString => "channel must be a string such as \"presence:lobby\"".into(),
            Self::Missing => {
                "the message needs a channel: the connection was opened without ?channel=".into()
            }
            Self::NoPrefix => "a channel is written presence:<name>".into(),
            Self::Empty => "a channel needs a name after presence:".into(),
            Self::TooLong { bytes } => format!(
                "a channel name has at most {} bytes; this one has {bytes}",
                ChannelName::MAX_BYTES
            )
            .into(),
            Self::ControlCharacter => "a channel name has no control characters".into(),
            Self::LoneSurrogate => {
                "a channel name is whole Unicode text; this one holds half a surrogate pair".into()
            }
        }
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())
    }
}

impl std::error::Error for ChannelError {}

impl ConnectionId {
    /// How many characters it has on the wire.
    pub const WIRE_CHARS: usize = 22;

    /// From 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From the form on the wire; `None` for anything that [`Display`](fmt::Display) does not write.
    pub fn parse(wire: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        // The length is checked first: a shorter text would decode into the front of the array.
        if wire.len() != Self::WIRE_CHARS {
            return None;
        }
        let written = URL_SAFE_NO_PAD.decode_slice_unchecked(wire, &mut bytes).ok()?;
        (written == bytes.len()).then_some(Self(bytes))
    }

    /// The characters of the wire form, which all are ASCII. For a length that is known this takes a
    /// third of the instructions of an encoder of any length, and each row of a snapshot has one.
    pub(crate) fn wire_form(self) -> [u8; Self::WIRE_CHARS] {
        let digit = |bits: u32| BASE64URL[bits as usize % 64];
        let mut characters = [0; Self::WIRE_CHARS];
        let (fours, last_two) = characters.as_chunks_mut::<4>();
        let (triples, last) = self.0.as_chunks::<3>();
        for (four, &[a, b, c]) in fours.iter_mut().zip(triples) {
            let bits = u32::from_be_bytes([0, a, b, c]);
            *four = [18, 12, 6, 0].map(|shift| digit(bits >> shift));
        }
        if let (&[last], [high, low]) = (last, last_two) {
            (*high, *low) = (digit(u32::from(last) >> 2), digit(u32::from(last) << 4));
        }
        characters
    }
}

/// The alphabet of RFC 4648, section 5.
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.wire_form() {
            fmt::Write::write_char(f, char::from(character))?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({self})")
    }
}

impl UserId {
    /// The most bytes that a user id may have.
    pub const MAX_BYTES: usize = 256;

    /// From a token's `sub`.
    pub fn parse(sub: &str) -> Result<Self, UserIdError> {
        match sub.len() {
            0 => Err(UserIdError::Empty),
            bytes if bytes > Self::MAX_BYTES => Err(UserIdError::TooLong { bytes }),
            _ => Ok(Self(Arc::from(sub))),
        }
    }

    /// The id as the token had it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UserIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a user id has at least one byte"),
            Self::TooLong { bytes } => {
                write!(f, "a user id has at most {} bytes; this one has {bytes}", UserId::MAX_BYTES)
            }
        }
    }
}

impl std::error::Error for UserIdError {}

impl Ref {
    /// The most bytes that the text of a string `ref` may have.
    pub const MAX_BYTES: usize = 256;

    /// Only the decoder makes one, from JSON that it has checked.
    pub(crate) fn from_checked_json(json: String) -> Self {
        Self(json.into_boxed_str())
    }

    /// The JSON to give back.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// What stands before every bare name on the wire.
pub(crate) const CHANNEL_PREFIX: &str = "presence:";

const PREFIX_HASH: u64 = {
    let prefix = CHANNEL_PREFIX.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325; // The offset basis of FNV-1a with 64 bits.
    let mut at = 0;
    while at < prefix.len() {
        hash = fnv1a_step(hash, prefix[at]);
        at += 1;
    }
    hash
};

const fn fnv1a_step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
}
