//! Requests and responses of nodes in parts, each of which fits into one packet. They belong to no
//! stream: a part may be lost, doubled or come late, and all parts are sent again until the response is
//! there. What the bodies mean is not known here.

use std::collections::BTreeMap;

use super::LinkError;
use super::bytes::{Reader, put_slice, put_varint};

/// A part of a request or of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part<'a> {
    /// The number of the request, which the node that asks gives. It is never used again.
    pub id: u64,
    /// Which part it is, from 0.
    pub index: u32,
    /// How many parts there are.
    pub count: u32,
    /// Its bytes. All parts but the last have as many.
    pub bytes: &'a [u8],
}

impl<'a> Part<'a> {
    /// The most parts of one body.
    pub const MAX_COUNT: u32 = 16 * 1024;
    /// The bytes that a part has before its own, at most.
    pub const MAX_HEADER_BYTES: usize = 10 + 5 + 5 + 10;

    /// The parts of a body, each with at most `max_bytes`. An empty body has one part too.
    pub fn all_of(id: u64, body: &'a [u8], max_bytes: usize) -> impl Iterator<Item = Self> {
        let max_bytes = max_bytes.max(1);
        let count = body.len().div_ceil(max_bytes).max(1) as u32;
        (0..count).map(move |index| {
            let begin = index as usize * max_bytes;
            let bytes = &body[begin..body.len().min(begin + max_bytes)];
            Part { id, index, count, bytes }
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.id, out);
        put_varint(u64::from(self.index), out);
        put_varint(u64::from(self.count), out);
        put_slice(self.bytes, out);
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, LinkError> {
        let (id, index, count) = (reader.varint()?, reader.varint_u32()?, reader.varint_u32()?);
        if count > Self::MAX_COUNT {
            return Err(LinkError::TooMany);
        }
        let bytes = reader.slice()?;
        // Parts without bytes would cost the receiver memory that nothing bounds.
        if index >= count || (count > 1 && bytes.is_empty()) {
            return Err(LinkError::Part);
        }
        Ok(Self { id, index, count, bytes })
    }
}

/// Puts the parts of one body together, in whatever order they come.
#[derive(Debug, Default)]
pub struct Parts {
    parts: BTreeMap<u32, Box<[u8]>>,
    /// As the first part that came says; 0 before it came.
    count: u32,
    held_bytes: usize,
}

impl Parts {
    /// Takes a part of a body of at most `max_bytes`. Gives the body with the part that completes it.
    /// After an error nothing is held.
    pub fn take(
        &mut self,
        part: &Part<'_>,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, LinkError> {
        let taken = self.take_in(part, max_bytes);
        if taken.is_err() {
            *self = Self::default();
        }
        taken
    }

    fn take_in(&mut self, part: &Part<'_>, max_bytes: usize) -> Result<Option<Vec<u8>>, LinkError> {
        if self.count != 0 && self.count != part.count {
            return Err(LinkError::Part);
        }
        self.count = part.count;
        if !self.parts.contains_key(&part.index) {
            if self.held_bytes + part.bytes.len() > max_bytes {
                return Err(LinkError::TooLarge);
            }
            self.held_bytes += part.bytes.len();
            self.parts.insert(part.index, part.bytes.into());
        }
        if self.parts.len() < self.count as usize {
            return Ok(None);
        }
        let whole = std::mem::take(self).parts;
        Ok(Some(whole.into_values().collect::<Vec<_>>().concat()))
    }

    /// How many bytes it holds.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}
