//! A shard, two peers with the audience of each, and mail between them that may take its time.
//!
//! Knows the commands of a connection, and in which order they go to the shard. Refuses to know
//! sessions, rules, graces, leases and sockets: the simulation of `crates/hub` shows those.

mod mail;
mod rest;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use herenow_core::{
    Asker, Audience, Command, Expire, Flush, Instant, Owner, Peer, Put, Shard, SnapshotFor,
};
use herenow_wire::{ChannelName, ConnectionId, LeaveReason, State, UserId};

use crate::Answers;
use crate::client::{Client, Frame};
use crate::truth::{Rows, Truth};

/// See the module.
pub struct World {
    now: Instant,
    names: Vec<ChannelName>,
    shard: Shard,
    dirty: BTreeSet<ChannelName>,
    peers: Vec<Side>,
    people: Vec<Person>,
    truth: Truth,
    /// The list at each epoch and seq of a channel that was flushed.
    seen: BTreeMap<(ChannelName, u64, u64), Rows>,
    drawn: u64,
}

/// What a peer has of its own.
#[derive(Default)]
struct Side {
    audience: Audience,
    to_shard: VecDeque<Command>,
    from_shard: VecDeque<Mail>,
}

/// A connection and its client. Its index is its slot.
struct Person {
    connection: ConnectionId,
    client: Client,
    /// The channels that it subscribes to, and what it shows in each.
    channels: BTreeMap<ChannelName, Option<State>>,
    lagging: Vec<ChannelName>,
}

enum Mail {
    /// A flush, who is owed its snapshot, and what is true after it.
    Delivery(ChannelName, Flush, SnapshotFor, Rows),
    Resync(ChannelName),
    /// A fault has cost the shard its maps.
    ShardLost,
}

const PEERS: usize = 2;
const PEOPLE: usize = 5;
const SILENCE: Duration = Duration::from_secs(5);
const OWNER: Owner = Owner(0);
/// Room for all.
const MAX_MEMBERS: u32 = 100;
/// Long enough for a collection, too short for a channel to hibernate.
const COLLECTED_MS: u16 = 2_100;

impl World {
    pub fn new() -> Self {
        let names = ["a", "b"].map(|name| ChannelName::parse(&format!("presence:{name}")));
        let mut world = Self {
            now: Instant::from_millis(1),
            names: names.into_iter().map(|name| name.expect("a valid name")).collect(),
            shard: Shard::new(7),
            dirty: BTreeSet::new(),
            peers: (0..PEERS).map(|_| Side::default()).collect(),
            people: Vec::new(),
            truth: Truth::default(),
            seen: BTreeMap::new(),
            drawn: 0,
        };
        for _ in 0..PEOPLE {
            let person = world.new_person(Answers::Always);
            world.people.push(person);
        }
        world
    }

    fn new_person(&mut self, answers: Answers) -> Person {
        self.drawn += 1;
        let connection = ConnectionId::from_bytes(u128::from(self.drawn).to_be_bytes());
        let client = Client::new(connection, answers);
        Person { connection, client, channels: BTreeMap::new(), lagging: Vec::new() }
    }

    // What connections do. A member is put before its connection subscribes, so that the first
    // snapshot holds it.

    pub fn subscribe(&mut self, who: usize, of: usize) {
        let (slot, channel) = (who % PEOPLE, self.name(of));
        if !self.people[slot].channels.contains_key(&channel) {
            self.people[slot].channels.insert(channel.clone(), None);
            self.listen(slot, &channel);
        }
    }

    pub fn unsubscribe(&mut self, who: usize, of: usize) {
        let (slot, channel) = (who % PEOPLE, self.name(of));
        self.leave(slot, &channel);
        self.people[slot].client.inbox.push_back(Frame::Unsubscribed(channel));
    }

    pub fn track(&mut self, who: usize, of: usize, n: u8) {
        let (slot, channel) = (who % PEOPLE, self.name(of));
        let state = State::parse(&format!(r#"{{"n":{n}}}"#)).expect("a valid state");
        let before = self.people[slot].channels.insert(channel.clone(), Some(state.clone()));
        self.put(slot, &channel, state);
        if before.is_none() {
            self.people[slot].client.expects_itself_in(&channel);
            self.listen(slot, &channel);
        }
    }

    pub fn untrack(&mut self, who: usize, of: usize) {
        let (slot, channel) = (who % PEOPLE, self.name(of));
        self.hide(slot, &channel);
    }

    pub fn sync(&mut self, who: usize, of: usize) {
        let (slot, channel) = (who % PEOPLE, self.name(of));
        let audience = &mut self.peers[slot % PEERS].audience;
        if let Some(request_id) = audience.request_again(&channel, slot as u32) {
            let peer = peer_of(slot);
            self.send(slot, Command::Subscribe { channel, peer, request_id });
        }
    }

    pub fn end(&mut self, who: usize, answers: Answers) {
        let slot = who % PEOPLE;
        for channel in self.names.clone() {
            self.leave(slot, &channel);
        }
        self.people[slot] = self.new_person(answers);
    }

    /// The new socket's client knows nothing, and the page says again what it shows.
    pub fn come_back(&mut self, who: usize, answers: Answers) {
        let slot = who % PEOPLE;
        let person = &mut self.people[slot];
        let connection = person.connection;
        person.client = Client::new(connection, answers);
        person.lagging.clear();
        let channels = person.channels.clone();
        for (channel, state) in &channels {
            if state.is_some() {
                let channel = channel.clone();
                self.send(
                    slot,
                    Command::Detach { channel, connection, owner: OWNER, generation: 0 },
                );
            }
            self.unlisten(slot, channel);
        }
        for (channel, state) in channels {
            self.listen(slot, &channel);
            if let Some(state) = state {
                self.put(slot, &channel, state);
            }
        }
    }

    pub fn read(&mut self, who: usize, some: usize) {
        let slot = who % PEOPLE;
        for _ in 0..some {
            let Some(channel) = self.people[slot].client.read() else { continue };
            if let Some(state) = self.shows(slot, &channel) {
                self.put(slot, &channel, state);
            }
        }
    }

    pub fn drop_waiting(&mut self, who: usize, of: usize) {
        let (slot, channel) = (who % PEOPLE, self.name(of));
        let person = &mut self.people[slot];
        person.client.drop_waiting(&channel);
        self.peers[slot % PEERS].audience.lag(&channel, slot as u32);
        if !person.lagging.contains(&channel) {
            person.lagging.push(channel);
        }
    }

    pub fn drain(&mut self, who: usize) {
        let slot = who % PEOPLE;
        while !self.people[slot].client.inbox.is_empty() {
            self.read(slot, 1);
        }
        for channel in std::mem::take(&mut self.people[slot].lagging) {
            let audience = &mut self.peers[slot % PEERS].audience;
            if let Some(request_id) = audience.catch_up(&channel, slot as u32) {
                let peer = peer_of(slot);
                self.send(slot, Command::Subscribe { channel, peer, request_id });
            }
        }
    }

    // What happens to the shard.

    pub fn wait(&mut self, ms: u16) {
        self.now = self.now + Duration::from_millis(ms.into());
        let silent = self.truth.silent_since(self.now - SILENCE, &self.dirty);
        self.truth.end_waits(self.now);
        let mut out = Vec::new();
        self.shard.handle_timeout(self.now, Some(SILENCE), &mut out);
        self.settle(out);
        for channel in silent {
            self.truth.sleep(&channel);
            self.nobody_expects_itself_in(&channel);
        }
    }

    /// A fault in the shard: an empty one takes its place, and the peers tell it what they know.
    pub fn fault(&mut self) {
        self.truth.forget();
        self.shard = self.shard.successor();
        for channel in self.names.clone() {
            self.nobody_expects_itself_in(&channel);
        }
        for one in &mut self.peers {
            one.from_shard.push_back(Mail::ShardLost);
        }
    }

    pub fn lose_all(&mut self) {
        self.truth.lose_all(self.now);
        for channel in self.names.clone() {
            self.nobody_expects_itself_in(&channel);
        }
        let mut out = Vec::new();
        self.shard.lose_all(self.now, &mut out);
        self.settle(out);
    }

    // The commands of a connection.

    fn send(&mut self, slot: usize, command: Command) {
        self.peers[slot % PEERS].to_shard.push_back(command);
    }

    fn listen(&mut self, slot: usize, channel: &ChannelName) {
        let request_id = self.peers[slot % PEERS].audience.listen(channel, slot as u32);
        let (channel, peer) = (channel.clone(), peer_of(slot));
        self.send(slot, Command::Subscribe { channel, peer, request_id });
    }

    fn unlisten(&mut self, slot: usize, channel: &ChannelName) {
        if self.peers[slot % PEERS].audience.unlisten(channel, slot as u32) {
            let (channel, peer) = (channel.clone(), peer_of(slot));
            self.send(slot, Command::Unsubscribe { channel, peer });
        }
    }

    fn put(&mut self, slot: usize, channel: &ChannelName, state: State) {
        let connection = self.people[slot].connection;
        // Every second connection is the same user's.
        let user = UserId::parse(&format!("user-{}", slot % 2)).expect("a valid user");
        let put = Put { connection, owner: OWNER, generation: 0, user: user.into(), state };
        let asker = Asker { peer: peer_of(slot), slot: slot as u32, connection, generation: 0 };
        let (channel, max_members) = (channel.clone(), MAX_MEMBERS);
        self.send(
            slot,
            Command::Put {
                channel,
                put,
                expire: Expire::Never,
                max_members,
                asker,
                reference: None,
            },
        );
    }

    /// Takes back what the connection shows. It subscribes all the same.
    fn hide(&mut self, slot: usize, channel: &ChannelName) {
        let person = &mut self.people[slot];
        person.client.expects_itself_no_more_in(channel);
        let Some(Some(_)) = person.channels.get_mut(channel).map(Option::take) else { return };
        let (channel, connection) = (channel.clone(), person.connection);
        let reason = LeaveReason::Leave;
        self.send(
            slot,
            Command::Remove { channel, connection, owner: OWNER, generation: 0, reason },
        );
    }

    fn leave(&mut self, slot: usize, channel: &ChannelName) {
        self.hide(slot, channel);
        if self.people[slot].channels.remove(channel).is_some() {
            self.unlisten(slot, channel);
        }
    }

    fn nobody_expects_itself_in(&mut self, channel: &ChannelName) {
        for person in &mut self.people {
            person.client.expects_itself_no_more_in(channel);
        }
    }

    fn shows(&self, slot: usize, channel: &ChannelName) -> Option<State> {
        self.people[slot].channels.get(channel).cloned().flatten()
    }

    fn name(&self, of: usize) -> ChannelName {
        self.names[of % self.names.len()].clone()
    }
}

fn peer_of(slot: usize) -> Peer {
    Peer((slot % PEERS) as u16)
}
