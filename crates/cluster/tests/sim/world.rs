//! The world of one run: nodes, the ways between them and the engine, and time.

use std::collections::{BTreeMap, BTreeSet};

use herenow_cluster::{Action, Config, Event as ToExchange, Exchange, NodeName, RequestId};
use herenow_core::NodeEvent;
use herenow_wire::link::Incarnation;

use crate::chance::Chance;
use crate::check::{self, History};
use crate::clock::{Clock, MS, Micros, SECOND};
use crate::engine::Engine;
use crate::network::{Arrival, Request};
use crate::people::{Person, Session};
use crate::plan::{CALM, Plan};
use crate::process::Process;
use crate::tally::Tally;

pub struct World {
    pub now: Micros,
    pub chance: Chance,
    pub plan: Plan,
    pub engine: Engine,
    pub slots: Vec<Slot>,
    pub people: Vec<Person>,
    pub history: History,
    pub tally: Tally,
    /// Whether the bucket was ever lost or restored.
    pub was_bucket_lost: bool,
    /// It was, and the nodes do not agree yet.
    pub is_bucket_torn: bool,
    /// Nodes that have written a view and have not heard that it was taken.
    pub views_under_way: BTreeSet<(usize, u64, RequestId)>,
    /// Those whose keys were closed, even if the bucket has forgotten that.
    pub closed: BTreeSet<Incarnation>,
    events: BTreeMap<(Micros, u64), Event>,
    next_event: u64,
    trace: Trace,
    pub is_calm: bool,
    pub last_packet_at: Micros,
    /// The shards that more than one node holds open.
    pub contested: BTreeSet<u16>,
}

/// One machine, whatever process runs on it.
pub struct Slot {
    pub process: Option<Process>,
    /// Which process it is.
    pub life: u64,
    pub paused_until: Micros,
    /// What happened to it while it was paused.
    held: Vec<Event>,
    /// Nothing of it reaches the engine until then.
    pub cut_out_until: Micros,
    /// Nothing of the engine reaches it until then.
    pub cut_in_until: Micros,
    pub clock: Clock,
    /// When the last message of each other machine arrives here.
    pub lanes: Vec<Micros>,
    pub wake_at: Micros,
}

#[derive(Debug)]
pub enum Event {
    Wake(usize, u64),
    Request(usize, u64, Request),
    Arrive(usize, u64, Arrival),
    /// The next mail of the exchange arrives at a loop.
    ToHub(usize, u64, usize),
    /// The next mail of a loop arrives at the exchange.
    ToExchange(usize, u64, usize),
    /// The loops do what is due.
    Scan(usize, u64),
    Start(usize),
    Leave(usize, u64),
    Suffer,
    Act,
    /// A session of a person who has gone on to another node ends.
    End(usize, u64, Session),
    EngineUp,
    Resume(usize),
}

/// Whether a run prints what happens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    Silent,
    Printed,
}

/// More than a link may hold in these runs, where nothing fills one.
const MOST_HELD_BYTES: usize = 1024 * 1024;
/// Links are silent at the end for so long.
const SILENCE: Micros = 5 * SECOND;

pub fn run(seed: u64, trace: Trace) -> Tally {
    let mut chance = Chance::new(seed);
    let plan = Plan::draw(&mut chance);
    let slots = plan.clocks.iter().map(|clock| Slot::new(*clock, plan.nodes)).collect();
    let mut world = World {
        now: 0,
        chance,
        engine: Engine::default(),
        slots,
        people: Vec::new(),
        history: History::default(),
        tally: Tally { runs: 1, ..Tally::default() },
        was_bucket_lost: false,
        is_bucket_torn: false,
        views_under_way: BTreeSet::new(),
        closed: BTreeSet::new(),
        events: BTreeMap::new(),
        next_event: 0,
        trace,
        is_calm: false,
        last_packet_at: 0,
        contested: BTreeSet::new(),
        plan,
    };
    for slot in 0..world.slots.len() {
        let at = world.chance.between(0, 3_000) * MS;
        world.at(at, Event::Start(slot));
    }
    world.at(0, Event::Suffer);
    world.at(0, Event::Act);
    world.advance(world.plan.storm);
    world.calm();
    world.advance(world.plan.storm + CALM);
    check::assert_settled(&world);
    assert!(world.last_packet_at + SILENCE < world.now, "nodes that owe nothing say nothing");
    for slot in 0..world.slots.len() {
        world.count(slot);
    }
    world.tally
}

impl World {
    pub fn note(&self, what: impl FnOnce() -> String) {
        if self.trace == Trace::Printed {
            println!("{:>10.3} {}", self.now as f64 / SECOND as f64, what());
        }
    }

    pub fn at(&mut self, at: Micros, event: Event) {
        self.next_event += 1;
        self.events.insert((at.max(self.now), self.next_event), event);
    }

    pub fn living(&self) -> impl Iterator<Item = &Process> {
        self.slots.iter().filter_map(|slot| slot.process.as_ref())
    }

    fn advance(&mut self, until: Micros) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) {
            self.now = entry.key().0;
            let event = entry.remove();
            self.happen(event);
        }
        self.now = until;
    }

    /// Everything is well from here on.
    fn calm(&mut self) {
        self.note(|| "calm".to_owned());
        self.is_calm = true;
        self.engine.is_down = false;
        for slot in 0..self.slots.len() {
            let one = &mut self.slots[slot];
            one.cut_in_until = 0;
            one.cut_out_until = 0;
            one.paused_until = 0;
            self.resume(slot);
            if self.slots[slot].process.is_none() {
                self.at(self.now, Event::Start(slot));
            }
            self.with_process(slot, |acting| {
                acting.process.hubs.iter_mut().for_each(|hub| hub.is_lazy = false);
            });
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Suffer if self.is_calm => {}
            Event::Suffer => {
                self.suffer();
                let next = self.now + self.chance.between(0, 2 * self.plan.every);
                self.at(next, Event::Suffer);
            }
            Event::Act if self.is_calm => {}
            Event::Act => {
                self.act();
                let next = self.now + self.chance.between(0, 500) * MS;
                self.at(next, Event::Act);
            }
            Event::End(slot, life, session) => {
                if self.is_awake(slot, life, || Event::End(slot, life, session)) {
                    let (id, generation) = session;
                    self.with_process(slot, |acting| {
                        let ended = acting.process.sessions.end(id, generation);
                        acting.command(ended);
                    });
                }
            }
            Event::EngineUp => self.engine.is_down = false,
            Event::Resume(slot) => self.resume(slot),
            Event::Scan(slot, life) => {
                if self.is_awake(slot, life, || Event::Scan(slot, life)) {
                    self.scan(slot);
                }
            }
            Event::Start(slot) => self.start(slot),
            Event::Leave(slot, life) => {
                if self.is_awake(slot, life, || Event::Leave(slot, life)) {
                    self.tell(slot, ToExchange::Leave);
                }
            }
            Event::Request(slot, life, request) => self.serve((slot, life), request),
            Event::Wake(slot, life) => {
                if self.is_awake(slot, life, || Event::Wake(slot, life)) {
                    self.slots[slot].wake_at = Micros::MAX;
                    self.tell(slot, ToExchange::Timeout);
                }
            }
            Event::Arrive(slot, life, arrival) => {
                let again = arrival.clone();
                if self.is_awake(slot, life, || Event::Arrive(slot, life, again)) {
                    self.arrive(slot, arrival);
                }
            }
            Event::ToHub(slot, life, hub) => {
                if self.is_awake(slot, life, || Event::ToHub(slot, life, hub)) {
                    self.deliver_events(slot, hub);
                }
            }
            Event::ToExchange(slot, life, hub) => {
                if self.is_awake(slot, life, || Event::ToExchange(slot, life, hub)) {
                    self.deliver_mail(slot, hub);
                }
            }
        }
    }

    pub fn pause(&mut self, slot: usize, time: Micros) {
        let until = self.now + time;
        self.slots[slot].paused_until = until;
        self.at(until, Event::Resume(slot));
    }

    fn resume(&mut self, slot: usize) {
        if self.slots[slot].paused_until <= self.now {
            for event in std::mem::take(&mut self.slots[slot].held) {
                self.at(self.now, event);
            }
        }
    }

    /// Whether that process is there and runs. While it is paused, what happens to it waits.
    fn is_awake(&mut self, slot: usize, life: u64, event: impl FnOnce() -> Event) -> bool {
        let one = &self.slots[slot];
        if one.process.is_none() || one.life != life {
            return false;
        }
        if one.paused_until > self.now {
            self.slots[slot].held.push(event());
            return false;
        }
        true
    }

    fn start(&mut self, slot: usize) {
        if self.slots[slot].process.is_some() {
            return;
        }
        let seed = self.chance.draw();
        let name = NodeName::parse(&format!("node-{slot}")).expect("a valid name");
        let config = Config {
            name,
            protocol: 1,
            seed,
            max_payload_bytes: self.plan.max_payload_bytes,
            max_item_bytes: 1024 * 1024,
        };
        let one = &mut self.slots[slot];
        one.life += 1;
        one.wake_at = Micros::MAX;
        one.paused_until = 0;
        let hubs = self.chance.between(1, 3) as u16;
        let (exchange, actions) = Exchange::new(&config, hubs, one.clock.now(self.now));
        let mut process = Process::new(exchange, hubs, (one.clock, self.plan.grace));
        let is_lazy = self.plan.is_lazy && !self.is_calm;
        process.hubs.iter_mut().for_each(|hub| hub.is_lazy = is_lazy);
        one.process = Some(process);
        self.note(|| format!("{slot} starts with {hubs} loops"));
        self.carry_out(slot, actions);
        self.scan(slot);
    }

    pub fn kill(&mut self, slot: usize) {
        self.note(|| format!("{slot} is killed"));
        self.count(slot);
        self.slots[slot].process = None;
        self.slots[slot].life += 1;
    }

    pub fn count(&mut self, slot: usize) {
        if let Some(process) = &self.slots[slot].process {
            let counters = process.exchange.counters();
            assert_eq!(counters.broken_packets, 0, "every packet can be read");
            self.tally.gaps += counters.gaps;
            self.tally.resets += counters.resets;
            self.tally.unknown_senders += counters.unknown_senders;
            self.tally.old_collects += counters.old_collects;
            self.tally.late_mail += counters.late_mail;
            self.tally.held_mail += counters.held_mail;
            self.tally.answered += process.sessions.answered;
            self.tally.refused += process.sessions.refused;
            self.tally.superseded += process.sessions.superseded;
            self.tally.taken += process.sessions.taken;
            for subscriber in process.hubs.iter().flat_map(|hub| hub.subscribers.values()) {
                self.tally.deltas += subscriber.deltas;
                self.tally.snapshots += subscriber.snapshots;
            }
        }
    }

    /// Hands something to an exchange, and carries out what follows.
    pub fn tell(&mut self, slot: usize, event: ToExchange<'_>) {
        let now = self.slots[slot].clock.now(self.now);
        let Some(process) = &mut self.slots[slot].process else { return };
        let before = process.exchange.incarnation();
        let mut actions = Vec::new();
        process.exchange.handle(event, now, &mut actions);
        self.tally.exclusions += u64::from(process.exchange.incarnation() != before);
        self.carry_out(slot, actions);
    }

    /// Carries out actions in their order.
    fn carry_out(&mut self, slot: usize, actions: Vec<Action>) {
        let mut by_hub: BTreeMap<u16, Vec<NodeEvent>> = BTreeMap::new();
        for action in actions {
            self.watch(slot, &action);
            match action {
                Action::ToHub(hub, event) => by_hub.entry(hub).or_default().push(event),
                action => self.engine_action(slot, action),
            }
        }
        for (hub, events) in by_hub {
            self.post_events(slot, usize::from(hub), events);
        }
        self.after(slot);
    }

    /// Sets the next wake-up, and ends a process that has left.
    fn after(&mut self, slot: usize) {
        let one = &mut self.slots[slot];
        let Some(process) = &one.process else { return };
        assert!(process.exchange.held().1 < MOST_HELD_BYTES, "a link holds too much");
        let wake_at = one.clock.when(process.exchange.poll_timeout()).max(self.now);
        if wake_at < one.wake_at {
            one.wake_at = wake_at;
            let life = one.life;
            self.at(wake_at, Event::Wake(slot, life));
        }
    }
}

impl Slot {
    fn new(clock: Clock, nodes: usize) -> Self {
        Self {
            process: None,
            life: 0,
            paused_until: 0,
            held: Vec::new(),
            cut_out_until: 0,
            cut_in_until: 0,
            clock,
            lanes: vec![0; nodes],
            wake_at: Micros::MAX,
        }
    }
}
