//! Connections in the order in which they were added, the oldest first. Any of them can be taken out
//! without looking at the others, however many there are.

use std::collections::{BTreeMap, HashMap};

use herenow_wire::ConnectionId;

use crate::hash::ById;

/// See the module.
#[derive(Debug, Default)]
pub struct OldestFirst {
    added: u64,
    by_place: BTreeMap<u64, ConnectionId>,
    places: HashMap<ConnectionId, u64, ById>,
}

impl OldestFirst {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether this one is among them.
    pub fn has(&self, connection: ConnectionId) -> bool {
        self.places.contains_key(&connection)
    }

    /// Adds one as the newest. One that is there already becomes the newest.
    pub fn add(&mut self, connection: ConnectionId) {
        self.remove(connection);
        self.added += 1;
        self.by_place.insert(self.added, connection);
        self.places.insert(connection, self.added);
    }

    /// Takes one out, if it is there.
    pub fn remove(&mut self, connection: ConnectionId) {
        if let Some(place) = self.places.remove(&connection) {
            self.by_place.remove(&place);
        }
    }

    /// The one that was added longest ago.
    pub fn oldest(&self) -> Option<ConnectionId> {
        self.by_place.first_key_value().map(|(_, connection)| *connection)
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = ConnectionId> {
        self.by_place.values().copied()
    }
}
