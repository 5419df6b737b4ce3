//! This turn's replies, one buffer per connection that has any. A flush of the same turn takes
//! them along in its own write; the rest is written at the end. The buffers are used again.

use super::connection::{Connection, NO_REPLY};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Replies {
    buffers: Vec<Vec<u8>>,
    slots: Vec<u32>,
}

/// Buffers larger than this are given back after the turn.
const KEPT_BYTES: usize = 4096;
/// Buffers kept for the next turn.
const KEPT_BUFFERS: usize = 64;

impl Replies {
    /// Where replies to the connection in `slot` go this turn.
    pub(super) fn to(&mut self, slot: u32, connection: &mut Connection) -> &mut Vec<u8> {
        if connection.reply == NO_REPLY {
            connection.reply = self.slots.len() as u32;
            self.slots.push(slot);
            if self.buffers.len() < self.slots.len() {
                self.buffers.push(Vec::new());
            }
        }
        &mut self.buffers[connection.reply as usize]
    }

    /// What waits for `connection`.
    pub(super) fn of(&self, connection: &Connection) -> &[u8] {
        self.buffers.get(connection.reply as usize).map_or(&[], Vec::as_slice)
    }

    /// They have been sent.
    pub(super) fn clear_of(&mut self, connection: &Connection) {
        if let Some(buffer) = self.buffers.get_mut(connection.reply as usize) {
            buffer.clear();
        }
    }

    /// Who may still have something to be sent.
    pub(super) fn take_slots(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.slots)
    }

    /// Ends the turn. `slots` is what [`Replies::take_slots`] gave, for its memory.
    pub(super) fn end_turn(&mut self, mut slots: Vec<u32>) {
        let used = slots.len().min(self.buffers.len());
        for buffer in &mut self.buffers[..used] {
            buffer.clear();
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
        self.buffers.truncate(KEPT_BUFFERS.max(self.slots.len()));
        if self.slots.is_empty() {
            slots.clear();
            self.slots = slots;
        }
    }
}
