//! What an application makes of a client's events: a list that it keeps by itself. It must be the
//! list that the client keeps, and every user must come and go exactly once.

use std::collections::BTreeMap;

use herenow_client::machine::{Event, Machine};
use herenow_client::roster::{Roster, RosterEvent};
use herenow_wire::ChannelName;

/// By user and connection, the state.
pub type List = BTreeMap<(String, String), String>;

/// See the module.
#[derive(Default)]
pub struct Application {
    lists: BTreeMap<ChannelName, List>,
}

impl Application {
    pub fn hear(&mut self, event: &Event, machine: &Machine) {
        match event {
            Event::Roster { channel, event } => {
                let list = self.lists.get_mut(channel).expect("the first list tells no events");
                fold(list, event);
            }
            // The first list is known: from here on it is told by events.
            Event::Changed { channel } if !self.lists.contains_key(channel) => {
                let list = machine.roster(channel).map(list_of).unwrap_or_default();
                self.lists.insert(channel.clone(), list);
            }
            _ => {}
        }
    }

    /// It wants nothing of the channel any more.
    pub fn forget(&mut self, channel: &ChannelName) {
        self.lists.remove(channel);
    }

    pub fn list(&self, channel: &ChannelName) -> Option<&List> {
        self.lists.get(channel)
    }
}

pub fn list_of(roster: &Roster) -> List {
    let users = roster.users().into_iter();
    let rows = users.flat_map(|user| {
        let id = user.user_id.to_string();
        user.connections
            .into_iter()
            .map(move |one| ((id.clone(), one.connection_id.to_string()), one.state.to_string()))
    });
    rows.collect()
}

fn fold(list: &mut List, event: &RosterEvent) {
    let has = |list: &List, user: &str| list.keys().any(|(one, _)| one == user);
    match event {
        RosterEvent::Join { row, first } => {
            assert_eq!(*first, !has(list, &row.user_id), "a user comes with its first connection");
            let key = (row.user_id.to_string(), row.connection_id.to_string());
            let was = list.insert(key, row.state.to_string());
            assert_eq!(was, None, "a join is told once: {event:?}");
        }
        RosterEvent::Update { row } => {
            let key = (row.user_id.to_string(), row.connection_id.to_string());
            let was = list.insert(key, row.state.to_string());
            assert!(was.is_some(), "an update is of a known member: {event:?}");
        }
        RosterEvent::Leave { user_id, connection_id, last, .. } => {
            let was = list.remove(&(user_id.to_string(), connection_id.to_string()));
            assert!(was.is_some(), "a leave is of a known member: {event:?}");
            assert_eq!(*last, !has(list, user_id), "a user goes with its last connection");
        }
    }
}
