//! Frames as a client reads and writes them. Written anew here, so that the server's own framing is
//! held to another one.

/// One whole frame.
#[derive(Debug)]
pub enum Frame {
    Text(String),
    Ping,
    Close(u16, String),
}

/// Takes the first whole frame out of `bytes`.
pub fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (header_bytes, payload_bytes) = match length {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
        short => (2, usize::from(short)),
    };
    let whole_bytes = header_bytes + payload_bytes;
    if bytes.len() < whole_bytes {
        return None;
    }
    let payload = bytes[header_bytes..whole_bytes].to_vec();
    bytes.drain(..whole_bytes);
    Some(match first {
        0x81 => Frame::Text(String::from_utf8(payload).expect("the server writes UTF-8")),
        0x88 => {
            let (code, reason) = payload.split_first_chunk().expect("it carries a code");
            let reason = String::from_utf8(reason.to_vec()).expect("a reason is UTF-8");
            Frame::Close(u16::from_be_bytes(*code), reason)
        }
        0x89 => Frame::Ping,
        _ => panic!("no frame of the server begins with {first:#x}"),
    })
}

/// What a client writes.
#[derive(Clone, Copy, Debug)]
pub enum Opcode {
    Text,
    Close,
    Pong,
}

/// A whole frame, masked.
pub fn write(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let first = match opcode {
        Opcode::Text => 0x81,
        Opcode::Close => 0x88,
        Opcode::Pong => 0x8a,
    };
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            let length = u16::try_from(long).expect("no client of a run says more");
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}
