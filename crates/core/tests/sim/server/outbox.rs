//! What a simulated socket has not taken yet: the server's rule of what is dropped and what is not.

use std::collections::VecDeque;

use herenow_wire::ChannelName;

/// See the module.
#[derive(Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    /// Whether some of the first piece is written: from its first byte on it must be finished.
    is_begun: bool,
    lagging: Vec<ChannelName>,
}

struct Piece {
    bytes: Vec<u8>,
    /// `None` for a reply, which is never dropped.
    of: Option<ChannelName>,
}

impl Outbox {
    /// Whether it owes nothing: only then may the socket be written to past it.
    pub fn is_at_rest(&self) -> bool {
        self.is_written() && self.lagging.is_empty()
    }

    pub fn is_written(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes of flushes that wait.
    pub fn flush_bytes(&self) -> usize {
        self.pieces.iter().filter(|piece| piece.of.is_some()).map(|piece| piece.bytes.len()).sum()
    }

    /// Bytes of replies that wait. Who lets them grow is read no more.
    pub fn reply_bytes(&self) -> usize {
        self.pieces.iter().filter(|piece| piece.of.is_none()).map(|piece| piece.bytes.len()).sum()
    }

    pub fn push_reply(&mut self, bytes: Vec<u8>) {
        self.pieces.push_back(Piece { bytes, of: None });
    }

    /// Appends part of a flush. Returns the channels that lag now, where it would not fit.
    pub fn push_flush(
        &mut self,
        bytes: &[u8],
        channel: &ChannelName,
        max_bytes: usize,
    ) -> Vec<ChannelName> {
        let droppable = self.droppable_bytes();
        if droppable > 0 && droppable + bytes.len() > max_bytes {
            return self.drop_flushes(Some(channel));
        }
        self.pieces.push_back(Piece { bytes: bytes.to_vec(), of: Some(channel.clone()) });
        Vec::new()
    }

    pub fn drop_flushes(&mut self, also: Option<&ChannelName>) -> Vec<ChannelName> {
        let mut dropped: Vec<ChannelName> = also.cloned().into_iter().collect();
        let mut is_begun = self.is_begun;
        self.pieces.retain(|piece| {
            let keep = std::mem::take(&mut is_begun);
            match &piece.of {
                Some(channel) if !keep => {
                    dropped.push(channel.clone());
                    false
                }
                _ => true,
            }
        });
        dropped.sort();
        dropped.dedup();
        self.lagging.extend(dropped.iter().cloned());
        dropped
    }

    /// Takes out what there is room for.
    pub fn write(&mut self, room: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while written.len() < room
            && let Some(piece) = self.pieces.front_mut()
        {
            let count = piece.bytes.len().min(room - written.len());
            written.extend(piece.bytes.drain(..count));
            self.is_begun = !piece.bytes.is_empty();
            if !self.is_begun {
                self.pieces.pop_front();
            }
        }
        written
    }

    /// The channels that are owed a snapshot now that the socket has drained.
    pub fn take_lagging(&mut self) -> Vec<ChannelName> {
        std::mem::take(&mut self.lagging)
    }

    fn droppable_bytes(&self) -> usize {
        let unbegun = self.pieces.iter().skip(usize::from(self.is_begun));
        unbegun.filter(|piece| piece.of.is_some()).map(|piece| piece.bytes.len()).sum()
    }
}
