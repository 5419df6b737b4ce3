//! A few nodes that have one shard, and the test verbs for them.

use std::collections::BTreeSet;
use std::time::Duration;

use herenow_core::{
    Command, Contents, Effect, Flush, From, Outgoing, Owner, Peer, Put, PutResult, Receiver,
    Replica, RequestId, Shard, SnapshotFor, To,
};
use herenow_wire::link::{Incarnation, Item, Ticket};

use crate::given::{at, channel, put_among, put_with_ref, shown, subscribe_peer};
use crate::told::{op_line, snapshot_line};

pub const EPOCH: u64 = 7 << 20;
const ROOMY: u32 = 100;

/// One node, what it has told others and what its subscribers have heard.
pub struct Node {
    pub from: From,
    pub replica: Replica,
    dirty: bool,
    pub answers: Vec<String>,
    heard: Vec<String>,
    pub taken: Vec<String>,
    pub tickets: Vec<Ticket>,
    /// Puts under way are not delivered.
    pub is_cut: bool,
    /// What has changed is not flushed.
    pub is_slow: bool,
    /// What others say to it is lost.
    pub is_deaf: bool,
    /// How often its sockets were asked for their states since that was last looked at.
    resyncs: usize,
    /// Its sessions were told to forget their states.
    has_slept: bool,
    /// The requests for a snapshot of the two loops, each of which has a subscriber at most.
    pub requested: [Option<RequestId>; 2],
    /// Whether the subscriber of a loop has had a snapshot.
    has_list: [bool; 2],
}

impl Node {
    /// What a flush tells the subscriber of a loop.
    fn hear(&mut self, flush: &Flush, receiver: &Receiver) {
        let number = usize::from(receiver.peer.0);
        let (requested, has_list) = (&mut self.requested[number], &mut self.has_list[number]);
        let is_whole = match receiver.snapshot_for {
            SnapshotFor::None => false,
            SnapshotFor::UpTo(id) | SnapshotFor::All(id) => {
                let is_answer = requested.take_if(|asked| asked.is_answered_by(id)).is_some();
                is_answer || *has_list && receiver.snapshot_for == SnapshotFor::All(id)
            }
        };
        if is_whole {
            *has_list = true;
            let snapshot = flush.snapshot.as_ref().expect("a receiver is to have it");
            self.heard.push(snapshot_line(snapshot));
        } else if *has_list {
            if flush.is_epoch_new {
                self.heard.push(format!("epoch {}", flush.epoch));
            }
            self.heard.extend(flush.ops.iter().map(op_line));
        }
    }
}

/// A few nodes, of which the first is the home unless it is said otherwise. What they tell each other arrives.
pub struct Nodes {
    pub nodes: Vec<Node>,
    pub home: usize,
}

impl Nodes {
    pub fn new(count: u16) -> Self {
        let node = |number: u16| {
            let from = From {
                incarnation: Incarnation(u64::from(number)),
                peer: Peer::node(number),
                owner: Owner(u32::from(number)),
            };
            let mut replica = Replica::new(channel("lobby").shard(), Shard::new(0));
            replica.set_owner(from.owner);
            Node {
                from,
                replica,
                dirty: false,
                answers: Vec::new(),
                heard: Vec::new(),
                taken: Vec::new(),
                tickets: Vec::new(),
                is_cut: false,
                is_slow: false,
                is_deaf: false,
                resyncs: 0,
                has_slept: false,
                requested: [None; 2],
                has_list: [false; 2],
            }
        };
        let mut nodes = Self { nodes: (0..count).map(node).collect(), home: 0 };
        nodes.move_home(0, EPOCH);
        nodes
    }

    /// Another node becomes the home, and hears from all of them.
    pub fn move_home(&mut self, home: usize, epoch: u64) {
        self.begin(home, epoch);
        self.with(home, |replica, out| replica.open(at(0), out));
    }

    pub fn begin(&mut self, home: usize, epoch: u64) {
        self.home = home;
        for node in (0..self.nodes.len()).filter(|node| *node != home) {
            self.with(node, |replica, out| replica.become_copy(at(0), out));
        }
        self.with(home, |replica, out| replica.become_home((epoch, BTreeSet::new()), at(0), out));
        for node in (0..self.nodes.len()).filter(|node| *node != home) {
            let from = self.nodes[node].from;
            let report = self.nodes[node].replica.report(epoch, None);
            self.give(home, from, Item::Report(report));
            self.with(node, |replica, out| replica.put_again(out));
        }
    }

    pub fn ask(&mut self, node: usize, command: Command) {
        let one = &mut self.nodes[node];
        match &command {
            Command::Subscribe { peer, request_id, .. } => {
                one.requested[usize::from(peer.0)] = Some(*request_id);
            }
            Command::Unsubscribe { peer, .. } => {
                one.requested[usize::from(peer.0)] = None;
                one.has_list[usize::from(peer.0)] = false;
            }
            _ => {}
        }
        self.with(node, |replica, out| replica.handle(command, at(0), out));
    }

    pub fn give(&mut self, node: usize, from: From, item: Item) {
        if self.nodes[node].is_deaf {
            return;
        }
        self.with(node, |replica, out| replica.receive(from, item, at(0), out));
    }

    /// The home has acknowledged what a node has put.
    pub fn acknowledge(&mut self, node: usize) {
        let tickets = std::mem::take(&mut self.nodes[node].tickets);
        self.with(node, |replica, out| replica.done(&tickets, out));
    }

    pub fn with(&mut self, node: usize, act: impl FnOnce(&mut Replica, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        let one = &mut self.nodes[node];
        act(&mut one.replica, &mut effects);
        for effect in effects {
            match effect {
                Effect::Dirty { .. } | Effect::FlushNow { .. } => one.dirty = true,
                Effect::Answer { asker, result, .. } => {
                    let result = match result {
                        PutResult::Done => "done",
                        PutResult::Full => "full",
                        PutResult::Superseded => "superseded",
                    };
                    let letter = asker.connection.as_bytes()[0] as char;
                    one.answers.push(format!("{letter} {result}"));
                }
                Effect::Resync { .. } => one.resyncs += 1,
                Effect::Hibernated { .. } => one.has_slept = true,
            }
        }
        let from = one.from;
        let outgoing = one.replica.take_outgoing();
        self.flush(node);
        for Outgoing { to, item } in outgoing {
            match (to, item) {
                (To::Owner(owner), Item::Taken { connection, generation }) => {
                    let letter = connection.as_bytes()[0] as char;
                    let taken = format!("{letter} {generation}");
                    self.nodes[owner.0 as usize].taken.push(taken);
                }
                (To::All, item) => {
                    for other in (0..self.nodes.len()).filter(|other| *other != node) {
                        self.give(other, from, item.clone());
                    }
                }
                (To::Owner(_), other) => panic!("{other:?} is for a node"),
                (To::Node(peer), item) => {
                    let to = peer.as_node().expect("a node").into();
                    self.give(to, from, item);
                }
                (To::Home, item) => {
                    if let Item::Put(put) = &item {
                        self.nodes[node].tickets.extend(put.ticket);
                    }
                    if !self.nodes[node].is_cut {
                        self.give(self.home, from, item);
                    }
                }
            }
        }
    }

    fn flush(&mut self, node: usize) {
        if self.nodes[node].is_slow || !std::mem::take(&mut self.nodes[node].dirty) {
            return;
        }
        let mut flush = Flush::default();
        let one = &mut self.nodes[node];
        one.replica.flush(&channel("lobby"), at(0), &mut flush);
        let from = one.from;
        for receiver in std::mem::take(&mut flush.to) {
            match receiver.peer.as_node() {
                Some(number) => {
                    if let Some(item) = Replica::item_for(&channel("lobby"), &flush, &receiver) {
                        self.give(number.into(), from, item);
                    }
                }
                None => self.nodes[node].hear(&flush, &receiver),
            }
        }
    }

    /// Gives a node the time, of which it has to be in want.
    pub fn timeout(&mut self, node: usize, ms: u64) {
        assert!(self.nodes[node].replica.has_deadlines(None));
        self.with(node, |replica, out| replica.handle_timeout(at(ms), None, out));
    }

    /// Channels that have been silent for so long fall asleep at the home.
    pub fn pass_time(&mut self, node: usize, time: Duration) {
        let now = at(time.as_millis() as u64);
        self.with(node, |replica, out| replica.handle_timeout(now, Some(time), out));
    }

    /// How often the sockets of a node were asked for their states since this was last called.
    pub fn resyncs(&mut self, node: usize) -> usize {
        std::mem::take(&mut self.nodes[node].resyncs)
    }

    pub fn has_slept(&self, node: usize) -> bool {
        self.nodes[node].has_slept
    }

    pub fn heard(&mut self, node: usize) -> Vec<String> {
        std::mem::take(&mut self.nodes[node].heard)
    }

    pub fn answers(&mut self, node: usize) -> Vec<String> {
        std::mem::take(&mut self.nodes[node].answers)
    }

    /// Who is in the list that a node has, in its order.
    pub fn list(&self, node: usize) -> String {
        match self.nodes[node].replica.shard().contents(&channel("lobby")) {
            Contents::Live(list) => {
                let members = list.snapshot().members;
                members.iter().map(|member| member.connection.as_bytes()[0] as char).collect()
            }
            Contents::Nothing | Contents::Freed { .. } => String::new(),
        }
    }
}

pub fn subscribe() -> Command {
    subscribe_peer("lobby", 0, 1)
}

pub fn put(letter: char, json: &str) -> Command {
    put_with_ref("lobby", shown(letter, json), "1")
}

/// What a connection shows on the socket of this generation.
pub fn put_of_socket(letter: char, generation: u32, json: &str) -> Command {
    put_among("lobby", Put { generation, ..shown(letter, json) }, ROOMY)
}
