//! Writes the server's own frames: whole ones, unmasked.

use super::header::{MAX_CONTROL_BYTES, Opcode};
use crate::code::CloseCode;

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
