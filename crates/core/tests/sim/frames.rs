//! A server's frames, as a client takes them out of what it has read.

/// One whole frame.
#[derive(Debug)]
pub enum Frame {
    Text(String),
    Ping,
    Close(u16),
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
            Frame::Close(u16::from_be_bytes(*payload.first_chunk().expect("it carries a code")))
        }
        0x89 => Frame::Ping,
        _ => panic!("no frame of the server begins with {first:#x}"),
    })
}
