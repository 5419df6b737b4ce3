//! Frames: however a stream is cut, the same is heard of it, and nothing panics.

use herenow_wire::frame::{Chunk, FrameError, Inbound, Reader};

/// The limit of a message; small, so that a short input can pass it.
const MAX_BYTES: usize = 1024;

/// The first byte says how many cuts there are, the next ones where, the rest is the stream.
pub fn check(input: &[u8]) {
    let Some((&cuts, rest)) = input.split_first() else { return };
    let Some((cuts, stream)) = rest.split_at_checked(usize::from(cuts % 8)) else { return };
    let whole = hear([stream]);
    let mut cuts: Vec<usize> =
        cuts.iter().map(|cut| usize::from(*cut) * (stream.len() + 1) / 256).collect();
    cuts.sort_unstable();
    let mut from = 0;
    let mut chunks = Vec::new();
    for cut in cuts.into_iter().chain([stream.len()]) {
        chunks.push(&stream[from..cut]);
        from = cut;
    }
    assert_eq!(hear(chunks), whole, "a stream that is cut means the same");
    assert_eq!(hear(stream.chunks(1)), whole, "and so does one of single bytes");
}

#[derive(Debug, PartialEq)]
enum Heard {
    Text(String),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Refused(FrameError),
}

fn hear<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Heard> {
    let mut reader = Reader::default();
    let mut heard = Vec::new();
    for chunk in chunks {
        let mut bytes = chunk.to_vec();
        let mut chunk = Chunk::new(&mut bytes);
        loop {
            heard.push(match reader.next(&mut chunk, MAX_BYTES) {
                Ok(None) => break,
                Ok(Some(Inbound::Text(text))) => {
                    assert!(text.len() <= MAX_BYTES, "no message is longer than may be");
                    Heard::Text(text.to_owned())
                }
                Ok(Some(Inbound::Fragment)) => continue,
                Ok(Some(Inbound::Ping(payload))) => Heard::Ping(payload.to_vec()),
                Ok(Some(Inbound::Pong)) => Heard::Pong,
                Ok(Some(Inbound::Close(close))) => {
                    heard.push(Heard::Close(close.map(|close| close.code)));
                    return heard;
                }
                Err(error) => {
                    heard.push(Heard::Refused(error));
                    return heard;
                }
            });
        }
    }
    heard
}
