//! Between the node machine, which runs once, and the loops of the process, each of which has the
//! replicas of every n-th shard on a thread of its own. It knows which loop a shard is at, what the
//! loops call other nodes, and which answers of loops belong together. It does not know what an item means
//! beyond its shard, nor how mail reaches a loop: both ways keep their order, and take their time.

mod batches;
mod facts;
mod gathering;
mod mail;
mod numbers;
mod sent;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use herenow_core::{Instant, NodeEvent, NodeMail, Owner};
use herenow_wire::link::Incarnation;

use self::batches::Batches;
use self::gathering::Gathering;
use self::numbers::Numbers;
use self::sent::Sent;
use crate::api::{Effect, Input, Now};
use crate::asking::{AskError, AskId};
use crate::engine::{Key, Read, RequestId, Revision, Subject, Swapped};
use crate::membership::Config;
use crate::node::{Counters, Node};
use crate::value::NodeName;
use crate::view::View;

/// See the module.
#[derive(Debug)]
pub struct Exchange {
    node: Node,
    hubs: u16,
    /// The life that the loops know of.
    me: Incarnation,
    /// What they call it.
    owner: Owner,
    numbers: Numbers,
    /// The nodes of the newest view.
    nodes: BTreeSet<Incarnation>,
    /// What each node has sent.
    batches: BTreeMap<Incarnation, Batches>,
    sent: Sent,
    /// Streams that begin anew.
    resets: BTreeMap<Incarnation, Gathering>,
    requests: u32,
    /// What is handed to the node machine after its present effects. Packets would overtake each other
    /// if the effects of the former came first.
    next: VecDeque<Next>,
    late_mail: u64,
    held_mail: u64,
    /// Emptied after each use, so that it is allocated once.
    effects: Vec<Effect>,
}

/// What follows for the node machine from what it has said.
#[derive(Debug)]
enum Next {
    /// More batches of this node may be acknowledged.
    Acknowledge(Incarnation),
    /// Mail of this loop has waited for contents that are asked for once more.
    PassOn(u16, NodeMail),
}

/// What happens to an exchange.
#[derive(Debug)]
pub enum Event<'a> {
    /// A deadline has come: see [`Exchange::poll_timeout`].
    Timeout,
    /// The answer to [`Action::Read`].
    Read(RequestId, Read),
    /// The answer to [`Action::Swap`].
    Swapped(RequestId, Swapped),
    /// Something came on the node's own inbox.
    Packet(&'a [u8]),
    /// Something came on [`Subject::View`].
    Hint(&'a [u8]),
    /// Something came on [`Subject::Beats`], about this node.
    Beat(NodeName, &'a [u8]),
    /// A loop has something for other nodes.
    Mail {
        /// Which loop.
        hub: u16,
        /// Whom it spoke for: mail from before it handled [`NodeEvent::Out`] is dropped.
        owner: Owner,
        /// What, in order.
        mail: Vec<NodeMail>,
    },
    /// This process asks another node.
    Ask {
        /// Comes back with the answer.
        id: AskId,
        /// Which node of the view.
        to: Incarnation,
        /// What. The request is repeated until it is answered, and carried out once.
        body: Arc<[u8]>,
    },
    /// This process answers [`Action::Asked`].
    Answer {
        /// Which node asked.
        to: Incarnation,
        /// The number of its request.
        id: AskId,
        /// The answer.
        body: Vec<u8>,
    },
    /// The node is to have no shards any more.
    Drain,
    /// The node is to leave the view, and not to come back.
    Leave,
}

/// What an exchange wants done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Read a key.
    Read(RequestId, Key),
    /// Write a key, if it is in this revision.
    Swap {
        /// Comes back with the answer.
        id: RequestId,
        /// Which key.
        key: Key,
        /// The revision that it must be in.
        expected: Revision,
        /// What to write.
        value: Vec<u8>,
    },
    /// Publish this. It may be lost.
    Publish(Subject, Vec<u8>),
    /// Hear a subject from here on.
    Subscribe(Subject),
    /// Hear it no more.
    Unsubscribe(Subject),
    /// Tell a loop.
    ToHub(u16, NodeEvent),
    /// There is a new view.
    View(Arc<View>),
    /// What leaves the cluster may leave it until then: webhooks, answers over HTTP.
    LeaseUntil(Instant),
    /// A node of the view asks. Answered by [`Event::Answer`], in any order.
    Asked {
        /// Which node.
        from: Incarnation,
        /// The number that it has given to its request.
        id: AskId,
        /// What it asks.
        body: Vec<u8>,
    },
    /// What came of [`Event::Ask`]: once for each.
    Answered {
        /// The number of the request.
        id: AskId,
        /// The answer, if there is one.
        answer: Result<Vec<u8>, AskError>,
    },
    /// The node is in the view now.
    Joined,
    /// The node has left the view and does not come back.
    Left,
}

impl Exchange {
    /// The exchange of a node that has just started, for so many loops. It joins by itself.
    pub fn new(config: &Config, hubs: u16, now: Now) -> (Self, Vec<Action>) {
        assert!(hubs > 0, "a node has a loop");
        let (node, mut effects) = Node::new(config, now);
        let mut numbers = Numbers::default();
        let mut exchange = Self {
            hubs,
            me: node.incarnation(),
            owner: numbers.begin_as(node.incarnation()),
            node,
            numbers,
            nodes: BTreeSet::new(),
            batches: BTreeMap::new(),
            sent: Sent::default(),
            resets: BTreeMap::new(),
            requests: 0,
            next: VecDeque::new(),
            late_mail: 0,
            held_mail: 0,
            effects: Vec::new(),
        };
        let mut out = Vec::new();
        exchange.tell_all(&NodeEvent::Out { owner: exchange.owner }, &mut out);
        exchange.carry_out(&mut effects, Vec::new(), &mut out);
        (exchange, out)
    }

    /// Takes in one thing that happened. What follows is appended to `out`, to be carried out in
    /// this order.
    pub fn handle(&mut self, event: Event<'_>, now: Now, out: &mut Vec<Action>) {
        let input = match event {
            Event::Timeout => Input::Timeout,
            Event::Read(id, read) => Input::Read(id, read),
            Event::Swapped(id, swapped) => Input::Swapped(id, swapped),
            Event::Packet(bytes) => Input::Packet(bytes),
            Event::Hint(bytes) => Input::Hint(bytes),
            Event::Beat(name, bytes) => Input::Beat(name, bytes),
            Event::Ask { id, to, body } => Input::Ask { id, to, body },
            Event::Answer { to, id, body } => Input::Answer { to, id, body },
            Event::Drain => Input::Drain,
            Event::Leave => Input::Leave,
            Event::Mail { hub, owner, mail } => {
                for mail in mail {
                    // Any of it may be what shows that the node is out.
                    if owner == self.owner {
                        self.take_mail((hub, mail), now, out);
                        self.follow_up(now, out);
                    } else {
                        self.late_mail += 1;
                    }
                }
                return;
            }
        };
        self.tell_node(input, Vec::new(), now, out);
        self.follow_up(now, out);
    }

    /// When [`Event::Timeout`] is due if nothing happens before.
    pub fn poll_timeout(&self) -> Instant {
        self.node.poll_timeout()
    }

    /// The incarnation that it has now.
    pub fn incarnation(&self) -> Incarnation {
        self.node.incarnation()
    }

    /// Whom its loops speak for, once they have handled what they were told.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether it is in the view, as far as it knows.
    pub fn is_in(&self) -> bool {
        self.node.is_in()
    }

    /// Whether it may act for the cluster now.
    pub fn has_lease(&self, now: Instant) -> bool {
        self.node.has_lease(now)
    }

    /// The newest view that it knows.
    pub fn view(&self) -> Option<&Arc<View>> {
        self.node.view()
    }

    /// Whether every link is acknowledged and silent, no shard waits for a report, and no loop is
    /// asked for anything.
    pub fn is_quiet(&self) -> bool {
        self.node.is_quiet() && self.resets.is_empty() && self.sent.is_empty()
    }

    /// How many links it has, and the bytes that they hold.
    pub fn held(&self) -> (usize, usize) {
        self.node.held()
    }

    /// Shards of this node of which not every node has reported, and reports and snapshots that other nodes
    /// are owed.
    pub fn waiting(&self) -> (usize, usize) {
        (self.node.collecting(), self.node.owed())
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        let (late_mail, held_mail) = (self.late_mail, self.held_mail);
        Counters { late_mail, held_mail, ..self.node.counters() }
    }

    fn hub_of(&self, shard: u16) -> u16 {
        shard % self.hubs
    }

    fn tell(&self, shard: u16, event: NodeEvent, out: &mut Vec<Action>) {
        out.push(Action::ToHub(self.hub_of(shard), event));
    }

    fn tell_all(&self, event: &NodeEvent, out: &mut Vec<Action>) {
        out.extend((0..self.hubs).map(|hub| Action::ToHub(hub, event.clone())));
    }

    /// Divides what concerns shards among the loops that they are at. Loops without any get nothing.
    fn divide<T>(
        &self,
        all: impl IntoIterator<Item = T>,
        shard_of: impl Fn(&T) -> u16,
    ) -> BTreeMap<u16, Vec<T>> {
        let mut by_hub: BTreeMap<u16, Vec<T>> = BTreeMap::new();
        for one in all {
            by_hub.entry(self.hub_of(shard_of(&one))).or_default().push(one);
        }
        by_hub
    }
}
