//! Every deadline of a hub, and what is done when it has come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use herenow_core::{Due, Input, Instant, SCAN_EVERY};

use crate::api::Io;
use crate::connection::Phase;
use crate::hub::Hub;
use crate::work::Work;

/// See the module. In the order in which they are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// When to tell a session that its next deadline has come, if that is sooner than the next scan
    /// would see it: joins that the rate held back.
    Session,
    /// When to take the next member away whose grace is over.
    Grace,
    /// When to take the next field out of a member's state.
    Field,
    /// When to look everything over: leases, the far deadlines of sessions, sockets that linger,
    /// the leases of channels, reviews, and the deadlines of shards.
    Scan,
    /// When to ask for a snapshot that a connection's budget has held back.
    SnapshotRequest,
    /// When to flush the channel that is due next.
    Flush,
    /// When to look at a channel that is counted, or to tell its count to a socket that was not ready.
    Count,
    /// When a hub that shuts down stops waiting, or closes the next connection before it does.
    Shutdown,
}

/// The near deadlines of sessions, soonest first.
pub(crate) type NearDeadlines = BinaryHeap<Reverse<(Instant, u32)>>;

impl Deadline {
    pub(crate) const ALL: [Self; 8] = [
        Self::Session,
        Self::Grace,
        Self::Field,
        Self::Scan,
        Self::SnapshotRequest,
        Self::Flush,
        Self::Count,
        Self::Shutdown,
    ];
}

impl Hub {
    /// When a deadline comes next. Inlined, so that a known deadline costs one comparison.
    #[inline]
    pub(crate) fn next(&self, deadline: Deadline) -> Instant {
        match deadline {
            Deadline::Session => self.near_deadlines.peek().map_or(Instant::NEVER, |next| next.0.0),
            Deadline::Grace => self.detached.poll_timeout(),
            Deadline::Field => self.expiring.poll_timeout(),
            Deadline::Scan => self.leases.poll_timeout(),
            Deadline::SnapshotRequest => self.snapshot_requests.poll_timeout(),
            Deadline::Flush => self.shards.poll_timeout(),
            Deadline::Count => self.counts.poll_timeout(),
            Deadline::Shutdown => {
                let end = self.shutdown_deadline.unwrap_or(Instant::NEVER);
                let next = self.draining.as_ref().map(|draining| draining.poll_timeout());
                next.map_or(end, |next| next.min(end))
            }
        }
    }
}

impl<I: Io> Work<'_, I> {
    /// Does what a deadline is for, if it has come.
    #[inline]
    pub(crate) fn handle_deadline(&mut self, deadline: Deadline) {
        if self.now < self.hub.next(deadline) {
            return;
        }
        match deadline {
            Deadline::Session => self.handle_near_deadlines(),
            Deadline::Grace => self.end_graces(),
            Deadline::Field => self.end_fields(),
            Deadline::Scan => self.scan(),
            // These have a place of their own in the turn, after all that may change a channel or
            // wake a request. The shell asks `Hub::has_ended`.
            Deadline::SnapshotRequest | Deadline::Flush | Deadline::Count => {}
            Deadline::Shutdown => self.drain_connections(),
        }
    }

    fn handle_near_deadlines(&mut self) {
        while let Some(Reverse((due, slot))) = self.hub.near_deadlines.peek().copied()
            && due <= self.now
        {
            self.hub.near_deadlines.pop();
            if let Some(connection) = self.hub.connections.get_mut(slot) {
                connection.has_near_deadline = false;
                self.dispatch(slot, Input::Timeout);
            }
        }
    }

    fn scan(&mut self) {
        let mut dues = std::mem::take(&mut self.hub.dues);
        self.hub.leases.scan(self.now, &mut dues);
        for due in dues.drain(..) {
            match due {
                Due::Ping(slot) => self.ping(slot),
                Due::Ended(slot) => self.lease_ended(slot),
                Due::Deadline(slot) => self.handle_far_deadline(slot),
            }
        }
        self.hub.dues = dues;
        self.scan_channel_leases();
        self.make_room();
        self.end_keyed_members();
        self.hub.policy.kicks_mut().forget_ended(self.now);
        if let Some(history) = &mut self.hub.history {
            history.forget_old(self.now);
        }
        self.hub.reviews.retry();
        let hibernate_after = self.hub.config.hibernate_after;
        self.hub.shards.handle_timeout(self.now, hibernate_after, &mut self.hub.shard_effects);
        self.apply_shard_effects();
    }

    /// Every lease and every grace is longer by a pause of the process, once.
    pub(crate) fn extend_graces_by_pause(&mut self) {
        let pause = self.hub.leases.pause(self.now);
        if !pause.is_zero() {
            self.extend_graces(pause);
            self.note_pause(pause);
            self.hub.keyed_members.extend(pause);
        }
    }

    fn lease_ended(&mut self, slot: u32) {
        let is_open = self.hub.connections.get(slot).is_some_and(|c| c.is_open());
        if is_open {
            self.dispatch(slot, Input::LeaseEnded);
        } else {
            self.mark_dead(slot);
        }
    }

    /// A deadline of the session, or the end of a closed socket's time to linger.
    fn handle_far_deadline(&mut self, slot: u32) {
        match self.hub.connections.get(slot).map(|connection| connection.phase) {
            Some(Phase::Open) => self.dispatch(slot, Input::Timeout),
            Some(Phase::Closing) => self.mark_dead(slot),
            Some(Phase::Dead) | None => {}
        }
    }

    /// A far deadline costs nothing; a near one is met to the millisecond.
    pub(crate) fn note_deadline(&mut self, slot: u32) {
        let Some(connection) = self.hub.connections.get_mut(slot) else { return };
        if !connection.is_open() {
            return;
        }
        let deadline = connection.session.poll_timeout(&self.hub.config.limits);
        if deadline > self.now + SCAN_EVERY {
            self.hub.leases.set_deadline(slot, deadline);
        } else if !connection.has_near_deadline {
            connection.has_near_deadline = true;
            self.hub.near_deadlines.push(Reverse((deadline, slot)));
        }
    }

    /// How long a connection that has been closed may linger.
    pub(crate) fn linger(&mut self, slot: u32) {
        self.hub.leases.set_deadline(slot, self.now + LINGER);
    }
}

/// Long enough for a peer to read the close frame and close first.
const LINGER: Duration = Duration::from_secs(2);
