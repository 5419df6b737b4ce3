//! What a socket has not taken yet. Exists only while a socket is slow; bounded. Deltas beyond the
//! bound are dropped, and one snapshot takes their place when the socket drains. Replies and
//! begun pieces are never dropped: half a frame would end the conversation. Once replies alone
//! reach the bound, the socket is read no more.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::sync::Arc;

use herenow_wire::ChannelName;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Piece>,
    /// How much of the first piece is written.
    written: usize,
    /// Bytes of the replies. A piece that is begun counts whole: its memory is held until its end.
    reply_bytes: usize,
    /// Bytes of the pieces that may still be dropped.
    droppable_bytes: usize,
    /// Channels whose deltas were dropped: each is owed a snapshot once the socket has drained.
    lagging: Vec<ChannelName>,
}

#[derive(Debug)]
enum Piece {
    /// For this socket alone.
    Reply(Vec<u8>),
    /// Part of a channel's flush, shared by all who are slow.
    Flush(Arc<[u8]>, ChannelName),
}

/// Bytes that many sockets are sent. Shared only from when the first of them is slow.
pub(crate) struct Shared<'a> {
    bytes: &'a [u8],
    shared: Option<Arc<[u8]>>,
}

/// What became of a flush that was pushed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Waits,
    /// It would not fit: it and what waited of these channels is dropped.
    Dropped(Vec<ChannelName>),
}

/// Replies are kept in pieces of about this size, so that what is written gives its memory back and
/// the room that a piece keeps for more stays small.
const REPLY_PIECE_BYTES: usize = 4096;
/// How many pieces go into one write.
const PIECES_PER_WRITE: usize = 16;

impl Pushed {
    /// What became of two pushes, one after the other.
    pub(crate) fn and(self, next: Self) -> Self {
        match (self, next) {
            (Pushed::Waits, pushed) | (pushed, Pushed::Waits) => pushed,
            (Pushed::Dropped(mut channels), Pushed::Dropped(more)) => {
                channels.extend(more);
                Pushed::Dropped(channels)
            }
        }
    }
}

impl<'a> Shared<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, shared: None }
    }

    /// Of bytes that are shared already.
    pub(crate) fn of(shared: &'a Arc<[u8]>) -> Self {
        Self { bytes: shared, shared: Some(shared.clone()) }
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn share(&mut self) -> Arc<[u8]> {
        self.shared.get_or_insert_with(|| Arc::from(self.bytes)).clone()
    }
}

impl Outbox {
    /// Of what a write left over: `written` bytes of the reply and the flush, in this order.
    pub(crate) fn left_over(
        reply: &[u8],
        flush: Option<(&mut Shared<'_>, &ChannelName)>,
        written: usize,
    ) -> Self {
        let mut outbox = Self::default();
        if written < reply.len() {
            outbox.append(&reply[written..]);
        }
        if let Some((shared, channel)) = flush {
            outbox.written = written.saturating_sub(reply.len());
            if outbox.written == 0 {
                outbox.droppable_bytes = shared.bytes.len();
            }
            outbox.pieces.push_back(Piece::Flush(shared.share(), channel.clone()));
        }
        outbox
    }

    /// Appends what is for this socket alone. Flushes give way to it.
    pub(crate) fn push_reply(&mut self, reply: &[u8], max_bytes: usize) -> Pushed {
        self.append(reply);
        if self.droppable_bytes > 0 && self.reply_bytes + self.droppable_bytes > max_bytes {
            return Pushed::Dropped(self.drop_flushes(None));
        }
        Pushed::Waits
    }

    /// Bytes of replies that wait.
    pub(crate) fn reply_bytes(&self) -> usize {
        self.reply_bytes
    }

    /// Whether the last of what waits is this reply, or ends with it.
    pub(crate) fn ends_with(&self, reply: &[u8]) -> bool {
        matches!(self.pieces.back(), Some(Piece::Reply(waiting)) if waiting.ends_with(reply))
    }

    /// Bytes of memory that it holds for itself alone.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        let replies = self.pieces.iter().map(|piece| match piece {
            Piece::Reply(bytes) => bytes.capacity(),
            Piece::Flush(..) => 0,
        });
        replies.sum::<usize>() + self.pieces.capacity() * size_of::<Piece>() + size_of::<Self>()
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

    /// Appends part of a flush, or drops what waits where that would be more than `max_bytes`. One
    /// piece is let in however large: else a snapshot over the bound would be dropped for ever.
    pub(crate) fn push_flush(
        &mut self,
        shared: &mut Shared<'_>,
        channel: &ChannelName,
        max_bytes: usize,
    ) -> Pushed {
        if self.lagging.contains(channel) {
            // What came before it was dropped a moment ago, to make room for a reply.
            return Pushed::Dropped(vec![channel.clone()]);
        }
        let bytes = shared.bytes.len();
        let waiting = self.reply_bytes + self.droppable_bytes;
        if self.droppable_bytes > 0 && waiting + bytes > max_bytes {
            return Pushed::Dropped(self.drop_flushes(Some(channel)));
        }
        self.droppable_bytes += bytes;
        self.pieces.push_back(Piece::Flush(shared.share(), channel.clone()));
        Pushed::Waits
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
        for channel in &dropped {
            if !self.lagging.contains(channel) {
                self.lagging.push(channel.clone());
            }
        }
        dropped
    }

    /// Writes until all is written or the socket takes no more. True once all is written.
    pub(crate) fn write_to(&mut self, mut socket: impl Write) -> io::Result<(usize, bool)> {
        let mut total = 0;
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                let skip = if count == 0 { self.written } else { 0 };
                *slice = IoSlice::new(&piece.bytes()[skip..]);
                count += 1;
            }
            match socket.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    total += written;
                    self.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((total, false));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok((total, true))
    }

    /// The channels that are owed a snapshot now that the socket has drained.
    pub(crate) fn into_lagging(self) -> Vec<ChannelName> {
        self.lagging
    }

    fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let Some(first) = self.pieces.front() else { return };
            if self.written == 0
                && let Piece::Flush(bytes, _) = first
            {
                // From its first byte on it must be finished.
                self.droppable_bytes -= bytes.len();
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
            Piece::Flush(bytes, _) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(&format!("presence:{name}")).expect("a valid channel")
    }

    /// A socket that takes so many bytes and then no more.
    struct Socket {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Socket {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.room);
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn drain(outbox: &mut Outbox, room: usize) -> String {
        let mut socket = Socket { room, taken: Vec::new() };
        outbox.write_to(&mut socket).expect("this socket does not fail");
        String::from_utf8(socket.taken).expect("text was pushed")
    }

    #[test]
    fn what_a_write_left_over_is_written_first_and_in_order() {
        let mut flush = Shared::new(b"flush");
        let mut outbox = Outbox::left_over(b"reply", Some((&mut flush, &channel("a"))), 7);
        outbox.push_reply(b"-pong", 10);
        assert_eq!(drain(&mut outbox, 100), "ush-pong");
    }

    #[test]
    fn deltas_beyond_the_bound_are_dropped_and_their_channels_lag() {
        let mut outbox = Outbox::left_over(b"reply", None, 2);
        let (a, b) = (channel("a"), channel("b"));
        assert_eq!(outbox.push_flush(&mut Shared::new(b"12345"), &a, 13), Pushed::Waits);
        assert_eq!(outbox.push_flush(&mut Shared::new(b"67890"), &b, 13), Pushed::Waits);
        let dropped = outbox.push_flush(&mut Shared::new(b"x"), &a, 13);
        assert_eq!(dropped, Pushed::Dropped(vec![a.clone(), b.clone()]));
        assert_eq!(drain(&mut outbox, 100), "ply");
        assert_eq!(outbox.into_lagging(), [a, b]);
    }

    // P6.9
    #[test]
    fn no_flush_follows_one_that_gave_way_to_a_reply() {
        let mut outbox = Outbox::left_over(b"reply", None, 2);
        let a = channel("a");
        assert_eq!(outbox.push_flush(&mut Shared::new(b"join"), &a, 10), Pushed::Waits);
        let by_reply = outbox.push_reply(b"another", 10);
        assert_eq!(by_reply, Pushed::Dropped(vec![a.clone()]));
        let by_flush = outbox.push_flush(&mut Shared::new(b"update"), &a, 100);
        assert_eq!(by_flush, Pushed::Dropped(vec![a.clone()]));
        assert_eq!(drain(&mut outbox, 100), "plyanother");
        assert_eq!(outbox.into_lagging(), [a]);
    }

    #[test]
    fn a_begun_piece_is_finished_whatever_is_dropped() {
        let a = channel("a");
        let mut outbox = Outbox::left_over(b"", Some((&mut Shared::new(b"abcdef"), &a)), 0);
        assert_eq!(drain(&mut outbox, 2), "ab");
        assert_eq!(outbox.push_flush(&mut Shared::new(b"123"), &a, 4), Pushed::Waits);
        let dropped = outbox.push_flush(&mut Shared::new(b"45"), &a, 4);
        assert_eq!(dropped, Pushed::Dropped(vec![a]));
        assert_eq!(drain(&mut outbox, 100), "cdef");
    }

    #[test]
    fn one_piece_is_let_in_however_large() {
        let a = channel("a");
        let mut outbox = Outbox::left_over(b"r", None, 0);
        assert_eq!(outbox.push_flush(&mut Shared::new(&[b'x'; 100]), &a, 10), Pushed::Waits);
        assert_eq!(drain(&mut outbox, 200).len(), 101);
    }
}
