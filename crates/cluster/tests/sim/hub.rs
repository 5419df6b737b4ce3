//! A stand-in for one loop of a node: it has the replicas of its shards, tells them what the exchange
//! says, and carries out what they say. It subscribes to channels itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use herenow_core::{
    Command, Effect, Flush, From, Instant, NodeEvent, NodeMail, Owed, Owner, Peer, Policy, Replica,
    Shard, Term, To,
};
use herenow_wire::ChannelName;
use herenow_wire::link::{Interest, Item, RefusedWhy, Report};

use crate::channels::channels;
use crate::check::History;
use crate::sessions::Sessions;
use crate::subscriber::Subscriber;

pub struct Hub {
    /// Whom it speaks for.
    pub owner: Owner,
    pub replicas: BTreeMap<u16, Replica>,
    pub subscribers: BTreeMap<ChannelName, Subscriber>,
    homes: BTreeMap<u16, Home>,
    /// The nodes that it has heard of.
    peers: BTreeMap<Owner, Peer>,
    /// Batches that hold puts for homes that have not opened: they are acknowledged when those are
    /// decided, and so is what came after them.
    undecided: BTreeMap<(Peer, u64), BTreeSet<u16>>,
    /// The last batch of each node.
    received: BTreeMap<Peer, u64>,
    dirty: BTreeSet<ChannelName>,
    mail: Vec<NodeMail>,
    /// Whether changes wait for a while before they are flushed.
    pub is_lazy: bool,
}

/// The home of a shard, as far as this loop knows.
#[derive(Clone, Copy)]
struct Home {
    term: Term,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Here,
    Node(Peer),
}

/// What is around a loop.
pub struct Around<'a> {
    pub sessions: &'a mut Sessions,
    pub history: &'a mut History,
    pub now: Instant,
}

pub const LOOP: Peer = Peer(0);

impl Hub {
    /// One of so many.
    pub fn new(number: u16, hubs: u16, policy: &Arc<Policy>) -> Self {
        let shards = channels().iter().map(ChannelName::shard);
        let its = shards.filter(|shard| shard % hubs == number);
        let replica = |shard| {
            let mut replica = Replica::new(shard, Shard::new(0));
            replica.set_policy(Arc::clone(policy));
            (shard, replica)
        };
        Self {
            owner: Owner::NOBODY,
            replicas: its.map(replica).collect(),
            subscribers: BTreeMap::new(),
            homes: BTreeMap::new(),
            peers: BTreeMap::new(),
            undecided: BTreeMap::new(),
            received: BTreeMap::new(),
            dirty: BTreeSet::new(),
            mail: Vec::new(),
            is_lazy: false,
        }
    }

    /// What it has for the exchange.
    pub fn take_mail(&mut self) -> Vec<NodeMail> {
        std::mem::take(&mut self.mail)
    }

    pub fn handle(&mut self, event: NodeEvent, around: &mut Around<'_>) {
        match event {
            NodeEvent::Out { owner } => self.begin_as(owner, around),
            // They matter where there is a grace, or a kick, of which this simulation has none.
            NodeEvent::View { .. } | NodeEvent::Joined(_) => {}
            NodeEvent::Gone(node) => {
                self.undecided.retain(|(from, _), _| *from != node.peer);
                self.received.remove(&node.peer);
                self.peers.remove(&node.owner);
                for shard in self.shards() {
                    self.at(shard, around, |replica, now, effects| {
                        replica.gone(node, now, effects)
                    });
                }
            }
            NodeEvent::Home { shard, term } => {
                self.homes.insert(shard, Home { term, at: At::Here });
                self.at(shard, around, |replica, now, effects| {
                    replica.become_home((term.first_life(), BTreeSet::new()), now, effects);
                });
                self.decided(shard, around);
            }
            NodeEvent::Opened { shard, .. } => {
                self.at(shard, around, |replica, now, effects| replica.open(now, effects));
                self.decided(shard, around);
            }
            NodeEvent::Moved { shard, term, home } => {
                self.know(home);
                self.homes.insert(shard, Home { term, at: At::Node(home.peer) });
                self.at(shard, around, |replica, now, effects| replica.become_copy(now, effects));
                self.decided(shard, around);
            }
            NodeEvent::ReportWanted { home, shards } => {
                self.know(home);
                let mut items = Vec::new();
                for (shard, term) in shards {
                    self.homes.insert(shard, Home { term, at: At::Node(home.peer) });
                    items.extend(self.owed_to_home(shard, around));
                }
                self.send(home.peer, items);
            }
            NodeEvent::Received { from, batch, items } => {
                self.receive_batch((from, batch), items, around);
            }
            NodeEvent::Done(tickets) => {
                for (shard, ticket) in tickets {
                    self.at(shard, around, |replica, _, effects| replica.done(&[ticket], effects));
                }
            }
            NodeEvent::ResetWanted { to, request } => {
                self.know(to);
                let items = self.owed_to_node(to.peer, around);
                let wanted = self.replicas.values().flat_map(|replica| replica.wanted_by(to.peer));
                let channels = wanted.collect();
                self.mail.push(NodeMail::Contents { request, items, channels });
            }
            NodeEvent::OwedWanted { to, owed } => {
                self.know(to);
                self.answer_owed(to.peer, owed, around);
            }
        }
        if !self.is_lazy {
            self.flush_all(around);
        }
    }

    pub fn command(&mut self, command: Command, around: &mut Around<'_>) {
        let shard = command.channel().shard();
        self.at(shard, around, |replica, now, effects| replica.handle(command, now, effects));
    }

    /// This loop subscribes to a channel, or does so no more.
    pub fn subscribe(
        &mut self,
        channel: &ChannelName,
        interest: Interest,
        around: &mut Around<'_>,
    ) {
        let channel = channel.clone();
        match interest {
            Interest::Changes | Interest::Asleep => {
                let request_id = around.sessions.next_request();
                self.subscribers.entry(channel.clone()).or_default().request(request_id);
                self.command(Command::Subscribe { channel, peer: LOOP, request_id }, around);
            }
            Interest::Nothing => {
                if self.subscribers.remove(&channel).is_some() {
                    self.command(Command::Unsubscribe { channel, peer: LOOP }, around);
                }
            }
        }
    }

    /// Does what is due.
    pub fn scan(&mut self, around: &mut Around<'_>) {
        for shard in self.shards() {
            if self.replicas[&shard].has_deadlines(None) {
                self.at(shard, around, |one, now, effects| one.handle_timeout(now, None, effects));
            }
        }
    }

    /// Sends what has changed.
    pub fn flush_all(&mut self, around: &mut Around<'_>) {
        while let Some(channel) = self.dirty.pop_first() {
            let mut flush = Flush::default();
            let replica = self.replicas.get_mut(&channel.shard()).expect("there is one");
            replica.flush(&channel, around.now, &mut flush);
            for receiver in std::mem::take(&mut flush.to) {
                if receiver.peer == LOOP {
                    if let Some(subscriber) = self.subscribers.get_mut(&channel) {
                        subscriber.take(&flush, receiver.snapshot_for);
                        if let Some((at, rows)) = subscriber.list() {
                            around.history.note(&channel, at, rows);
                        }
                    }
                } else if let Some(item) = Replica::item_for(&channel, &flush, &receiver) {
                    self.send(receiver.peer, vec![item]);
                }
            }
        }
    }

    /// From here on it speaks for another owner, and is the home of nothing.
    fn begin_as(&mut self, owner: Owner, around: &mut Around<'_>) {
        self.flush_all(around);
        for shard in self.shards() {
            self.at(shard, around, |replica, now, effects| {
                replica.become_copy(now, effects);
                replica.set_owner(owner);
            });
        }
        self.owner = owner;
        self.homes.retain(|_, home| home.at != At::Here);
        self.undecided.clear();
        self.received.clear();
        self.mail.clear();
    }

    fn receive_batch(
        &mut self,
        (from, batch): (From, u64),
        items: Vec<Item>,
        around: &mut Around<'_>,
    ) {
        self.know(from);
        for item in items {
            let put = match &item {
                Item::Put(put) => Some(put.channel.shard()),
                _ => None,
            };
            self.receive(from, item, around);
            if let Some(shard) = put.filter(|shard| self.replicas[shard].is_opening()) {
                self.undecided.entry((from.peer, batch)).or_default().insert(shard);
            }
        }
        self.flush_all(around);
        self.received.insert(from.peer, batch);
        self.tell(from.peer);
    }

    /// What waited for a home to open is decided.
    fn decided(&mut self, shard: u16, around: &mut Around<'_>) {
        let mut nodes = BTreeSet::new();
        self.undecided.retain(|(from, _), shards| {
            if shards.remove(&shard) {
                nodes.insert(*from);
            }
            !shards.is_empty()
        });
        if !nodes.is_empty() {
            self.flush_all(around);
        }
        for node in nodes {
            self.tell(node);
        }
    }

    /// Acknowledges what a node has sent, up to what is not decided.
    fn tell(&mut self, from: Peer) {
        let undecided = self.undecided.range((from, 0)..=(from, u64::MAX)).next();
        let batch = match (undecided, self.received.get(&from)) {
            (Some(((_, batch), _)), _) => batch - 1,
            (None, Some(batch)) => *batch,
            (None, None) => return,
        };
        self.mail.push(NodeMail::Told { from, batch });
    }

    fn shards(&self) -> Vec<u16> {
        self.replicas.keys().copied().collect()
    }

    fn know(&mut self, node: From) {
        self.peers.insert(node.owner, node.peer);
    }

    fn receive(&mut self, from: From, item: Item, around: &mut Around<'_>) {
        if let Item::Taken { connection, generation } = item {
            return around.sessions.take(connection, generation);
        }
        let Some(shard) = item.shard() else { panic!("nothing sends {item:?}") };
        if !self.believes(shard, from, &item) {
            return;
        }
        let is_of_old_home =
            self.homes.get(&shard).is_some_and(|home| home.at != At::Node(from.peer));
        let is_misdirected = match &item {
            Item::Refused(refused) => {
                refused.why == RefusedWhy::NotHome
                    && is_of_old_home
                    && self.replicas[&shard].waits_for_another_home(refused)
            }
            _ => false,
        };
        self.at(shard, around, |replica, now, effects| replica.receive(from, item, now, effects));
        if is_misdirected {
            self.at(shard, around, |replica, _, effects| replica.put_again(effects));
        }
    }

    /// Whether a node may say this of a shard. Of two homes the one with the later term is believed.
    fn believes(&self, shard: u16, from: From, item: &Item) -> bool {
        let known = self.homes.get(&shard);
        let said =
            |epoch| known.is_none_or(|known| Term::of_life(epoch, from.incarnation) >= known.term);
        match item {
            Item::Snap(snap) => said(snap.position.epoch),
            Item::Change(change) => said(change.position.epoch),
            Item::Report(report) => {
                known.is_some_and(|known| known.at == At::Here && known.term.epoch == report.epoch)
            }
            _ => true,
        }
    }

    /// Hands something to a shard and carries out what follows.
    fn at(
        &mut self,
        shard: u16,
        around: &mut Around<'_>,
        act: impl FnOnce(&mut Replica, Instant, &mut Vec<Effect>),
    ) {
        let Some(replica) = self.replicas.get_mut(&shard) else { return };
        let mut effects = Vec::new();
        act(replica, around.now, &mut effects);
        let outgoing = replica.take_outgoing();
        for effect in effects {
            match effect {
                Effect::Dirty { channel, .. } | Effect::FlushNow { channel, .. } => {
                    self.dirty.insert(channel);
                }
                Effect::Answer { asker, result, .. } => around.sessions.answer(asker.slot, result),
                Effect::Resync { .. } | Effect::Hibernated { .. } => panic!("nothing sleeps here"),
            }
        }
        for outgoing in outgoing {
            let to = match outgoing.to {
                To::All => panic!("nothing sleeps here"),
                To::Node(peer) => Some(peer),
                To::Owner(owner) if owner == self.owner => {
                    let Item::Taken { connection, generation } = outgoing.item else {
                        panic!("a node tells itself {:?}", outgoing.item);
                    };
                    around.sessions.lose(connection, generation);
                    continue;
                }
                To::Owner(owner) => self.peers.get(&owner).copied(),
                // A put that finds no home waits for the one that asks for a report.
                To::Home => match self.homes.get(&shard).map(|home| home.at) {
                    Some(At::Node(peer)) => Some(peer),
                    Some(At::Here) | None => None,
                },
            };
            if let Some(to) = to {
                self.send(to, vec![outgoing.item]);
            }
        }
    }

    /// What follows on each other for one node is one flush.
    fn send(&mut self, to: Peer, more: Vec<Item>) {
        match self.mail.last_mut() {
            Some(NodeMail::Items { to: last, items }) if *last == to => items.extend(more),
            _ if more.is_empty() => {}
            _ => self.mail.push(NodeMail::Items { to, items: more }),
        }
    }

    /// What the home of a shard is owed: a report, and the puts that wait.
    fn owed_to_home(&mut self, shard: u16, around: &mut Around<'_>) -> Vec<Item> {
        let epoch = self.homes[&shard].term.epoch;
        let Some(replica) = self.replicas.get_mut(&shard) else {
            return vec![Item::Report(Report {
                shard,
                epoch,
                decided: None,
                channels: Vec::new(),
            })];
        };
        let mut items = vec![Item::Report(replica.report(epoch, None))];
        let mut effects = Vec::new();
        replica.put_again(&mut effects);
        items.extend(replica.take_outgoing().into_iter().map(|outgoing| outgoing.item));
        self.at(shard, around, |_, _, out| out.extend(effects));
        items
    }

    /// What a node is owed as the home of shards.
    fn owed_to_node(&mut self, to: Peer, around: &mut Around<'_>) -> Vec<Item> {
        let its = self.homes.iter().filter(|(_, home)| home.at == At::Node(to));
        let shards: Vec<u16> = its.map(|(shard, _)| *shard).collect();
        shards.into_iter().flat_map(|shard| self.owed_to_home(shard, around)).collect()
    }

    fn answer_owed(&mut self, to: Peer, owed: Owed, around: &mut Around<'_>) {
        let mut items = Vec::new();
        for shard in &owed.shards {
            if self.homes.get(shard).is_some_and(|home| home.at == At::Node(to)) {
                items.extend(self.owed_to_home(*shard, around));
            }
        }
        for channel in &owed.channels {
            let replica = self.replicas.get(&channel.shard());
            items.extend(replica.and_then(|replica| replica.snapshot(channel, to)));
        }
        self.mail.push(NodeMail::Owed { to, owed, items });
    }
}
