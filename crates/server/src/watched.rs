//! Watches a channel for a backend: the server opens a socket to one of its own loops, which serves
//! it as it serves every subscriber. So a backend sees what subscribers see, and one that reads
//! slowly costs what a slow subscriber costs, and is sent a fresh list once it reads again.
//!
//! Knows the frames that a loop writes, and nothing of HTTP.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;

use bytes::{Buf as _, Bytes, BytesMut};
use herenow_wire::ChannelName;
use serde::Deserialize;
use socket2::Socket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::backend::Unavailable;
use crate::loops::Loops;

/// A subscription. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watched {
    stream: UnixStream,
    /// What was read and is not yet a whole frame.
    unread: BytesMut,
    /// The epoch of the last list. Changes follow it in the same one.
    epoch: u64,
}

/// One message of the protocol about the channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    /// The message as subscribers get it: one line of JSON.
    pub(crate) json: Bytes,
}

/// Which message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Kind {
    #[serde(rename = "presence_sync")]
    Sync,
    #[serde(rename = "presence_join")]
    Join,
    #[serde(rename = "presence_update")]
    Update,
    #[serde(rename = "presence_leave")]
    Leave,
    /// Nothing that a backend needs to know.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: Kind,
    epoch: Option<u64>,
    #[serde(default)]
    seq: u64,
}

/// What is read from the socket at once.
const READ_BYTES: usize = 16 * 1024;
/// A client's frames are masked; a mask of zeros changes nothing.
const MASKED: u8 = 0x80;
const PONG: u8 = 0x8A;
const OPCODE_TEXT: u8 = 0x1;
const OPCODE_CLOSE: u8 = 0x8;
const OPCODE_PING: u8 = 0x9;

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "presence_sync",
            Self::Join => "presence_join",
            Self::Update => "presence_update",
            Self::Leave => "presence_leave",
            Self::Other => "message",
        }
    }
}

impl Watched {
    /// Watches a channel from here on; its list comes first.
    pub(crate) fn new(loops: &Loops, channel: ChannelName) -> Result<Self, Unavailable> {
        let (ours, theirs) = pair().map_err(|error| {
            tracing::warn!(%error, "a channel cannot be watched");
            Unavailable::Busy
        })?;
        loops.watch(theirs, channel)?;
        Ok(Self { stream: ours, unread: BytesMut::new(), epoch: 0 })
    }

    /// The next message. `None` if the loop has closed the socket: the server stops, or has given up
    /// a reader that was silent for too long. Nothing is lost if the caller stops waiting.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            while let Some((opcode, payload)) = self.next_frame() {
                match opcode {
                    OPCODE_TEXT => {
                        if let Some(message) = self.message(payload) {
                            return Some(message);
                        }
                    }
                    OPCODE_PING => self.pong(&payload).await.ok()?,
                    OPCODE_CLOSE => return None,
                    _ => {}
                }
            }
            if self.unread.is_empty() {
                // A large list leaves no room behind.
                self.unread = BytesMut::new();
            }
            self.unread.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.unread).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Takes the next whole frame out of what was read. A loop writes whole messages and masks none.
    fn next_frame(&mut self) -> Option<(u8, Bytes)> {
        let bytes = &self.unread;
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (head, length): (usize, usize) = match second & 0x7F {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
            short => (2, usize::from(short)),
        };
        if bytes.len() < head + length {
            return None;
        }
        self.unread.advance(head);
        Some((first & 0x0F, self.unread.split_to(length).freeze()))
    }

    fn message(&mut self, json: Bytes) -> Option<Message> {
        let Head { kind, epoch, seq } = serde_json::from_slice(&json).ok()?;
        self.epoch = epoch.unwrap_or(self.epoch);
        (kind != Kind::Other).then_some(Message { kind, epoch: self.epoch, seq, json })
    }

    async fn pong(&mut self, payload: &[u8]) -> io::Result<()> {
        // A control frame has at most 125 bytes, and the socket has room for it: this never waits.
        let mut frame = vec![PONG, MASKED | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await
    }
}

/// Two ends of one socket: ours for tokio, the other for a loop.
fn pair() -> io::Result<(UnixStream, Socket)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, Socket::from(theirs)))
}
