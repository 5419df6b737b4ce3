//! Nodes beside a fake engine that answers at once, loses nothing unless it is told to, and delivers
//! packets without delay. The owner of each node has no members: its reports are empty.

use std::collections::{BTreeMap, VecDeque};

use herenow_cluster::{
    Beat, Config, Contents, Effect, Fact, Input, Key, Node, NodeName, Now, Outgoing, Read,
    Revision, Subject, Swapped, View,
};
use herenow_core::Instant;
use herenow_wire::link::{Incarnation, Item, Report, Urgency};

use crate::engine::Engine;

/// The wall clock of these tests, in seconds, at millisecond 0.
pub const UNIX_SECONDS: u64 = 1_800_000_000;

#[derive(Default)]
pub struct Rig {
    pub engine: Engine,
    pub now_ms: u64,
    nodes: BTreeMap<&'static str, Running>,
    packets: u64,
}

struct Running {
    node: Node,
    facts: Vec<Fact>,
    answers: Answers,
    is_paused: bool,
}

/// Whether a node's owner answers requests for reports.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    Always,
    Never,
}

impl Rig {
    /// Starts a node now.
    pub fn start(&mut self, name: &'static str) {
        self.start_with(name, 1);
    }

    /// Starts a node that speaks this version of the protocol.
    pub fn start_with(&mut self, name: &'static str, protocol: u32) {
        let seed = self.now_ms << 8 | u64::from(name.as_bytes()[0]);
        let config = Config {
            name: NodeName::parse(name).expect("a valid name"),
            protocol,
            seed,
            max_payload_bytes: 64 * 1024,
            max_item_bytes: 1024 * 1024,
        };
        let (node, effects) = Node::new(&config, self.now());
        let answers = Answers::Always;
        let running = Running { node, facts: Vec::new(), answers, is_paused: false };
        self.nodes.insert(name, running);
        self.carry_out(name, effects);
    }

    /// Ends a process without a word.
    pub fn kill(&mut self, name: &'static str) {
        self.nodes.remove(name);
    }

    /// The process does not run for so long. What is sent to it meanwhile is lost.
    pub fn pause(&mut self, name: &'static str, time_ms: u64) {
        self.nodes.get_mut(name).expect("it runs").is_paused = true;
        self.advance(time_ms);
        self.nodes.get_mut(name).expect("it runs").is_paused = false;
    }

    /// Whether the owner of a node answers requests for reports from here on.
    pub fn set_answers(&mut self, name: &'static str, answers: Answers) {
        self.nodes.get_mut(name).expect("it runs").answers = answers;
    }

    pub fn node(&self, name: &str) -> &Node {
        &self.nodes[name].node
    }

    pub fn id(&self, name: &str) -> Incarnation {
        self.node(name).incarnation()
    }

    pub fn has_lease(&self, name: &str) -> bool {
        self.node(name).has_lease(self.now().at)
    }

    /// What the owner of a node was told since this was last asked.
    pub fn facts(&mut self, name: &str) -> Vec<Fact> {
        std::mem::take(&mut self.nodes.get_mut(name).expect("it runs").facts)
    }

    /// The view in the bucket.
    pub fn view(&self) -> Option<View> {
        match self.engine.read(&Key::View) {
            Read::Found(_, bytes) => Some(View::decode(&bytes).expect("a view")),
            Read::Absent | Read::Unknown => None,
        }
    }

    /// How many shards a node has in the view of the bucket.
    pub fn shards_of(&self, name: &str) -> usize {
        let (view, id) = (self.view().expect("there is a view"), self.id(name));
        (0..herenow_wire::SHARDS).filter(|shard| view.term(*shard).home == id).count()
    }

    /// What stands in the beat key of a node.
    pub fn beat(&self, name: &str) -> Option<Beat> {
        match self.engine.read(&beat_key(name)) {
            Read::Found(_, bytes) => Some(Beat::decode(&bytes).expect("a beat")),
            Read::Absent | Read::Unknown => None,
        }
    }

    /// Another process writes the beat key of a node.
    pub fn write_beat(&mut self, name: &str, beat: Beat) {
        let Read::Found(revision, _) = self.engine.read(&beat_key(name)) else { panic!("no key") };
        self.swap(beat_key(name), revision, beat.encode());
    }

    /// Lets so much time pass, and counts the packets that are sent.
    pub fn packets_within(&mut self, time_ms: u64) -> u64 {
        let before = self.packets;
        self.advance(time_ms);
        self.packets - before
    }

    /// Lets so much time pass.
    pub fn advance(&mut self, time_ms: u64) {
        let end = self.now_ms + time_ms;
        loop {
            let next = self.nodes.iter().filter(|(_, running)| !running.is_paused);
            let next = next.map(|(name, running)| (running.node.poll_timeout(), *name)).min();
            let Some((at, name)) = next.filter(|(at, _)| at.as_micros() <= end * 1000) else {
                break;
            };
            self.now_ms = self.now_ms.max(at.as_micros().div_ceil(1000));
            self.tell(name, Input::Timeout);
        }
        self.now_ms = end;
    }

    pub fn tell(&mut self, name: &'static str, input: Input<'_>) {
        let now = self.now();
        let mut effects = Vec::new();
        let running = self.nodes.get_mut(name).expect("it runs");
        running.node.handle(input, now, &mut effects);
        self.carry_out(name, effects);
    }

    fn now(&self) -> Now {
        let at = Instant::from_micros(self.now_ms * 1000);
        Now { at, unix_seconds: UNIX_SECONDS + self.now_ms / 1000 }
    }

    fn carry_out(&mut self, name: &'static str, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            if let Effect::Fact(fact) = effect {
                let answer = self.answer(name, &fact);
                let running = self.nodes.get_mut(name).expect("it runs");
                running.facts.push(fact);
                if let Some(answer) = answer {
                    let mut more = Vec::new();
                    let now = self.now();
                    let running = self.nodes.get_mut(name).expect("it runs");
                    running.node.handle(answer, now, &mut more);
                    queue.extend(more);
                }
            } else {
                self.engine_effect(name, effect);
            }
        }
    }

    fn answer(&self, name: &str, fact: &Fact) -> Option<Input<'static>> {
        let running = &self.nodes[name];
        let report = |(shard, epoch)| {
            Item::Report(Report { shard, epoch, decided: None, channels: Vec::new() })
        };
        match fact {
            Fact::Received { from, n, .. } => Some(Input::Told { from: *from, n: *n }),
            Fact::ReportWanted { home, shards } if running.answers == Answers::Always => {
                let items = shards.iter().copied().map(report).collect();
                let (to, urgency) = (*home, Urgency::Soon);
                Some(Input::Send(Outgoing { to, items, urgency }))
            }
            Fact::ResetWanted(to) => {
                let terms =
                    (0..herenow_wire::SHARDS).map(|shard| (shard, running.node.term(shard)));
                let its = terms.filter(|(_, term)| term.home == *to);
                let items = match running.answers {
                    Answers::Always => {
                        its.map(|(shard, term)| report((shard, term.epoch))).collect()
                    }
                    Answers::Never => Vec::new(),
                };
                let contents = Contents { items, ..Contents::default() };
                Some(Input::Reset { to: *to, contents })
            }
            _ => None,
        }
    }

    fn engine_effect(&mut self, name: &'static str, effect: Effect) {
        match effect {
            Effect::Read(id, key) => {
                let read = if self.engine.is_down { Read::Unknown } else { self.engine.read(&key) };
                self.tell(name, Input::Read(id, read));
            }
            Effect::Swap { id, key, expected, value } => {
                let swapped = self.swap(key, expected, value);
                self.tell(name, Input::Swapped(id, swapped));
            }
            Effect::Publish(Subject::Inbox(to), bytes) if !self.engine.is_down => {
                self.packets += 1;
                let receiver = self.nodes.iter().find(|(_, of)| of.node.incarnation() == to);
                if let Some((receiver, _)) = receiver.filter(|(_, of)| !of.is_paused) {
                    self.tell(receiver, Input::Packet(&bytes));
                }
            }
            // The nodes find a new view by reading it each second.
            Effect::Publish(..) | Effect::Subscribe(_) | Effect::Unsubscribe(_) => {}
            Effect::Fact(_) => unreachable!("facts are the owner's"),
        }
    }

    fn swap(&mut self, key: Key, expected: Revision, value: Vec<u8>) -> Swapped {
        if self.engine.is_down {
            return Swapped::Unknown;
        }
        let swapped = self.engine.swap(key.clone(), expected, value.clone());
        if let Key::Beat(of) = key {
            let awake = self.nodes.iter().filter(|(_, running)| !running.is_paused);
            for name in awake.map(|(name, _)| *name).collect::<Vec<_>>() {
                self.tell(name, Input::Beat(of.clone(), &value));
            }
        }
        swapped
    }
}

fn beat_key(name: &str) -> Key {
    Key::Beat(NodeName::parse(name).expect("a valid name"))
}
