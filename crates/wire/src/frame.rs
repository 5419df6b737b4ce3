//! RFC 6455 frames, the server's side: reads masked ones, writes unmasked ones.
//!
//! Knows frames, fragments and which of them break the rules; knows nothing of what messages say.
//! It has no socket: the caller hands it what was read and sends what was written.

mod header;
mod payload;
mod write;

use std::ops::Range;

pub use header::{FrameError, Opcode};
pub use payload::{CloseFrame, Inbound};
pub(crate) use write::header;
pub use write::{write_close, write_header, write_ping, write_pong};

use header::FrameHeader;
use payload::{control, text, unmask};

/// Turns what arrives on one connection into whole messages.
///
/// At rest it owns nothing. It holds memory only while a frame or a fragmented message is
/// unfinished: about what has arrived of it, and never more than about twice the message limit.
#[derive(Default)]
pub struct Reader {
    unfinished: Option<Box<Unfinished>>,
}

/// The bytes of one read, and how many of them are used up.
pub struct Chunk<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Chunk<'a> {
    /// Of bytes that have just been read. They are unmasked in place.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// What is not yet used up.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn take(&mut self, at_most: usize) -> &[u8] {
        let start = self.at;
        self.at += at_most.min(self.bytes.len() - start);
        &self.bytes[start..self.at]
    }
}

impl Reader {
    /// The next whole frame, or `None` once the chunk is used up and what is unfinished has been
    /// kept. Call it until then:
    ///
    /// `while let Some(inbound) = reader.next(&mut chunk, max_message_bytes)? { … }`
    ///
    /// A caller that stops earlier hands the rest to [`Reader::keep_unread`]. Fragments are handed
    /// out one by one so that a caller can count them: a message may come in thousands of them.
    pub fn next<'r>(
        &'r mut self,
        chunk: &'r mut Chunk<'_>,
        max_message_bytes: usize,
    ) -> Result<Option<Inbound<'r>>, FrameError> {
        self.forget_delivered();
        let Some((frame, place)) = self.next_frame(chunk, max_message_bytes)? else {
            return Ok(None);
        };
        if frame.opcode.is_control() {
            return control(frame.opcode, self.payload(place, chunk)).map(Some);
        }
        if frame.is_final && !self.has_fragments() {
            return text(self.payload(place, chunk)).map(Some);
        }
        self.keep_fragment(place, chunk);
        if frame.is_final {
            return text(self.end_fragments()).map(Some);
        }
        Ok(Some(Inbound::Fragment))
    }

    /// Keeps what of `chunk` has not been looked at, for a caller that is not to read on now.
    /// Before the next chunk comes the turn of what [`Reader::take_unread`] gives.
    pub fn keep_unread(&mut self, chunk: &Chunk<'_>) {
        self.forget_delivered();
        if !chunk.rest().is_empty() {
            self.unfinished.get_or_insert_default().unread = chunk.rest().into();
        }
    }

    /// Whether [`Reader::keep_unread`] has kept something.
    pub fn has_unread(&self) -> bool {
        self.unfinished.as_ref().is_some_and(|kept| !kept.unread.is_empty())
    }

    /// What was kept by [`Reader::keep_unread`]; empty where nothing was.
    pub fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.unfinished.as_mut().map(|kept| std::mem::take(&mut kept.unread));
        self.forget_delivered();
        unread.unwrap_or_default()
    }

    /// Bytes of memory that are held for what has arrived and is not used up.
    pub fn held_bytes(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |kept| {
            let fragments = kept.fragments.as_ref().map_or(0, Vec::capacity);
            size_of::<Unfinished>() + kept.frame.capacity() + fragments + kept.unread.capacity()
        })
    }

    /// Takes the next whole frame, checks it against what came before, and unmasks it.
    fn next_frame(
        &mut self,
        chunk: &mut Chunk<'_>,
        max_message_bytes: usize,
    ) -> Result<Option<(FrameHeader, Place)>, FrameError> {
        let is_begun = self.unfinished.as_ref().is_some_and(|kept| !kept.frame.is_empty());
        if is_begun {
            return self.continue_frame(chunk, max_message_bytes);
        }
        let rest = chunk.rest();
        if rest.is_empty() {
            return Ok(None);
        }
        if let Some(header) = self.check(rest, max_message_bytes)? {
            let frame_bytes = header.header_bytes + header.payload_bytes;
            if rest.len() >= frame_bytes {
                let payload = chunk.at + header.header_bytes..chunk.at + frame_bytes;
                unmask(&mut chunk.bytes[payload.clone()], header.mask);
                chunk.at += frame_bytes;
                return Ok(Some((header, Place::Chunk(payload))));
            }
        }
        let rest = chunk.take(usize::MAX);
        extend_tightly(&mut self.unfinished.get_or_insert_default().frame, rest);
        Ok(None)
    }

    /// As [`Reader::next_frame`], for a frame whose beginning was kept.
    fn continue_frame(
        &mut self,
        chunk: &mut Chunk<'_>,
        max_message_bytes: usize,
    ) -> Result<Option<(FrameHeader, Place)>, FrameError> {
        loop {
            let kept = self.unfinished.as_ref().expect("the frame's beginning was kept");
            let kept_bytes = kept.frame.len();
            let header = self.check(&kept.frame, max_message_bytes)?;
            // Without a header one byte more may complete it; to take more would take the next frame's.
            let wanted_bytes = header.map_or(kept_bytes + 1, FrameHeader::frame_bytes);
            let kept = self.unfinished.as_mut().expect("the frame's beginning was kept");
            match header {
                Some(header) if kept_bytes == wanted_bytes => {
                    let payload = header.header_bytes..kept_bytes;
                    unmask(&mut kept.frame[payload.clone()], header.mask);
                    kept.is_frame_delivered = true;
                    return Ok(Some((header, Place::Kept(payload))));
                }
                _ => {
                    let more = chunk.take(wanted_bytes - kept_bytes);
                    if more.is_empty() {
                        return Ok(None);
                    }
                    extend_tightly(&mut kept.frame, more);
                }
            }
        }
    }

    /// Reads a header, as far as it is there, and refuses what may not come now.
    fn check(
        &self,
        bytes: &[u8],
        max_message_bytes: usize,
    ) -> Result<Option<FrameHeader>, FrameError> {
        let fragments = self.unfinished.as_ref().and_then(|kept| kept.fragments.as_ref());
        FrameHeader::parse(bytes, fragments.map(Vec::len), max_message_bytes)
    }

    fn payload<'r>(&'r self, place: Place, chunk: &'r Chunk<'_>) -> &'r [u8] {
        match place {
            Place::Chunk(range) => &chunk.bytes[range],
            Place::Kept(range) => {
                let kept = self.unfinished.as_ref().expect("the frame was kept");
                &kept.frame[range]
            }
        }
    }

    fn has_fragments(&self) -> bool {
        self.unfinished.as_ref().is_some_and(|kept| kept.fragments.is_some())
    }

    fn keep_fragment(&mut self, place: Place, chunk: &Chunk<'_>) {
        let kept = self.unfinished.get_or_insert_default();
        let fragments = kept.fragments.get_or_insert_default();
        match place {
            Place::Chunk(range) => extend_tightly(fragments, &chunk.bytes[range]),
            Place::Kept(range) => extend_tightly(fragments, &kept.frame[range]),
        }
        kept.forget_delivered();
    }

    fn end_fragments(&mut self) -> &[u8] {
        let kept = self.unfinished.as_mut().expect("the last fragment was just kept");
        kept.are_fragments_delivered = true;
        kept.fragments.as_deref().expect("the last fragment was just kept")
    }

    /// What was handed out last is no longer borrowed: its memory goes.
    fn forget_delivered(&mut self) {
        if let Some(kept) = &mut self.unfinished {
            kept.forget_delivered();
            if kept.frame.is_empty() && kept.fragments.is_none() && kept.unread.is_empty() {
                self.unfinished = None;
            }
        }
    }
}

/// What has arrived and makes no whole message yet.
#[derive(Default)]
struct Unfinished {
    /// The beginning of a frame, header included, still masked.
    frame: Vec<u8>,
    is_frame_delivered: bool,
    /// The payloads of a message whose last fragment is still to come.
    fragments: Option<Vec<u8>>,
    are_fragments_delivered: bool,
    /// What came behind and has not been looked at.
    unread: Vec<u8>,
}

impl Unfinished {
    fn forget_delivered(&mut self) {
        if std::mem::take(&mut self.is_frame_delivered) {
            self.frame = Vec::new();
        }
        if std::mem::take(&mut self.are_fragments_delivered) {
            self.fragments = None;
        }
    }
}

/// As `extend_from_slice`, but with at most an eighth of room to spare, not as much again: many
/// peers may leave frames unfinished for long.
fn extend_tightly(kept: &mut Vec<u8>, more: &[u8]) {
    if kept.capacity() - kept.len() < more.len() {
        kept.reserve_exact(more.len() + kept.len() / 8);
    }
    kept.extend_from_slice(more);
}

/// Where a frame's payload lies.
enum Place {
    Chunk(Range<usize>),
    Kept(Range<usize>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all of `bytes`, a fragment of which the mask is zero.
    fn read(reader: &mut Reader, bytes: &[u8]) -> usize {
        let mut bytes = bytes.to_vec();
        let mut chunk = Chunk::new(&mut bytes);
        let mut count = 0;
        while let Some(inbound) = reader.next(&mut chunk, 1000).expect("no faulty frame is sent") {
            count += usize::from(inbound != Inbound::Fragment);
        }
        count
    }

    #[test]
    fn a_reader_is_one_pointer_and_owns_nothing_between_messages() {
        assert_eq!(size_of::<Reader>(), size_of::<usize>());
        let mut reader = Reader::default();
        let whole = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
        assert_eq!(read(&mut reader, &whole), 1);
        assert!(reader.unfinished.is_none(), "a whole frame is never kept");
        for cut in 1..whole.len() {
            assert_eq!(read(&mut reader, &whole[..cut]), 0);
            assert!(reader.unfinished.is_some());
            assert_eq!(read(&mut reader, &whole[cut..]), 1);
            assert!(reader.unfinished.is_none(), "cut after {cut}");
        }
        let fragments = [0x01, 0x81, 0, 0, 0, 0, b'h', 0x80, 0x81, 0, 0, 0, 0, b'i'];
        for cut in 1..fragments.len() {
            read(&mut reader, &fragments[..cut]);
            assert_eq!(read(&mut reader, &fragments[cut..]), 1);
            assert!(reader.unfinished.is_none(), "cut after {cut}");
        }
    }

    #[test]
    fn what_was_not_looked_at_is_kept_and_comes_before_the_next_chunk() {
        let mut reader = Reader::default();
        let mut bytes = [0x89, 0x81, 0, 0, 0, 0, b'p'].repeat(3);
        let mut chunk = Chunk::new(&mut bytes);
        reader.next(&mut chunk, 1000).expect("a valid frame").expect("a whole frame");
        reader.keep_unread(&chunk);
        assert!(reader.held_bytes() >= 14);
        let mut unread = reader.take_unread();
        assert_eq!(unread.len(), 14);
        assert!(reader.unfinished.is_none(), "what was taken out is not held");
        assert_eq!(read(&mut reader, &unread), 2);
        let mut chunk = Chunk::new(&mut unread);
        chunk.take(usize::MAX);
        reader.keep_unread(&chunk);
        assert_eq!(reader.held_bytes(), 0, "nothing is left to be kept");
    }

    #[test]
    fn a_message_that_comes_byte_by_byte_holds_little_more_than_what_came() {
        let mut reader = Reader::default();
        let header = [0x81, 0xfe, 0x3f, 0xff, 0, 0, 0, 0];
        let bytes: Vec<u8> = header.into_iter().chain([b'x'; 0x3ffe]).collect();
        for byte in &bytes {
            let mut byte = [*byte];
            let mut chunk = Chunk::new(&mut byte);
            assert_eq!(reader.next(&mut chunk, 0x4000), Ok(None));
            let came = reader.unfinished.as_ref().expect("it is unfinished").frame.len();
            assert!(reader.held_bytes() <= came + came / 8 + size_of::<Unfinished>() + 8);
        }
    }

    #[test]
    fn empty_fragments_without_end_and_a_promised_length_cost_no_memory() {
        let mut reader = Reader::default();
        read(&mut reader, &[0x01, 0x80, 0, 0, 0, 0]);
        let empty_and_ping = [0x00, 0x80, 0, 0, 0, 0, 0x89, 0x81, 0, 0, 0, 0, b'p'];
        for byte in empty_and_ping.repeat(1000) {
            read(&mut reader, &[byte]);
        }
        let kept = reader.unfinished.as_ref().expect("the message goes on");
        assert_eq!(kept.fragments.as_ref().map(Vec::capacity), Some(0));
        assert_eq!(kept.frame.capacity(), 0);

        let mut reader = Reader::default();
        read(&mut reader, &[0x81, 0xfe, 0x03, 0xe8, 0, 0, 0, 0, b'x']);
        let kept = reader.unfinished.as_ref().expect("the frame goes on");
        assert!(kept.frame.capacity() < 100, "only what came is kept, not what was promised");
    }
}
