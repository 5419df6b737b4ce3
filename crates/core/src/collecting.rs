//! A channel whose map was lost and is being rebuilt: who must still answer, and what has been
//! sent meanwhile. Changes are held back until all have answered or the time is over.

use std::collections::HashMap;
use std::time::Duration;

use herenow_wire::ConnectionId;

use crate::change::{Member, Owner, Snapshot};
use crate::channel::{Channel, Put};
use crate::command::Connectivity;
use crate::hash::ById;
use crate::oldest_first::OldestFirst;
use crate::time::Instant;

/// How long a channel waits for the clients that were in its lost map.
pub const COLLECT_FOR: Duration = Duration::from_secs(2);

/// Who was in a lost map, and who vouched for them.
pub(crate) type Trackers = HashMap<ConnectionId, Owner, ById>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Collecting {
    awaited: Trackers,
    /// What was sent again, with its place in the order of sending.
    held: HashMap<ConnectionId, (u64, Put), ById>,
    /// Those of `held` whose connection has no socket at present.
    detached: OldestFirst,
    sent: u64,
    until: Instant,
}

/// Everybody who is in a channel.
pub(crate) fn trackers_in(channel: &Channel) -> Trackers {
    channel.snapshot().members.iter().map(|member| (member.connection, member.owner)).collect()
}

/// The connections that `owner` vouches for, in a fixed order.
pub(crate) fn owned_by(trackers: &Trackers, owner: Owner) -> Vec<ConnectionId> {
    let mut owned: Vec<ConnectionId> = trackers
        .iter()
        .filter(|(_, of)| **of == owner)
        .map(|(connection, _)| *connection)
        .collect();
    owned.sort_unstable();
    owned
}

impl Collecting {
    pub(crate) fn new(awaited: Trackers, now: Instant) -> Self {
        Self {
            awaited,
            held: HashMap::default(),
            detached: OldestFirst::default(),
            sent: 0,
            until: now + COLLECT_FOR,
        }
    }

    /// More who were in the lost map. Who has answered already is not waited for again.
    pub(crate) fn await_also(&mut self, more: Vec<(ConnectionId, Owner)>) {
        let unanswered = more.into_iter().filter(|(id, _)| !self.held.contains_key(id));
        self.awaited.extend(unanswered);
    }

    /// Keeps what a connection shows, its newest. False if a connection that was not in it would take the map above
    /// `max_members`, the places of those that have yet to answer being taken. A detached member
    /// gives way to a new one that has a socket.
    pub(crate) fn hold(
        &mut self,
        put: Put,
        max_members: usize,
        connectivity: Connectivity,
    ) -> bool {
        let connection = put.connection;
        let was_here = self.awaited.remove(&connection).is_some();
        if !was_here && !self.held.contains_key(&connection) {
            let is_full = |one: &Self| one.awaited.len() + one.held.len() >= max_members;
            while connectivity == Connectivity::Connected
                && is_full(self)
                && let Some(oldest) = self.detached.oldest()
            {
                self.detached.remove(oldest);
                self.held.remove(&oldest);
            }
            if is_full(self) {
                return false;
            }
        }
        self.sent += 1;
        self.held.insert(connection, (self.sent, put));
        match connectivity {
            Connectivity::Connected => self.detached.remove(connection),
            Connectivity::Detached => self.detached.add(connection),
        }
        true
    }

    /// The connection has lost its socket.
    pub(crate) fn detach(&mut self, connection: ConnectionId, owner: Owner) {
        if self.held.get(&connection).is_some_and(|(_, put)| put.owner == owner) {
            self.detached.add(connection);
        }
    }

    /// The connection is gone, or shows nothing any more.
    pub(crate) fn forget(&mut self, connection: ConnectionId, owner: Owner) {
        if self.awaited.get(&connection) == Some(&owner) {
            self.awaited.remove(&connection);
        }
        if self.held.get(&connection).is_some_and(|(_, put)| put.owner == owner) {
            self.held.remove(&connection);
            self.detached.remove(connection);
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.awaited.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.awaited.is_empty() && self.held.is_empty()
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// Who counts as having been in the map, should it be lost once more.
    pub(crate) fn trackers(&self) -> Trackers {
        let held = self.held.values().map(|(_, put)| (put.connection, put.owner));
        self.awaited.iter().map(|(connection, owner)| (*connection, *owner)).chain(held).collect()
    }

    /// Those of what was sent again whose connection has no socket, and who vouches for them.
    pub(crate) fn detached(&self) -> Vec<(ConnectionId, Owner)> {
        let owner_of = |id: ConnectionId| self.held.get(&id).map(|(_, put)| (id, put.owner));
        self.detached.iter().filter_map(owner_of).collect()
    }

    /// What was sent again, the one sent longest ago first.
    pub(crate) fn finish(&mut self) -> Snapshot {
        let mut held: Vec<(u64, Put)> = std::mem::take(&mut self.held).into_values().collect();
        held.sort_unstable_by_key(|(order, _)| *order);
        let members = held.into_iter().map(|(_, put)| {
            let Put { connection, owner, user, state } = put;
            Member { connection, owner, user, state, seq: 0 }
        });
        Snapshot { epoch: 0, seq: 0, members: members.collect() }
    }
}
