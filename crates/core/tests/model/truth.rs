//! Who is present, as a list: what a shard's answers are compared with.

use std::collections::BTreeSet;

use herenow_core::{COLLECT_FOR, Command, Instant, Put};
use herenow_wire::{ChannelName, ConnectionId, State};

/// Everybody in one channel, the one tracked longest ago first.
pub type Rows = Vec<(ConnectionId, State)>;

/// See the module.
#[derive(Default)]
pub struct Truth {
    channels: Vec<Known>,
}

struct Known {
    name: ChannelName,
    map: Map,
    heard_at: Instant,
}

/// What is known of a channel.
enum Map {
    Here(Rows),
    /// Its map was lost, or it hibernates until somebody speaks of it.
    Asleep {
        were_here: Vec<ConnectionId>,
    },
    /// It is being rebuilt.
    Awaited {
        missing: Vec<ConnectionId>,
        sent_again: Rows,
        until: Instant,
    },
}

impl Truth {
    /// Who is in the channel; `None` while that is not known.
    pub fn rows(&self, channel: &ChannelName) -> Option<Rows> {
        match self.channels.iter().find(|known| known.name == *channel) {
            None => Some(Rows::new()),
            Some(Known { map: Map::Here(rows), .. }) => Some(rows.clone()),
            Some(_) => None,
        }
    }

    /// The channels that have not been heard of since, and have nothing to tell.
    pub fn silent_since(&self, then: Instant, dirty: &BTreeSet<ChannelName>) -> Vec<ChannelName> {
        let is_silent = |known: &&Known| {
            matches!(known.map, Map::Here(_))
                && known.heard_at <= then
                && !dirty.contains(&known.name)
        };
        self.channels.iter().filter(is_silent).map(|known| known.name.clone()).collect()
    }

    pub fn command(&mut self, command: &Command, now: Instant) {
        let speaks_of_the_map = match command {
            Command::Put { .. } | Command::Subscribe { .. } => true,
            Command::Recover { channel, trackers, .. } => {
                self.lose_again(channel, trackers.iter().map(|(one, _)| *one));
                true
            }
            Command::Remove { channel, connection, .. } => self.was_here(channel, *connection),
            Command::Keep { .. }
            | Command::Restate { .. }
            | Command::Detach { .. }
            | Command::Unsubscribe { .. } => false,
        };
        if speaks_of_the_map {
            self.wake(command.channel(), now);
        }
        let map = &mut self.known(command.channel()).map;
        match (command, map) {
            (Command::Put { put, .. }, Map::Here(rows)) => show(rows, put, Again::KeepsItsPlace),
            (Command::Put { put, .. }, Map::Awaited { missing, sent_again, .. }) => {
                missing.retain(|one| *one != put.connection);
                show(sent_again, put, Again::GoesLast);
            }
            (Command::Remove { connection, .. }, Map::Here(rows)) => {
                rows.retain(|(one, _)| one != connection);
            }
            (Command::Remove { connection, .. }, Map::Awaited { missing, sent_again, .. }) => {
                missing.retain(|one| one != connection);
                sent_again.retain(|(one, _)| one != connection);
            }
            _ => {}
        }
        self.end_waits(now);
    }

    /// Nothing is known of any channel any more.
    pub fn forget(&mut self) {
        self.channels.clear();
    }

    /// A map was lost in which these were, among others. What was sent again counts.
    fn lose_again(&mut self, channel: &ChannelName, trackers: impl Iterator<Item = ConnectionId>) {
        if let Map::Awaited { missing, sent_again, .. } = &mut self.known(channel).map {
            let sent = |one: &ConnectionId| sent_again.iter().any(|(other, _)| other == one);
            missing.extend(trackers.filter(|one| !sent(one)));
            return;
        }
        self.sleep(channel);
        if let Map::Asleep { were_here } = &mut self.known(channel).map {
            were_here.extend(trackers);
        }
    }

    /// Every map is lost, and everybody is asked at once.
    pub fn lose_all(&mut self, now: Instant) {
        let names: Vec<ChannelName> =
            self.channels.iter().map(|known| known.name.clone()).collect();
        for name in names {
            self.sleep(&name);
            self.wake(&name, now);
        }
        self.end_waits(now);
    }

    /// The channel's map is freed.
    pub fn sleep(&mut self, channel: &ChannelName) {
        let map = &mut self.known(channel).map;
        let were_here = match map {
            Map::Here(rows) => rows.iter().map(|(one, _)| *one).collect(),
            Map::Asleep { were_here } => were_here.clone(),
            Map::Awaited { missing, sent_again, .. } => {
                missing.iter().copied().chain(sent_again.iter().map(|(one, _)| *one)).collect()
            }
        };
        *map = Map::Asleep { were_here };
    }

    /// Ends the waits that are over.
    pub fn end_waits(&mut self, now: Instant) {
        for known in &mut self.channels {
            if let Map::Awaited { missing, sent_again, until } = &mut known.map
                && (missing.is_empty() || now >= *until)
            {
                known.map = Map::Here(std::mem::take(sent_again));
                known.heard_at = next_tenth(now);
            }
        }
    }

    fn was_here(&self, channel: &ChannelName, connection: ConnectionId) -> bool {
        self.channels.iter().any(|Known { name, map, .. }| match map {
            Map::Asleep { were_here } => name == channel && were_here.contains(&connection),
            _ => name == channel,
        })
    }

    fn wake(&mut self, channel: &ChannelName, now: Instant) {
        let known = self.known(channel);
        known.heard_at = next_tenth(now);
        if let Map::Asleep { were_here } = &mut known.map {
            let missing = std::mem::take(were_here);
            known.map = Map::Awaited { missing, sent_again: Rows::new(), until: now + COLLECT_FOR };
        }
        self.end_waits(now);
    }

    fn known(&mut self, channel: &ChannelName) -> &mut Known {
        let at = match self.channels.iter().position(|known| known.name == *channel) {
            Some(at) => at,
            None => {
                let (map, heard_at) = (Map::Here(Rows::new()), Instant::default());
                self.channels.push(Known { name: channel.clone(), map, heard_at });
                self.channels.len() - 1
            }
        };
        &mut self.channels[at]
    }
}

/// Where a state stands that is shown again as it was.
#[derive(PartialEq)]
enum Again {
    KeepsItsPlace,
    GoesLast,
}

fn show(rows: &mut Rows, put: &Put, again: Again) {
    let new = (put.connection, put.state.clone());
    if again == Again::KeepsItsPlace && rows.contains(&new) {
        return;
    }
    rows.retain(|(one, _)| *one != put.connection);
    rows.push(new);
}

/// A channel hibernates up to a tenth of a second late, never early.
fn next_tenth(now: Instant) -> Instant {
    const TENTH: u64 = 100_000;
    Instant::from_micros(now.as_micros().div_ceil(TENTH) * TENTH)
}
