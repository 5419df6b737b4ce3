//! What a hub does for a node that is one of several, beyond what its shards do.

use herenow_core::{Input, NodeEvent, is_up_to};
use herenow_wire::{CloseCode, ConnectionId};

use crate::api::Io;
use crate::history::SocketEnd;
use crate::mail::Mail;
use crate::work::Work;

impl<I: Io> Work<'_, I> {
    /// The exchange says something of other nodes.
    pub(crate) fn take_node_events(&mut self, events: Vec<NodeEvent>) {
        let mut has_moved = false;
        for event in events {
            has_moved |= matches!(event, NodeEvent::Out { .. } | NodeEvent::Moved { .. });
            let (now, effects) = (self.now, &mut self.hub.shard_effects);
            self.hub.shards.handle_node_event(event, now, effects);
            self.apply_shard_effects();
            self.lose_taken();
        }
        if has_moved {
            self.forget_moved();
        }
        self.follow_opened();
    }

    /// What is for other nodes goes to the exchange, after what was applied of theirs has been told.
    #[inline]
    pub(crate) fn send_node_mail(&mut self) {
        let (shards, deliveries) = (&mut self.hub.shards, &self.hub.deliveries);
        shards.tell_nodes(|channel| deliveries.is_postponed(channel));
        if let Some((from, mail)) = self.hub.shards.take_node_mail() {
            self.io.post_to_nodes(from, mail);
        }
    }

    /// Connections have come back at another node: wherever they are here, their sessions are over.
    pub(crate) fn lose_taken(&mut self) {
        for (connection, generation) in self.hub.shards.take_taken() {
            self.take_from_all(connection, generation);
        }
    }

    /// Ends the sessions of a connection on all hubs, up to this generation.
    pub(crate) fn take_from_all(&mut self, connection: ConnectionId, generation: u32) {
        let mail = || Mail::Taken { connection, generation };
        self.hub.outgoing.push_to_others(self.hub.config.me, mail);
        self.lose_connection(connection, generation);
    }

    /// A later socket vouches for a connection. That which it has here is closed; what it shows in channels where
    /// the later one has not shown it yet keeps its grace, as if the socket had broken.
    pub(crate) fn lose_connection(&mut self, connection: ConnectionId, generation: u32) {
        self.hub.keyed_members.lose(connection, generation);
        for slot in self.hub.connections.slots_of(connection) {
            let is_lost =
                self.hub.connections.get(slot).is_some_and(|one| {
                    is_up_to(one.session.generation(), generation) && one.is_open()
                });
            if is_lost {
                self.socket_lost(slot, Input::SocketLost);
                self.note_end(slot, SocketEnd::TakenOver);
                self.close(slot, CloseCode::GoingAway, "resumed on another connection");
            }
        }
    }
}
