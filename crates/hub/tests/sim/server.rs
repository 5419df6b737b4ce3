//! One simulated server: the hubs that ship, each with a shell whose sockets are links, whose
//! mailboxes are lists, and whose verdicts and rulings come late.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use herenow_core::{Instant, Member, NodeEvent, Owner, Peer, SCAN_EVERY};
use herenow_hub::{Config, Event, Holdings, Hub, RECORDS_KEPT_FOR};
use herenow_wire::{ChannelName, LeaveReason};

use crate::clock::Clock;
use crate::follower::Follower;
use crate::network::LinkId;
use crate::shell::{Inbox, Outside, Shell};
use crate::stage::Stage;

/// See the module.
pub struct Server {
    hubs: Vec<Hub>,
    shells: Vec<Shell>,
    inboxes: Vec<Inbox>,
    /// What each loop is told of other nodes, and when.
    node_events: Vec<VecDeque<(Instant, NodeEvent)>>,
    /// That of its node.
    clock: Clock,
    /// Whom each loop speaks for.
    owners: Vec<Owner>,
    /// How far its list of each channel had come.
    noted: BTreeMap<ChannelName, (u64, u64)>,
    /// Until when the last thing holds it up that nothing is promised for.
    patient_until: Instant,
    /// When the sessions have been reviewed for certain.
    reviewed_by: Instant,
    /// It leaves, and no new client comes to it.
    refuses_clients: bool,
    /// It shuts down: what it holds goes with it.
    is_ending: bool,
}

/// How long a server waits for its connections when it shuts down.
const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(5);
/// Over how long its clients come back.
const RETURN_WITHIN: Duration = Duration::from_secs(1);

/// Long enough for the questions of every session, if each is asked alone and answered late.
const REVIEWED_WITHIN: Duration = Duration::from_secs(20);

impl Server {
    /// A server that has just started, at a moment that is the base of its epochs.
    pub fn start(node: usize, stage: &mut Stage) -> Self {
        // A follower is told of the start, and forgets what it believed. Of several nodes the one that
        // starts says so when it becomes a home.
        if !stage.plan.is_cluster() {
            stage.follower = Follower::default();
        }
        // As the real one: seconds times 2^20, the part of a second in the low bits, since a server
        // may start twice within one.
        let epoch_base = ((1_000_000 + stage.now.as_millis()) << 20) / 1_000;
        // A node alone takes even the tokens of the process before for its own.
        stage.processes += u64::from(stage.plan.is_cluster());
        let process = stage.processes;
        let clock = stage.plan.clocks[node];
        let hubs = (0..stage.plan.loops).map(|index| {
            let config = Config { me: Peer(index), epoch_base, ..stage.plan.config() };
            Hub::new(config, stage.plan.policy(), clock.local(stage.now))
        });
        Self {
            hubs: hubs.collect(),
            shells: (0..stage.plan.loops)
                .map(|index| Shell::new((node, process, Peer(index)), stage))
                .collect(),
            inboxes: (0..stage.plan.loops).map(|_| Inbox::default()).collect(),
            node_events: (0..stage.plan.loops).map(|_| VecDeque::new()).collect(),
            clock,
            noted: BTreeMap::new(),
            owners: vec![Owner::NOBODY; usize::from(stage.plan.loops)],
            patient_until: stage.now,
            reviewed_by: stage.now,
            refuses_clients: false,
            is_ending: false,
        }
    }

    /// A socket that some loop is to look after.
    pub fn watch(&mut self, link: LinkId, stage: &mut Stage) {
        let at = stage.chance.index(self.shells.len());
        self.shells[at].watch(link);
    }

    /// When which loop turns next.
    pub fn next_turn(&mut self, stage: &mut Stage) -> (Instant, usize) {
        let turns = (0..self.hubs.len()).map(|at| {
            let hub = &self.hubs[at];
            if hub.has_ended(self.clock.local(stage.now), || self.shells[at].awaits_none()) {
                return (Instant::NEVER, at);
            }
            let mail = if self.inboxes[at].is_empty() { Instant::NEVER } else { stage.now };
            let event = self.node_events[at].front().map_or(Instant::NEVER, |(due, _)| *due);
            let mut outside = Outside::new(&mut self.shells[at], &mut self.inboxes, stage);
            let next = outside.next_turn(hub).min(mail).min(event);
            (next.max(self.shells[at].busy_until()), at)
        });
        let (next, at) = turns.min().expect("there is at least one loop");
        (next.max(stage.now), at)
    }

    /// One turn of one loop.
    pub fn turn(&mut self, at: usize, stage: &mut Stage) {
        let (now, local) = (stage.now, self.clock.local(stage.now));
        let faults = stage.tally.faults;
        let broken = self.shells[at].broken();
        let hub = &mut self.hubs[at];
        for batch in self.inboxes[at].take_all() {
            let mut outside = Outside::new(&mut self.shells[at], &mut self.inboxes, stage);
            hub.handle(Event::Mail(batch), local, &mut outside);
        }
        let is_due = |event: &mut (Instant, NodeEvent)| event.0 <= now;
        let mut events = Vec::new();
        while let Some((_, event)) = self.node_events[at].pop_front_if(is_due) {
            if let NodeEvent::Out { owner } = &event {
                self.owners[at] = *owner;
            }
            events.push(event);
        }
        let mut outside = Outside::new(&mut self.shells[at], &mut self.inboxes, stage);
        if !events.is_empty() {
            outside.meet_new_homes();
            hub.handle(Event::Nodes(events), local, &mut outside);
        }
        outside.tell_answers(hub);
        outside.read_sockets(hub);
        outside.ask_for_a_list(hub);
        hub.turn(local, &mut outside);
        if hub.is_backpressured() {
            stage.tally.backpressured_turns += 1;
        }
        let still = self.shells[at].broken();
        assert!(broken.iter().all(|link| !still.contains(link)), "a broken socket is still there");
        if stage.tally.faults > faults {
            self.patient_until = self.patient_until.max(now);
        }
        self.shells[at].note_kept(&self.hubs[at], now);
        self.note_lists(at, stage);
        self.shells[at].waits_for_no_snapshot(&self.hubs[at], self.patient_until, stage);
        let held = self.hubs[at].holdings();
        if !self.is_ending {
            self.shells[at].rules_are_kept(&self.hubs[at]);
            stage.tally.most.check(&held, &stage.plan);
        }
        stage.tally.parted_turns += u64::from(held.recipients > 0);
        stage.tally.postponed_turns += u64::from(held.postponed > 0);
        stage.tally.unread_turns += u64::from(held.unread > 0);
        stage.tally.full_turns += u64::from(self.shells[at].unread() > held.unread);
        self.shells[at].end_turn(stage);
        let patient_until = self.patient_until.max(self.reviewed_by);
        self.shells[at].leases_are_kept(&self.hubs[at], patient_until, stage);
    }

    /// What a loop of several nodes knows of its channels is of one history with what all others know.
    fn note_lists(&mut self, at: usize, stage: &mut Stage) {
        if !stage.plan.is_cluster() {
            return;
        }
        let Stage { plan, history, .. } = stage;
        for channel in &plan.channels {
            let is_its = usize::from(channel.shard()) % self.hubs.len() == at;
            let list = self.hubs[at].list(channel).filter(|_| is_its);
            // Changes that wait for a flush are merged with those that come before it.
            let Some(list) = list.filter(|list| list.has_no_pending()) else { continue };
            let position = (list.epoch(), list.seq());
            if self.noted.insert(channel.clone(), position) != Some(position) {
                let rows = list.snapshot().members.iter().map(row).collect();
                history.meet(channel, position, &rows);
            }
        }
    }

    /// The exchange has something for a loop, which gets it then, or after what it gets before.
    pub fn tell_loop(&mut self, hub: u16, event: NodeEvent, at: Instant) {
        let events = &mut self.node_events[usize::from(hub)];
        let at = events.back().map_or(at, |(last, _)| at.max(*last));
        events.push_back((at, event));
    }

    /// The loop that decides about a channel in the name of this owner, if one does.
    pub fn decides(&self, channel: &ChannelName) -> Option<Owner> {
        let at = usize::from(channel.shard()) % self.hubs.len();
        self.hubs[at].decides(channel).then(|| self.owners[at])
    }

    /// Nothing is promised before then of what other nodes have a part in.
    pub fn be_patient(&mut self, until: Instant) {
        self.patient_until = self.patient_until.max(until);
    }

    pub fn takes_clients(&self) -> bool {
        !self.refuses_clients
    }

    pub fn refuse_clients(&mut self) {
        self.refuses_clients = true;
    }

    /// Its clients are sent to other nodes.
    pub fn drain(&mut self, over: Duration, stage: &mut Stage) {
        let now = self.clock.local(stage.now);
        for at in 0..self.hubs.len() {
            let mut outside = Outside::new(&mut self.shells[at], &mut self.inboxes, stage);
            self.hubs[at].handle(Event::Drain { over }, now, &mut outside);
        }
    }

    /// Every connection is told to come back, and when, as on SIGTERM.
    pub fn shut_down(&mut self, stage: &mut Stage) {
        let now = self.clock.local(stage.now);
        self.is_ending = true;
        for at in 0..self.hubs.len() {
            let mut outside = Outside::new(&mut self.shells[at], &mut self.inboxes, stage);
            let ending = Event::ShutDown { within: SHUT_DOWN_WITHIN, return_within: RETURN_WITHIN };
            self.hubs[at].handle(ending, now, &mut outside);
        }
    }

    /// Whether it was told to shut down and has nothing more to do.
    pub fn has_ended(&self, stage: &Stage) -> bool {
        let now = self.clock.local(stage.now);
        self.hubs
            .iter()
            .zip(&self.shells)
            .all(|(hub, shell)| hub.has_ended(now, || shell.awaits_none()))
    }

    /// All links are reset, as by `kill -9`.
    pub fn kill(&mut self, stage: &mut Stage) {
        for hub in &self.hubs {
            stage.tally.lags += hub.counters().slow_subscriber_drops as u64;
        }
        for shell in &self.shells {
            for link in shell.links() {
                let at = stage.arrival();
                stage.network.link(link).cut(at);
            }
        }
    }

    /// One loop is held up, as by the system's scheduler.
    pub fn pause(&mut self, at: usize, until: Instant, now: Instant) {
        let count = self.shells.len();
        self.patient_until = self.patient_until.max(until);
        self.shells[at % count].pause(until, now);
    }

    /// The whole process is stopped for a while, as by `SIGSTOP`.
    pub fn pause_all(&mut self, until: Instant, now: Instant) {
        self.patient_until = self.patient_until.max(until);
        for shell in &mut self.shells {
            shell.pause(until, now);
        }
    }

    /// Nothing holds it up any more.
    pub fn go_on(&mut self, now: Instant) {
        self.shells.iter_mut().for_each(|shell| shell.go_on(now));
    }

    /// The rules were replaced.
    pub fn reload(&mut self, stage: &mut Stage) {
        self.reviewed_by = stage.now + REVIEWED_WITHIN;
        for at in 0..self.hubs.len() {
            let policy = stage.plan.policy();
            let now = self.clock.local(stage.now);
            let mut outside = Outside::new(&mut self.shells[at], &mut self.inboxes, stage);
            self.hubs[at].handle(Event::Reload(policy), now, &mut outside);
        }
    }

    /// The next state that is put into this channel ends in a fault of its shard.
    pub fn break_shard(&mut self, channel: &ChannelName) {
        for hub in &mut self.hubs {
            hub.fail_next_put(channel.clone());
        }
    }

    /// Nobody is there any more, and nothing is left of anybody.
    pub fn is_drained(&mut self, stage: &mut Stage) {
        let forgotten = self.clock.local(stage.now) + RECORDS_KEPT_FOR + SCAN_EVERY;
        let (mut left, mut noted) = (0, 0);
        for (at, hub) in self.hubs.iter_mut().enumerate() {
            let counters = hub.counters();
            stage.tally.lags += counters.slow_subscriber_drops as u64;
            left += LeaveReason::ALL.iter().map(|reason| counters.leaves.of(*reason)).sum::<u64>();
            noted += hub.noted_leaves();
            let but_records = Holdings { records: 0, ..hub.holdings() };
            assert_eq!(but_records, Holdings::default(), "what is left in a hub");
            hub.turn(forgotten, &mut Outside::new(&mut self.shells[at], &mut self.inboxes, stage));
            assert_eq!(hub.holdings(), Holdings::default(), "what is remembered for ever");
        }
        let is_noted = stage.plan.is_cluster() || left == noted;
        assert!(stage.tally.faults > 0 || is_noted, "{noted} of {left} leaves have a cause");
        assert!(self.inboxes.iter().all(Inbox::is_empty), "mail is left");
        assert!(
            stage.follower.is_drained(),
            "a member is left of which nobody was told that it left"
        );
        assert!(self.shells.iter().all(Shell::is_drained), "a socket or an answer is left");
    }
}

fn row(member: &Member) -> (String, String, String) {
    let Member { user, connection, state, .. } = member;
    let info = user.info().map_or("", |info| info.as_str());
    (user.as_str().to_owned(), connection.to_string(), format!("{}{info}", state.as_str()))
}
