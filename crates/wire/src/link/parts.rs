//! Items as the bodies of batches, none of which is larger than the engine takes: a larger item goes
//! in parts, which follow each other without anything between them.

use super::LinkError;
use super::bytes::{Reader, put_slice, put_varint};
use super::item::Item;

/// The least that the body of a batch must have room for.
pub const MIN_BODY_BYTES: usize = 1024;

/// The items as the bodies of one or more batches, each of at most `max_bytes` (and at least
/// [`MIN_BODY_BYTES`] where that is less).
pub fn bodies(items: &[Item], max_bytes: usize) -> Vec<Vec<u8>> {
    let max_bytes = max_bytes.max(MIN_BODY_BYTES);
    let mut packed = Vec::new();
    let mut current = Vec::new();
    let mut body = Vec::new();
    for item in items {
        body.clear();
        let kind = item.encode(&mut body);
        if body.len() + FRAME_BYTES <= max_bytes {
            if current.len() + body.len() + FRAME_BYTES > max_bytes {
                packed.push(std::mem::take(&mut current));
            }
            put_varint(kind, &mut current);
            put_slice(&body, &mut current);
            continue;
        }
        let mut whole = Vec::with_capacity(body.len() + FRAME_BYTES);
        put_varint(kind, &mut whole);
        whole.append(&mut body);
        if !current.is_empty() {
            packed.push(std::mem::take(&mut current));
        }
        let mut parts = whole.chunks(max_bytes - FRAME_BYTES).peekable();
        let mut place = FIRST;
        while let Some(part) = parts.next() {
            place |= if parts.peek().is_none() { LAST } else { 0 };
            let mut one = Vec::with_capacity(part.len() + FRAME_BYTES);
            put_varint(PART, &mut one);
            put_varint(part.len() as u64 + 1, &mut one);
            one.push(place);
            one.extend_from_slice(part);
            packed.push(one);
            place = 0;
        }
    }
    if !current.is_empty() {
        packed.push(current);
    }
    packed
}

/// How many bytes the items take in bodies, but for what says where each ends.
pub fn encoded_bytes(items: &[Item]) -> usize {
    let mut body = Vec::new();
    let bytes = items.iter().map(|item| {
        body.clear();
        item.encode(&mut body);
        body.len()
    });
    bytes.sum()
}

/// Puts the parts of items together again, for one stream of batches.
#[derive(Debug)]
pub struct Assembler {
    max_item_bytes: usize,
    /// The parts of an item of which more are to come.
    begun: Option<Vec<u8>>,
}

impl Assembler {
    /// Takes items of at most so many bytes.
    pub fn new(max_item_bytes: usize) -> Self {
        Self { max_item_bytes, begun: None }
    }

    /// Forgets the item that has begun: the stream begins anew.
    pub fn reset(&mut self) {
        self.begun = None;
    }

    /// How many bytes it holds.
    pub fn held_bytes(&self) -> usize {
        self.begun.as_ref().map_or(0, Vec::len)
    }

    /// Whether an item has begun and not ended.
    pub fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Reads the items of one batch; gives how many were of kinds that are not known. After an
    /// error nothing of the batch counts, and the stream must begin anew.
    pub fn read(&mut self, body: &[u8], out: &mut Vec<Item>) -> Result<usize, LinkError> {
        let before = out.len();
        let result = self.read_all(body, out);
        if result.is_err() {
            out.truncate(before);
            self.reset();
        }
        result
    }

    fn read_all(&mut self, body: &[u8], out: &mut Vec<Item>) -> Result<usize, LinkError> {
        let mut reader = Reader::new(body);
        let mut skipped = 0;
        while !reader.is_at_end() {
            let (kind, body) = (reader.varint()?, reader.slice()?);
            let item = if kind == PART {
                let Some(whole) = self.part(body)? else { continue };
                let mut whole = Reader::new(&whole);
                Item::decode(whole.varint()?, whole.rest())?
            } else if self.begun.is_some() {
                return Err(LinkError::Part);
            } else {
                Item::decode(kind, body)?
            };
            match item {
                Some(item) => out.push(item),
                None => skipped += 1,
            }
        }
        Ok(skipped)
    }

    /// Takes one part; gives the whole with the last.
    fn part(&mut self, body: &[u8]) -> Result<Option<Vec<u8>>, LinkError> {
        let mut reader = Reader::new(body);
        let (place, bytes) = (reader.byte()?, reader.rest());
        if place & !(FIRST | LAST) != 0 || (place & FIRST != 0) == self.begun.is_some() {
            return Err(LinkError::Part);
        }
        let mut whole = self.begun.take().unwrap_or_default();
        if whole.len() + bytes.len() > self.max_item_bytes {
            return Err(LinkError::TooLarge);
        }
        whole.extend_from_slice(bytes);
        if place & LAST != 0 {
            return Ok(Some(whole));
        }
        self.begun = Some(whole);
        Ok(None)
    }
}

const PART: u64 = 1;
const FIRST: u8 = 1;
const LAST: u8 = 2;

/// The kind, the length and the place of what stands in a body, at most.
const FRAME_BYTES: usize = 2 + 10 + 1;
