//! How the connections of a node that leaves the others are closed: one after the other, so that the
//! other nodes can take them. What a connection shows leaves, or keeps its grace, as if its socket had broken.

use std::time::Duration;

use herenow_core::{Input, Instant};

use crate::api::Io;
use crate::work::Work;

/// Which connections are to be closed, and when.
#[derive(Debug)]
pub(crate) struct Draining {
    slots: Vec<u32>,
    /// How many of them have been.
    closed: usize,
    from: Instant,
    over: Duration,
}

/// When a client is asked to come back, at most. Other nodes are ready for it.
const RETURN_WITHIN: Duration = Duration::from_secs(1);

impl Draining {
    /// When the next connection is closed.
    pub(crate) fn poll_timeout(&self) -> Instant {
        match self.slots.len() {
            count if self.closed < count => {
                self.from + self.over.mul_f64(self.closed as f64 / count as f64)
            }
            _ => Instant::NEVER,
        }
    }

    fn next(&mut self, now: Instant) -> Option<u32> {
        if now < self.poll_timeout() {
            return None;
        }
        self.closed += 1;
        self.slots.get(self.closed - 1).copied()
    }
}

impl<I: Io> Work<'_, I> {
    /// Every connection is closed, evenly over this time, and new ones at once.
    pub(crate) fn begin_draining(&mut self, over: Duration) {
        let slots = self.hub.connections.slots();
        let draining = Draining { slots, closed: 0, from: self.now, over };
        self.hub.draining.get_or_insert_with(|| Box::new(draining));
    }

    /// Closes the connections whose time has come.
    pub(crate) fn drain_connections(&mut self) {
        while let Some(slot) = self.hub.draining.as_mut().and_then(|one| one.next(self.now)) {
            self.send_away(slot);
        }
    }

    fn send_away(&mut self, slot: u32) {
        if !self.hub.connections.get(slot).is_some_and(|one| one.is_open()) {
            return;
        }
        self.socket_lost(slot, Input::SocketLost);
        self.close_for_restart(slot, RETURN_WITHIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_closed_evenly_over_the_time() {
        let at = |ms: u64| Instant::from_micros(ms * 1_000);
        let over = Duration::from_millis(400);
        let mut draining = Draining { slots: vec![7, 5, 9, 2], closed: 0, from: at(1_000), over };
        let mut closed_at = Vec::new();
        while draining.poll_timeout() != Instant::NEVER {
            let due = draining.poll_timeout();
            let slot = draining.next(due).expect("it is due");
            assert_eq!(draining.next(due), None, "one at a time");
            closed_at.push((due.as_millis(), slot));
        }
        assert_eq!(closed_at, [(1_000, 7), (1_100, 5), (1_200, 9), (1_300, 2)]);
    }
}
