//! RFC 6455 frames, the server's side: reads masked ones, writes unmasked ones.
//!
//! Knows frames, fragments and which of them break the rules; knows nothing of what messages say.
//! It has no socket: the caller hands it what was read and sends what was written.

use std::fmt;
use std::ops::Range;

use crate::code::CloseCode;

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

/// One whole message or control frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inbound<'a> {
    /// A text message.
    Text(&'a str),
    /// A ping, to be answered with its own payload.
    Ping(&'a [u8]),
    /// A pong. What it carries is of no interest.
    Pong,
    /// The peer closes. What follows is not to be read.
    Close(Option<CloseFrame>),
}

/// What a close frame says, where it says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloseFrame {
    /// The peer's code: one that may be sent.
    pub code: u16,
}

/// Why a connection cannot be read further. It must be closed with [`FrameError::close_code`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// A rule of RFC 6455 is broken; the text names the rule.
    Protocol(&'static str),
    /// A binary message came; the protocol is text only.
    Binary,
    /// A text message or the reason of a close is not UTF-8.
    NotUtf8,
    /// A message is longer than is taken.
    TooBig,
}

/// What kind of frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opcode {
    /// A further part of a message.
    Continuation,
    /// A text message or its first part.
    Text,
    /// A binary message or its first part.
    Binary,
    /// The end of the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping, or comes unasked.
    Pong,
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
    /// The next whole message or control frame, or `None` once the chunk is used up and what is
    /// unfinished has been kept. Call it until then:
    ///
    /// `while let Some(inbound) = reader.next(&mut chunk, max_message_bytes)? { … }`
    pub fn next<'r>(
        &'r mut self,
        chunk: &'r mut Chunk<'_>,
        max_message_bytes: usize,
    ) -> Result<Option<Inbound<'r>>, FrameError> {
        self.forget_delivered();
        while let Some((frame, place)) = self.next_frame(chunk, max_message_bytes)? {
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
        }
        Ok(None)
    }

    /// Whether a message has begun and not ended. Without one, the peer's end of the stream falls between messages.
    pub fn is_unfinished(&self) -> bool {
        self.unfinished.is_some()
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
        self.unfinished.get_or_insert_default().frame.extend_from_slice(rest);
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
                    kept.frame.extend_from_slice(more);
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
            Place::Chunk(range) => fragments.extend_from_slice(&chunk.bytes[range]),
            Place::Kept(range) => fragments.extend_from_slice(&kept.frame[range]),
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
            if kept.frame.is_empty() && kept.fragments.is_none() {
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

/// Where a frame's payload lies.
enum Place {
    Chunk(Range<usize>),
    Kept(Range<usize>),
}

#[derive(Clone, Copy)]
struct FrameHeader {
    is_final: bool,
    opcode: Opcode,
    mask: [u8; 4],
    header_bytes: usize,
    payload_bytes: usize,
}

impl FrameHeader {
    /// `None` where bytes are missing. What is there is checked at once: a peer that breaks the
    /// rules is not waited for.
    fn parse(
        bytes: &[u8],
        fragments_bytes: Option<usize>,
        max_message_bytes: usize,
    ) -> Result<Option<Self>, FrameError> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let is_final = first & 0x80 != 0;
        let opcode = Opcode::parse(first)?;
        if second & 0x80 == 0 {
            return Err(FrameError::Protocol("a client's frames must be masked"));
        }
        let short_length = second & 0x7f;
        opcode.check_order(is_final, short_length, fragments_bytes.is_some())?;
        let length_bytes = match short_length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((length, rest)) = rest.split_at_checked(length_bytes) else { return Ok(None) };
        let payload_bytes = payload_length(short_length, length)?;
        let has_room = |limit: usize| payload_bytes <= limit as u64;
        let kept_bytes = fragments_bytes.unwrap_or(0);
        if !opcode.is_control() && !has_room(max_message_bytes.saturating_sub(kept_bytes)) {
            return Err(FrameError::TooBig);
        }
        let Some(mask) = rest.first_chunk() else { return Ok(None) };
        Ok(Some(Self {
            is_final,
            opcode,
            mask: *mask,
            header_bytes: 2 + length_bytes + mask.len(),
            payload_bytes: usize::try_from(payload_bytes).map_err(|_| FrameError::TooBig)?,
        }))
    }

    fn frame_bytes(self) -> usize {
        self.header_bytes + self.payload_bytes
    }
}

impl Opcode {
    fn parse(first: u8) -> Result<Self, FrameError> {
        if first & 0x70 != 0 {
            return Err(FrameError::Protocol("a reserved bit is set and no extension was agreed"));
        }
        Ok(match first & 0x0f {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => return Err(FrameError::Binary),
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(FrameError::Protocol("the opcode is reserved")),
        })
    }

    const fn number(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    fn is_control(self) -> bool {
        self.number() >= 0x8
    }

    fn check_order(
        self,
        is_final: bool,
        short_length: u8,
        in_fragments: bool,
    ) -> Result<(), FrameError> {
        match self {
            control if control.is_control() => {
                if !is_final {
                    return Err(FrameError::Protocol("a control frame must not be fragmented"));
                }
                if short_length > MAX_CONTROL_BYTES as u8 {
                    return Err(FrameError::Protocol("a control frame carries at most 125 bytes"));
                }
                Ok(())
            }
            Self::Continuation if !in_fragments => {
                Err(FrameError::Protocol("a continuation needs a message to continue"))
            }
            Self::Text | Self::Binary if in_fragments => {
                Err(FrameError::Protocol("a message began before the last one ended"))
            }
            _ => Ok(()),
        }
    }
}

fn payload_length(short_length: u8, extended: &[u8]) -> Result<u64, FrameError> {
    let length = match extended.len() {
        0 => return Ok(u64::from(short_length)),
        _ => extended.iter().fold(0, |length, &byte| length << 8 | u64::from(byte)),
    };
    if length >> 63 != 0 {
        return Err(FrameError::Protocol("a length must not have its highest bit set"));
    }
    let fits_shorter = if extended.len() == 2 { length < 126 } else { length <= 0xffff };
    if fits_shorter {
        return Err(FrameError::Protocol("a length must be written in its shortest form"));
    }
    Ok(length)
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

fn text(payload: &[u8]) -> Result<Inbound<'_>, FrameError> {
    std::str::from_utf8(payload).map(Inbound::Text).map_err(|_| FrameError::NotUtf8)
}

fn control(opcode: Opcode, payload: &[u8]) -> Result<Inbound<'_>, FrameError> {
    match opcode {
        Opcode::Ping => Ok(Inbound::Ping(payload)),
        Opcode::Close => close(payload).map(Inbound::Close),
        _ => Ok(Inbound::Pong),
    }
}

fn close(payload: &[u8]) -> Result<Option<CloseFrame>, FrameError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(FrameError::Protocol("a close carries no code or one of two bytes"))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(FrameError::Protocol("the close code is none that may be sent"));
    }
    std::str::from_utf8(reason).map_err(|_| FrameError::NotUtf8)?;
    Ok(Some(CloseFrame { code }))
}

impl FrameError {
    /// With which code the connection must be closed.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Protocol(_) => CloseCode::ProtocolError,
            Self::Binary => CloseCode::BinaryFrame,
            Self::NotUtf8 => CloseCode::InvalidUtf8,
            Self::TooBig => CloseCode::MessageTooBig,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol(rule) => rule,
            Self::Binary => "the protocol is text only",
            Self::NotUtf8 => "a text message must be UTF-8",
            Self::TooBig => "the message is longer than the server takes",
        })
    }
}

impl std::error::Error for FrameError {}

/// Appends the header of a whole, unmasked frame whose payload of `payload_bytes` follows.
pub fn write_header(out: &mut Vec<u8>, opcode: Opcode, payload_bytes: usize) {
    let (bytes, used) = header(opcode, payload_bytes);
    out.extend_from_slice(&bytes[..used]);
}

/// Appends a ping without a payload.
pub fn write_ping(out: &mut Vec<u8>) {
    write_header(out, Opcode::Ping, 0);
}

/// Appends the answer to a ping that carried `payload`, which has at most 125 bytes.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_CONTROL_BYTES, "the reader takes no longer ping");
    write_header(out, Opcode::Pong, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a close. A reason of more than 123 bytes is cut between two characters.
pub fn write_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL_BYTES - 2)];
    write_header(out, Opcode::Close, 2 + reason.len());
    out.extend_from_slice(&code.number().to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// The header in the front of the array, and its length.
pub(crate) fn header(opcode: Opcode, payload_bytes: usize) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    bytes[0] = 0x80 | opcode.number();
    let used = match payload_bytes {
        0..=125 => {
            bytes[1] = payload_bytes as u8;
            2
        }
        126..=0xffff => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
            10
        }
    };
    (bytes, used)
}

/// The most bytes that a control frame may carry.
const MAX_CONTROL_BYTES: usize = 125;
