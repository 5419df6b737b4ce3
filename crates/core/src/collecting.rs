//! A channel whose map was lost and is being rebuilt: who must still answer, and what has been
//! sent meanwhile. Changes are held back until all have answered or the time is over.

use std::collections::HashMap;
use std::time::Duration;

use herenow_wire::ConnectionId;

use crate::change::{Member, Owner, Snapshot};
use crate::channel::Channel;
use crate::command::{Connectivity, PutResult};
use crate::decision::Put;
use crate::hash::ById;
use crate::oldest_first::OldestFirst;
use crate::since::Since;
use crate::time::Instant;

/// How long a channel waits for the clients that were in its lost map.
pub const COLLECT_FOR: Duration = Duration::from_secs(2);

/// Who was in a lost map.
pub(crate) type Trackers = HashMap<ConnectionId, Tracker, ById>;

/// What is known of a member of a lost map: who vouched for it, and since when it was there. The
/// default where nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tracker {
    pub(crate) owner: Owner,
    pub(crate) since: Since,
}

/// What was sent again, with its place in the order of sending.
#[derive(Debug)]
struct Sent {
    order: u64,
    put: Put,
    since: Since,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Collecting {
    awaited: Trackers,
    held: HashMap<ConnectionId, Sent, ById>,
    /// Those of `held` whose connection has no socket at present.
    detached: OldestFirst,
    sent: u64,
    until: Instant,
    /// How many users were in the map when it was freed.
    users: usize,
    /// Who was in the map is not known: it is complete when the time is over.
    is_open: bool,
}

/// Everybody who is in a channel.
pub(crate) fn trackers_in(channel: &Channel) -> Trackers {
    let members = channel.members();
    members
        .map(|(member, since)| (member.connection, Tracker { owner: member.owner, since }))
        .collect()
}

/// The connections that `owner` vouches for, in a fixed order.
pub(crate) fn owned_by(trackers: &Trackers, owner: Owner) -> Vec<ConnectionId> {
    let mut owned: Vec<ConnectionId> = trackers
        .iter()
        .filter(|(_, tracker)| tracker.owner == owner)
        .map(|(connection, _)| *connection)
        .collect();
    owned.sort_unstable();
    owned
}

/// The connections that `owner` vouches for have lost it.
pub(crate) fn lose_owner(trackers: &mut Trackers, owner: Owner) {
    let lost = trackers.values_mut().filter(|tracker| tracker.owner == owner);
    lost.for_each(|tracker| tracker.owner = owner.lost());
}

impl Collecting {
    pub(crate) fn new(awaited: Trackers, users: usize, now: Instant) -> Self {
        Self {
            awaited,
            held: HashMap::default(),
            detached: OldestFirst::default(),
            sent: 0,
            until: now + COLLECT_FOR,
            users,
            is_open: false,
        }
    }

    /// A map that another process had: nobody here knows who was in it.
    pub(crate) fn of_anybody(until: Instant) -> Self {
        let none = Self::new(Trackers::default(), 0, until);
        Self { until, is_open: true, ..none }
    }

    /// More who were in the lost map. Who has answered already is not waited for again.
    pub(crate) fn await_also(&mut self, more: Vec<(ConnectionId, Owner)>) {
        for (id, owner) in more {
            if !self.held.contains_key(&id) {
                let unknown = Tracker { owner, since: Since::default() };
                self.awaited.entry(id).or_insert(unknown).owner = owner;
            }
        }
    }

    /// Keeps what a connection shows, its newest. The map is full if a connection that was not in it
    /// would take it above `max_members`, the places of those that have yet to answer being taken. A
    /// detached member gives way to a new one that has a socket.
    pub(crate) fn hold(
        &mut self,
        put: Put,
        max_members: usize,
        connectivity: Connectivity,
    ) -> PutResult {
        let connection = put.connection;
        let is_late = |sent: &Sent| put.comes_late_for(sent.put.owner, sent.put.generation);
        if self.held.get(&connection).is_some_and(is_late) {
            return PutResult::Superseded;
        }
        let awaited = self.awaited.remove(&connection).map(|tracker| tracker.since);
        let since = awaited.or_else(|| self.held.get(&connection).map(|sent| sent.since));
        if since.is_none() {
            let is_full = |one: &Self| one.awaited.len() + one.held.len() >= max_members;
            while connectivity == Connectivity::Connected
                && is_full(self)
                && let Some(oldest) = self.detached.oldest()
            {
                self.detached.remove(oldest);
                self.held.remove(&oldest);
            }
            if is_full(self) {
                return PutResult::Full;
            }
        }
        self.sent += 1;
        let sent = Sent { order: self.sent, put, since: since.unwrap_or_default() };
        self.held.insert(connection, sent);
        match connectivity {
            Connectivity::Connected => self.detached.remove(connection),
            Connectivity::Detached => self.detached.add(connection),
        }
        PutResult::Done
    }

    /// The connection has lost its socket.
    pub(crate) fn detach(&mut self, connection: ConnectionId, owner: Owner) {
        if self.held.get(&connection).is_some_and(|sent| sent.put.owner == owner) {
            self.detached.add(connection);
        }
    }

    /// An owner is lost, and what it vouches for stays for now.
    pub(crate) fn lose_owner(&mut self, owner: Owner) {
        lose_owner(&mut self.awaited, owner);
        let held = self.held.iter_mut().filter(|(_, sent)| sent.put.owner == owner);
        let mut lost: Vec<(u64, ConnectionId)> = Vec::new();
        for (connection, sent) in held {
            sent.put.owner = owner.lost();
            lost.push((sent.order, *connection));
        }
        lost.sort_unstable();
        lost.into_iter().for_each(|(_, connection)| self.detached.add(connection));
    }

    /// The connections of an owner that have answered, in a fixed order.
    pub(crate) fn answered_by(&self, owner: Owner) -> Vec<ConnectionId> {
        let held = self.held.iter().filter(|(_, sent)| sent.put.owner == owner);
        let mut answered: Vec<ConnectionId> = held.map(|(connection, _)| *connection).collect();
        answered.sort_unstable();
        answered
    }

    /// What the connections of an owner have answered, the first that answered first.
    pub(crate) fn answers_of(&self, owner: Owner) -> Vec<(Put, Connectivity)> {
        let mut held: Vec<&Sent> =
            self.held.values().filter(|sent| sent.put.owner == owner).collect();
        held.sort_unstable_by_key(|sent| sent.order);
        let answer = |sent: &Sent| match self.detached.has(sent.put.connection) {
            true => (sent.put.clone(), Connectivity::Detached),
            false => (sent.put.clone(), Connectivity::Connected),
        };
        held.into_iter().map(answer).collect()
    }

    /// The connection is gone, or shows nothing any more.
    pub(crate) fn forget(&mut self, connection: ConnectionId, owner: Owner) {
        if self.awaited.get(&connection).is_some_and(|tracker| tracker.owner == owner) {
            self.awaited.remove(&connection);
        }
        if self.held.get(&connection).is_some_and(|sent| sent.put.owner == owner) {
            self.held.remove(&connection);
            self.detached.remove(connection);
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.awaited.is_empty() && !self.is_open
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.awaited.is_empty() && self.held.is_empty()
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// Who counts as having been in the map, should it be lost once more.
    pub(crate) fn trackers(&self) -> Trackers {
        let held = self.held.values().map(|Sent { put, since, .. }| {
            (put.connection, Tracker { owner: put.owner, since: *since })
        });
        self.awaited.iter().map(|(id, tracker)| (*id, *tracker)).chain(held).collect()
    }

    /// Since when a connection had or has a member.
    pub(crate) fn since_of(&self, connection: ConnectionId) -> Option<Since> {
        let awaited = self.awaited.get(&connection).map(|tracker| tracker.since);
        awaited.or_else(|| self.held.get(&connection).map(|sent| sent.since))
    }

    /// Those of what was sent again whose connection has no socket, and who vouches for them.
    pub(crate) fn detached(&self) -> Vec<(ConnectionId, Owner)> {
        let owner_of = |id: ConnectionId| self.held.get(&id).map(|sent| (id, sent.put.owner));
        self.detached.iter().filter_map(owner_of).collect()
    }

    /// How many users were in the map when it was freed.
    pub(crate) fn users(&self) -> usize {
        self.users
    }

    /// How many members it will have at most.
    pub(crate) fn len(&self) -> usize {
        self.awaited.len() + self.held.len()
    }

    /// What was sent again, the one sent longest ago first; and since when each was in the lost map.
    pub(crate) fn finish(&mut self) -> (Snapshot, Vec<(ConnectionId, Since)>) {
        let mut held: Vec<Sent> = std::mem::take(&mut self.held).into_values().collect();
        held.sort_unstable_by_key(|sent| sent.order);
        let since = held.iter().map(|sent| (sent.put.connection, sent.since)).collect();
        let members = held.into_iter().map(|sent| {
            let Put { connection, owner, generation, user, state } = sent.put;
            Member { connection, owner, generation, user, state, seq: 0 }
        });
        (Snapshot { epoch: 0, seq: 0, members: members.collect() }, since)
    }
}
