//! Two loops with their sessions and audiences, one shard, and mail between them that may take its
//! time. Carries out effects as a server would, one by one.

mod loops;
mod rest;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use herenow_core::{
    Audience, Auth, ChannelSettings, Claim, Command, CurrentPolicy, Flush, Input, Instant, Limits,
    Owner, Patterns, Peer, Policy, Question, RateLimit, Ruling, Session, Shard, SnapshotFor,
};
use herenow_wire::{ChannelName, ClientMessage, State, UserId};

use crate::client::Client;
use crate::truth::{Rows, Truth};
use crate::{Answers, Says};

/// See the module.
pub struct World {
    limits: Limits,
    policy: CurrentPolicy,
    now: Instant,
    names: Vec<ChannelName>,
    shard: Shard,
    dirty: BTreeSet<ChannelName>,
    loops: Vec<Loop>,
    people: Vec<Person>,
    /// Sessions without a socket, and the loop that keeps each.
    detached: Vec<(usize, Session)>,
    truth: Truth,
    drawn: u64,
}

#[derive(Default)]
struct Loop {
    audience: Audience,
    to_shard: VecDeque<Command>,
    from_shard: VecDeque<Mail>,
}

/// A connection, both of its ends. Its index is its slot.
struct Person {
    session: Session,
    client: Client,
    question: Option<Question>,
    claim: Option<Claim>,
    /// Not every rule could be asked: it is to be reviewed again.
    is_reviewed_later: bool,
    lagging: Vec<ChannelName>,
}

enum Mail {
    /// A flush, who is owed its snapshot, and what is true after it.
    Delivery(ChannelName, Flush, SnapshotFor, Rows),
    Resync(ChannelName),
    /// A fault has cost the shard its maps.
    ShardLost,
}

const LOOPS: usize = 2;
const PEOPLE: usize = 5;
const SILENCE: Duration = Duration::from_secs(5);

impl World {
    pub fn new() -> Self {
        let names = ["a", "b"].map(|name| ChannelName::parse(&format!("presence:{name}")));
        let mut world = Self {
            limits: limits(),
            policy: policy(GRACE),
            now: Instant::from_millis(1),
            names: names.into_iter().map(|name| name.expect("a valid name")).collect(),
            shard: Shard::new(7),
            dirty: BTreeSet::new(),
            loops: (0..LOOPS).map(|_| Loop::default()).collect(),
            people: Vec::new(),
            detached: Vec::new(),
            truth: Truth::default(),
            drawn: 0,
        };
        for slot in 0..PEOPLE {
            let person = world.newcomer(Answers::Always);
            world.people.push(person);
            world.sign_in(slot);
        }
        world
    }

    // What clients say.

    pub fn subscribe(&mut self, who: usize, of: usize) {
        let channel = self.name(of);
        self.say(who, ClientMessage::Subscribe { channel });
    }

    pub fn unsubscribe(&mut self, who: usize, of: usize) {
        let channel = self.name(of);
        self.say(who, ClientMessage::Unsubscribe { channel });
    }

    pub fn track(&mut self, who: usize, of: usize, n: u8) {
        let channel = self.name(of);
        let state = State::parse(&format!(r#"{{"n":{n}}}"#)).expect("a valid state");
        self.say(who, ClientMessage::Track { channel, state });
    }

    pub fn untrack(&mut self, who: usize, of: usize) {
        let channel = self.name(of);
        self.say(who, ClientMessage::Untrack { channel });
    }

    pub fn sync(&mut self, who: usize, of: usize) {
        let channel = self.name(of);
        self.say(who, ClientMessage::Sync { channel });
    }

    // What happens to connections.

    pub fn break_off(&mut self, who: usize, answers: Answers) {
        self.end(who % PEOPLE, Input::Closed, answers);
    }

    pub fn end_lease(&mut self, who: usize, answers: Answers) {
        self.end(who % PEOPLE, Input::LeaseEnded, answers);
    }

    /// The socket breaks; the page comes back on another one at once.
    pub fn come_back(&mut self, who: usize, answers: Answers) {
        let slot = who % PEOPLE;
        let claim = self.claim_of(slot);
        self.tell(slot, Input::SocketLost);
        self.people[slot] = self.newcomer(answers);
        self.show_token(slot, Some(claim));
    }

    /// The page comes back on another socket while the old one still seems to stand.
    pub fn usurp(&mut self, who: usize, whose: usize, answers: Answers) {
        let slot = who % PEOPLE;
        let whose = whose % PEOPLE;
        let claim = self.claim_of(whose);
        self.tell(slot, Input::Closed);
        self.people[slot] = self.newcomer(answers);
        self.show_token(slot, Some(claim));
    }

    pub fn review(&mut self, who: usize) {
        self.tell(who % PEOPLE, Input::Review);
    }

    pub fn decide(&mut self, who: usize, says: Says) {
        let slot = who % PEOPLE;
        if let Some(claim) = self.people[slot].claim.take() {
            self.take_over(slot, claim);
        }
        if let Some(Question { channel, .. }) = self.people[slot].question.take() {
            let ruling = match says {
                Says::Yes => Ruling::Granted,
                Says::No => Ruling::Denied,
                Says::Nothing => Ruling::Unavailable,
            };
            self.tell(slot, Input::Decision { channel, ruling });
        }
    }

    pub fn read(&mut self, who: usize, some: usize) {
        let slot = who % PEOPLE;
        for _ in 0..some {
            if let Some(channel) = self.people[slot].client.read() {
                self.show_again(slot, channel);
            }
        }
    }

    pub fn drop_waiting(&mut self, who: usize, of: usize) {
        let (slot, channel) = (who % PEOPLE, self.name(of));
        let person = &mut self.people[slot];
        person.client.drop_waiting(&channel);
        self.loops[slot % LOOPS].audience.lag(&channel, slot as u32);
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
            let peer = Peer((slot % LOOPS) as u16);
            let home = &mut self.loops[slot % LOOPS];
            if let Some(request_id) = home.audience.catch_up(&channel, slot as u32) {
                home.to_shard.push_back(Command::Subscribe { channel, peer, request_id });
            }
        }
    }

    // What happens between the loops.

    pub fn carry_to_shard(&mut self, of: usize, some: usize) {
        for _ in 0..some {
            let Some(command) = self.loops[of % LOOPS].to_shard.pop_front() else { return };
            if let Command::Recover { channel, .. } = &command {
                self.nobody_expects_itself_in(channel);
            }
            self.truth.command(&command, self.now);
            let mut out = Vec::new();
            self.shard.handle(command, self.now, &mut out);
            self.settle(out);
        }
    }

    pub fn carry_to_loop(&mut self, of: usize, some: usize) {
        for _ in 0..some {
            let Some(mail) = self.loops[of % LOOPS].from_shard.pop_front() else { return };
            self.take_in(of % LOOPS, mail);
        }
    }

    pub fn flush_one(&mut self, of: usize) {
        let due = self.dirty.iter().nth(of % self.dirty.len().max(1)).cloned();
        if let Some(channel) = due {
            self.flush(&channel);
        }
    }

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
        self.end_graces();
    }

    /// A fault in the shard: an empty one takes its place, and the loops tell it what they know.
    pub fn fault(&mut self) {
        self.truth.forget();
        self.shard = self.shard.successor();
        for channel in self.names.clone() {
            self.nobody_expects_itself_in(&channel);
        }
        for one in &mut self.loops {
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
}

/// Every second connection is the same user's.
fn auth_of(slot: usize) -> Auth {
    let user = UserId::parse(&format!("user-{}", slot % 2)).expect("a valid user");
    Auth { user, expires_at_unix_ms: u64::MAX, claims: "{}".into() }
}

fn limits() -> Limits {
    Limits {
        auth_timeout: Duration::from_secs(5),
        expiry_leeway: Duration::from_secs(60),
        // As fast as anybody likes: `pace_of_talk` is about rates.
        rate: RateLimit { messages_per_second: 1_000_000, burst: 1_000_000 },
        max_channels: 100,
        max_waiting_messages: 64,
        max_waiting_bytes: 200_000,
        max_unauthenticated_waiting_bytes: 16_000,
    }
}

const OWNER: Owner = Owner(0);

const GRACE: Duration = Duration::from_millis(1_500);

/// Long enough for a collection and every grace, too short for a channel to fall asleep.
const COLLECTED_MS: u16 = 2_100;

/// Room for all, and the same grace in every channel.
pub fn policy(grace: Duration) -> CurrentPolicy {
    let defaults = ChannelSettings {
        max_members: 100,
        presence_ttl_ms: 60_000,
        disconnect_grace_ms: grace.as_millis() as u64,
    };
    CurrentPolicy::new(Arc::new(Policy::new(defaults, Patterns::default())))
}
