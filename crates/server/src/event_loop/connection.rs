//! One socket: frames in, outbox out. At rest it owns its session and nothing else: no buffer, no
//! timer, no task.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Weak;

use herenow_core::{Instant, Session};
use herenow_wire::frame::Reader;
use herenow_wire::{ChannelName, DefaultChannel};
use mio::net::TcpStream;

use super::held::Encoded;
use super::outbox::{Outbox, Pushed, Shared};
use super::replies::Place;
use crate::admission::Newcomer;

/// See the module.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) session: Session,
    pub(super) reader: Reader,
    outbox: Option<Box<Outbox>>,
    /// Boxed and absent for the many that name none.
    default_channel: Option<Box<DefaultChannel>>,
    pub(super) newcomer: Option<Newcomer>,
    /// Where this turn's replies to it are collected.
    pub(super) reply: Place,
    pub(super) phase: Phase,
    /// The peer will send no more: a short read is not the end of what there is to see.
    pub(super) is_read_closed: bool,
    /// It is in the loop's list of sockets to read.
    pub(super) is_queued: bool,
    /// It is in the loop's list of sessions with a near deadline.
    pub(super) is_soon: bool,
}

/// How far a connection's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The close frame is on its way; what still arrives is thrown away. Waiting for the peer to
    /// close first keeps the kernel from answering unread data with a reset that would overtake
    /// the close frame.
    Closing,
    /// To be removed at the end of the turn.
    Dead,
}

/// What may wait for a connection that has not authenticated, unless `outboxBytes` is less. It has
/// shown nothing yet that would be worth more.
const UNAUTHENTICATED_QUEUE_BYTES: usize = 16 * 1024;

/// How long a closed socket may linger.
pub(super) const LINGER: std::time::Duration = std::time::Duration::from_secs(2);

/// What became of something sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Taken by the kernel, or waiting for it.
    Fine,
    /// Dropped, and what waited of these channels with it.
    Dropped(Vec<ChannelName>),
    /// The socket is broken.
    Broken,
}

impl Sent {
    fn of(pushed: Pushed) -> Self {
        match pushed {
            Pushed::Waits => Sent::Fine,
            Pushed::Dropped(channels) => Sent::Dropped(channels),
        }
    }
}

/// What a read found.
pub(super) enum Got {
    Bytes(usize),
    Nothing,
    /// The peer has closed, or the socket is broken.
    End,
}

static NO_DEFAULT: DefaultChannel = DefaultChannel::None;

impl Connection {
    pub(super) fn new(stream: TcpStream, session: Session, default: DefaultChannel) -> Self {
        let default_channel = match default {
            DefaultChannel::None => None,
            named => Some(Box::new(named)),
        };
        Self {
            stream,
            session,
            reader: Reader::default(),
            outbox: None,
            default_channel,
            newcomer: None,
            reply: Place::NONE,
            phase: Phase::Open,
            is_read_closed: false,
            is_queued: false,
            is_soon: false,
        }
    }

    pub(super) fn default_channel(&self) -> &DefaultChannel {
        self.default_channel.as_deref().unwrap_or(&NO_DEFAULT)
    }

    /// Whether it named `channel` as its default and has not signed in.
    pub(super) fn may_join_later(&self, channel: &ChannelName) -> bool {
        let named =
            matches!(self.default_channel(), DefaultChannel::Named(name) if name == channel);
        named && self.is_open() && self.session.auth().is_none()
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether something waits for the socket to take it.
    pub(super) fn has_outbox(&self) -> bool {
        self.outbox.is_some()
    }

    /// What may wait for it, of replies and flushes together.
    pub(super) fn max_queue_bytes(&self, max_outbox_bytes: usize) -> usize {
        match self.session.auth() {
            Some(_) => max_outbox_bytes,
            None => max_outbox_bytes.min(UNAUTHENTICATED_QUEUE_BYTES),
        }
    }

    /// Bytes of replies of earlier turns that its socket has not taken. They cannot be dropped.
    pub(super) fn queued_reply_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.reply_bytes())
    }

    /// Whether what waits for it ends with this reply.
    pub(super) fn queue_ends_with(&self, reply: &[u8]) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| outbox.ends_with(reply))
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Got {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Got::End,
                Ok(count) => Got::Bytes(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Got::Nothing,
                Err(_) => Got::End,
            };
        }
    }

    /// Sends this turn's replies.
    pub(super) fn send_replies(&mut self, replies: &[u8], max_outbox_bytes: usize) -> Sent {
        let max_queue_bytes = self.max_queue_bytes(max_outbox_bytes);
        match &mut self.outbox {
            Some(outbox) => Sent::of(outbox.push_reply(replies, max_queue_bytes)),
            None => match write_on(&self.stream, replies, &[]) {
                Ok(written) if written == replies.len() => Sent::Fine,
                Ok(written) => {
                    self.outbox = Some(Box::new(Outbox::left_over(replies, None, written)));
                    Sent::Fine
                }
                Err(_) => Sent::Broken,
            },
        }
    }

    /// Sends part of a channel's flush, and this turn's replies before it in the same write. A
    /// snapshot is not for a socket that has yet to take something.
    pub(super) fn send_flush(
        &mut self,
        replies: &[u8],
        flush: &mut Shared<'_>,
        channel: &ChannelName,
        max_outbox_bytes: usize,
    ) -> Sent {
        let max_queue_bytes = self.max_queue_bytes(max_outbox_bytes);
        if let Some(outbox) = &mut self.outbox {
            return Sent::of(outbox.push(replies, (flush, channel), max_queue_bytes));
        }
        match write_on(&self.stream, replies, flush.bytes()) {
            Ok(written) if written == replies.len() + flush.bytes().len() => Sent::Fine,
            Ok(written) => {
                let outbox = Outbox::left_over(replies, Some((flush, channel)), written);
                self.outbox = Some(Box::new(outbox));
                Sent::Fine
            }
            Err(_) => Sent::Broken,
        }
    }

    /// Throws away what waits of channels: the connection is about to close.
    pub(super) fn drop_flushes(&mut self) {
        if let Some(outbox) = &mut self.outbox {
            outbox.drop_flushes(None);
        }
    }

    /// Writes what waits. Returns how many bytes the socket took.
    pub(super) fn drain(&mut self) -> io::Result<usize> {
        let Some(outbox) = &mut self.outbox else { return Ok(0) };
        let (written, is_done) = outbox.write_to(&self.stream)?;
        if is_done {
            self.outbox = None;
        }
        Ok(written)
    }

    /// See [`Outbox::taken_bytes_of`].
    pub(super) fn taken_bytes_of(&self, piece: &Weak<Encoded>) -> Option<usize> {
        self.outbox.as_ref()?.taken_bytes_of(piece)
    }
}

/// The near deadlines of sessions, soonest first.
pub(super) type Soon = std::collections::BinaryHeap<std::cmp::Reverse<(Instant, u32)>>;

/// Writes both until all is written or the socket takes no more. A socket that took a part is
/// tried again at once: its edge would otherwise be missed.
fn write_on(mut stream: &TcpStream, first: &[u8], second: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    let all = first.len() + second.len();
    while written < all {
        let result = if written >= first.len() {
            stream.write(&second[written - first.len()..])
        } else if second.is_empty() {
            stream.write(&first[written..])
        } else {
            stream.write_vectored(&[IoSlice::new(&first[written..]), IoSlice::new(second)])
        };
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it was when the memory of a million connections was stated.
    const STATED_BYTES: usize = 168;

    #[test]
    fn a_connection_is_no_larger_than_stated() {
        let bytes = std::mem::size_of::<Option<Connection>>();
        assert!(bytes <= STATED_BYTES, "{bytes} bytes for each connection of a loop");
    }
}
