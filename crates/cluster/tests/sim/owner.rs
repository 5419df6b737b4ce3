//! A stand-in for the loops of one node: it gives the shards that ship what the machine tells, and
//! carries out what they say. One connection shows something, and one loop subscribes.

use std::collections::{BTreeMap, BTreeSet};

use herenow_cluster::{Contents, Fact, Input, Outgoing, Term};
use herenow_core::{
    Asker, Command, Effect, Expire, Flush, From, Instant, Owner as OwnerId, Peer, Put, PutResult,
    Replica, RequestId, Shard, To,
};
use herenow_wire::link::{Incarnation, Interest, Item, Ticket, Urgency};
use herenow_wire::{
    ChannelName, ConnectionId, DefaultChannel, LeaveReason, Ref, State, UserId, decode,
};

use crate::channels::{channels, max_members};
use crate::check::History;
use crate::subscriber::Subscriber;

pub struct Owner {
    pub me: Incarnation,
    pub connections: BTreeMap<ConnectionId, Connection>,
    /// Puts that wait for an answer, by the number that comes back with it.
    pub pending: BTreeMap<u32, (ConnectionId, ChannelName, State)>,
    pub subscribers: BTreeMap<ChannelName, Subscriber>,
    pub replicas: BTreeMap<u16, Replica>,
    terms: BTreeMap<u16, Term>,
    numbers: Numbers,
    /// What was handed in with a tag, and the batches with which puts went.
    tagged: BTreeMap<u64, Vec<(u16, Ticket)>>,
    sent: BTreeMap<(Incarnation, u64), Vec<(u16, Ticket)>>,
    /// Batches that hold puts for homes that have not opened: they are acknowledged when those are
    /// decided, and so is what came after them.
    undecided: BTreeMap<(Incarnation, u64), BTreeSet<u16>>,
    /// The last batch of each node.
    received: BTreeMap<Incarnation, u64>,
    dirty: BTreeSet<ChannelName>,
    requests: u32,
    tags: u64,
    pub answered: u64,
    pub refused: u64,
    pub superseded: u64,
    pub taken: u64,
    now: Instant,
    /// Whether changes wait for a while before they are flushed.
    pub is_lazy: bool,
}

/// A connection of this node.
#[derive(Debug, Default)]
pub struct Connection {
    pub generation: u32,
    /// What it shows, as far as it was answered.
    pub mine: BTreeMap<ChannelName, State>,
    /// Another node has it.
    pub is_lost: bool,
}

/// The numbers that this process gives other nodes.
#[derive(Default)]
struct Numbers {
    known: BTreeMap<Incarnation, u16>,
    given: u16,
}

/// What the owner does in answer.
pub type Answers = Vec<Input<'static>>;

const LOOP: Peer = Peer(0);

impl Owner {
    pub fn new(me: Incarnation) -> Self {
        let replica = |channel: &ChannelName| {
            let number = channel.shard();
            (number, Replica::new(number, Shard::new(0)))
        };
        let mut owner = Self {
            me,
            connections: BTreeMap::new(),
            pending: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            replicas: channels().iter().map(replica).collect(),
            terms: BTreeMap::new(),
            numbers: Numbers::default(),
            tagged: BTreeMap::new(),
            sent: BTreeMap::new(),
            undecided: BTreeMap::new(),
            received: BTreeMap::new(),
            dirty: BTreeSet::new(),
            requests: 0,
            tags: 0,
            answered: 0,
            refused: 0,
            superseded: 0,
            taken: 0,
            now: Instant::default(),
            is_lazy: false,
        };
        owner.be(me);
        owner
    }

    /// Who this node is from here on.
    fn be(&mut self, me: Incarnation) {
        self.me = me;
        let owner = self.from(me).owner;
        self.replicas.values_mut().for_each(|replica| replica.set_owner(owner));
    }

    pub fn handle(&mut self, fact: Fact, now: Instant, history: &mut History, out: &mut Answers) {
        self.now = now;
        match fact {
            Fact::View(_) | Fact::LeaseUntil(_) | Fact::Joined => {}
            Fact::Left => self.leave_all(history, out),
            Fact::Out(me) => {
                self.leave_all(history, out);
                self.be(me);
            }
            Fact::Gone(node) => {
                let from = self.from(node);
                self.sent.retain(|(to, _), _| *to != node);
                self.undecided.retain(|(from, _), _| *from != node);
                self.received.remove(&node);
                for shard in self.shards() {
                    self.at(shard, out, |replica, now, effects| replica.gone(from, now, effects));
                }
            }
            Fact::Home { shard, epoch } => {
                self.terms.insert(shard, Term { epoch, home: self.me });
                self.at(shard, out, |replica, now, effects| {
                    replica.become_home(epoch << EPOCH_BITS, now, effects);
                });
                self.decided(shard, history, out);
            }
            Fact::Opened { shard, .. } => {
                self.at(shard, out, |replica, now, effects| replica.open(now, effects));
                self.decided(shard, history, out);
            }
            Fact::Moved { shard, term } => {
                self.terms.insert(shard, term);
                self.at(shard, out, |replica, now, effects| replica.become_copy(now, effects));
                self.decided(shard, history, out);
            }
            Fact::ReportWanted { home, shards } => {
                let mut items = Vec::new();
                for (shard, epoch) in shards {
                    self.terms.insert(shard, Term { epoch, home });
                    items.extend(self.owed_to_home(shard, out));
                }
                self.send(home, items, out);
            }
            Fact::Received { from, n, items } => {
                for item in items {
                    let put = match &item {
                        Item::Put(put) => Some(put.channel.shard()),
                        _ => None,
                    };
                    self.receive(from, item, out);
                    if let Some(shard) = put.filter(|shard| self.replicas[shard].is_opening()) {
                        self.undecided.entry((from, n)).or_default().insert(shard);
                    }
                }
                self.flush_all(history, out);
                self.received.insert(from, n);
                self.tell(from, out);
            }
            Fact::Sent { to, tag, n } => {
                if let Some(puts) = self.tagged.remove(&tag) {
                    self.sent.entry((to, n)).or_default().extend(puts);
                }
            }
            Fact::Acked { by, n } => self.acked(by, n, out),
            Fact::ResetWanted(to) => {
                self.sent.retain(|(node, _), _| *node != to);
                let contents = self.contents(to, out);
                out.push(Input::Reset { to, contents });
            }
            Fact::OwedWanted(to, owed) => {
                let mut items = Vec::new();
                for &shard in &owed.shards {
                    if self.terms.get(&shard).is_some_and(|term| term.home == to) {
                        items.extend(self.owed_to_home(shard, out));
                    }
                }
                let peer = self.from(to).peer;
                for channel in &owed.channels {
                    let replica = self.replicas.get(&channel.shard());
                    items.extend(replica.and_then(|replica| replica.snapshot(channel, peer)));
                }
                self.tags += 1;
                self.tag(&items);
                let (urgency, tag) = (Urgency::Soon, self.tags);
                out.push(Input::Owed(owed, Outgoing { to, items, urgency, tag }));
            }
        }
        if !self.is_lazy {
            self.flush_all(history, out);
        }
    }

    /// A connection comes, with the generation that its token says.
    pub fn connect(&mut self, connection: ConnectionId, generation: u32, out: &mut Answers) {
        if let Some(before) = self.connections.get(&connection) {
            self.end(connection, before.generation, out);
        }
        let (mine, is_lost) = (BTreeMap::new(), false);
        self.connections.insert(connection, Connection { generation, mine, is_lost });
    }

    /// A connection has lost its socket, and may come back.
    pub fn detach(&mut self, connection: ConnectionId, generation: u32, out: &mut Answers) {
        let Some(known) = self.connections.get(&connection) else { return };
        if known.generation == generation {
            let channels: Vec<ChannelName> = known.mine.keys().cloned().collect();
            for channel in channels {
                let owner = OwnerId(0);
                self.command(Command::Detach { channel, connection, owner }, out);
            }
        }
    }

    /// A connection has ended, and shows nothing any more.
    pub fn end(&mut self, connection: ConnectionId, generation: u32, out: &mut Answers) {
        if self.connections.get(&connection).is_none_or(|known| known.generation != generation) {
            return;
        }
        self.pending.retain(|_, (of, _, _)| *of != connection);
        self.connections.remove(&connection);
        for channel in channels() {
            let (channel, owner, reason) = (channel.clone(), OwnerId(0), LeaveReason::Disconnect);
            self.command(Command::Remove { channel, connection, owner, reason }, out);
        }
    }

    /// A connection shows something, wants to, or shows it no more.
    pub fn track(
        &mut self,
        (connection, channel): (ConnectionId, &ChannelName),
        state: Option<State>,
        out: &mut Answers,
    ) {
        let channel = channel.clone();
        let Some(known) = self.connections.get_mut(&connection) else { return };
        let is_its =
            |(of, at, _): &(ConnectionId, ChannelName, State)| (of, at) == (&connection, &channel);
        let waits = self.pending.values().any(is_its);
        let owner = OwnerId(0);
        let command = match state {
            None => {
                let had = known.mine.remove(&channel).is_some() || waits;
                self.pending.retain(|_, pending| !is_its(pending));
                if !had {
                    return;
                }
                let reason = LeaveReason::Leave;
                Command::Remove { channel: channel.clone(), connection, owner, reason }
            }
            // A client waits for the answer to its last.
            Some(_) if waits => return,
            Some(state) => {
                self.requests += 1;
                let pending = (connection, channel.clone(), state.clone());
                self.pending.insert(self.requests, pending);
                let user = UserId::parse("user").expect("a valid id").into();
                let generation = known.generation;
                let put = Put { connection, owner, generation, user, state };
                let asker = Asker { peer: LOOP, slot: self.requests, connection, generation };
                let reference = Some(reference());
                let (channel, max_members) = (channel.clone(), max_members(&channel));
                Command::Put { channel, put, expire: Expire::Never, max_members, asker, reference }
            }
        };
        self.command(command, out);
    }

    pub fn subscribe(&mut self, channel: &ChannelName, interest: Interest, out: &mut Answers) {
        let channel = channel.clone();
        match interest {
            Interest::Changes => {
                self.requests += 1;
                let request_id = RequestId(self.requests);
                self.subscribers.entry(channel.clone()).or_default().request(request_id);
                self.command(Command::Subscribe { channel, peer: LOOP, request_id }, out);
            }
            Interest::Nothing => {
                if self.subscribers.remove(&channel).is_some() {
                    self.command(Command::Unsubscribe { channel, peer: LOOP }, out);
                }
            }
        }
    }

    /// Sends what has changed.
    pub fn flush_all(&mut self, history: &mut History, out: &mut Answers) {
        while let Some(channel) = self.dirty.pop_first() {
            let mut flush = Flush::default();
            let replica = self.replicas.get_mut(&channel.shard()).expect("there is one");
            replica.flush(&channel, self.now, &mut flush);
            for receiver in std::mem::take(&mut flush.to) {
                if receiver.peer == LOOP {
                    if let Some(subscriber) = self.subscribers.get_mut(&channel) {
                        subscriber.take(&flush, receiver.snapshot_for);
                        if let Some((at, rows)) = subscriber.list() {
                            history.note(&channel, at, rows);
                        }
                    }
                } else if let Some(item) = Replica::item_for(&channel, &flush, &receiver) {
                    let to = self.numbers.node(receiver.peer);
                    self.send(to, vec![item], out);
                }
            }
        }
    }

    fn leave_all(&mut self, history: &mut History, out: &mut Answers) {
        self.flush_all(history, out);
        for shard in self.shards() {
            self.at(shard, out, |replica, now, effects| replica.become_copy(now, effects));
        }
        self.terms.retain(|_, term| term.home != self.me);
        self.tagged.clear();
        self.sent.clear();
        self.undecided.clear();
        self.received.clear();
    }

    /// What waited for a home to open is decided.
    fn decided(&mut self, shard: u16, history: &mut History, out: &mut Answers) {
        let mut nodes = BTreeSet::new();
        self.undecided.retain(|(from, _), shards| {
            if shards.remove(&shard) {
                nodes.insert(*from);
            }
            !shards.is_empty()
        });
        if !nodes.is_empty() {
            self.flush_all(history, out);
        }
        for node in nodes {
            self.tell(node, out);
        }
    }

    /// Acknowledges what a node has sent, up to what is not decided.
    fn tell(&mut self, from: Incarnation, out: &mut Answers) {
        let undecided = self.undecided.range((from, 0)..=(from, u64::MAX)).next();
        let n = match (undecided, self.received.get(&from)) {
            (Some(((_, n), _)), _) => n - 1,
            (None, Some(n)) => *n,
            (None, None) => return,
        };
        out.push(Input::Told { from, n });
    }

    fn shards(&self) -> Vec<u16> {
        self.replicas.keys().copied().collect()
    }

    fn command(&mut self, command: Command, out: &mut Answers) {
        let shard = command.channel().shard();
        self.at(shard, out, |replica, now, effects| replica.handle(command, now, effects));
    }

    fn receive(&mut self, from: Incarnation, item: Item, out: &mut Answers) {
        if let Item::Taken { connection, generation } = item {
            self.taken += 1;
            self.lose(connection, generation);
            return;
        }
        let Some(shard) = shard_of(&item) else { panic!("nothing sends {item:?}") };
        let known = self.terms.get(&shard).copied();
        let is_believed = match &item {
            Item::Snap(snap) => self.believes(shard, from, snap.position.epoch),
            Item::Change(change) => self.believes(shard, from, change.position.epoch),
            Item::Report(report) => known == Some(Term { epoch: report.epoch, home: self.me }),
            _ => true,
        };
        if !is_believed {
            return;
        }
        let sender = self.from(from);
        let is_misdirected = match &item {
            Item::Refused(refused) => self.replicas[&shard].waits_for_another_home(refused),
            _ => false,
        };
        self.at(shard, out, |replica, now, effects| replica.receive(sender, item, now, effects));
        if is_misdirected && known.is_some_and(|term| term.home != from) {
            self.at(shard, out, |replica, _, effects| replica.put_again(effects));
        }
    }

    /// Whether a home may speak of this shard.
    fn believes(&self, shard: u16, home: Incarnation, epoch: u64) -> bool {
        let term = Term { epoch: epoch >> EPOCH_BITS, home };
        self.terms.get(&shard).is_none_or(|known| term >= *known)
    }

    /// Hands something to a shard and carries out what follows.
    fn at(
        &mut self,
        shard: u16,
        out: &mut Answers,
        act: impl FnOnce(&mut Replica, Instant, &mut Vec<Effect>),
    ) {
        let Some(replica) = self.replicas.get_mut(&shard) else { return };
        let mut effects = Vec::new();
        act(replica, self.now, &mut effects);
        let outgoing = replica.take_outgoing();
        for effect in effects {
            match effect {
                Effect::Dirty { channel, .. } | Effect::FlushNow { channel, .. } => {
                    self.dirty.insert(channel);
                }
                Effect::Answer { asker, result, .. } => self.answer(asker.slot, result),
                Effect::Resync { .. } | Effect::Hibernated { .. } => panic!("nothing sleeps here"),
            }
        }
        let mut by_node: Vec<(Incarnation, Vec<Item>)> = Vec::new();
        for outgoing in outgoing {
            let to = match outgoing.to {
                To::Node(peer) => self.numbers.node(peer),
                To::Owner(owner) => self.numbers.node(Peer::node(owner.0 as u16)),
                // A put that finds no home waits for the one that asks for a report.
                To::Home => match self.terms.get(&shard) {
                    Some(term) if term.home != self.me => term.home,
                    _ => continue,
                },
            };
            match by_node.last_mut() {
                Some((last, items)) if *last == to => items.push(outgoing.item),
                _ => by_node.push((to, vec![outgoing.item])),
            }
        }
        for (to, items) in by_node {
            if to == self.me {
                for item in items {
                    let Item::Taken { connection, generation } = item else {
                        panic!("a node tells itself {item:?}");
                    };
                    self.lose(connection, generation);
                }
            } else {
                self.send(to, items, out);
            }
        }
    }

    /// A connection has come back at another node. Its session here is over; what it shows in other
    /// channels goes when its grace has ended, unless that node has it by then.
    fn lose(&mut self, connection: ConnectionId, generation: u32) {
        if let Some(known) = self.connections.get_mut(&connection)
            && known.generation <= generation
        {
            known.is_lost = true;
            self.pending.retain(|_, (of, _, _)| *of != connection);
        }
    }

    fn answer(&mut self, request: u32, result: PutResult) {
        let Some((connection, channel, state)) = self.pending.remove(&request) else { return };
        self.answered += 1;
        match result {
            PutResult::Done => {
                let known = self.connections.get_mut(&connection).expect("it waits for answers");
                known.mine.insert(channel, state);
            }
            PutResult::Full => self.refused += 1,
            PutResult::Superseded => {
                self.superseded += 1;
                let generation = self.connections.get(&connection).map(|known| known.generation);
                self.lose(connection, generation.unwrap_or(0));
            }
        }
    }

    fn send(&mut self, to: Incarnation, items: Vec<Item>, out: &mut Answers) {
        if items.is_empty() {
            return;
        }
        self.tags += 1;
        self.tag(&items);
        out.push(Input::Send(Outgoing { to, items, urgency: Urgency::Soon, tag: self.tags }));
    }

    fn tag(&mut self, items: &[Item]) {
        let puts = items.iter().filter_map(|item| match item {
            Item::Put(put) => Some((put.channel.shard(), put.ticket?)),
            _ => None,
        });
        let puts: Vec<_> = puts.collect();
        if !puts.is_empty() {
            self.tagged.insert(self.tags, puts);
        }
    }

    /// What the home of a shard is owed: a report, and the puts that wait.
    fn owed_to_home(&mut self, shard: u16, out: &mut Answers) -> Vec<Item> {
        let epoch = self.terms[&shard].epoch;
        let Some(replica) = self.replicas.get_mut(&shard) else {
            let report = herenow_wire::link::Report { shard, epoch, channels: Vec::new() };
            return vec![Item::Report(report)];
        };
        let mut items = vec![Item::Report(replica.report(epoch))];
        let mut effects = Vec::new();
        replica.put_again(&mut effects);
        items.extend(replica.take_outgoing().into_iter().map(|outgoing| outgoing.item));
        self.at(shard, out, |_, _, out| out.extend(effects));
        items
    }

    fn contents(&mut self, to: Incarnation, out: &mut Answers) -> Contents {
        let its = self.terms.iter().filter(|(_, term)| term.home == to);
        let shards: Vec<u16> = its.map(|(shard, _)| *shard).collect();
        let mut items = Vec::new();
        for shard in shards {
            items.extend(self.owed_to_home(shard, out));
        }
        self.tags += 1;
        self.tag(&items);
        let peer = self.from(to).peer;
        let wanted = self.replicas.values().flat_map(|replica| replica.wanted_by(peer));
        Contents { items, channels: wanted.collect(), tag: self.tags }
    }

    fn acked(&mut self, by: Incarnation, n: u64, out: &mut Answers) {
        let later = self.sent.split_off(&(by, n + 1));
        let mut acked = std::mem::replace(&mut self.sent, later);
        let others: Vec<_> = acked.keys().filter(|(node, _)| *node != by).copied().collect();
        for key in others {
            self.sent.extend(acked.remove_entry(&key));
        }
        for (shard, ticket) in acked.into_values().flatten() {
            self.at(shard, out, |replica, _, effects| replica.done(&[ticket], effects));
        }
    }

    fn from(&mut self, node: Incarnation) -> From {
        let number = self.numbers.of(node);
        From { incarnation: node, peer: Peer::node(number), owner: OwnerId(u32::from(number)) }
    }
}

impl Numbers {
    fn of(&mut self, node: Incarnation) -> u16 {
        *self.known.entry(node).or_insert_with(|| {
            self.given += 1;
            self.given
        })
    }

    fn node(&self, peer: Peer) -> Incarnation {
        let number = peer.as_node().expect("loops are told in another way");
        let known = self.known.iter().find(|(_, known)| **known == number);
        *known.expect("it was numbered").0
    }
}

/// Any.
fn reference() -> Ref {
    let mut out = Vec::new();
    decode(r#"{"type":"ping","ref":"r"}"#, &DefaultChannel::None, &mut out);
    out.remove(0).expect("a good ping").reference.expect("it carries a ref")
}

/// The lives of maps within a term.
const EPOCH_BITS: u32 = 20;

fn shard_of(item: &Item) -> Option<u16> {
    Some(match item {
        Item::Report(report) => report.shard,
        Item::Put(put) => put.channel.shard(),
        Item::Remove { channel, .. }
        | Item::Detach { channel, .. }
        | Item::Interest { channel, .. } => channel.shard(),
        Item::Snap(snap) => snap.channel.shard(),
        Item::Change(change) => change.channel.shard(),
        Item::Refused(refused) => refused.channel.shard(),
        _ => return None,
    })
}
