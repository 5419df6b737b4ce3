//! Numbers, texts and lists as bytes. A reader never looks past the end of what it was given, and
//! says how many things a list can hold before room for them is made.

use super::LinkError;
use crate::ids::{ChannelName, ConnectionId, SHARDS, UserId};
use crate::state::State;
use crate::user::Info;

/// Reads from the front of a slice.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// From the first byte on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], LinkError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(LinkError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, LinkError> {
        Ok(self.take(1)?[0])
    }

    /// The byte that everything begins with: refuses what another version has written.
    pub fn version(&mut self, known: u8) -> Result<(), LinkError> {
        match self.byte()? {
            version if version == known => Ok(()),
            other => Err(LinkError::Version(other)),
        }
    }

    /// Eight bytes, the lowest first.
    pub fn fixed_u64(&mut self) -> Result<u64, LinkError> {
        let (first, rest) = self.bytes.split_first_chunk::<8>().ok_or(LinkError::Truncated)?;
        self.bytes = rest;
        Ok(u64::from_le_bytes(*first))
    }

    /// A number in LEB128, in as few bytes as it needs.
    pub fn varint(&mut self) -> Result<u64, LinkError> {
        let mut value = 0_u64;
        for at in 0..MAX_VARINT_BYTES {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * at);
            if shifted >> (7 * at) != bits || (at > 0 && byte == 0) {
                return Err(LinkError::Number);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(LinkError::Number)
    }

    /// A number of at most 32 bits.
    pub fn varint_u32(&mut self) -> Result<u32, LinkError> {
        u32::try_from(self.varint()?).map_err(|_| LinkError::Number)
    }

    /// How many things follow, each of at least `min_bytes`: no more than there are bytes for.
    pub fn count(&mut self, min_bytes: usize) -> Result<usize, LinkError> {
        let count = usize::try_from(self.varint()?).map_err(|_| LinkError::TooMany)?;
        if count > self.bytes.len() / min_bytes {
            return Err(LinkError::TooMany);
        }
        Ok(count)
    }

    /// The index of a shard.
    pub(super) fn shard(&mut self) -> Result<u16, LinkError> {
        u16::try_from(self.varint()?).ok().filter(|shard| *shard < SHARDS).ok_or(LinkError::Choice)
    }

    /// A length and so many bytes.
    pub fn slice(&mut self) -> Result<&'a [u8], LinkError> {
        let length = usize::try_from(self.varint()?).map_err(|_| LinkError::Truncated)?;
        self.take(length)
    }

    /// A length and so many bytes of UTF-8.
    pub fn text(&mut self) -> Result<&'a str, LinkError> {
        std::str::from_utf8(self.slice()?).map_err(|_| LinkError::Text)
    }

    pub(super) fn channel(&mut self) -> Result<ChannelName, LinkError> {
        ChannelName::from_bare(self.text()?).map_err(LinkError::Channel)
    }

    pub(super) fn user(&mut self) -> Result<UserId, LinkError> {
        UserId::parse(self.text()?).map_err(LinkError::User)
    }

    pub(super) fn info_if_any(&mut self) -> Result<Option<Info>, LinkError> {
        match self.text()? {
            "" => Ok(None),
            json => Info::parse(json).map(Some).map_err(LinkError::Info),
        }
    }

    pub(super) fn state(&mut self) -> Result<State, LinkError> {
        State::parse(self.text()?).map_err(LinkError::State)
    }

    /// A state, or nothing: no state is empty, since it is an object.
    pub(super) fn state_if_any(&mut self) -> Result<Option<State>, LinkError> {
        match self.text()? {
            "" => Ok(None),
            json => State::parse(json).map(Some).map_err(LinkError::State),
        }
    }

    pub(super) fn connection(&mut self) -> Result<ConnectionId, LinkError> {
        let (first, rest) = self.bytes.split_first_chunk::<16>().ok_or(LinkError::Truncated)?;
        self.bytes = rest;
        Ok(ConnectionId::from_bytes(*first))
    }
}

/// Writes what [`Reader::varint`] reads.
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes what [`Reader::slice`] reads.
pub fn put_slice(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Seven bits each.
const MAX_VARINT_BYTES: u32 = 10;
