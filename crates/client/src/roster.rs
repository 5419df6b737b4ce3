//! Who is in a channel, folded from snapshot and deltas. Pure: frames in, events out. It knows
//! nothing of sockets and does not ask for anything.
//!
//! The rules are those of the TypeScript SDK; both are held to `fixtures/roster.json`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::protocol::{Delta, Departure, Position, Row, Snapshot, StateText};

/// The reason of a leave that this client did not see happen: the member was missing from a
/// snapshot, or the channel was lost.
pub const UNKNOWN: &str = "unknown";

/// The members of one channel as this client knows them.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// The position of the members. `None` until a snapshot arrived on the present connection; the
    /// members of an earlier connection stay meanwhile.
    position: Option<Position>,
    /// Whether any snapshot ever came: the first one sets the ground and tells no joins.
    is_known: bool,
    users: HashMap<Arc<str>, User>,
    /// Numbers what happens, so that "tracked last" and "came first" are comparisons.
    clock: u64,
}

#[derive(Clone, Debug)]
struct User {
    came_at: u64,
    entries: HashMap<Arc<str>, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    state: StateText,
    info: Option<StateText>,
    tracked_at: u64,
}

/// What one frame made of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The differences: joins before updates before leaves.
    pub events: Vec<RosterEvent>,
    /// Whether the list reads differently now, or is known for the first time.
    pub changed: bool,
}

/// A difference between two lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterEvent {
    /// A connection appeared.
    Join {
        /// The member.
        row: Row,
        /// Whether the user came with it.
        first: bool,
    },
    /// A connection's state was replaced.
    Update {
        /// The member as it is now.
        row: Row,
    },
    /// A connection is gone.
    Leave {
        /// Whose.
        user_id: Arc<str>,
        /// Which.
        connection_id: Arc<str>,
        /// The server's reason, or [`UNKNOWN`].
        reason: Box<str>,
        /// Whether the user went with it.
        last: bool,
    },
}

/// One user with all of the user's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The user.
    pub user_id: Arc<str>,
    /// The state tracked last.
    pub state: StateText,
    /// What the token of the connection with that state says of the user.
    pub info: Option<StateText>,
    /// The connections, the one tracked last at the end.
    pub connections: Vec<ConnectionRow>,
}

/// One connection of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// The connection.
    pub connection_id: Arc<str>,
    /// What it tracked.
    pub state: StateText,
    /// What its token says of the user.
    pub info: Option<StateText>,
}

impl Roster {
    /// What the set covers; `None` before the present connection's first snapshot.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// One row per user, in the order in which the users came.
    pub fn users(&self) -> Vec<UserRow> {
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_unstable_by_key(|(_, user)| user.came_at);
        users.into_iter().map(|(user_id, user)| user.row(user_id)).collect()
    }

    /// The connection is gone: the list stays as it was, and nothing is believed before the next
    /// connection's snapshot.
    pub fn suspend(&mut self) {
        self.position = None;
    }

    /// The server ended the subscription: everybody leaves.
    pub fn lose(&mut self) -> Outcome {
        self.position = None;
        let events = self.remove_all_but(&HashSet::new());
        Outcome { changed: !events.is_empty(), events }
    }

    /// Takes a snapshot in place of what was known; only the net differences come out.
    pub fn apply_snapshot(&mut self, snapshot: &Snapshot) -> Outcome {
        let new = snapshot.position;
        if self.position.is_some_and(|known| known.epoch == new.epoch && new.seq < known.seq) {
            return Outcome::default();
        }
        self.position = Some(new);
        let before = self.users();
        let mut events: Vec<_> = snapshot.rows.iter().filter_map(|row| self.put(row)).collect();
        events.sort_by_key(|event| matches!(event, RosterEvent::Update { .. }));
        // Leaves come last: a user whose every tab came back under a new connection id neither
        // came nor went.
        let kept = snapshot.rows.iter().map(|row| (&*row.user_id, &*row.connection_id)).collect();
        events.extend(self.remove_all_but(&kept));
        if !std::mem::replace(&mut self.is_known, true) {
            return Outcome { events: Vec::new(), changed: true };
        }
        Outcome { changed: !events.is_empty() || self.users() != before, events }
    }

    /// Takes a `presence_join` or a `presence_update`. Which of the two it is follows from the
    /// set: a member is never reported twice as new.
    pub fn apply_delta(&mut self, delta: &Delta) -> Outcome {
        if !self.advance(delta.epoch, delta.seq) {
            return Outcome::default();
        }
        let before = self.shown_by(&delta.row.user_id);
        let events: Vec<_> = self.put(&delta.row).into_iter().collect();
        let changed = !events.is_empty() || self.shown_by(&delta.row.user_id) != before;
        Outcome { events, changed }
    }

    /// Takes a `presence_leave`.
    pub fn apply_departure(&mut self, departure: &Departure) -> Outcome {
        if !self.advance(departure.epoch, departure.seq) {
            return Outcome::default();
        }
        let Departure { user_id, connection_id, reason, .. } = departure;
        let event = self.remove(user_id, connection_id, reason);
        Outcome { changed: event.is_some(), events: event.into_iter().collect() }
    }

    /// Whether a delta with this number is news.
    fn advance(&mut self, epoch: Option<u64>, seq: u64) -> bool {
        let Some(known) = &mut self.position else { return false };
        let epoch = epoch.unwrap_or(known.epoch);
        if epoch == known.epoch && seq <= known.seq {
            return false;
        }
        *known = Position { epoch, seq };
        true
    }

    fn shown_by(&self, user_id: &str) -> Option<(StateText, Option<StateText>)> {
        let entries = self.users.get(user_id)?.entries.values();
        let last = entries.max_by_key(|entry| entry.tracked_at)?;
        Some((last.state.clone(), last.info.clone()))
    }

    fn put(&mut self, row: &Row) -> Option<RosterEvent> {
        self.clock += 1;
        let now = self.clock;
        let user = self
            .users
            .entry(row.user_id.clone())
            .or_insert_with(|| User { came_at: now, entries: HashMap::new() });
        let first = user.entries.is_empty();
        let entry = Entry { state: row.state.clone(), info: row.info.clone(), tracked_at: now };
        match user.entries.insert(row.connection_id.clone(), entry) {
            None => Some(RosterEvent::Join { row: row.clone(), first }),
            Some(was) if (&was.state, &was.info) == (&row.state, &row.info) => None,
            Some(_) => Some(RosterEvent::Update { row: row.clone() }),
        }
    }

    fn remove_all_but(&mut self, kept: &HashSet<(&str, &str)>) -> Vec<RosterEvent> {
        let mut gone = Vec::new();
        for (user_id, user) in &self.users {
            for (connection_id, entry) in &user.entries {
                if !kept.contains(&(&**user_id, &**connection_id)) {
                    let order = (user.came_at, entry.tracked_at);
                    gone.push((order, user_id.clone(), connection_id.clone()));
                }
            }
        }
        gone.sort_unstable_by_key(|(order, ..)| *order);
        let remove = |(_, user_id, connection_id): &(_, Arc<str>, Arc<str>)| {
            self.remove(user_id, connection_id, UNKNOWN)
        };
        gone.iter().filter_map(remove).collect()
    }

    fn remove(&mut self, user_id: &str, connection_id: &str, reason: &str) -> Option<RosterEvent> {
        let user = self.users.get_mut(user_id)?;
        let (connection_id, _) = user.entries.remove_entry(connection_id)?;
        let last = user.entries.is_empty();
        if last {
            self.users.remove(user_id);
        }
        let user_id = user_id.into();
        Some(RosterEvent::Leave { user_id, connection_id, reason: reason.into(), last })
    }
}

impl User {
    fn row(&self, user_id: &Arc<str>) -> UserRow {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable_by_key(|(_, entry)| entry.tracked_at);
        let (_, last) = entries.last().expect("a user is removed with the last entry");
        let (state, info) = (last.state.clone(), last.info.clone());
        let row = |(connection_id, entry): (&Arc<str>, &Entry)| ConnectionRow {
            connection_id: connection_id.clone(),
            state: entry.state.clone(),
            info: entry.info.clone(),
        };
        let connections = entries.into_iter().map(row).collect();
        UserRow { user_id: user_id.clone(), state, info, connections }
    }
}
