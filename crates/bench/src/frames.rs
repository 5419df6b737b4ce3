//! WebSocket frames as bytes, for both sides: the driver masks, the floor does not.
//!
//! Knows headers, masks and the upgrade. Refuses to know what a payload says, and
//! refuses fragments: no server measured here sends any.

/// Frames of a client must be masked; one mask for all keeps the cost of masking and
/// saves the driver the randomness.
const MASK: [u8; 4] = [0x5a, 0x13, 0xc7, 0x2e];

/// Text, the only data frames of the protocol.
pub const TEXT: u8 = 0x1;
/// A close frame.
pub const CLOSE: u8 = 0x8;
/// A ping frame.
pub const PING: u8 = 0x9;
/// A pong frame.
pub const PONG: u8 = 0xa;

/// The handshake key of every connection, and what RFC 6455 makes of it.
pub const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const HANDSHAKE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What the first bytes of a frame say.
pub enum Head {
    /// More bytes are needed to say anything.
    Incomplete,
    /// No frame that the bench expects.
    Broken,
    /// A frame whose payload begins after `head_bytes`.
    Frame { opcode: u8, head_bytes: usize, payload_bytes: usize, mask: Option<[u8; 4]> },
}

/// Reads the header of the frame that `bytes` begin with.
pub fn head(bytes: &[u8]) -> Head {
    let [first, second, rest @ ..] = bytes else { return Head::Incomplete };
    if first & 0xf0 != 0x80 {
        return Head::Broken;
    }
    let (length_bytes, payload_bytes) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (2, u64::from(u16::from_be_bytes(*length))),
            None => return Head::Incomplete,
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (8, u64::from_be_bytes(*length)),
            None => return Head::Incomplete,
        },
        short => (0, u64::from(short)),
    };
    let Ok(payload_bytes) = usize::try_from(payload_bytes) else { return Head::Broken };
    let opcode = first & 0x0f;
    if second & 0x80 == 0 {
        return Head::Frame { opcode, head_bytes: 2 + length_bytes, payload_bytes, mask: None };
    }
    match rest[length_bytes..].first_chunk::<4>() {
        Some(mask) => {
            Head::Frame { opcode, head_bytes: 6 + length_bytes, payload_bytes, mask: Some(*mask) }
        }
        None => Head::Incomplete,
    }
}

/// Appends a masked frame, as a client must send it.
pub fn push_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(out, opcode, 0x80, payload.len());
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], MASK);
}

/// Appends an unmasked frame, as a server must send it.
pub fn push_unmasked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(out, opcode, 0, payload.len());
    out.extend_from_slice(payload);
}

/// Masks or unmasks a whole payload in place.
pub fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// The upgrade request of every connection.
pub fn upgrade_request() -> String {
    format!(
        "GET /api/realtime HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {HANDSHAKE_KEY}\r\n\r\n"
    )
}

/// The answer to [`upgrade_request`], which a floor can give without computing anything.
pub fn upgrade_response() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {HANDSHAKE_ACCEPT}\r\n\r\n"
    )
}

/// Where the first frame begins, once the whole head of an HTTP message is there.
pub fn end_of_http_head(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

fn push_head(out: &mut Vec<u8>, opcode: u8, mask_bit: u8, payload_bytes: usize) {
    out.push(0x80 | opcode);
    match payload_bytes {
        0..126 => out.push(mask_bit | payload_bytes as u8),
        126..0x1_0000 => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_frame_of_each_length_reads_back() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut bytes = Vec::new();
            push_masked(&mut bytes, TEXT, &payload);
            let Head::Frame { opcode, head_bytes, payload_bytes, mask: Some(mask) } = head(&bytes)
            else {
                panic!("no masked frame of {length} bytes");
            };
            assert_eq!((opcode, payload_bytes, head_bytes + length), (TEXT, length, bytes.len()));
            apply_mask(&mut bytes[head_bytes..], mask);
            assert_eq!(bytes[head_bytes..], payload);
        }
    }

    #[test]
    fn every_cut_header_asks_for_more() {
        let mut bytes = Vec::new();
        push_masked(&mut bytes, TEXT, &[0; 70_000]);
        for cut in 0..14 {
            assert!(matches!(head(&bytes[..cut]), Head::Incomplete), "cut at {cut}");
        }
    }

    #[test]
    fn a_fragment_is_refused() {
        assert!(matches!(head(&[0x01, 0x00]), Head::Broken));
    }
}
