//! One connection: frames in, send queue out. At rest it owns its session and nothing else: no
//! buffer, no timer.

use std::io::IoSlice;
use std::sync::Weak;

use herenow_core::Session;
use herenow_wire::frame::Reader;
use herenow_wire::{ChannelName, DefaultChannel};

use crate::api::{Io, Wrote};
use crate::held::Encoded;
use crate::hub::Config;
use crate::reading::UNAUTHENTICATED_MESSAGE_BYTES;
use crate::replies::BufferIndex;
use crate::send_queue::{Broken, Pushed, SendQueue, Shared};

/// See the module.
pub(crate) struct Connection {
    pub(crate) session: Session,
    pub(crate) reader: Reader,
    send_queue: Option<Box<SendQueue>>,
    /// Boxed and absent for the many that name none.
    default_channel: Option<Box<DefaultChannel>>,
    /// Where this turn's replies to it are collected.
    pub(crate) reply: BufferIndex,
    pub(crate) phase: Phase,
    /// It is in the hub's list of sessions with a near deadline.
    pub(crate) has_near_deadline: bool,
    /// It is in the hub's list of connections of which something was read and not looked at.
    pub(crate) is_unread: bool,
    /// It is read no more until its socket has taken its replies.
    pub(crate) is_paused: bool,
}

/// How far a connection's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// The close frame is on its way; what still arrives is thrown away. Waiting for the peer to
    /// close first keeps the kernel from answering unread data with a reset that would overtake
    /// the close frame.
    Closing,
    /// To be removed at the end of the turn.
    Dead,
}

/// What may wait for a connection that has not authenticated, unless `sendQueueBytes` is less. It
/// has shown nothing yet that would be worth more.
const UNAUTHENTICATED_QUEUE_BYTES: usize = 16 * 1024;

/// What became of something sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Taken by the kernel, or waiting for it.
    Ok,
    /// Dropped, and what waited of these channels with it.
    Dropped(Vec<ChannelName>),
    /// The socket is broken.
    Broken,
}

static NO_DEFAULT: DefaultChannel = DefaultChannel::None;

impl Sent {
    fn of(pushed: Pushed) -> Self {
        match pushed {
            Pushed::Queued => Sent::Ok,
            Pushed::Dropped(channels) => Sent::Dropped(channels),
        }
    }
}

impl Connection {
    pub(crate) fn new(session: Session, default: DefaultChannel) -> Self {
        let default_channel = match default {
            DefaultChannel::None => None,
            named => Some(Box::new(named)),
        };
        Self {
            session,
            reader: Reader::default(),
            send_queue: None,
            default_channel,
            reply: BufferIndex::NONE,
            phase: Phase::Open,
            has_near_deadline: false,
            is_unread: false,
            is_paused: false,
        }
    }

    pub(crate) fn default_channel(&self) -> &DefaultChannel {
        self.default_channel.as_deref().unwrap_or(&NO_DEFAULT)
    }

    /// Whether it may yet subscribe to its default channel: it has not authenticated.
    pub(crate) fn may_join_later(&self) -> bool {
        self.is_open() && self.session.auth().is_none()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether something waits for the socket to take it.
    pub(crate) fn has_send_queue(&self) -> bool {
        self.send_queue.is_some()
    }

    /// What may wait for it, of replies and flushes together.
    pub(crate) fn max_queue_bytes(&self, send_queue_bytes: usize) -> usize {
        match self.session.is_trusted() {
            true => send_queue_bytes,
            false => send_queue_bytes.min(UNAUTHENTICATED_QUEUE_BYTES),
        }
    }

    /// The longest message that it may send.
    pub(crate) fn max_message_bytes(&self, config: &Config) -> usize {
        match self.session.auth() {
            Some(_) => config.max_frame_bytes,
            None => config.max_frame_bytes.min(UNAUTHENTICATED_MESSAGE_BYTES),
        }
    }

    /// Bytes of replies of earlier turns that its socket has not taken. They cannot be dropped.
    pub(crate) fn queued_reply_bytes(&self) -> usize {
        self.send_queue.as_ref().map_or(0, |queue| queue.reply_bytes())
    }

    /// Bytes of flushes that its socket has not taken, without the largest of them.
    pub(crate) fn queued_flush_bytes(&self) -> usize {
        self.send_queue.as_ref().map_or(0, |queue| queue.flush_bytes_without_largest())
    }

    /// Whether what waits for it ends with this reply.
    pub(crate) fn queue_ends_with(&self, reply: &[u8]) -> bool {
        self.send_queue.as_ref().is_some_and(|queue| queue.ends_with(reply))
    }

    /// Sends this turn's replies to the connection, which is the one in `slot`.
    pub(crate) fn send_replies(
        &mut self,
        slot: u32,
        (replies, send_queue_bytes): (&[u8], usize),
        io: &mut impl Io,
    ) -> Sent {
        let max_bytes = self.max_queue_bytes(send_queue_bytes);
        match &mut self.send_queue {
            Some(queue) => Sent::of(queue.push_reply(replies, max_bytes)),
            None => match io.write(slot, &[IoSlice::new(replies)]) {
                Wrote::Bytes(written) if written == replies.len() => Sent::Ok,
                Wrote::Bytes(written) => {
                    self.send_queue = Some(Box::new(SendQueue::left_over(replies, None, written)));
                    Sent::Ok
                }
                Wrote::Broken => Sent::Broken,
            },
        }
    }

    /// Sends part of a channel's flush, and this turn's replies before it in the same write. A
    /// snapshot is not for a socket that has yet to take something.
    #[inline]
    pub(crate) fn send_flush(
        &mut self,
        slot: u32,
        replies: &[u8],
        flush: Part<'_, '_>,
        io: &mut impl Io,
    ) -> Sent {
        if self.send_queue.is_some() {
            return self.queue_flush(replies, flush);
        }
        let bytes = flush.shared.bytes();
        let both = [IoSlice::new(replies), IoSlice::new(bytes)];
        let parts = if replies.is_empty() { &both[1..] } else { &both[..] };
        match io.write(slot, parts) {
            Wrote::Bytes(written) if written == replies.len() + bytes.len() => Sent::Ok,
            Wrote::Bytes(written) => self.keep_left_over(replies, flush, written),
            Wrote::Broken => Sent::Broken,
        }
    }

    /// Not inlined, like the next one: the many sockets that take everything do not pay for it.
    #[inline(never)]
    fn queue_flush(&mut self, replies: &[u8], flush: Part<'_, '_>) -> Sent {
        let Part { shared, channel, send_queue_bytes } = flush;
        let max_bytes = self.max_queue_bytes(send_queue_bytes);
        let Some(queue) = &mut self.send_queue else { return Sent::Ok };
        Sent::of(queue.push(replies, (shared, channel), max_bytes))
    }

    #[inline(never)]
    fn keep_left_over(&mut self, replies: &[u8], flush: Part<'_, '_>, written: usize) -> Sent {
        let queue = SendQueue::left_over(replies, Some((flush.shared, flush.channel)), written);
        self.send_queue = Some(Box::new(queue));
        Sent::Ok
    }

    /// Throws away what waits of channels: the connection is about to close.
    pub(crate) fn drop_flushes(&mut self) {
        if let Some(queue) = &mut self.send_queue {
            queue.drop_flushes(None);
        }
    }

    /// Writes what waits. Returns how many bytes the socket took.
    pub(crate) fn drain(&mut self, slot: u32, io: &mut impl Io) -> Result<usize, Broken> {
        let Some(queue) = &mut self.send_queue else { return Ok(0) };
        let (written, is_done) = queue.write_to(|parts| io.write(slot, parts))?;
        if is_done {
            self.send_queue = None;
        }
        Ok(written)
    }

    /// See [`SendQueue::taken_bytes_of`].
    pub(crate) fn taken_bytes_of(&self, piece: &Weak<Encoded>) -> Option<usize> {
        self.send_queue.as_ref()?.taken_bytes_of(piece)
    }
}

/// Part of a channel's flush, and the bound that it may meet.
pub(crate) struct Part<'a, 'b> {
    pub(crate) shared: &'a mut Shared<'b>,
    pub(crate) channel: &'a ChannelName,
    pub(crate) send_queue_bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it was when the memory of a million connections was stated, less the 32 bytes of the
    /// socket and its permit, which the shell holds.
    const STATED_BYTES: usize = 136;

    #[test]
    fn a_connection_is_no_larger_than_stated() {
        let bytes = std::mem::size_of::<Option<Connection>>();
        assert!(bytes <= STATED_BYTES, "{bytes} bytes for each connection of a hub");
    }
}
