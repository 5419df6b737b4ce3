//! The shards of a hub whose node is one of several: what other nodes say of them, and what they are
//! told. What a shard then is, home or copy, is decided by its `Replica`; this file knows which node is the
//! home of each, and carries between the replicas and the exchange.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use herenow_core::{
    Command, Effect, Flush, From, Instant, NodeEvent, NodeMail, Outgoing, Owner, Peer, Policy,
    Replica, RequestId, Term, To,
};
use herenow_wire::link::{Item, Kick, RefusedWhy};
use herenow_wire::{ChannelName, ConnectionId};

use super::acknowledging::Unacknowledged;
use super::lost_homes::LostHomes;
use super::speaking::Speaking;
use super::{Opened, Shards};

/// See the module.
#[derive(Debug)]
pub(crate) struct Nodes {
    /// Who vouches for the connections here.
    me: Owner,
    /// The home of each shard of this hub.
    homes: Vec<Home>,
    /// The node of each owner that was heard of and has not gone.
    peers: BTreeMap<Owner, Peer>,
    unacknowledged: Unacknowledged,
    outgoing: Vec<NodeMail>,
    /// Connections that have come back at another node, with the generation that is lost.
    taken: Vec<(ConnectionId, u32)>,
    /// Kicks that another node has in force.
    kicks: Vec<Kick>,
    /// Shards that this node has begun to decide.
    opened: Vec<Opened>,
    lost: LostHomes,
    pub(super) speaking: Speaking,
}

/// Who decides in a shard, as far as is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Home {
    term: Term,
    at: HomeAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HomeAt {
    Nowhere,
    Here,
    Node(Peer),
}

impl Home {
    /// Whether it was here, and is nowhere until another term begins.
    fn is_lost(&self) -> bool {
        self.at == HomeAt::Nowhere && self.term != Term::NONE
    }
}

impl Nodes {
    /// Of a node that has heard of no other.
    pub(super) fn new(shards: usize) -> Self {
        Self {
            me: Owner::NOBODY,
            homes: vec![Home { term: Term::NONE, at: HomeAt::Nowhere }; shards],
            peers: BTreeMap::new(),
            unacknowledged: Unacknowledged::default(),
            outgoing: Vec::new(),
            taken: Vec::new(),
            kicks: Vec::new(),
            opened: Vec::new(),
            lost: LostHomes::default(),
            speaking: Speaking::default(),
        }
    }

    /// A fault has cost a shard everything.
    pub(super) fn lose(&mut self, at: usize, shard: u16) {
        let home = &mut self.homes[at];
        if home.at == HomeAt::Here {
            home.at = HomeAt::Nowhere;
            self.lost.insert(shard, home.term);
        }
    }

    /// Has another term begin for what was lost, if it is time.
    pub(super) fn renew_lost(&mut self, now: Instant) {
        self.outgoing.extend(self.lost.take_due(now));
    }

    /// Another term of a shard is to begin, without this one having become complete.
    fn begin_again(&mut self, at: usize, shard: u16) {
        let home = &mut self.homes[at];
        if home.at == HomeAt::Here {
            home.at = HomeAt::Nowhere;
            self.outgoing.push(NodeMail::Lost { shard, term: home.term });
        }
    }

    /// Whether a node is the home of a shard.
    pub(super) fn is_home(&self, at: usize, node: Peer) -> bool {
        self.homes[at].at == HomeAt::Node(node)
    }

    /// The term of a shard.
    pub(super) fn term(&self, at: usize) -> Term {
        self.homes[at].term
    }

    fn know(&mut self, node: From) {
        self.peers.insert(node.owner, node.peer);
    }

    /// What a replica has for others goes to the nodes that it is for.
    pub(super) fn post(&mut self, at: usize, outgoing: Vec<Outgoing>) {
        for Outgoing { to, item } in outgoing {
            let to = match to {
                To::All => {
                    self.outgoing.push(NodeMail::ToAll { items: vec![item] });
                    continue;
                }
                To::Node(peer) => Some(peer),
                To::Owner(owner) if owner == self.me => {
                    self.take(item);
                    continue;
                }
                To::Owner(owner) => self.peers.get(&owner).copied(),
                // What finds no home waits in the replica for the one that asks for a report.
                To::Home => match self.homes[at].at {
                    HomeAt::Node(peer) => Some(peer),
                    HomeAt::Here | HomeAt::Nowhere => None,
                },
            };
            let Some(to) = to else { continue };
            self.send(to, item);
        }
    }

    /// Everything for one node that follows on each other is one flush.
    fn send(&mut self, to: Peer, item: Item) {
        match self.outgoing.last_mut() {
            Some(NodeMail::Items { to: last, items }) if *last == to => items.push(item),
            _ => self.outgoing.push(NodeMail::Items { to, items: vec![item] }),
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Taken { connection, generation } => self.taken.push((connection, generation)),
            Item::Kick(kick) => self.kicks.push(kick),
            _ => {}
        }
    }

    /// Whether a node may say this of a shard. Of two homes the one with the later term is believed.
    fn believes(&self, at: usize, from: From, item: &Item) -> bool {
        let home = &self.homes[at];
        let said = |epoch| Term::of_life(epoch, from.incarnation) >= home.term;
        match item {
            Item::Snap(snap) => said(snap.position.epoch),
            Item::Change(change) => said(change.position.epoch),
            Item::Hibernated { .. } | Item::Woke { .. } => home.at == HomeAt::Node(from.peer),
            Item::Report(report) => home.at == HomeAt::Here && report.epoch == home.term.epoch,
            _ => true,
        }
    }
}

impl Shards {
    /// Takes in what the exchange says.
    pub(crate) fn handle_node_event(
        &mut self,
        event: NodeEvent,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        match event {
            NodeEvent::Out { owner } => self.begin_as(owner, now, out),
            NodeEvent::View { number, speaking } => {
                if let Some(nodes) = &mut self.nodes {
                    nodes.speaking = Speaking::in_view(number, speaking);
                }
            }
            NodeEvent::Joined(nodes) => nodes.into_iter().for_each(|node| self.know(node)),
            NodeEvent::Gone(node) => {
                for at in 0..self.shards.len() {
                    self.with(at, |replica| replica.gone(node, now, out));
                    if self.shards[at].is_incomplete() {
                        self.begin_again(at);
                    }
                }
                if let Some(nodes) = &mut self.nodes {
                    nodes.unacknowledged.forget(node.peer);
                    nodes.peers.remove(&node.owner);
                }
            }
            NodeEvent::Home { shard, term } => {
                let at = self.at_shard(shard);
                self.set_home(at, Home { term, at: HomeAt::Here });
                let others = self.nodes.as_ref().map(|nodes| nodes.speaking.without(nodes.me));
                let others = others.unwrap_or_default();
                let term = (term.first_life(), others);
                self.with(at, |replica| replica.become_home(term, now, out));
            }
            NodeEvent::Opened { shard, term } => {
                let at = self.at_shard(shard);
                let home = Home { term, at: HomeAt::Here };
                if self.nodes.as_ref().is_some_and(|nodes| nodes.homes[at] == home) {
                    self.with(at, |replica| replica.open(now, out));
                    let unannounced = self.shards[at].take_unannounced();
                    if let Some(nodes) = &mut self.nodes {
                        nodes.opened.push(Opened { shard, unannounced });
                    }
                }
            }
            NodeEvent::Moved { shard, term, home } => {
                let at = self.at_shard(shard);
                self.know(home);
                self.set_home(at, Home { term, at: HomeAt::Node(home.peer) });
                self.with(at, |replica| replica.become_copy(now, out));
            }
            NodeEvent::ReportWanted { home, shards } => {
                self.know(home);
                for (shard, term) in shards {
                    let at = self.at_shard(shard);
                    self.set_home(at, Home { term, at: HomeAt::Node(home.peer) });
                    let items = self.owed_to_home(at, out);
                    self.send(home.peer, items);
                }
            }
            NodeEvent::Received { from, batch, items } => {
                self.receive_batch((from, batch), items, now, out);
            }
            NodeEvent::Done(tickets) => {
                for (shard, ticket) in tickets {
                    let at = self.at_shard(shard);
                    self.with(at, |replica| replica.done(&[ticket], out));
                }
            }
            NodeEvent::ResetWanted { to, request } => {
                self.know(to);
                let (items, channels) = self.contents_for(to.peer, out);
                self.push(NodeMail::Contents { request, items, channels });
            }
            NodeEvent::OwedWanted { to, owed } => {
                self.know(to);
                self.send_owed(to.peer, owed, out);
            }
        }
    }

    /// How long members stay whose node is gone, from here on.
    pub(crate) fn set_policy(&mut self, policy: &Arc<Policy>) {
        if self.nodes.is_some() {
            for replica in &mut self.shards {
                replica.set_policy(Arc::clone(policy));
            }
        }
    }

    /// Who has lost a member to a later socket of its connection, at another node.
    pub(crate) fn take_taken(&mut self) -> Vec<(ConnectionId, u32)> {
        self.nodes.as_mut().map_or_else(Vec::new, |nodes| std::mem::take(&mut nodes.taken))
    }

    /// The kicks that other nodes have told of.
    pub(crate) fn take_kicks(&mut self) -> Vec<Kick> {
        self.nodes.as_mut().map_or_else(Vec::new, |nodes| std::mem::take(&mut nodes.kicks))
    }

    /// The shards that this node has begun to decide since this was last asked.
    pub(crate) fn take_opened(&mut self) -> Vec<Opened> {
        self.nodes.as_mut().map_or_else(Vec::new, |nodes| std::mem::take(&mut nodes.opened))
    }

    /// What is to go to other nodes, and in whose name.
    pub(crate) fn take_node_mail(&mut self) -> Option<(Owner, Vec<NodeMail>)> {
        let nodes = self.nodes.as_mut()?;
        let mail = std::mem::take(&mut nodes.outgoing);
        (!mail.is_empty()).then_some((nodes.me, mail))
    }

    /// Whether this node decides what changes in a channel, and so tells those outside of it.
    pub(crate) fn is_home_of(&self, channel: &ChannelName) -> bool {
        self.shards[self.at(channel)].is_open()
    }

    /// Tells the nodes that receive a flush, and leaves the loops.
    #[inline]
    pub(crate) fn flush_to_nodes(&mut self, channel: &ChannelName, flush: &mut Flush) {
        let Some(nodes) = &mut self.nodes else { return };
        let mut to = std::mem::take(&mut flush.to);
        to.retain(|receiver| receiver.peer != Peer::COUNTER);
        for node in to.extract_if(.., |receiver| receiver.peer.as_node().is_some()) {
            if let Some(item) = Replica::item_for(channel, flush, &node) {
                nodes.send(node.peer, item);
            }
        }
        flush.to = to;
    }

    /// A channel is counted here from now on, and so needs a copy even if nobody here has its list.
    pub(crate) fn keep_for_counts(
        &mut self,
        channel: &ChannelName,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if self.nodes.is_some() {
            let (channel, request_id) = (channel.clone(), RequestId(0));
            self.handle(Command::Subscribe { channel, peer: Peer::COUNTER, request_id }, now, out);
        }
    }

    /// Nobody counts the channel here any more.
    pub(crate) fn drop_for_counts(
        &mut self,
        channel: &ChannelName,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if self.nodes.is_some() {
            let channel = channel.clone();
            self.handle(Command::Unsubscribe { channel, peer: Peer::COUNTER }, now, out);
        }
    }

    /// Says which batches have been applied and told: those of which nothing waits for a flush. One of a
    /// home that opens waits until that has decided, and one of a home that has lost it until it has been
    /// put again.
    pub(crate) fn tell_nodes(&mut self, is_postponed: impl Fn(&ChannelName) -> bool) {
        let Some(mut nodes) = self.nodes.take() else { return };
        let told = nodes.unacknowledged.take_told(|channel| {
            let at = self.at(channel);
            self.planned.contains_key(channel)
                || is_postponed(channel)
                || self.shards[at].is_opening()
                || nodes.homes[at].is_lost()
        });
        let told = told.into_iter().map(|(from, batch)| NodeMail::Told { from, batch });
        nodes.outgoing.extend(told);
        self.nodes = Some(nodes);
    }

    /// How many batches of other nodes wait to be told.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.nodes.as_ref().map_or(0, |nodes| nodes.unacknowledged.len())
    }

    /// This node is another one from here on: it is the home of nothing.
    fn begin_as(&mut self, owner: Owner, now: Instant, out: &mut Vec<Effect>) {
        for at in 0..self.shards.len() {
            self.with(at, |replica| {
                replica.become_copy(now, out);
                replica.set_owner(owner);
            });
        }
        let Some(nodes) = &mut self.nodes else { return };
        nodes.me = owner;
        nodes.unacknowledged.clear();
        // It was said by who this node was before.
        nodes.outgoing.clear();
        nodes.lost.clear();
        for home in nodes.homes.iter_mut().filter(|home| home.at == HomeAt::Here) {
            *home = Home { term: Term::NONE, at: HomeAt::Nowhere };
        }
    }

    fn receive_batch(
        &mut self,
        (from, batch): (From, u64),
        items: Vec<Item>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        self.know(from);
        let mut channels = BTreeSet::new();
        for item in items {
            if let Item::Put(put) = &item {
                channels.insert(put.channel.clone());
            }
            self.receive_item(from, item, now, out);
        }
        if let Some(nodes) = &mut self.nodes {
            nodes.unacknowledged.add(from.peer, batch, channels);
        }
    }

    fn receive_item(&mut self, from: From, item: Item, now: Instant, out: &mut Vec<Effect>) {
        let Some(nodes) = &mut self.nodes else { return };
        let Some(shard) = item.shard() else { return nodes.take(item) };
        let at = usize::from(shard / self.hubs);
        if shard % self.hubs != self.first || !nodes.believes(at, from, &item) {
            return;
        }
        let is_of_old_home = nodes.homes[at].at != HomeAt::Node(from.peer);
        let is_misdirected = match &item {
            Item::Refused(refused) => {
                refused.why == RefusedWhy::NotHome
                    && is_of_old_home
                    && self.shards[at].waits_for_another_home(refused)
            }
            _ => false,
        };
        self.with(at, |replica| replica.receive(from, item, now, out));
        if is_misdirected {
            self.with(at, |replica| replica.put_again(out));
        }
    }

    fn begin_again(&mut self, at: usize) {
        let shard = at as u16 * self.hubs + self.first;
        if let Some(nodes) = &mut self.nodes {
            nodes.begin_again(at, shard);
        }
    }

    pub(crate) fn send(&mut self, to: Peer, items: Vec<Item>) {
        if !items.is_empty() {
            self.push(NodeMail::Items { to, items });
        }
    }

    pub(super) fn push(&mut self, mail: NodeMail) {
        if let Some(nodes) = &mut self.nodes {
            nodes.outgoing.push(mail);
        }
    }

    fn know(&mut self, node: From) {
        if let Some(nodes) = &mut self.nodes {
            nodes.know(node);
        }
    }

    fn set_home(&mut self, at: usize, home: Home) {
        if let Some(nodes) = &mut self.nodes {
            nodes.homes[at] = home;
        }
    }

    pub(super) fn at_shard(&self, shard: u16) -> usize {
        usize::from(shard / self.hubs)
    }
}
