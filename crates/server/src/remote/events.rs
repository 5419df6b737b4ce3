//! Server-Sent Events out of the pieces of an answer that has no end, as this server writes them.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

/// Reads one answer.
pub struct EventReader {
    body: Incoming,
    unread: Unread,
    heard_at: Instant,
}

/// One event.
#[derive(Debug, PartialEq)]
pub struct Event {
    /// Such as `presence_join`.
    pub kind: String,
    /// The message as it stands on a WebSocket.
    pub data: Value,
}

/// What was read and holds no whole event.
#[derive(Debug, Default)]
struct Unread {
    bytes: BytesMut,
    /// No event ends before this.
    searched: usize,
}

/// The server writes a comment every 15 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(45);
/// A list of 100,000 members with the largest ids and states.
const MAX_EVENT_BYTES: usize = 256 * 1024 * 1024;
const END: &[u8] = b"\n\n";

impl EventReader {
    pub fn new(body: Incoming) -> Self {
        Self { body, unread: Unread::default(), heard_at: Instant::now() }
    }

    /// The next event, or `None` if the server has ended the answer. Nothing is lost if the caller
    /// stops waiting.
    pub async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.unread.take_event()? {
                return Ok(Some(event));
            }
            let silent =
                |_| io::Error::new(io::ErrorKind::TimedOut, "nothing was received for 45 s");
            let frame = timeout_at(self.heard_at + SILENCE_TIMEOUT, self.body.frame()).await;
            let Some(frame) = frame.map_err(silent)? else { return Ok(None) };
            self.heard_at = Instant::now();
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                self.unread.push(&data)?;
            }
        }
    }
}

impl Unread {
    fn push(&mut self, more: &[u8]) -> io::Result<()> {
        if self.bytes.len() + more.len() > MAX_EVENT_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an event is too large"));
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// The first whole event, if there is one. Comments are passed over.
    fn take_event(&mut self) -> io::Result<Option<Event>> {
        loop {
            let rest = &self.bytes[self.searched..];
            let Some(end) = rest.windows(END.len()).position(|window| window == END) else {
                self.searched = self.bytes.len().saturating_sub(END.len() - 1);
                return Ok(None);
            };
            let block = self.bytes.split_to(self.searched + end);
            self.bytes.advance(END.len());
            self.searched = 0;
            let (mut kind, mut data) = (String::new(), None);
            for line in block[..].split(|byte| *byte == b'\n') {
                if let Some(name) = line.strip_prefix(b"event: ") {
                    kind = String::from_utf8_lossy(name).into_owned();
                } else if let Some(json) = line.strip_prefix(b"data: ") {
                    data = Some(serde_json::from_slice(json)?);
                }
            }
            if let Some(data) = data {
                return Ok(Some(Event { kind, data }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_read_however_they_are_cut_and_comments_are_passed_over() {
        let text = ":\n\nevent: presence_join\nid: 7-8\ndata: {\"n\":1}\n\n:\n\n\
                    event: presence_leave\nid: 7-9\ndata: {\"n\":2}\n\n";
        for size in 1..text.len() {
            let mut unread = Unread::default();
            let mut events = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                unread.push(piece).expect("there is room");
                while let Some(event) = unread.take_event().expect("it is JSON") {
                    events.push((event.kind, event.data));
                }
            }
            let wanted = [("presence_join", json!({"n": 1})), ("presence_leave", json!({"n": 2}))];
            assert_eq!(events, wanted.map(|(kind, data)| (kind.to_owned(), data)), "{size}");
            assert!(unread.bytes.is_empty());
        }
    }
}
