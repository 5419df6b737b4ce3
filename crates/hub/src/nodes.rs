//! What a hub does for a node that is one of several, beyond what its shards do.

use herenow_core::{From, Input, NodeEvent, is_up_to};
use herenow_wire::link::Item;
use herenow_wire::{CloseCode, ConnectionId};

use crate::api::Io;
use crate::history::SocketEnd;
use crate::kicking::Removal;
use crate::mail::Mail;
use crate::work::Work;

/// So many kicks are told to a node that joins: those that end last. A link keeps no more.
const MOST_KICKS_TOLD: usize = 32 * 1024;
const KICKS_AT_ONCE: usize = 1024;

impl<I: Io> Work<'_, I> {
    /// The exchange says something of other nodes.
    pub(crate) fn take_node_events(&mut self, events: Vec<NodeEvent>) {
        let mut has_moved = false;
        for event in events {
            has_moved |= matches!(event, NodeEvent::Out { .. } | NodeEvent::Moved { .. });
            let joined = match &event {
                NodeEvent::Joined(nodes) => nodes.clone(),
                _ => Vec::new(),
            };
            let (now, effects) = (self.now, &mut self.hub.shard_effects);
            self.hub.shards.handle_node_event(event, now, effects);
            self.apply_shard_effects();
            self.lose_taken();
            self.tell_kicks(&joined);
            self.take_kicks();
        }
        if has_moved {
            self.forget_moved();
        }
        self.follow_opened();
    }

    /// Nodes that have joined are to keep out whom this one keeps out.
    fn tell_kicks(&mut self, joined: &[From]) {
        if joined.is_empty() {
            return;
        }
        let kicks = self.hub.policy.kicks().in_force(MOST_KICKS_TOLD, self.now);
        for node in joined {
            for kicks in kicks.chunks(KICKS_AT_ONCE) {
                let items = kicks.iter().cloned().map(Item::Kick).collect();
                self.hub.shards.send(node.peer, items);
            }
        }
    }

    fn take_kicks(&mut self) {
        for kick in self.hub.shards.take_kicks() {
            // One that finds no room is in force on the other nodes.
            if let Ok(true) = self.hub.policy.kicks_mut().take_in(&kick, self.now) {
                self.hub.requests.remove(Removal::of_another_node(kick));
            }
        }
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
