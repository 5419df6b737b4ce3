//! What nodes say to each other: the packets of a link, and the items that a batch carries.
//!
//! A link is the numbered stream of batches from one node to another. This file knows the shape and
//! the bounds of a packet; it knows nothing of when one is sent. Bytes from another node are
//! untrusted input like a client's: ids and states pass the same constructors, and a decoder never
//! allocates more than the bytes in front of it justify.

mod bytes;
mod fields;
mod item;
mod item_codec;
mod message;
mod parts;

use std::fmt;

use crate::ids::{ChannelError, SHARDS, UserIdError};
use crate::state::StateError;
use crate::user::InfoError;

pub use self::bytes::{Reader, put_slice, put_varint};
pub use self::item::{
    Attachment, Change, Channel, Copied, Interest, Item, Kick, KickTarget, Op, OwnerId, Position,
    Presence, Put, Refused, RefusedWhy, Report, Reported, Row, Shown, Snap, Ticket,
};
pub use self::message::{Part, Parts};
pub use self::parts::{Assembler, MIN_BODY_BYTES, bodies, encoded_bytes};

/// One life of a node: a number drawn at every start and after every exclusion, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// One message from a node to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// Who sends it.
    pub from: Incarnation,
    /// Whom it is for.
    pub to: Incarnation,
    /// The number of the last batch that the sender has sent, this one included. The receiver sees
    /// by it whether it has missed one.
    pub n: u64,
    /// The number of the last batch of the receiver's that the sender has applied and told. It
    /// counts only after everything up to `n` has been applied: a refusal is sent before it.
    pub ack: u64,
    /// The number of the last batch of the receiver's that has come, with all before it. It makes room for
    /// more. Two numbers, since what is to be told may wait for room itself.
    pub received: u64,
    /// What it says.
    pub body: Body<'a>,
}

/// What a packet says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// Batch `n`.
    Batch {
        /// Whether it follows the batch before it.
        follows: Follows,
        /// How soon its acknowledgement is wanted.
        urgency: Urgency,
        /// Its items, to be read by [`Assembler::read`].
        items: &'a [u8],
    },
    /// The sender waits for the acknowledgement of `n`: it may have been lost.
    Tick,
    /// Nothing but `ack`.
    Ack,
    /// The sender of this has missed a batch and waits for one that begins anew.
    Nack {
        /// The highest number that it has heard of.
        seen: u64,
    },
    /// The sender has become the home of these shards and asks for what the receiver has of them.
    /// It belongs to no stream: it is repeated until the report is there.
    Collect {
        /// Each shard, with the epoch in which the sender is its home.
        shards: Vec<(u16, u64)>,
    },
    /// A part of what the sender asks of the receiver. It belongs to no stream: all parts are
    /// repeated until the response is there.
    Request(Part<'a>),
    /// A part of the response to a request of the receiver.
    Response(Part<'a>),
}

/// Whether a batch needs the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follows {
    /// It is the next after `n - 1`.
    Previous,
    /// The stream begins anew with it: it holds everything that is owed.
    Nothing,
}

/// How soon an acknowledgement is wanted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// With the next packet that goes back anyway.
    Whenever,
    /// A client waits for it.
    Soon,
}

/// Why bytes are no packet or no item. Nothing of the packet is applied; the receiver counts it as
/// lost, and the stream begins anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkError {
    /// They end in the middle of something.
    Truncated,
    /// A number has more than 64 bits or more bytes than it needs.
    Number,
    /// They are of a version that this node does not speak.
    Version(u8),
    /// A kind of packet that this version does not know.
    Kind(u8),
    /// A flag, a choice or a number is none of those that this version knows.
    Choice,
    /// A list holds more than it may.
    TooMany,
    /// A text is not UTF-8.
    Text,
    /// A channel that is none.
    Channel(ChannelError),
    /// A user id that is none.
    User(UserIdError),
    /// The information of a user is not one that a token could have.
    Info(InfoError),
    /// A state that is none.
    State(StateError),
    /// A part of an item that does not continue the one before it.
    Part,
    /// The parts of an item are together larger than the receiver takes.
    TooLarge,
}

impl Packet<'_> {
    /// The bytes that a batch has before its items, at most.
    pub const MAX_HEADER_BYTES: usize = 2 + 8 + 8 + 10 + 10 + 10 + 1;

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let content = match &self.body {
            Body::Batch { items, .. } => items.len(),
            Body::Request(part) | Body::Response(part) => part.bytes.len() + Part::MAX_HEADER_BYTES,
            Body::Tick | Body::Ack | Body::Nack { .. } | Body::Collect { .. } => 0,
        };
        let mut out = Vec::with_capacity(Self::MAX_HEADER_BYTES + content);
        out.extend([VERSION, self.body.kind()]);
        out.extend(self.from.0.to_le_bytes());
        out.extend(self.to.0.to_le_bytes());
        put_varint(self.n, &mut out);
        put_varint(self.ack, &mut out);
        put_varint(self.received, &mut out);
        match &self.body {
            Body::Batch { follows, urgency, items } => {
                let begins = if *follows == Follows::Nothing { BEGINS_ANEW } else { 0 };
                let soon = if *urgency == Urgency::Soon { ACK_SOON } else { 0 };
                out.push(begins | soon);
                out.extend_from_slice(items);
            }
            Body::Tick | Body::Ack => {}
            Body::Nack { seen } => put_varint(*seen, &mut out),
            Body::Collect { shards } => {
                put_varint(shards.len() as u64, &mut out);
                for (shard, epoch) in shards {
                    put_varint(u64::from(*shard), &mut out);
                    put_varint(*epoch, &mut out);
                }
            }
            Body::Request(part) | Body::Response(part) => part.encode(&mut out),
        }
        out
    }
}

impl<'a> Packet<'a> {
    /// From its bytes. What a later minor change has added at the end is not looked at.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, LinkError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let kind = reader.byte()?;
        let from = Incarnation(reader.fixed_u64()?);
        let to = Incarnation(reader.fixed_u64()?);
        let (n, ack, received) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let body = match kind {
            BATCH => Self::decode_batch(&mut reader)?,
            TICK => Body::Tick,
            ACK => Body::Ack,
            NACK => Body::Nack { seen: reader.varint()? },
            COLLECT => Body::Collect { shards: decode_shards(&mut reader)? },
            REQUEST => Body::Request(Part::decode(&mut reader)?),
            RESPONSE => Body::Response(Part::decode(&mut reader)?),
            other => return Err(LinkError::Kind(other)),
        };
        Ok(Self { from, to, n, ack, received, body })
    }

    fn decode_batch(reader: &mut Reader<'a>) -> Result<Body<'a>, LinkError> {
        let flags = reader.byte()?;
        if flags & !(BEGINS_ANEW | ACK_SOON) != 0 {
            return Err(LinkError::Choice);
        }
        let follows = if flags & BEGINS_ANEW != 0 { Follows::Nothing } else { Follows::Previous };
        let urgency = if flags & ACK_SOON != 0 { Urgency::Soon } else { Urgency::Whenever };
        Ok(Body::Batch { follows, urgency, items: reader.rest() })
    }
}

fn decode_shards(reader: &mut Reader<'_>) -> Result<Vec<(u16, u64)>, LinkError> {
    let count = reader.count(MIN_SHARD_BYTES)?;
    if count > usize::from(SHARDS) {
        return Err(LinkError::TooMany);
    }
    (0..count).map(|_| Ok((reader.shard()?, reader.varint()?))).collect()
}

impl Body<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Batch { .. } => BATCH,
            Self::Tick => TICK,
            Self::Ack => ACK,
            Self::Nack { .. } => NACK,
            Self::Collect { .. } => COLLECT,
            Self::Request(_) => REQUEST,
            Self::Response(_) => RESPONSE,
        }
    }
}

/// As it is written in subjects and logs.
impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({self})")
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the packet ends early"),
            Self::Number => f.write_str("a number is longer than it needs to be"),
            Self::Version(version) => write!(f, "version {version} is not {VERSION}"),
            Self::Kind(kind) => write!(f, "packets of kind {kind} are not known"),
            Self::Choice => f.write_str("a choice is not known"),
            Self::TooMany => f.write_str("a list is longer than it may be"),
            Self::Text => f.write_str("a text is not UTF-8"),
            Self::Channel(error) => error.fmt(f),
            Self::User(error) => error.fmt(f),
            Self::Info(error) => error.fmt(f),
            Self::State(error) => error.fmt(f),
            Self::Part => f.write_str("a part does not continue the one before it"),
            Self::TooLarge => f.write_str("the parts of an item are too large together"),
        }
    }
}

impl std::error::Error for LinkError {}

/// What every packet begins with. Nodes of another version are told apart by it.
const VERSION: u8 = 1;

const BATCH: u8 = 1;
const TICK: u8 = 2;
const ACK: u8 = 3;
const NACK: u8 = 4;
const COLLECT: u8 = 5;
const REQUEST: u8 = 6;
const RESPONSE: u8 = 7;

const BEGINS_ANEW: u8 = 1;
const ACK_SOON: u8 = 2;

/// A shard and an epoch, a byte each.
const MIN_SHARD_BYTES: usize = 2;
