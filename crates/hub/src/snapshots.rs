//! Requesting the snapshots that this loop's connections wait for, each when its socket takes it
//! and its budget lets it through.

use herenow_core::{Cause, Command, Input, When};
use herenow_wire::{ChannelName, CloseCode};

use crate::api::Io;
use crate::connection::Connection;
use crate::work::Work;

impl<I: Io> Work<'_, I> {
    /// The connection subscribes from now on, a snapshot first.
    pub(crate) fn listen(&mut self, slot: u32, channel: ChannelName) {
        let request_id = self.hub.audience.listen(&channel, slot);
        if self.may_request(slot, &channel, Cause::Subscription) {
            self.command(Command::Subscribe { channel, peer: self.hub.config.me, request_id });
        } else {
            self.hub.audience.lag(&channel, slot);
        }
    }

    /// A subscriber wants a fresh snapshot. Until it is asked for, deltas come as before.
    pub(crate) fn request_again(&mut self, slot: u32, channel: ChannelName) {
        self.hub.counters.resyncs.requested += 1;
        if self.may_request(slot, &channel, Cause::Repetition) {
            self.request(slot, channel);
        }
    }

    /// The connection subscribes no more.
    pub(crate) fn unlisten(&mut self, slot: u32, channel: ChannelName) {
        if self.uncount(slot, &channel) {
            return;
        }
        self.hub.deliveries.forget(&channel, slot);
        if self.hub.connections.get(slot).is_some_and(|c| c.is_open() && !c.session.has_ended()) {
            self.hub.snapshot_requests.ended(slot, &channel, self.now);
        }
        if self.hub.audience.unlisten(&channel, slot) {
            self.command(Command::Unsubscribe { channel, peer: self.hub.config.me });
        }
    }

    /// Asks for what may be asked for now.
    pub(crate) fn request_snapshots(&mut self) {
        for slot in self.hub.held.take_waiting() {
            self.hub.snapshot_requests.wake(slot);
        }
        if !self.hub.snapshot_requests.is_ready()
            && self.now < self.hub.snapshot_requests.poll_timeout()
        {
            return;
        }
        let mut slots = Vec::new();
        self.hub.snapshot_requests.take_ready(self.now, &mut slots);
        for slot in slots {
            while self.hub.connections.get(slot).is_some_and(takes_more)
                && let Some(channel) = self.hub.snapshot_requests.next(slot, self.now)
            {
                self.request(slot, channel);
            }
        }
        self.apply_shard_effects();
    }

    /// Forgets what is not needed any more, and closes the slow sockets that hold large pieces
    /// while others wait for room.
    pub(crate) fn make_room(&mut self) {
        self.hub.snapshot_requests.sweep(self.now);
        let connections = &self.hub.connections;
        let slow = self.hub.held.poll_slow(self.now, |slot, piece| {
            connections.get(slot).and_then(|connection| connection.taken_bytes_of(piece))
        });
        for slot in slow {
            self.dispatch(slot, Input::Closed);
            self.close(slot, CloseCode::Overloaded, "read too slowly");
        }
    }

    fn may_request(&mut self, slot: u32, channel: &ChannelName, cause: Cause) -> bool {
        if !self.hub.connections.get(slot).is_some_and(takes_more) {
            self.hub.snapshot_requests.wait(slot, channel, cause, self.now);
            return false;
        }
        self.hub.snapshot_requests.request(slot, channel, cause, self.now) == When::Now
    }

    fn request(&mut self, slot: u32, channel: ChannelName) {
        let request_id = match self.hub.audience.catch_up(&channel, slot) {
            None => self.hub.audience.request_again(&channel, slot),
            lagged => lagged,
        };
        if let Some(request_id) = request_id {
            self.command(Command::Subscribe { channel, peer: self.hub.config.me, request_id });
        }
    }
}

/// Whether a snapshot would be the first that the socket is to take.
fn takes_more(connection: &Connection) -> bool {
    connection.is_open() && !connection.has_send_queue()
}
