//! The head of a frame, and every rule of RFC 6455 that can be checked on it.
//!
//! Knows nothing of payloads, except how long they may be.

use std::fmt;

use crate::code::CloseCode;

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

#[derive(Clone, Copy)]
pub(super) struct FrameHeader {
    pub(super) is_final: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    pub(super) header_bytes: usize,
    pub(super) payload_bytes: usize,
}

impl FrameHeader {
    /// `None` where bytes are missing. What is there is checked at once: a peer that breaks the
    /// rules is not waited for.
    pub(super) fn parse(
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

    pub(super) fn frame_bytes(self) -> usize {
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

    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    pub(super) fn is_control(self) -> bool {
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
            Self::TooBig => "the message is longer than the server accepts",
        })
    }
}

impl std::error::Error for FrameError {}

/// The most bytes that a control frame may carry.
pub(super) const MAX_CONTROL_BYTES: usize = 125;
