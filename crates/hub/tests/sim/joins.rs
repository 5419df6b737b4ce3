//! How often whoever looks on may see a member join again of which it has seen that it left: as often as its
//! node was left out while it lived, or as its own client gave a reason. Whatever else becomes of homes, copies
//! and links, nobody who stays is said to leave.

use std::collections::BTreeMap;

use herenow_client::protocol::ServerMessage;
use herenow_wire::ChannelName;

/// Why members may join again: so often each connection, each in one channel, and every one.
#[derive(Default)]
pub struct Causes {
    of_connections: BTreeMap<String, u64>,
    of_members: BTreeMap<(String, ChannelName), u64>,
    of_all: u64,
    /// The next causes would be too many to be worth a look.
    are_unknown: bool,
    /// Joins that had one.
    pub found: u64,
}

/// What one client has seen of members come and go, over all its sockets.
#[derive(Default)]
pub struct Onlooker {
    channels: BTreeMap<ChannelName, Seen>,
}

#[derive(Default)]
struct Seen {
    at: (u64, u64),
    /// Of what comes up to there it has seen all before: another node may know less than the one before.
    furthest: (u64, u64),
    members: BTreeMap<String, Member>,
}

#[derive(Default)]
struct Member {
    presence: Presence,
    again: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Presence {
    #[default]
    Unknown,
    Here,
    Left,
}

impl Causes {
    pub fn add(&mut self, connection: &str) {
        *self.of_connections.entry(connection.to_owned()).or_default() += 1;
    }

    pub fn add_in(&mut self, connection: &str, channel: &ChannelName) {
        *self.of_members.entry((connection.to_owned(), channel.clone())).or_default() += 1;
    }

    pub fn add_to_all(&mut self) {
        self.of_all += 1;
    }

    /// Nothing is held to them from here on.
    pub fn give_up(&mut self) {
        self.are_unknown = true;
    }

    fn of(&self, connection: &str, channel: &ChannelName) -> u64 {
        let one = self.of_connections.get(connection).copied().unwrap_or(0);
        let key = (connection.to_owned(), channel.clone());
        one + self.of_members.get(&key).copied().unwrap_or(0) + self.of_all
    }

    fn join_again(&mut self, connection: &str, channel: &ChannelName, times: u64) {
        let most = self.of(connection, channel);
        assert!(
            times <= most || self.are_unknown,
            "{channel}: {connection} has joined again {times} times, with {most} causes"
        );
        self.found += 1;
    }
}

impl Onlooker {
    pub fn read(&mut self, message: &ServerMessage, causes: &mut Causes) {
        match message {
            ServerMessage::Sync(snapshot) => {
                let new = (snapshot.position.epoch, snapshot.position.seq);
                let here = snapshot.rows.iter().map(|row| row.connection_id.as_ref());
                let seen = self.channels.entry(snapshot.channel.clone()).or_default();
                seen.replace(new, here.collect(), |connection, times| {
                    causes.join_again(connection, &snapshot.channel, times);
                });
            }
            ServerMessage::Join(delta) => {
                let seen = self.channels.entry(delta.channel.clone()).or_default();
                seen.move_to(delta.epoch, delta.seq);
                if let Some(times) = seen.join(&delta.row.connection_id) {
                    causes.join_again(&delta.row.connection_id, &delta.channel, times);
                }
            }
            ServerMessage::Update(delta) => {
                let seen = self.channels.entry(delta.channel.clone()).or_default();
                seen.move_to(delta.epoch, delta.seq);
            }
            ServerMessage::Leave(departure) => {
                let seen = self.channels.entry(departure.channel.clone()).or_default();
                seen.move_to(departure.epoch, departure.seq);
                seen.leave(&departure.connection_id);
            }
            _ => {}
        }
    }
}

impl Seen {
    fn move_to(&mut self, epoch: Option<u64>, seq: u64) {
        self.at = (epoch.unwrap_or(self.at.0), seq);
        self.furthest = self.furthest.max(self.at);
    }

    fn replace(
        &mut self,
        new: (u64, u64),
        here: Vec<&str>,
        mut join_again: impl FnMut(&str, u64),
    ) {
        self.at = new;
        if new < self.furthest {
            // What it knew is of later than this.
            for member in self.members.values_mut() {
                member.presence = Presence::Unknown;
            }
            return;
        }
        self.furthest = new;
        for (id, member) in &mut self.members {
            if member.presence == Presence::Here && !here.contains(&id.as_str()) {
                member.presence = Presence::Left;
            }
        }
        for connection in here {
            if let Some(times) = self.join(connection) {
                join_again(connection, times);
            }
        }
    }

    /// How often it has joined again, if it does.
    fn join(&mut self, connection: &str) -> Option<u64> {
        let is_new = self.at >= self.furthest;
        let member = self.members.entry(connection.to_owned()).or_default();
        let is_again = is_new && member.presence == Presence::Left;
        member.presence = if is_new { Presence::Here } else { Presence::Unknown };
        member.again += u64::from(is_again);
        is_again.then_some(member.again)
    }

    fn leave(&mut self, connection: &str) {
        let is_new = self.at >= self.furthest;
        let member = self.members.entry(connection.to_owned()).or_default();
        member.presence = if is_new { Presence::Left } else { Presence::Unknown };
    }
}
