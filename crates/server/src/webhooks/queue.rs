//! What waits for one endpoint. Bounded: the oldest gives way, and the receiver is told that
//! something is missing.

use std::collections::VecDeque;

use super::event::Event;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    /// Events that have given way since the last gap was told.
    dropped: u64,
    /// The newest event says that events are missing.
    ends_with_gap: bool,
}

/// Events that wait for one endpoint.
pub(super) const MAX_EVENTS: usize = 10_000;

/// Bytes of them. States are at most 1 KB.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Events of one message.
pub(super) const MAX_BATCH: usize = 100;

impl Queue {
    /// Events are missing here. Nothing is added if the newest event says so already. Returns how many
    /// events had to give way.
    pub(super) fn push_gap(&mut self, gap: impl FnOnce() -> Event) -> u64 {
        if self.ends_with_gap {
            return 0;
        }
        let dropped = self.push(gap());
        self.ends_with_gap = true;
        dropped
    }

    /// Returns how many events had to give way.
    pub(super) fn push(&mut self, event: Event) -> u64 {
        self.ends_with_gap = false;
        self.bytes += event.json().len();
        self.events.push_back(event);
        let mut dropped = 0;
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.json().len();
            dropped += 1;
        }
        self.dropped += dropped;
        dropped
    }

    /// The next message's events; `gap` makes the event that says how many are missing before them.
    pub(super) fn take_batch(&mut self, gap: impl FnOnce(u64) -> Event) -> Vec<Event> {
        let mut batch = Vec::new();
        if self.dropped > 0 {
            batch.push(gap(std::mem::take(&mut self.dropped)));
        }
        while batch.len() < MAX_BATCH
            && let Some(event) = self.events.pop_front()
        {
            self.bytes -= event.json().len();
            batch.push(event);
        }
        // One that comes after a gap was sent is news.
        self.ends_with_gap &= !self.events.is_empty();
        batch
    }

    /// A message was given up after all its tries.
    pub(super) fn note_dropped(&mut self, events: u64) {
        self.dropped += events;
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Nothing is sent any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::event::Numbering;

    #[test]
    fn above_the_bound_the_oldest_give_way_and_one_gap_says_so() {
        let numbering = Numbering::new(1, None);
        let mut queue = Queue::default();
        for n in 0..MAX_EVENTS as u64 {
            assert_eq!(queue.push(numbering.gap(n)), 0);
        }
        assert_eq!((queue.push(numbering.gap(7)), queue.push(numbering.gap(8))), (1, 1));
        assert_eq!(queue.len(), MAX_EVENTS);
        let batch = queue.take_batch(|dropped| numbering.gap(dropped));
        assert_eq!(batch.len(), MAX_BATCH);
        assert!(batch[0].json().contains(r#""dropped":2"#), "{batch:?}");
        assert!(batch[1].json().contains("evt_1_2\""), "two have given way: {batch:?}");
        let next = queue.take_batch(|_| unreachable!("it has been told"));
        assert!(next[0].json().contains("evt_1_101\""), "in order: {:?}", next[0]);
    }

    #[test]
    fn a_queue_has_a_bound_in_bytes() {
        let numbering = Numbering::new(1, None);
        let mut queue = Queue::default();
        let event = numbering.server_started();
        queue.bytes = MAX_BYTES - event.json().len();
        assert_eq!(queue.push(event.clone()), 0);
        assert_eq!(queue.push(event), 1, "the oldest gives way");
    }

    #[test]
    fn a_gap_that_follows_a_gap_says_nothing_more() {
        let numbering = Numbering::new(1, None);
        let mut queue = Queue::default();
        let is_told = |queue: &mut Queue| {
            let before = queue.len();
            queue.push_gap(|| numbering.gap(0));
            queue.len() > before
        };
        assert!(is_told(&mut queue));
        assert!(!is_told(&mut queue), "nothing was announced between the two");
        queue.push(numbering.server_started());
        assert!(is_told(&mut queue));
        queue.take_batch(|dropped| numbering.gap(dropped));
        assert!(is_told(&mut queue), "the one before may have been read already");
    }
}
