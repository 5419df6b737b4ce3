//! One exchange with its loops beside a fake engine that answers at once. The other node of the view is
//! made of packets.

use herenow_cluster::{
    Action, Config, Event, Exchange, Key, Member, NodeName, Now, Read, Serving, Subject, Swapped,
    View,
};
use herenow_core::{Instant, NodeEvent, NodeMail, Owner, Peer};
use herenow_wire::link::{
    Assembler, Attachment, Body, Follows, Incarnation, Item, Packet, Position, Presence, Put,
    Refused, RefusedWhy, Snap, Ticket, Urgency, bodies, put_varint,
};
use herenow_wire::{ChannelName, ConnectionId, State, UserId};

use crate::engine::Engine;
use crate::rig::UNIX_SECONDS;

/// The other node.
pub const OTHER: Incarnation = Incarnation(7);
/// The loops of the exchange.
pub const HUBS: u16 = 2;

pub struct Desk {
    pub exchange: Exchange,
    engine: Engine,
    /// What becomes of what it writes.
    pub writes: Writes,
    now_ms: u64,
    /// What the loops were told since it was last taken.
    told: Vec<(u16, NodeEvent)>,
    /// What was sent to the other node since it was last taken.
    sent: Vec<Sent>,
    /// What belongs to no stream: requests to the other node and responses, with their numbers.
    apart: Vec<Apart>,
    /// What came of requests, and what the other node has asked, since it was last taken.
    asked: Vec<Action>,
    other_sent: u64,
}

/// What becomes of what a node writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    Done,
    Unknown,
}

/// A packet of one part that belongs to no stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Apart {
    Request(u64, Vec<u8>),
    Response(u64, Vec<u8>),
}

/// A packet to the other node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    pub n: u64,
    pub ack: u64,
    /// The items, and whether they begin a stream; `None` if it is no batch.
    pub batch: Option<(Follows, Urgency, Vec<Item>)>,
}

impl Desk {
    /// A node that is alone in its view, and has just started.
    pub fn new() -> Self {
        let config = Config {
            name: NodeName::parse("a").expect("a valid name"),
            protocol: 1,
            seed: 1,
            max_payload_bytes: 64 * 1024,
            max_item_bytes: 1024 * 1024,
        };
        let (exchange, actions) = Exchange::new(&config, HUBS, now(0));
        let mut desk = Self {
            exchange,
            engine: Engine::default(),
            writes: Writes::Done,
            now_ms: 0,
            told: Vec::new(),
            sent: Vec::new(),
            apart: Vec::new(),
            asked: Vec::new(),
            other_sent: 100,
        };
        desk.carry_out(actions);
        desk
    }

    /// A node that has another beside it, with a stream in both directions that has begun and owes
    /// nothing.
    pub fn beside_another() -> Self {
        let mut desk = Self::new();
        desk.advance(4_000);
        desk.write_view(|view| {
            let (incarnation, admitted, serving) = (OTHER, view.v, Serving::Open);
            let name = NodeName::parse("b").expect("a valid name");
            view.nodes.push(Member { name, incarnation, admitted, serving });
        });
        desk.other_says(Vec::new());
        desk.mail(0, vec![NodeMail::Items { to: desk.other(), items: Vec::new() }]);
        for hub in 0..HUBS {
            desk.answer_reset(hub, Vec::new());
        }
        desk.acknowledge();
        desk.take_told();
        desk.take_sent();
        desk
    }

    /// Lets so much time pass.
    pub fn advance(&mut self, time_ms: u64) {
        let end = self.now_ms + time_ms;
        while self.exchange.poll_timeout().as_micros() <= end * 1000 {
            let due = self.exchange.poll_timeout().as_micros().div_ceil(1000);
            self.now_ms = self.now_ms.max(due);
            self.handle(Event::Timeout);
        }
        self.now_ms = end;
    }

    pub fn handle(&mut self, event: Event<'_>) {
        let mut actions = Vec::new();
        self.exchange.handle(event, now(self.now_ms), &mut actions);
        self.carry_out(actions);
    }

    /// A loop says this, as whom it has to speak for now.
    pub fn mail(&mut self, hub: u16, mail: Vec<NodeMail>) {
        self.mail_as(self.exchange.owner(), hub, mail);
    }

    pub fn mail_as(&mut self, owner: Owner, hub: u16, mail: Vec<NodeMail>) {
        self.handle(Event::Mail { hub, owner, mail });
    }

    /// A loop has items for the other node.
    pub fn send(&mut self, hub: u16, items: Vec<Item>) {
        self.mail(hub, vec![NodeMail::Items { to: self.other(), items }]);
    }

    /// A loop answers the last request for contents that it was told of.
    pub fn answer_reset(&mut self, hub: u16, items: Vec<Item>) {
        let request = self.requests(hub).pop().expect("it was asked");
        self.mail(hub, vec![NodeMail::Contents { request, items, channels: Vec::new() }]);
    }

    /// The requests for contents that a loop was told of.
    pub fn requests(&self, hub: u16) -> Vec<u32> {
        let told = self.told.iter().filter(|(to, _)| *to == hub);
        let requests = told.filter_map(|(_, event)| match event {
            NodeEvent::ResetWanted { request, .. } => Some(*request),
            _ => None,
        });
        requests.collect()
    }

    /// The other node sends a batch, as the next of its stream.
    pub fn other_says(&mut self, items: Vec<Item>) -> u64 {
        let follows = if self.other_sent == 100 { Follows::Nothing } else { Follows::Previous };
        self.other_sent += 1;
        let items = bodies(&items, 60_000).pop().unwrap_or_default();
        let urgency = Urgency::Soon;
        self.packet(0, Body::Batch { follows, urgency, items: &items });
        self.other_sent
    }

    /// The other node acknowledges everything that it was sent.
    pub fn acknowledge(&mut self) {
        let n = self.sent.iter().map(|sent| sent.n).max().expect("it was sent something");
        self.packet(n, Body::Ack);
    }

    /// The other node has missed something.
    pub fn miss(&mut self) {
        let seen = self.sent.iter().map(|sent| sent.n).max().expect("it was sent something");
        self.packet(0, Body::Nack { seen });
    }

    pub fn packet(&mut self, ack: u64, body: Body<'_>) {
        let (to, n) = (self.exchange.incarnation(), self.other_sent);
        let bytes = Packet { from: OTHER, to, n, ack, received: ack, body }.encode();
        self.handle(Event::Packet(&bytes));
    }

    /// Another node writes the next view, and says so.
    pub fn write_view(&mut self, change: impl FnOnce(&mut View)) {
        let Read::Found(revision, bytes) = self.engine.read(&Key::View) else { panic!("no view") };
        let view = View::decode(&bytes).expect("a view");
        let mut next = view.successor(0, UNIX_SECONDS + self.now_ms / 1000);
        change(&mut next);
        next.place();
        self.engine.swap(Key::View, revision, next.encode());
        let mut hint = Vec::new();
        put_varint(next.v, &mut hint);
        self.handle(Event::Hint(&hint));
    }

    /// What the loops call the other node.
    pub fn other(&self) -> Peer {
        Peer::node(1)
    }

    /// What the loops were told since it was last taken.
    pub fn told(&self) -> &[(u16, NodeEvent)] {
        &self.told
    }

    /// What the loops were told since this was last called.
    pub fn take_told(&mut self) -> Vec<(u16, NodeEvent)> {
        std::mem::take(&mut self.told)
    }

    /// What a loop was told since this was last called for it.
    pub fn take_told_by(&mut self, hub: u16) -> Vec<NodeEvent> {
        let (its, others) = self.take_told().into_iter().partition(|(of, _)| *of == hub);
        self.told = others;
        let its: Vec<(u16, NodeEvent)> = its;
        its.into_iter().map(|(_, event)| event).collect()
    }

    /// A node that is in no view that was read says that it is the home of a shard.
    pub fn collect(&mut self, home: Incarnation, shard: (u16, u64)) {
        let (to, body) = (self.exchange.incarnation(), Body::Collect { shards: vec![shard] });
        let bytes = Packet { from: home, to, n: 0, ack: 0, received: 0, body }.encode();
        self.handle(Event::Packet(&bytes));
    }

    /// The requests and responses that were sent since this was last called.
    pub fn take_apart(&mut self) -> Vec<Apart> {
        std::mem::take(&mut self.apart)
    }

    /// What this process was asked and answered since this was last called.
    pub fn take_asked(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.asked)
    }

    /// What was sent to the other node since this was last called.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// The items of the batches that were sent since this was last called.
    pub fn take_items(&mut self) -> Vec<Item> {
        let batches = self.take_sent().into_iter().filter_map(|sent| sent.batch);
        batches.flat_map(|(.., items)| items).collect()
    }

    /// What of the batches that the other node has sent was acknowledged to it.
    pub fn acknowledged(&self) -> u64 {
        self.sent.iter().map(|sent| sent.ack).max().unwrap_or(0)
    }

    /// A channel of a loop, whose home is this node.
    pub fn channel(&self, hub: u16, home: Incarnation) -> ChannelName {
        let view = self.exchange.view().expect("there is one");
        let names = (0..).map(|n| format!("presence:c{n}"));
        let mut channels = names.map(|name| ChannelName::parse(&name).expect("a valid name"));
        let is_it = |channel: &ChannelName| {
            channel.shard() % HUBS == hub && view.term(channel.shard()).home == home
        };
        channels.find(is_it).expect("there is one")
    }

    /// A put for the other node, of a channel at this loop.
    pub fn put(&self, hub: u16, ticket: u64) -> Item {
        let channel = self.channel(hub, OTHER);
        put(channel, ticket)
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Read(id, key) => {
                    let read = self.engine.read(&key);
                    self.handle(Event::Read(id, read));
                }
                Action::Swap { id, key, expected, value } => {
                    let swapped = match self.writes {
                        Writes::Done => self.engine.swap(key, expected, value),
                        Writes::Unknown => Swapped::Unknown,
                    };
                    self.handle(Event::Swapped(id, swapped));
                }
                Action::Publish(Subject::Inbox(_), bytes) => match apart(&bytes) {
                    Some(apart) => self.apart.push(apart),
                    None => self.sent.extend(sent(&bytes)),
                },
                Action::Asked { .. } | Action::Answered { .. } => self.asked.push(action),
                Action::ToHub(hub, event) => self.told.push((hub, event)),
                _ => {}
            }
        }
    }
}

pub fn put(channel: ChannelName, ticket: u64) -> Item {
    let presence = Presence {
        connection: ConnectionId::from_bytes([1; 16]),
        generation: 0,
        user: UserId::parse("user").expect("a valid id").into(),
        attachment: Attachment::Socket,
        since_ms: 0,
    };
    let (state, ticket) = (State::parse("{}").expect("an object"), Some(Ticket(ticket)));
    Item::Put(Put { channel, presence, state, max_members: 100, ticket })
}

pub fn refused(channel: ChannelName) -> Item {
    let connection = ConnectionId::from_bytes([1; 16]);
    let (ticket, why) = (Some(Ticket(1)), RefusedWhy::Full);
    Item::Refused(Refused { channel, connection, generation: 0, ticket, why })
}

pub fn snap(channel: ChannelName) -> Item {
    Item::Snap(Snap { channel, position: Position { epoch: 1, seq: 1 }, rows: Vec::new() })
}

fn apart(bytes: &[u8]) -> Option<Apart> {
    match Packet::decode(bytes).expect("a packet").body {
        Body::Request(part) => Some(Apart::Request(part.id, part.bytes.to_vec())),
        Body::Response(part) => Some(Apart::Response(part.id, part.bytes.to_vec())),
        _ => None,
    }
}

fn sent(bytes: &[u8]) -> Option<Sent> {
    let packet = Packet::decode(bytes).expect("a packet");
    let batch = match packet.body {
        Body::Batch { follows, urgency, items: body } => {
            let mut items = Vec::new();
            Assembler::new(1024 * 1024).read(body, &mut items).expect("items");
            Some((follows, urgency, items))
        }
        Body::Collect { .. } => return None,
        _ => None,
    };
    Some(Sent { n: packet.n, ack: packet.ack, batch })
}

fn now(ms: u64) -> Now {
    Now { at: Instant::from_micros(ms * 1000), unix_seconds: UNIX_SECONDS + ms / 1000 }
}
