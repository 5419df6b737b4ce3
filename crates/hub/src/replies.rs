//! This turn's replies, one buffer per connection that has any. A flush of the same turn takes
//! them along in its own write; the rest is written at the end. The buffers are used again.

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    buffers: Vec<Vec<u8>>,
    slots: Vec<u32>,
}

/// Where this turn's replies to one connection are collected, if there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BufferIndex(u32);

/// Buffers larger than this are given back after the turn.
const KEPT_BYTES: usize = 4096;
/// Buffers kept for the next turn.
const KEPT_BUFFERS: usize = 64;

impl BufferIndex {
    /// There are none.
    pub(crate) const NONE: Self = Self(u32::MAX);
}

impl Replies {
    /// Where replies to the connection in `slot` go this turn.
    pub(crate) fn to(&mut self, slot: u32, place: &mut BufferIndex) -> &mut Vec<u8> {
        if *place == BufferIndex::NONE {
            *place = BufferIndex(self.slots.len() as u32);
            self.slots.push(slot);
            if self.buffers.len() < self.slots.len() {
                self.buffers.push(Vec::new());
            }
        }
        &mut self.buffers[place.0 as usize]
    }

    /// Takes back what was appended behind `start` where it repeats what is sent just before it.
    /// `queue_ends_with` looks at what waited before this turn.
    pub(crate) fn drop_repeated(
        buffer: &mut Vec<u8>,
        start: usize,
        queue_ends_with: impl FnOnce(&[u8]) -> bool,
    ) {
        let (before, new) = buffer.split_at(start);
        if before.ends_with(new) || before.is_empty() && queue_ends_with(new) {
            buffer.truncate(start);
        }
    }

    /// What waits there.
    pub(crate) fn of(&self, place: BufferIndex) -> &[u8] {
        self.buffers.get(place.0 as usize).map_or(&[], Vec::as_slice)
    }

    /// They have been sent.
    pub(crate) fn clear_of(&mut self, place: BufferIndex) {
        if let Some(buffer) = self.buffers.get_mut(place.0 as usize) {
            buffer.clear();
        }
    }

    /// How many connections have replies of this turn.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Who may still have something to be sent.
    pub(crate) fn take_slots(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.slots)
    }

    /// Ends the turn. `slots` is what [`Replies::take_slots`] gave, for its memory.
    pub(crate) fn end_turn(&mut self, mut slots: Vec<u32>) {
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
