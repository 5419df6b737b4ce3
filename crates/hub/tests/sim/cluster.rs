//! The nodes of a run as a cluster: the exchange that ships at each, and an engine between them that is
//! late, loses and doubles, is away, and forgets. A run of one node alone has none of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use herenow_cluster::{
    Action, Config, Event, Exchange, Key, NodeName, Read, RequestId, Revision, Subject, Swapped,
};
use herenow_core::{Instant, NodeEvent, NodeMail, Owner};

use crate::clock::Clock;
use crate::engine::Engine;
use crate::server::Server;
use crate::stage::{Stage, Weather};

/// See the module.
pub struct Cluster {
    sites: Vec<Site>,
    engine: Engine,
    under_way: BTreeMap<(Instant, u64), Delivered>,
    sent: u64,
}

/// Where one node is, whatever process is there.
struct Site {
    exchange: Option<Exchange>,
    clock: Clock,
    subscriptions: BTreeSet<Subject>,
    /// Which of the processes that were there it is.
    life: u64,
    /// Nothing goes to the engine, or comes from it, before.
    cut_out_until: Instant,
    cut_in_until: Instant,
    /// When the last message from each site arrives: they keep their order.
    lanes: Vec<Instant>,
    /// The process stands still.
    paused_until: Instant,
    /// The process has left the view for good.
    has_left: bool,
}

/// What arrives somewhere.
enum Delivered {
    /// The engine is there again.
    EngineStarts,
    /// At the engine.
    Request { from: (usize, u64), request: Request },
    /// At a site, from the engine.
    Arrival { at: (usize, u64), arrival: Arrival },
    /// At the exchange of a site, from one of its loops.
    Mail { at: (usize, u64), hub: u16, owner: Owner, mail: Vec<NodeMail> },
}

#[derive(Clone)]
enum Request {
    Read(RequestId, Key),
    Swap(RequestId, Key, Revision, Vec<u8>),
}

#[derive(Clone)]
enum Arrival {
    Read(RequestId, Read),
    Swapped(RequestId, Swapped),
    Message(Subject, Vec<u8>),
    Beat(NodeName, Vec<u8>),
}

/// What a loop has handed to its exchange.
pub struct FromLoop {
    pub node: usize,
    pub hub: u16,
    pub owner: Owner,
    pub mail: Vec<NodeMail>,
}

/// The longest way between two threads of a process.
const LONGEST_MAIL_US: u64 = 2_000;
/// The longest way in good weather.
const CALM_DELAY_US: u64 = 5_000;
/// The bytes that a node's links may hold.
const MOST_HELD_BYTES: usize = 64 * 1024 * 1024;

impl Site {
    /// When its exchange is to be told that a deadline has come.
    fn due(&self) -> Option<Instant> {
        Some(self.clock.true_time(self.exchange.as_ref()?.poll_timeout()))
    }
}

impl Cluster {
    pub fn new(clocks: &[Clock], now: Instant) -> Self {
        let site = |clock: &Clock| Site {
            exchange: None,
            clock: *clock,
            subscriptions: BTreeSet::new(),
            life: 0,
            cut_out_until: now,
            cut_in_until: now,
            lanes: vec![now; clocks.len()],
            paused_until: now,
            has_left: false,
        };
        Self {
            sites: clocks.iter().map(site).collect(),
            engine: Engine::default(),
            under_way: BTreeMap::new(),
            sent: 0,
        }
    }

    /// A process starts at a site, with the loops of `server`.
    pub fn start(&mut self, at: usize, server: &mut Server, stage: &mut Stage) {
        let name = NodeName::parse(&format!("node-{at}")).expect("a valid name");
        let config = Config {
            name,
            protocol: 1,
            seed: stage.chance.draw(),
            max_payload_bytes: stage.plan.max_payload_bytes,
            max_item_bytes: 1024 * 1024,
        };
        let site = &mut self.sites[at];
        let now = site.clock.now(stage.now.as_micros());
        let (exchange, actions) = Exchange::new(&config, stage.plan.loops, now);
        site.life += 1;
        site.subscriptions.clear();
        site.paused_until = stage.now;
        site.has_left = false;
        site.exchange = Some(exchange);
        self.carry_out(at, actions, server, stage);
    }

    /// The process is no more.
    pub fn kill(&mut self, at: usize) {
        let site = &mut self.sites[at];
        site.exchange = None;
        site.subscriptions.clear();
        site.life += 1;
    }

    /// Which of the processes of a site it is.
    pub fn life(&self, at: usize) -> u64 {
        self.sites[at].life
    }

    pub fn paused_until(&self, at: usize) -> Instant {
        self.sites[at].paused_until
    }

    pub fn has_left(&self, at: usize) -> bool {
        self.sites[at].has_left
    }

    /// Whether a node may act in the name of this owner. If its loop does not know yet that it is out, the
    /// lease is that of its next life.
    pub fn may_act(&self, at: usize, owner: Owner, now: Instant) -> bool {
        let site = &self.sites[at];
        let now = site.clock.local(now);
        let is_in = |one: &Exchange| one.is_in() && one.owner() == owner && one.has_lease(now);
        site.exchange.as_ref().is_some_and(is_in)
    }

    pub fn pause(&mut self, at: usize, until: Instant) {
        self.sites[at].paused_until = self.sites[at].paused_until.max(until);
    }

    /// A node hears nothing of the engine, says nothing to it, or both.
    pub fn cut(&mut self, at: usize, until: Instant, (is_out, is_in): (bool, bool)) {
        let site = &mut self.sites[at];
        if is_out {
            site.cut_out_until = until;
        }
        if is_in {
            site.cut_in_until = until;
        }
    }

    pub fn stop_engine(&mut self, until: Instant) {
        self.engine.is_down = true;
        self.send(until, Delivered::EngineStarts);
    }

    /// The bucket is copied, or lost, or becomes what the copy is.
    pub fn bucket_suffers(&mut self, stage: &mut Stage) {
        if stage.chance.one_in(2) {
            return self.engine.back_up();
        }
        if !stage.plan.bucket_suffers {
            return;
        }
        stage.tally.buckets_lost += 1;
        stage.history.is_torn = true;
        if stage.chance.one_in(2) {
            self.engine.restore();
        } else {
            self.engine.forget();
        }
    }

    /// The node is to have no shards any more.
    pub fn drain(&mut self, at: usize, server: &mut Server, stage: &mut Stage) {
        self.tell(at, Event::Drain, server, stage);
    }

    /// The node is to leave the view.
    pub fn leave(&mut self, at: usize, server: &mut Server, stage: &mut Stage) {
        self.tell(at, Event::Leave, server, stage);
    }

    /// Everything is well from here on.
    pub fn calm_down(&mut self, now: Instant) {
        self.engine.is_down = false;
        for site in &mut self.sites {
            (site.cut_in_until, site.cut_out_until) = (now, now);
            site.paused_until = now;
        }
    }

    /// When something happens next.
    pub fn next_step(&self, now: Instant) -> Instant {
        let arrival = self.under_way.keys().next().map_or(Instant::NEVER, |(at, _)| *at);
        let timeouts =
            self.sites.iter().filter_map(|site| Some(site.due()?.max(site.paused_until)));
        timeouts.fold(arrival, Instant::min).max(now)
    }

    /// The next thing happens.
    pub fn step(&mut self, servers: &mut [Option<Server>], stage: &mut Stage) {
        let now = stage.now;
        for (at, server) in servers.iter_mut().enumerate() {
            let site = &self.sites[at];
            let is_due = site.due().is_some_and(|due| due <= now);
            if let Some(server) = server.as_mut().filter(|_| is_due && site.paused_until <= now) {
                self.tell(at, Event::Timeout, server, stage);
            }
        }
        let Some(first) = self.under_way.first_entry().filter(|one| one.key().0 <= now) else {
            return;
        };
        let delivered = first.remove();
        let (at, life) = match &delivered {
            Delivered::EngineStarts => {
                self.engine.is_down = false;
                return;
            }
            Delivered::Request { from, request } => {
                let (from, request) = (*from, request.clone());
                return self.serve(from, request, stage);
            }
            Delivered::Arrival { at, .. } | Delivered::Mail { at, .. } => *at,
        };
        let site = &self.sites[at];
        if site.life != life {
            return;
        }
        if site.paused_until > now {
            let until = site.paused_until;
            return self.send(until, delivered);
        }
        let server = servers[at].as_mut().expect("who lives has loops");
        match delivered {
            Delivered::EngineStarts | Delivered::Request { .. } => unreachable!("it is done"),
            Delivered::Arrival { arrival, .. } => self.arrive(at, arrival, server, stage),
            Delivered::Mail { hub, owner, mail, .. } => {
                self.tell(at, Event::Mail { hub, owner, mail }, server, stage);
            }
        }
    }

    /// The loops of a node have something for others.
    pub fn take_mail(&mut self, stage: &mut Stage) {
        for FromLoop { node, hub, owner, mail } in std::mem::take(&mut stage.node_mail) {
            let site = &mut self.sites[node];
            // All loops share a lane to the exchange, which is more order than is promised.
            let delay_us = stage.chance.between(1, LONGEST_MAIL_US);
            let at = (stage.now + Duration::from_micros(delay_us)).max(site.lanes[node]);
            site.lanes[node] = at;
            let to = (node, site.life);
            self.send(at, Delivered::Mail { at: to, hub, owner, mail });
        }
    }

    /// What must be true after a calm: all nodes know one view and are in it.
    pub fn is_settled(&self, now: Instant) {
        let living = || self.sites.iter().filter_map(|site| Some((site, site.exchange.as_ref()?)));
        let view = living().find_map(|(_, one)| one.view()).expect("one is in a view");
        assert_eq!(view.nodes.len(), living().count(), "the view holds who lives");
        for (site, one) in living() {
            let me = one.incarnation();
            let now = site.clock.now(now.as_micros()).at;
            assert!(one.is_in() && one.has_lease(now), "{me} is in the view");
            assert_eq!(one.view(), Some(view), "all know one view");
            assert_eq!(one.counters().broken_packets, 0, "every packet can be read");
        }
    }

    /// What must be true when nobody has done anything for a while: nothing waits.
    pub fn is_quiet(&self) {
        for one in self.sites.iter().filter_map(|site| site.exchange.as_ref()) {
            let me = one.incarnation();
            assert!(one.is_quiet(), "{me} waits for something");
            assert_eq!(one.held().1, 0, "{me} keeps nothing for anybody");
        }
    }

    fn tell(&mut self, at: usize, event: Event<'_>, server: &mut Server, stage: &mut Stage) {
        let now = self.sites[at].clock.now(stage.now.as_micros());
        let Some(exchange) = &mut self.sites[at].exchange else { return };
        let mut actions = Vec::new();
        exchange.handle(event, now, &mut actions);
        assert!(exchange.held().1 < MOST_HELD_BYTES, "links hold too much");
        self.carry_out(at, actions, server, stage);
    }

    fn carry_out(
        &mut self,
        at: usize,
        actions: Vec<Action>,
        server: &mut Server,
        stage: &mut Stage,
    ) {
        for action in actions {
            match action {
                Action::Read(id, key) => self.ask(at, Request::Read(id, key), stage),
                Action::Swap { id, key, expected, value } => {
                    self.ask(at, Request::Swap(id, key, expected, value), stage);
                }
                Action::Publish(subject, bytes) => {
                    self.publish(at, &Arrival::Message(subject, bytes), stage);
                }
                Action::Subscribe(subject) => {
                    self.sites[at].subscriptions.insert(subject);
                }
                Action::Unsubscribe(subject) => {
                    self.sites[at].subscriptions.remove(&subject);
                }
                Action::ToHub(hub, event) => {
                    stage.tally.count_node_event(&event);
                    stage.note(|| format!("node {at} loop {hub}: {}", name_of(&event)));
                    let delay_us = stage.chance.between(1, LONGEST_MAIL_US);
                    server.tell_loop(hub, event, stage.now + Duration::from_micros(delay_us));
                }
                Action::LeaseUntil(_) => stage.has_new_homes = true,
                Action::View(_)
                | Action::Asked { .. }
                | Action::Answered { .. }
                | Action::Joined => {}
                Action::Left => self.sites[at].has_left = true,
            }
        }
    }

    fn ask(&mut self, from: usize, request: Request, stage: &mut Stage) {
        let life = self.sites[from].life;
        let now = stage.now;
        if self.sites[from].cut_out_until > now || self.engine.is_down || is_lost(stage) {
            if stage.chance.one_in(2) {
                self.answer((from, life), unknown(&request), stage);
            }
            return;
        }
        let at = now + delay(stage);
        self.send(at, Delivered::Request { from: (from, life), request });
    }

    /// The engine gets a request.
    fn serve(&mut self, from: (usize, u64), request: Request, stage: &mut Stage) {
        if self.engine.is_down {
            return;
        }
        let answer = match request.clone() {
            Request::Read(id, key) => {
                let is_rough = stage.weather == Weather::Rough;
                let lags = stage.plan.reads_lag && is_rough && stage.chance.one_in(5);
                let read =
                    if lags { self.engine.read_lagging(&key) } else { self.engine.read(&key) };
                Arrival::Read(id, read)
            }
            Request::Swap(id, key, expected, value) => {
                if let Key::Beat(name) = &key {
                    // It is heard whether the bucket takes it or not.
                    self.publish(from.0, &Arrival::Beat(name.clone(), value.clone()), stage);
                }
                let swapped = self.engine.swap(key.clone(), expected, value);
                let is_view = key == Key::View && matches!(swapped, Swapped::Done(_));
                stage.tally.views += u64::from(is_view);
                Arrival::Swapped(id, swapped)
            }
        };
        if !is_lost(stage) {
            self.answer(from, answer, stage);
        } else if stage.chance.one_in(2) {
            self.answer(from, unknown(&request), stage);
        }
    }

    fn answer(&mut self, to: (usize, u64), arrival: Arrival, stage: &mut Stage) {
        if self.sites[to.0].cut_in_until <= stage.now {
            let at = stage.now + delay(stage);
            self.send(at, Delivered::Arrival { at: to, arrival });
        }
    }

    /// Sends something to every process that hears it, in order.
    fn publish(&mut self, from: usize, what: &Arrival, stage: &mut Stage) {
        let now = stage.now;
        if self.sites[from].cut_out_until > now || self.engine.is_down {
            return;
        }
        for to in 0..self.sites.len() {
            let site = &self.sites[to];
            let hears = match what {
                Arrival::Message(subject, _) => site.subscriptions.contains(subject),
                _ => site.exchange.is_some(),
            };
            if !hears || site.cut_in_until > now || is_lost(stage) {
                continue;
            }
            let life = site.life;
            // A site's own lane is that of its loops.
            let lane = if from == to { now } else { self.sites[to].lanes[from] };
            let at = (now + delay(stage)).max(lane);
            if from != to {
                self.sites[to].lanes[from] = at;
            }
            self.send(at, Delivered::Arrival { at: (to, life), arrival: what.clone() });
            let is_rough = stage.weather == Weather::Rough;
            if is_rough && stage.chance.below(1_000) < stage.plan.doubled {
                let again = at + delay(stage);
                self.send(again, Delivered::Arrival { at: (to, life), arrival: what.clone() });
            }
        }
    }

    fn arrive(&mut self, at: usize, arrival: Arrival, server: &mut Server, stage: &mut Stage) {
        match arrival {
            Arrival::Read(id, read) => self.tell(at, Event::Read(id, read), server, stage),
            Arrival::Swapped(id, swapped) => {
                self.tell(at, Event::Swapped(id, swapped), server, stage);
            }
            Arrival::Beat(name, bytes) => self.tell(at, Event::Beat(name, &bytes), server, stage),
            Arrival::Message(subject, bytes) => {
                if self.sites[at].subscriptions.contains(&subject) {
                    match subject {
                        Subject::Inbox(_) => self.tell(at, Event::Packet(&bytes), server, stage),
                        Subject::View => self.tell(at, Event::Hint(&bytes), server, stage),
                        Subject::Beats => unreachable!("beats come with their names"),
                    }
                }
            }
        }
    }

    fn send(&mut self, at: Instant, what: Delivered) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), what);
    }
}

fn delay(stage: &mut Stage) -> Duration {
    let is_calm = stage.weather == Weather::Calm;
    let longest_us = if is_calm { CALM_DELAY_US } else { stage.plan.engine_delay_us };
    let is_long = stage.chance.one_in(4);
    let longest_us = if is_long { longest_us } else { longest_us.min(CALM_DELAY_US) };
    Duration::from_micros(stage.chance.between(1, longest_us))
}

fn is_lost(stage: &mut Stage) -> bool {
    let is_lost =
        stage.weather == Weather::Rough && stage.chance.below(1_000) < stage.plan.engine_loses;
    stage.tally.lost_messages += u64::from(is_lost);
    is_lost
}

fn unknown(request: &Request) -> Arrival {
    match request {
        Request::Read(id, _) => Arrival::Read(*id, Read::Unknown),
        Request::Swap(id, ..) => Arrival::Swapped(*id, Swapped::Unknown),
    }
}

/// For a trace, where whole items would fill the screen.
fn name_of(event: &NodeEvent) -> String {
    match event {
        NodeEvent::Received { from, batch, items } => {
            format!("batch {batch} of {:?}: {items:?}", from.incarnation)
        }
        other => format!("{other:?}"),
    }
}
