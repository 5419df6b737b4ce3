//! One node of a cluster: one function takes inputs, and a list of effects comes out. This file
//! connects membership, links, collecting and asking, which know nothing of each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use herenow_core::Instant;
use herenow_wire::SHARDS;
use herenow_wire::link::{Body, Incarnation, Item, Packet, Part, Reader};

use crate::api::{Effect, Fact, Input, Now};
use crate::asking::{AskError, AskId, Asking, Came};
use crate::collect::Collecting;
use crate::link::Links;
use crate::membership::{Config, Membership, News};
use crate::terms::{Term, Terms};
use crate::view::View;

/// See the module.
#[derive(Debug)]
pub struct Node {
    membership: Membership,
    links: Links,
    collecting: Collecting,
    asking: Asking,
    terms: Terms,
    /// The term for which this node last reported a shard to its home. The link delivers the report or
    /// asks for everything again, so a request that is repeated is not answered twice.
    reported: BTreeMap<u16, Term>,
    view: Option<Arc<View>>,
}

/// What has been counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Packets that could not be read.
    pub broken_packets: u64,
    /// Packets for another incarnation of this node.
    pub misdirected_packets: u64,
    /// Packets of nodes that are not in the view.
    pub unknown_senders: u64,
    /// Items for nodes that are not in the view.
    pub unknown_receivers: u64,
    /// Flushes that were dropped because a link had no room for items that no report and no snapshot
    /// replaces.
    pub dropped_items: u64,
    /// Items of kinds that are not known.
    pub unknown_items: u64,
    /// Batches that came again.
    pub repeated_batches: u64,
    /// Streams in which a batch was missing.
    pub gaps: u64,
    /// Streams of this node that had to begin anew.
    pub resets: u64,
    /// Requests to report for a term that is over.
    pub old_collects: u64,
    /// Mail of loops that spoke for an earlier incarnation of this node.
    pub late_mail: u64,
    /// Mail of loops that had to wait for a stream to begin anew.
    pub held_mail: u64,
    /// Shards of which all nodes have reported what they have.
    pub collects: u64,
    /// For how long their changes had to wait, in milliseconds in all.
    pub collect_ms: u64,
}

/// A deadline of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deadline {
    /// When to beat, to read the view, to give up a request, to rejoin.
    Membership,
    /// When to ask for an acknowledgement, to give one alone, to ask for a stream that begins anew.
    Links,
    /// When to ask again those that have not reported.
    Collect,
    /// When to ask again those that have not answered, to give up, to forget what others have asked.
    Asking,
}

impl Deadline {
    const ALL: [Self; 4] = [Self::Membership, Self::Links, Self::Collect, Self::Asking];
}

impl Node {
    /// A node that has just started. It joins by itself.
    pub fn new(config: &Config, now: Now) -> (Self, Vec<Effect>) {
        let mut out = Vec::new();
        let membership = Membership::new(config, now.at, &mut out);
        let links = Links::new(membership.me(), config.max_payload_bytes, config.max_item_bytes);
        let mut node = Self {
            membership,
            links,
            collecting: Collecting::default(),
            asking: Asking::default(),
            terms: Terms::new(),
            reported: BTreeMap::new(),
            view: None,
        };
        node.act(now, &mut out);
        (node, out)
    }

    /// Takes in one thing that happened. What follows is appended to `out`, to be carried out in
    /// this order.
    pub fn handle(&mut self, input: Input<'_>, now: Now, out: &mut Vec<Effect>) {
        if self.membership.has_left() {
            if let Input::Ask { id, .. } = input {
                give_up(vec![id], out);
            }
            return;
        }
        match input {
            Input::Timeout => {}
            Input::Read(id, read) => self.membership.read(id, read, now.at, out),
            Input::Swapped(id, swapped) => self.membership.swapped(id, swapped, now.at, out),
            Input::Packet(bytes) => self.packet(bytes, now.at, out),
            Input::Hint(bytes) => {
                if let Ok(v) = Reader::new(bytes).varint() {
                    self.membership.hinted(v, now.at);
                }
            }
            Input::Beat(name, bytes) => self.membership.heard(&name, bytes, now.at),
            Input::Send(outgoing) => {
                self.links.send(outgoing, self.view.as_deref(), now.at, out);
            }
            Input::Owed(owed, outgoing) => {
                self.links.answer(outgoing.to, &owed);
                self.links.send(outgoing, self.view.as_deref(), now.at, out);
            }
            Input::Reset { to, contents } => self.links.reset(to, contents, now.at, out),
            Input::Told { from, n } => self.links.told(from, n, now.at),
            Input::Ask { id, to, body } => self.ask((id, to), body, now.at, out),
            Input::Answer { to, id, body } => {
                if let Some(body) = self.asking.answer((to, id.0), body) {
                    self.links.respond(to, (id.0, &body), out);
                }
            }
            Input::Renew(shard, term) => self.membership.renew(shard, term),
            Input::Drain => self.membership.drain(),
            Input::Leave => self.membership.leave(out),
        }
        self.act(now, out);
    }

    /// When [`Input::Timeout`] is due if nothing happens before.
    pub fn poll_timeout(&self) -> Instant {
        if self.membership.has_left() {
            return Instant::NEVER;
        }
        let next = Deadline::ALL.map(|deadline| match deadline {
            Deadline::Membership => self.membership.next_deadline(),
            Deadline::Links => self.links.next_deadline(),
            Deadline::Collect => self.collecting.next_deadline(),
            Deadline::Asking => self.asking.next_deadline(),
        });
        next.into_iter().min().unwrap_or(Instant::NEVER)
    }

    /// The incarnation that it has now.
    pub fn incarnation(&self) -> Incarnation {
        self.membership.me()
    }

    /// Whether it is in the view, as far as it knows.
    pub fn is_in(&self) -> bool {
        self.membership.is_in()
    }

    /// Whether it may act for the cluster now.
    pub fn has_lease(&self, now: Instant) -> bool {
        self.membership.has_lease(now)
    }

    /// The newest view that it knows.
    pub fn view(&self) -> Option<&Arc<View>> {
        self.membership.view()
    }

    /// The newest term of a shard that it has heard of.
    pub fn term(&self, shard: u16) -> Term {
        self.terms.of(shard)
    }

    /// Whether something can be sent to a node: it is in the view, or has asked for a report.
    pub fn reaches(&self, node: Incarnation) -> bool {
        let is_in_view = self.view.as_ref().is_some_and(|view| view.node(node).is_some());
        is_in_view || self.links.has(node)
    }

    /// Whether a node is the home of a shard, in the newest terms that it has heard of.
    pub fn is_home(&self, node: Incarnation) -> bool {
        (0..SHARDS).any(|shard| self.term(shard).home == node)
    }

    /// Whether every link is acknowledged and silent, no shard waits for a report, and no request for an
    /// answer.
    pub fn is_quiet(&self) -> bool {
        self.links.are_idle() && self.collecting.len() == 0 && self.asking.is_idle()
    }

    /// How many links it has, and the bytes that they hold.
    pub fn held(&self) -> (usize, usize) {
        self.links.held()
    }

    /// What it has counted.
    pub fn counters(&self) -> Counters {
        let took = self.collecting.took();
        let (collects, collect_ms) = (took.shards, took.time.as_millis() as u64);
        Counters { collects, collect_ms, ..self.links.counters }
    }

    /// Shards of this node of which not every node has reported.
    pub fn collecting(&self) -> usize {
        self.collecting.len()
    }

    /// Reports and snapshots that other nodes are owed, since their links had no room for changes.
    pub fn owed(&self) -> usize {
        self.links.owed()
    }

    fn act(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.take_news(now.at, out);
        self.membership.act(now, &self.terms, out);
        self.take_news(now.at, out);
        for (to, shards) in self.collecting.poll(now.at) {
            self.links.collect(to, shards, out);
        }
        let given_up = self.asking.expire(now.at);
        give_up(given_up, out);
        for (id, to, body) in self.asking.poll(now.at) {
            self.links.request(to, (id.0, &body), out);
        }
        self.links.act(now.at, out);
    }

    fn take_news(&mut self, now: Instant, out: &mut Vec<Effect>) {
        while let Some(news) = self.membership.news.pop_front() {
            match news {
                News::Out => {
                    self.collecting.clear();
                    give_up(self.asking.restart(), out);
                    self.reported.clear();
                    self.links.restart(self.membership.me());
                    out.push(Effect::Fact(Fact::Out(self.membership.me())));
                }
                News::View(view) => self.adopt(view, now, out),
                News::Joined => {
                    out.push(Effect::Fact(Fact::Joined));
                    if let Some(view) = &self.view {
                        self.links.open_all(view, now, out);
                    }
                    out.push(Effect::Fact(Fact::LeaseUntil(self.membership.lease_until())));
                }
                News::Lease(until) if self.membership.is_in() => {
                    out.push(Effect::Fact(Fact::LeaseUntil(until)));
                }
                News::Lease(_) => {}
                News::Left => {
                    self.collecting.clear();
                    give_up(self.asking.restart(), out);
                    self.links.restart(self.membership.me());
                    out.push(Effect::Fact(Fact::Left));
                }
            }
        }
    }

    fn adopt(&mut self, view: Arc<View>, now: Instant, out: &mut Vec<Effect>) {
        let me = self.membership.me();
        let before = self.view.replace(Arc::clone(&view));
        out.push(Effect::Fact(Fact::View(Arc::clone(&view))));
        self.links.keep(&view);
        self.reported.retain(|_, term| view.node(term.home).is_some() || term.epoch > view.v);
        let gone = before.iter().flat_map(|before| &before.nodes).map(|node| node.incarnation);
        for id in gone.filter(|id| view.node(*id).is_none() && *id != me) {
            out.push(Effect::Fact(Fact::Gone(id)));
        }
        self.collecting.keep(&view);
        give_up(self.asking.keep(&view), out);
        for shard in 0..SHARDS {
            let term = view.term(shard);
            if self.terms.learn(shard, term).is_none() {
                continue;
            }
            self.collecting.cancel(shard);
            if term.home == me {
                out.push(Effect::Fact(Fact::Home { shard, epoch: term.epoch }));
                let others = view.nodes.iter().map(|node| node.incarnation).filter(|id| *id != me);
                self.collecting.begin((shard, term.epoch), others.collect(), now);
            } else {
                out.push(Effect::Fact(Fact::Moved { shard, term }));
            }
        }
        self.open_complete(now, out);
    }

    fn open_complete(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for (shard, epoch) in self.collecting.take_complete(now) {
            out.push(Effect::Fact(Fact::Opened { shard, epoch }));
        }
    }

    fn packet(&mut self, bytes: &[u8], now: Instant, out: &mut Vec<Effect>) {
        let Ok(packet) = Packet::decode(bytes) else {
            self.links.counters.broken_packets += 1;
            return;
        };
        if packet.to != self.membership.me() {
            self.links.counters.misdirected_packets += 1;
            return;
        }
        if let Body::Collect { shards } = &packet.body {
            return self.collect(packet.from, shards, now, out);
        }
        // A home that is not in the view yet may be answered, and acknowledges the answer.
        let is_known = self.view.as_ref().is_some_and(|view| view.node(packet.from).is_some());
        if !is_known {
            self.links.counters.unknown_senders += 1;
            return;
        }
        match &packet.body {
            Body::Request(part) => return self.request(packet.from, part, now, out),
            Body::Response(part) => {
                if let Some((id, body)) = self.asking.response(packet.from, part) {
                    out.push(Effect::Fact(Fact::Answered { id, answer: Ok(body) }));
                }
                return;
            }
            _ => {}
        }
        let before = out.len();
        self.links.packet(&packet, now, out);
        let reports = out[before..].iter().filter_map(|effect| match effect {
            Effect::Fact(Fact::Received { items, .. }) => Some(items),
            _ => None,
        });
        for item in reports.flatten() {
            if let Item::Report(report) = item {
                self.collecting.reported(packet.from, report.shard, report.epoch);
            }
        }
        self.open_complete(now, out);
    }

    fn ask(
        &mut self,
        (id, to): (AskId, Incarnation),
        body: Arc<[u8]>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let is_known = self.view.as_ref().is_some_and(|view| view.node(to).is_some());
        let asked = match is_known {
            true => self.asking.ask((id, to), body, now),
            false => Err(AskError::Silent),
        };
        if let Err(error) = asked {
            out.push(Effect::Fact(Fact::Answered { id, answer: Err(error) }));
        }
    }

    fn request(&mut self, from: Incarnation, part: &Part<'_>, now: Instant, out: &mut Vec<Effect>) {
        match self.asking.request(from, part, now) {
            Came::Nothing => {}
            Came::Whole(body) => {
                out.push(Effect::Fact(Fact::Asked { from, id: AskId(part.id), body }));
            }
            Came::Again(answer) => self.links.respond(from, (part.id, &answer), out),
        }
    }

    /// A node says that it is the home of these shards, and asks for reports. Only the order of terms
    /// decides whether it is answered. It does not matter which view this node has read, or whether
    /// it is in one: a home may collect from a node before that node has read the view that admits
    /// it, and changes made in between would reach no home.
    fn collect(
        &mut self,
        home: Incarnation,
        shards: &[(u16, u64)],
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if !self.links.has_room_for(home) {
            self.links.counters.unknown_senders += 1;
            return;
        }
        let mut wanted = Vec::new();
        for &(shard, epoch) in shards {
            let term = Term { epoch, home };
            if term < self.terms.of(shard) {
                self.links.counters.old_collects += 1;
                continue;
            }
            if self.terms.learn(shard, term).is_some() {
                self.collecting.cancel(shard);
                out.push(Effect::Fact(Fact::Moved { shard, term }));
            }
            if self.reported.insert(shard, term) != Some(term) {
                wanted.push((shard, epoch));
            }
        }
        let Some(newest) = wanted.iter().map(|(_, epoch)| *epoch).max() else { return };
        if self.links.expect(home, newest, now, out) {
            out.push(Effect::Fact(Fact::ReportWanted { home, shards: wanted }));
        }
    }
}

/// There is no answer to these requests.
fn give_up(given_up: Vec<AskId>, out: &mut Vec<Effect>) {
    out.extend(
        given_up
            .into_iter()
            .map(|id| Effect::Fact(Fact::Answered { id, answer: Err(AskError::Silent) })),
    );
}
