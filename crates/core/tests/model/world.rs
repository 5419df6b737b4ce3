//! Two loops with their sessions and audiences, one shard, and mail between them that may take its
//! time. Carries out effects as a server would, one by one.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use herenow_core::{
    Ask, Audience, Auth, Command, Effect, Flush, Input, Instant, Limits, Owed, Owner, Part, Peer,
    Put, Question, RateLimit, Ruling, Session, SessionEffect, Shard, Ticket,
};
use herenow_wire::encode::Reply;
use herenow_wire::{ChannelName, ClientMessage, ConnectionId, Incoming, State, UserId};

use crate::client::{Client, Frame};
use crate::truth::{Rows, Truth};
use crate::{Answers, Says};

/// See the module.
pub struct World {
    limits: Limits,
    now: Instant,
    names: Vec<ChannelName>,
    shard: Shard,
    dirty: BTreeSet<ChannelName>,
    loops: Vec<Loop>,
    people: Vec<Person>,
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
    lagging: Vec<ChannelName>,
}

enum Mail {
    /// A flush, who is owed its snapshot, and what is true after it.
    Delivery(ChannelName, Flush, Owed, Rows),
    Resync(ChannelName),
}

const LOOPS: usize = 2;
const PEOPLE: usize = 5;
const SILENCE: Duration = Duration::from_secs(5);

impl World {
    pub fn new() -> Self {
        let names = ["a", "b"].map(|name| ChannelName::parse(&format!("presence:{name}")));
        let mut world = Self {
            limits: limits(),
            now: Instant::from_millis(1),
            names: names.into_iter().map(|name| name.expect("a valid name")).collect(),
            shard: Shard::new(7),
            dirty: BTreeSet::new(),
            loops: (0..LOOPS).map(|_| Loop::default()).collect(),
            people: Vec::new(),
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
        self.end(who % PEOPLE, Input::Broken, answers);
    }

    pub fn end_lease(&mut self, who: usize, answers: Answers) {
        self.end(who % PEOPLE, Input::LeaseEnded, answers);
    }

    pub fn review(&mut self, who: usize) {
        self.tell(who % PEOPLE, Input::Review);
    }

    pub fn decide(&mut self, who: usize, says: Says) {
        let slot = who % PEOPLE;
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
            if let Some(ask) = home.audience.catch_up(&channel, slot as u32) {
                home.to_shard.push_back(Command::Subscribe { channel, peer, ask });
            }
        }
    }

    // What happens between the loops.

    pub fn carry_to_shard(&mut self, of: usize, some: usize) {
        for _ in 0..some {
            let Some(command) = self.loops[of % LOOPS].to_shard.pop_front() else { return };
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

    // How it ends.

    /// Everything that is under way arrives, every rule says yes, everybody reads, and whoever is
    /// asked to show itself again has the time to.
    pub fn come_to_rest(&mut self) {
        for _ in 0..2 {
            self.arrive();
            for slot in 0..PEOPLE {
                // Where a channel sleeps, this wakes it.
                let mine: Vec<ChannelName> = self.subscribed(slot).map(|(name, _)| name).collect();
                for channel in mine {
                    self.say(slot, ClientMessage::Sync { channel });
                }
            }
            self.arrive();
            self.wait(COLLECTED_MS);
            self.arrive();
        }
    }

    fn arrive(&mut self) {
        while self.is_busy() {
            for slot in 0..PEOPLE {
                self.decide(slot, Says::Yes);
                self.drain(slot);
            }
            for of in 0..LOOPS {
                self.carry_to_shard(of, usize::MAX);
            }
            while !self.dirty.is_empty() {
                self.flush_one(0);
            }
            for of in 0..LOOPS {
                self.carry_to_loop(of, usize::MAX);
            }
        }
    }

    fn is_busy(&self) -> bool {
        let has_mail = |one: &Loop| !one.to_shard.is_empty() || !one.from_shard.is_empty();
        let has_work = |one: &Person| {
            one.question.is_some() || !one.client.inbox.is_empty() || !one.lagging.is_empty()
        };
        !self.dirty.is_empty()
            || self.loops.iter().any(has_mail)
            || self.people.iter().any(has_work)
    }

    /// At rest the shard, every subscriber and the list of presences say the same, and it is what
    /// the clients last said of themselves.
    pub fn agrees(&mut self) {
        for channel in self.names.clone() {
            let Some(rows) = self.truth.rows(&channel) else {
                let nobody = (0..PEOPLE).all(|slot| self.shows(slot, &channel).is_none());
                assert!(nobody, "a channel that somebody shows itself in does not sleep");
                continue;
            };
            assert_eq!(self.probe(&channel), rows, "the shard's own snapshot");
            for slot in 0..PEOPLE {
                let person = &self.people[slot];
                let is_subscribed =
                    person.session.subscriptions().any(|(name, _)| *name == channel);
                let list = is_subscribed.then_some(&rows);
                assert_eq!(person.client.list(&channel), list, "the list of {slot}");
            }
            self.is_what_was_said(&channel, &rows);
        }
    }

    fn is_what_was_said(&self, channel: &ChannelName, rows: &Rows) {
        for (connection, state) in rows {
            let who = (0..PEOPLE).find(|slot| self.id(*slot) == *connection);
            let slot = who.expect("nobody is present who is not connected");
            assert_eq!(self.shows(slot, channel).as_ref(), Some(state), "what {slot} shows");
        }
        for slot in 0..PEOPLE {
            let is_asked_in_vain = self.people[slot].client.answers() == Answers::Never;
            if let Some(state) = self.shows(slot, channel)
                && !is_asked_in_vain
            {
                assert!(rows.contains(&(self.id(slot), state)), "{slot} tracks and is not there");
            }
        }
    }

    /// What a peer that asks now is sent.
    fn probe(&mut self, channel: &ChannelName) -> Rows {
        let (peer, ask) = (Peer(99), Ask(1));
        let wish = Command::Subscribe { channel: channel.clone(), peer, ask };
        let mut flush = Flush::default();
        self.shard.handle(wish, self.now, &mut Vec::new());
        self.shard.flush(channel, self.now, &mut flush);
        let goodbye = Command::Unsubscribe { channel: channel.clone(), peer };
        self.shard.handle(goodbye, self.now, &mut Vec::new());
        assert!(flush.ops.is_empty(), "nothing was left to be told");
        let snapshot = flush.snapshot.expect("the peer is owed one");
        snapshot.entries.into_iter().map(|entry| (entry.connection, entry.state)).collect()
    }

    pub fn everybody_goes(&mut self) {
        for slot in 0..PEOPLE {
            self.tell(slot, Input::Broken);
        }
        self.arrive();
    }

    pub fn is_drained(&self) {
        assert_eq!((self.shard.channels(), self.shard.entries()), (0, 0));
        assert!(!self.shard.has_deadlines(Some(SILENCE)));
        for one in &self.loops {
            assert_eq!((one.audience.channels(), one.audience.subscriptions()), (0, 0));
        }
    }

    // What the loops do.

    fn say(&mut self, who: usize, message: ClientMessage) {
        let input = Input::Message(Incoming { message, reference: None });
        self.tell(who % PEOPLE, input);
    }

    fn tell(&mut self, slot: usize, input: Input) {
        let mut out = Vec::new();
        self.people[slot].session.handle(input, &self.limits, self.now, &mut out);
        let mut put_in = None;
        for effect in out {
            match &effect {
                SessionEffect::Put { channel, .. } => put_in = Some(channel.clone()),
                SessionEffect::Listen { channel } if put_in.as_ref() == Some(channel) => {
                    self.people[slot].client.expects_itself_in(channel);
                }
                SessionEffect::Remove { channel, .. } | SessionEffect::Unlisten { channel } => {
                    self.people[slot].client.expects_itself_no_more_in(channel);
                }
                _ => {}
            }
            self.perform(slot, effect);
        }
    }

    fn perform(&mut self, slot: usize, effect: SessionEffect) {
        let (at, peer) = (slot as u32, Peer((slot % LOOPS) as u16));
        let connection = self.id(slot);
        let person = &mut self.people[slot];
        let home = &mut self.loops[slot % LOOPS];
        match effect {
            SessionEffect::Reply(reply, _) => person.client.inbox.extend(frame(reply)),
            SessionEffect::Authorize(question) => {
                let before = person.question.replace(question);
                assert_eq!(before, None, "one decision is asked for at a time");
            }
            SessionEffect::Listen { channel } => {
                let ask = home.audience.listen(&channel, at);
                home.to_shard.push_back(Command::Subscribe { channel, peer, ask });
            }
            SessionEffect::AskAgain { channel } => {
                if let Some(ask) = home.audience.ask_again(&channel, at) {
                    home.to_shard.push_back(Command::Subscribe { channel, peer, ask });
                }
            }
            SessionEffect::Unlisten { channel } => {
                if home.audience.unlisten(&channel, at) {
                    home.to_shard.push_back(Command::Unsubscribe { channel, peer });
                }
            }
            SessionEffect::Put { channel, state, user, reference } => {
                let put = Put { connection, owner: OWNER, user, state };
                let ticket = Ticket { peer, slot: at, connection, reference };
                home.to_shard.push_back(Command::Put { channel, put, max_members: 100, ticket });
            }
            SessionEffect::Remove { channel, reason } => {
                home.to_shard.push_back(Command::Remove {
                    channel,
                    connection,
                    owner: OWNER,
                    reason,
                });
            }
            SessionEffect::ReviewLater | SessionEffect::Settled | SessionEffect::Close { .. } => {}
        }
    }

    fn settle(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dirty { channel, .. } => {
                    self.dirty.insert(channel);
                }
                Effect::Resync { channel, .. } => {
                    // Whoever has not yet subscribed as far as the shard knows is told as well.
                    for one in &mut self.loops {
                        one.from_shard.push_back(Mail::Resync(channel.clone()));
                    }
                }
                Effect::Answer { .. } => unreachable!("no ref was given and no channel is full"),
            }
        }
    }

    fn flush(&mut self, channel: &ChannelName) {
        self.dirty.remove(channel);
        let mut flush = Flush::default();
        self.shard.flush(channel, self.now, &mut flush);
        if flush.to.is_empty() {
            return;
        }
        let rows = self.truth.rows(channel).expect("a map that is not known is not told of");
        for receiver in &flush.to {
            let (flush, rows) = (flush.clone(), rows.clone());
            let delivery = Mail::Delivery(channel.clone(), flush, receiver.owed, rows);
            self.loops[usize::from(receiver.peer.0)].from_shard.push_back(delivery);
        }
    }

    fn take_in(&mut self, of: usize, mail: Mail) {
        match mail {
            Mail::Resync(channel) => {
                for subscriber in self.loops[of].audience.subscribers(&channel) {
                    let client = &mut self.people[subscriber.slot as usize].client;
                    client.inbox.push_back(Frame::Resync(channel.clone()));
                }
            }
            Mail::Delivery(channel, flush, owed, rows) => {
                for subscriber in self.loops[of].audience.subscribers(&channel) {
                    let inbox = &mut self.people[subscriber.slot as usize].client.inbox;
                    match subscriber.take(owed) {
                        None => continue,
                        Some(Part::Deltas) => inbox.extend(
                            flush.ops.iter().map(|op| Frame::Delta(channel.clone(), op.clone())),
                        ),
                        Some(Part::Snapshot) => {
                            let snapshot = flush.snapshot.clone().expect("somebody is owed it");
                            inbox.push_back(Frame::Snapshot(channel.clone(), snapshot));
                        }
                    }
                    inbox.push_back(Frame::Check(channel.clone(), rows.clone()));
                }
            }
        }
    }

    fn end(&mut self, slot: usize, input: Input, answers: Answers) {
        self.tell(slot, input);
        self.people[slot] = self.newcomer(answers);
        self.sign_in(slot);
    }

    fn newcomer(&mut self, answers: Answers) -> Person {
        self.drawn += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.drawn.to_be_bytes());
        let connection = ConnectionId::from_bytes(bytes);
        Person {
            session: Session::new(connection, &self.limits, self.now),
            client: Client::new(connection, answers),
            question: None,
            lagging: Vec::new(),
        }
    }

    fn sign_in(&mut self, slot: usize) {
        let user = UserId::parse(&format!("user-{slot}")).expect("a valid user");
        let auth = Auth { user, expires_at_unix_ms: u64::MAX, claims: "{}".into() };
        self.tell(slot, Input::Auth { verdict: Ok(auth), reference: None });
    }

    /// What the client library does about a resync.
    fn show_again(&mut self, slot: usize, channel: ChannelName) {
        if let Some(state) = self.shows(slot, &channel) {
            self.say(slot, ClientMessage::Track { channel, state });
        }
    }

    fn nobody_expects_itself_in(&mut self, channel: &ChannelName) {
        for person in &mut self.people {
            person.client.expects_itself_no_more_in(channel);
        }
    }

    fn shows(&self, slot: usize, channel: &ChannelName) -> Option<State> {
        self.subscribed(slot).find(|(name, _)| name == channel).and_then(|(_, state)| state)
    }

    fn subscribed(&self, slot: usize) -> impl Iterator<Item = (ChannelName, Option<State>)> {
        let subscriptions = self.people[slot].session.subscriptions();
        subscriptions.map(|(name, state)| (name.clone(), state.cloned()))
    }

    fn id(&self, slot: usize) -> ConnectionId {
        self.people[slot].session.connection()
    }

    fn name(&self, of: usize) -> ChannelName {
        self.names[of % self.names.len()].clone()
    }
}

/// What of a reply matters to the client's list.
fn frame(reply: Reply) -> Option<Frame> {
    match reply {
        Reply::Subscribed { channel } => Some(Frame::Subscribed(channel)),
        Reply::Unsubscribed { channel, .. } => Some(Frame::Unsubscribed(channel)),
        Reply::AuthRefreshed { revoked, .. } => Some(Frame::Refreshed(revoked)),
        _ => None,
    }
}

fn limits() -> Limits {
    Limits {
        auth_timeout: Duration::from_secs(5),
        expiry_leeway: Duration::from_secs(60),
        // As fast as anybody likes: `pace_of_talk` is about rates.
        rate: RateLimit { messages_per_second: 1_000_000, burst: 1_000_000 },
        max_channels: 100,
        max_waiting_messages: 64,
        started_at_unix_ms: 0,
    }
}

const OWNER: Owner = Owner(0);

/// Long enough for a collection, too short for a channel to fall asleep.
const COLLECTED_MS: u16 = 2_100;
