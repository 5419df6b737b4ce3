//! One process: its exchange, its loops, its connections, and the mail between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use herenow_cluster::{Event as ToExchange, Exchange, Subject, Term};
use herenow_core::{ChannelSettings, Command, NodeEvent, NodeMail, Owner, Patterns, Policy};
use herenow_wire::ChannelName;

use crate::check::History;
use crate::clock::{Clock, MS, Micros, SECOND};
use crate::hub::{Around, Hub};
use crate::sessions::Sessions;
use crate::world::{Event, World};

pub struct Process {
    pub exchange: Exchange,
    pub hubs: Vec<Hub>,
    pub sessions: Sessions,
    pub clock: Clock,
    /// The shards that are open at their loops, with their terms.
    pub open: BTreeMap<u16, Term>,
    pub subscriptions: BTreeSet<Subject>,
    ways: Vec<Way>,
}

/// The mail between the exchange and one loop, which keeps its order.
#[derive(Default)]
struct Way {
    events: VecDeque<Vec<NodeEvent>>,
    /// When the last of them arrives.
    events_at: Micros,
    mail: VecDeque<(Owner, Vec<NodeMail>)>,
    mail_at: Micros,
    /// The loop does something else until then.
    busy_until: Micros,
}

/// How long a loop is busy with something else.
const BUSY: Micros = SECOND;
/// How often loops do what is due.
const SCAN_EVERY: Micros = SECOND / 4;

impl Process {
    pub fn new(exchange: Exchange, hubs: u16, (clock, grace): (Clock, Micros)) -> Self {
        let settings = ChannelSettings {
            max_members: u32::MAX,
            presence_ttl_ms: u64::MAX,
            disconnect_grace_ms: grace / MS,
        };
        let policy = Arc::new(Policy::new(settings, Patterns::default()));
        Self {
            exchange,
            hubs: (0..hubs).map(|number| Hub::new(number, hubs, &policy)).collect(),
            sessions: Sessions::default(),
            clock,
            open: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            ways: (0..hubs).map(|_| Way::default()).collect(),
        }
    }

    pub fn hub_of(&self, shard: u16) -> usize {
        usize::from(shard) % self.hubs.len()
    }

    /// The loop of a channel.
    pub fn hub(&self, channel: &ChannelName) -> &Hub {
        &self.hubs[self.hub_of(channel.shard())]
    }

    /// Whether it may act as the home of a shard that is open at its loop. One whose loop does not
    /// know yet that the node is out may not: the lease is that of its next life.
    pub fn may_act(&self, shard: u16, now: Micros) -> bool {
        let speaks_for = self.hubs[self.hub_of(shard)].owner;
        speaks_for == self.exchange.owner() && self.exchange.has_lease(self.clock.now(now).at)
    }

    /// Whether its loops have handled everything that they were told.
    pub fn has_heard_all(&self) -> bool {
        self.ways.iter().all(|way| way.events.is_empty())
    }

    /// Whether no mail is under way.
    pub fn has_no_mail(&self) -> bool {
        self.has_heard_all() && self.ways.iter().all(|way| way.mail.is_empty())
    }
}

/// What a process does at its loops.
pub struct Acting<'a> {
    pub process: &'a mut Process,
    history: &'a mut History,
    now: Micros,
}

impl Acting<'_> {
    pub fn at_hub(&mut self, hub: usize, act: impl FnOnce(&mut Hub, &mut Around<'_>)) {
        let Process { hubs, sessions, clock, .. } = &mut *self.process;
        let now = clock.now(self.now).at;
        act(&mut hubs[hub], &mut Around { sessions, history: self.history, now });
    }

    pub fn command(&mut self, commands: impl IntoIterator<Item = Command>) {
        for command in commands {
            let hub = self.process.hub_of(command.channel().shard());
            self.at_hub(hub, |hub, around| hub.command(command, around));
        }
    }
}

impl World {
    /// Something is done at the loops of a process. What follows is under way to its exchange.
    pub fn with_process(&mut self, slot: usize, act: impl FnOnce(&mut Acting<'_>)) {
        let Some(process) = &mut self.slots[slot].process else { return };
        let mut acting = Acting { process, history: &mut self.history, now: self.now };
        act(&mut acting);
        for hub in 0..acting.process.hubs.len() {
            if !acting.process.hubs[hub].is_lazy || self.chance.one_in(2) {
                acting.at_hub(hub, Hub::flush_all);
            }
        }
        for hub in 0..acting.process.hubs.len() {
            self.post_mail(slot, hub);
        }
    }

    /// The loops of a process do what is due, and once more later.
    pub fn scan(&mut self, slot: usize) {
        self.with_process(slot, |acting| {
            for hub in 0..acting.process.hubs.len() {
                acting.at_hub(hub, Hub::scan);
            }
        });
        self.at(self.now + SCAN_EVERY, Event::Scan(slot, self.slots[slot].life));
    }

    /// The exchange has something for a loop.
    pub fn post_events(&mut self, slot: usize, hub: usize, events: Vec<NodeEvent>) {
        let (life, at) = (self.slots[slot].life, self.mail_time(slot, hub));
        let Some(process) = &mut self.slots[slot].process else { return };
        let way = &mut process.ways[hub];
        way.events_at = way.events_at.max(at);
        way.events.push_back(events);
        let at = way.events_at;
        self.at(at, Event::ToHub(slot, life, hub));
    }

    fn post_mail(&mut self, slot: usize, hub: usize) {
        let Some(process) = &mut self.slots[slot].process else { return };
        let mail = process.hubs[hub].take_mail();
        if mail.is_empty() {
            return;
        }
        let owner = process.hubs[hub].owner;
        let (life, at) = (self.slots[slot].life, self.mail_time(slot, hub));
        let Some(process) = &mut self.slots[slot].process else { return };
        let way = &mut process.ways[hub];
        way.mail_at = way.mail_at.max(at);
        way.mail.push_back((owner, mail));
        let at = way.mail_at;
        self.at(at, Event::ToExchange(slot, life, hub));
    }

    /// When mail that is sent now arrives.
    fn mail_time(&mut self, slot: usize, hub: usize) -> Micros {
        let becomes_busy = !self.is_calm && self.chance.one_in(self.plan.busy_every);
        let longest = self.plan.longest_mail;
        let delay = if longest == 0 { 0 } else { self.chance.below(longest) };
        let Some(process) = &mut self.slots[slot].process else { return self.now };
        let way = &mut process.ways[hub];
        if becomes_busy {
            way.busy_until = way.busy_until.max(self.now + BUSY);
        }
        way.busy_until.max(self.now + delay)
    }

    /// A loop handles what the exchange has told it.
    pub fn deliver_events(&mut self, slot: usize, hub: usize) {
        let process = self.slots[slot].process.as_mut().expect("it is awake");
        let events = process.ways[hub].events.pop_front().expect("it is under way");
        for event in events {
            self.watch_hub((slot, hub), &event);
            let Some(process) = &mut self.slots[slot].process else { return };
            let mut acting = Acting { process, history: &mut self.history, now: self.now };
            acting.at_hub(hub, |hub, around| hub.handle(event, around));
        }
        self.post_mail(slot, hub);
    }

    /// The exchange handles what a loop has for other nodes.
    pub fn deliver_mail(&mut self, slot: usize, hub: usize) {
        let process = self.slots[slot].process.as_mut().expect("it is awake");
        let (owner, mail) = process.ways[hub].mail.pop_front().expect("it is under way");
        self.note(|| format!("{slot}: loop {hub} as {owner:?}: {mail:?}"));
        self.tell(slot, ToExchange::Mail { hub: hub as u16, owner, mail });
    }
}
