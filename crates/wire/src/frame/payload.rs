//! The payloads of whole frames: unmasked, checked, and what they are. Knows nothing of where frames begin
//! and end.

use super::{FrameError, Opcode};

/// One whole frame, and the message that it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inbound<'a> {
    /// A text message.
    Text(&'a str),
    /// A part of a text message of which more is to come. The reader keeps it.
    Fragment,
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

pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
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

pub(super) fn text(payload: &[u8]) -> Result<Inbound<'_>, FrameError> {
    std::str::from_utf8(payload).map(Inbound::Text).map_err(|_| FrameError::NotUtf8)
}

pub(super) fn control(opcode: Opcode, payload: &[u8]) -> Result<Inbound<'_>, FrameError> {
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
            Err(FrameError::Protocol("a close frame has no code, or one of two bytes"))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(FrameError::Protocol("the close code must not be sent"));
    }
    std::str::from_utf8(reason).map_err(|_| FrameError::NotUtf8)?;
    Ok(Some(CloseFrame { code }))
}
