//! What a socket has not taken yet. Exists only while a socket is slow; bounded. Deltas beyond the
//! bound are dropped, and one snapshot takes their place when the socket has drained: no snapshot
//! ever waits here, but for one that the socket has begun to take. Replies and
//! begun pieces are never dropped: half a frame would end the conversation. Once replies alone
//! reach the bound, the socket is read no more.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Arc, Weak};

use herenow_wire::ChannelName;

use crate::api::Wrote;
use crate::held::Encoded;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    pieces: VecDeque<Piece>,
    /// How much of the first piece is written.
    written: usize,
    /// Bytes of the replies. A piece that is begun counts whole: its memory is held until its end.
    reply_bytes: usize,
    /// Bytes of the pieces that may still be dropped.
    droppable_bytes: usize,
    /// Bytes that the socket has taken since it became slow.
    taken_bytes: usize,
}

#[derive(Debug)]
enum Piece {
    /// For this socket alone.
    Reply(Vec<u8>),
    /// Part of a channel's flush, shared by all who are slow.
    Flush(Arc<Encoded>, ChannelName),
}

/// Bytes that many sockets are sent. Shared only from when the first of them is slow.
pub(crate) struct Shared<'a> {
    bytes: &'a [u8],
    shared: Option<Arc<Encoded>>,
}

/// What became of a flush that was pushed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Queued,
    /// It would not fit: it and what waited of these channels is dropped.
    Dropped(Vec<ChannelName>),
}

/// Replies are kept in pieces of about this size, so that what is written gives its memory back and
/// the room that a piece keeps for more stays small.
const REPLY_PIECE_BYTES: usize = 4096;
/// The socket broke while it was written to.
#[derive(Debug)]
pub(crate) struct Broken;

/// How many pieces go into one write.
pub const MAX_PARTS: usize = 16;

impl<'a> Shared<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, shared: None }
    }

    /// Of bytes that are shared already.
    pub(crate) fn of(shared: &'a Arc<Encoded>) -> Self {
        Self { bytes: shared.bytes(), shared: Some(shared.clone()) }
    }

    /// What is shared, once it is.
    pub(crate) fn shared(&self) -> Option<&Arc<Encoded>> {
        self.shared.as_ref()
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Shares it from now on.
    pub(crate) fn share(&mut self) -> Arc<Encoded> {
        self.shared.get_or_insert_with(|| Encoded::of(self.bytes)).clone()
    }
}

impl SendQueue {
    /// Of what a write left over: `written` bytes of the reply and the flush, in this order.
    pub(crate) fn left_over(
        reply: &[u8],
        flush: Option<(&mut Shared<'_>, &ChannelName)>,
        written: usize,
    ) -> Self {
        let mut queue = Self::default();
        if written < reply.len() {
            queue.append(&reply[written..]);
        }
        if let Some((shared, channel)) = flush {
            queue.written = written.saturating_sub(reply.len());
            if queue.written == 0 {
                queue.droppable_bytes = shared.bytes.len();
            }
            queue.pieces.push_back(Piece::Flush(shared.share(), channel.clone()));
        }
        queue
    }

    /// Appends replies and, behind them, deltas. Where the replies take the room of what waits of
    /// channels, these deltas have none either: they would stand behind the gap.
    pub(crate) fn push(
        &mut self,
        reply: &[u8],
        (deltas, channel): (&mut Shared<'_>, &ChannelName),
        max_bytes: usize,
    ) -> Pushed {
        match self.push_reply(reply, max_bytes) {
            Pushed::Queued => self.push_flush(deltas, channel, max_bytes),
            Pushed::Dropped(mut channels) => {
                if !channels.contains(channel) {
                    channels.push(channel.clone());
                }
                Pushed::Dropped(channels)
            }
        }
    }

    /// Appends what is for this socket alone. Flushes give way to it.
    pub(crate) fn push_reply(&mut self, reply: &[u8], max_bytes: usize) -> Pushed {
        self.append(reply);
        if self.droppable_bytes > 0 && self.reply_bytes + self.droppable_bytes > max_bytes {
            return Pushed::Dropped(self.drop_flushes(None));
        }
        Pushed::Queued
    }

    /// Bytes of replies that wait.
    pub(crate) fn reply_bytes(&self) -> usize {
        self.reply_bytes
    }

    /// Bytes of flushes that wait, without the largest: one snapshot that the socket has begun may
    /// be as large as its channel.
    pub(crate) fn flush_bytes_without_largest(&self) -> usize {
        let sizes = self.pieces.iter().map(|piece| match piece {
            Piece::Flush(flush, _) => flush.bytes().len(),
            Piece::Reply(_) => 0,
        });
        sizes.clone().sum::<usize>() - sizes.max().unwrap_or(0)
    }

    /// Whether the last of what waits is this reply, or ends with it.
    pub(crate) fn ends_with(&self, reply: &[u8]) -> bool {
        matches!(self.pieces.back(), Some(Piece::Reply(waiting)) if waiting.ends_with(reply))
    }

    fn append(&mut self, reply: &[u8]) {
        if reply.is_empty() {
            return;
        }
        self.reply_bytes += reply.len();
        match self.pieces.back_mut() {
            Some(Piece::Reply(waiting)) if waiting.len() + reply.len() <= REPLY_PIECE_BYTES => {
                waiting.extend_from_slice(reply);
            }
            _ => self.pieces.push_back(Piece::Reply(reply.to_vec())),
        }
    }

    /// Appends deltas, or drops those that wait where that would be more than `max_bytes`.
    fn push_flush(
        &mut self,
        shared: &mut Shared<'_>,
        channel: &ChannelName,
        max_bytes: usize,
    ) -> Pushed {
        let bytes = shared.bytes.len();
        let waiting = self.reply_bytes + self.droppable_bytes;
        if waiting + bytes > max_bytes {
            return Pushed::Dropped(self.drop_flushes(Some(channel)));
        }
        self.droppable_bytes += bytes;
        self.pieces.push_back(Piece::Flush(shared.share(), channel.clone()));
        Pushed::Queued
    }

    /// Drops every flush that is not begun, and that of `also`. Returns the channels that lag now.
    pub(crate) fn drop_flushes(&mut self, also: Option<&ChannelName>) -> Vec<ChannelName> {
        let mut dropped: Vec<ChannelName> = also.cloned().into_iter().collect();
        let mut is_begun = self.written > 0;
        self.pieces.retain(|piece| {
            let keep = std::mem::take(&mut is_begun);
            match piece {
                Piece::Flush(_, channel) if !keep => {
                    if !dropped.contains(channel) {
                        dropped.push(channel.clone());
                    }
                    false
                }
                _ => true,
            }
        });
        self.droppable_bytes = 0;
        dropped
    }

    /// Writes until all is written or the socket takes no more. True once all is written.
    pub(crate) fn write_to(
        &mut self,
        mut socket: impl FnMut(&[IoSlice<'_>]) -> Wrote,
    ) -> Result<(usize, bool), Broken> {
        let mut total = 0;
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_PARTS];
            let (mut count, mut all) = (0, 0);
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                let skip = if count == 0 { self.written } else { 0 };
                *slice = IoSlice::new(&piece.bytes()[skip..]);
                all += slice.len();
                count += 1;
            }
            match socket(&slices[..count]) {
                Wrote::Bytes(written) => {
                    total += written;
                    self.taken_bytes += written;
                    self.advance(written);
                    if written < all {
                        return Ok((total, false));
                    }
                }
                Wrote::Broken => return Err(Broken),
            }
        }
        Ok((total, true))
    }

    /// Bytes that the socket has taken since it became slow, if it holds this piece.
    pub(crate) fn taken_bytes_of(&self, piece: &Weak<Encoded>) -> Option<usize> {
        let is_held = |held: &Piece| match held {
            Piece::Flush(held, _) => Arc::as_ptr(held) == piece.as_ptr(),
            Piece::Reply(_) => false,
        };
        self.pieces.iter().any(is_held).then_some(self.taken_bytes)
    }

    fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let Some(first) = self.pieces.front() else { return };
            if self.written == 0
                && let Piece::Flush(flush, _) = first
            {
                // From its first byte on it must be finished.
                self.droppable_bytes -= flush.bytes().len();
            }
            let left = first.bytes().len() - self.written;
            if written < left {
                self.written += written;
                return;
            }
            written -= left;
            self.written = 0;
            if let Some(Piece::Reply(bytes)) = self.pieces.pop_front() {
                self.reply_bytes -= bytes.len();
            }
        }
    }
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Reply(bytes) => bytes,
            Piece::Flush(flush, _) => flush.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(&format!("presence:{name}")).expect("a valid channel")
    }

    /// What a socket takes that takes so many bytes and then no more.
    fn drain(queue: &mut SendQueue, mut room: usize) -> String {
        let mut taken = Vec::new();
        let socket = |parts: &[IoSlice<'_>]| {
            let bytes = parts.iter().flat_map(|part| part.iter().copied());
            let before = taken.len();
            taken.extend(bytes.take(room));
            room -= taken.len() - before;
            Wrote::Bytes(taken.len() - before)
        };
        queue.write_to(socket).expect("this socket does not fail");
        String::from_utf8(taken).expect("text was pushed")
    }

    #[test]
    fn what_a_write_left_over_is_written_first_and_in_order() {
        let mut flush = Shared::new(b"flush");
        let mut queue = SendQueue::left_over(b"reply", Some((&mut flush, &channel("a"))), 7);
        queue.push_reply(b"-pong", 10);
        assert_eq!(drain(&mut queue, 100), "ush-pong");
    }

    #[test]
    fn deltas_beyond_the_bound_are_dropped_and_their_channels_lag() {
        let mut queue = SendQueue::left_over(b"reply", None, 2);
        let (a, b) = (channel("a"), channel("b"));
        assert_eq!(queue.push_flush(&mut Shared::new(b"12345"), &a, 13), Pushed::Queued);
        assert_eq!(queue.push_flush(&mut Shared::new(b"67890"), &b, 13), Pushed::Queued);
        let dropped = queue.push_flush(&mut Shared::new(b"x"), &a, 13);
        assert_eq!(dropped, Pushed::Dropped(vec![a, b]));
        assert_eq!(drain(&mut queue, 100), "ply");
    }

    #[test]
    fn a_begun_piece_is_finished_whatever_is_dropped() {
        let a = channel("a");
        let mut queue = SendQueue::left_over(b"", Some((&mut Shared::new(b"abcdef"), &a)), 0);
        assert_eq!(drain(&mut queue, 2), "ab");
        assert_eq!(queue.push_flush(&mut Shared::new(b"123"), &a, 4), Pushed::Queued);
        let dropped = queue.push_flush(&mut Shared::new(b"45"), &a, 4);
        assert_eq!(dropped, Pushed::Dropped(vec![a]));
        assert_eq!(drain(&mut queue, 100), "cdef");
    }

    // P6.9
    #[test]
    fn no_flush_follows_one_that_gave_way_to_a_reply() {
        let mut queue = SendQueue::left_over(b"reply", None, 2);
        let (a, b) = (channel("a"), channel("b"));
        assert_eq!(queue.push_flush(&mut Shared::new(b"join"), &a, 10), Pushed::Queued);
        let update = (&mut Shared::new(b"update"), &a);
        assert_eq!(queue.push(b"another", update, 13), Pushed::Dropped(vec![a.clone()]));
        assert_eq!(queue.push_flush(&mut Shared::new(b"x"), &a, 13), Pushed::Queued);
        let update = (&mut Shared::new(b"update"), &b);
        assert_eq!(queue.push(b"and another", update, 13), Pushed::Dropped(vec![a, b]));
        assert_eq!(drain(&mut queue, 100), "plyanotherand another");
    }

    #[test]
    fn replies_and_deltas_share_the_bound_and_deltas_give_way() {
        let a = channel("a");
        let mut queue = SendQueue::left_over(b"reply", None, 0);
        assert_eq!(queue.push_flush(&mut Shared::new(b"12345"), &a, 10), Pushed::Queued);
        assert_eq!(queue.push_reply(b"", 10), Pushed::Queued);
        assert_eq!(queue.push_reply(b"-pong", 10), Pushed::Dropped(vec![a.clone()]));
        assert_eq!(queue.push_flush(&mut Shared::new(b"1"), &a, 10), Pushed::Dropped(vec![a]));
        assert_eq!(drain(&mut queue, 100), "reply-pong");
        assert_eq!(queue.reply_bytes(), 0);
    }
}
