//! One simulated loop: what it owns, and its turn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use herenow_core::{
    Audience, Claim, Command, Due, Effect, Instant, Leases, Owed, Pace, Peer, Ruling, SCAN_EVERY,
    Session, SessionEffect, Ticket, Verdict,
};
use herenow_wire::{ChannelName, ConnectionId, UserId};

use super::outbox::Outbox;
use super::shards::{Loss, Shards};
use crate::network::{LinkId, micros};
use crate::stage::{Bug, Stage};

/// See the module.
pub struct Loop {
    pub(super) me: Peer,
    pub(super) loops: u16,
    pub(super) connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    /// Sockets on their way here whose request to open has not come.
    pub(super) opening: Vec<LinkId>,
    pub(super) leases: Leases,
    pub(super) soon: BinaryHeap<Reverse<(Instant, u32)>>,
    pub(super) audience: Audience,
    pub(super) shards: Shards,
    pub(super) pace: Pace,
    pub(super) detached: BTreeMap<ConnectionId, Session>,
    pub(super) reviews: VecDeque<u32>,
    pub(super) decisions: Vec<Decided>,
    inbox: VecDeque<Vec<Mail>>,
    pub(super) outgoing: Vec<Vec<Mail>>,
    pub(super) handovers: Vec<(Peer, Mail)>,
    pub(super) effects: Vec<SessionEffect>,
    pub(super) shard_effects: Vec<Effect>,
    pub(super) broken: Vec<u32>,
    dead: Vec<u32>,
    /// It takes no turn before: its last one has lasted so long, or it is held up.
    busy_until: Instant,
    /// When it was held up, for what a lease may be longer.
    pauses: Vec<(Instant, Instant)>,
    scanned_at: Instant,
}

/// The server's end of a socket.
pub(super) struct Connection {
    pub(super) link: LinkId,
    pub(super) session: Session,
    pub(super) outbox: Outbox,
    /// This turn's replies.
    pub(super) replies: Vec<u8>,
    pub(super) phase: Phase,
    pub(super) is_soon: bool,
    /// When the last whole frame was read, and when it had come.
    pub(super) heard_at: Instant,
    pub(super) came_at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Open,
    Closing,
    Dead,
}

/// What a rule has said, and when that comes.
pub(super) struct Decided {
    pub(super) at: Instant,
    pub(super) asker: Asker,
    pub(super) channel: ChannelName,
    pub(super) ruling: Ruling,
}

/// A connection that waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) peer: Peer,
    pub(super) slot: u32,
    pub(super) connection: ConnectionId,
    /// Which of the sockets that have had this id.
    pub(super) generation: u32,
}

impl Asker {
    pub(super) fn new(peer: Peer, slot: u32, session: &Session) -> Self {
        let (connection, generation) = (session.connection(), session.generation());
        Self { peer, slot, connection, generation }
    }
}

pub(super) enum Mail {
    Command(Command),
    Answer { ticket: Ticket, channel: ChannelName, verdict: Verdict },
    Claim { asker: Asker, claim: Claim, user: UserId },
    TakenOver { asker: Asker, session: Option<Box<Session>> },
    Delivery(Delivery),
    Resync(ChannelName),
    Hibernated(ChannelName),
    ShardLost(Loss),
    Reported(Loss),
}

/// One flush of one channel, encoded once.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) channel: ChannelName,
    pub(super) changes: usize,
    pub(super) deltas: Vec<u8>,
    pub(super) snapshot: Vec<u8>,
    pub(super) owed: Owed,
}

/// How long after its end a lease may at most be noticed.
const LATE: Duration = Duration::from_secs(1);
/// A pause that is noticed wherever it falls between two looks.
const NOTICED_PAUSE: Duration = Duration::from_millis(1_500);
/// How seldom [`Bug::LeasesSeldomLookedOver`] looks.
const SELDOM: Duration = Duration::from_secs(5);

impl Loop {
    pub(super) fn new(index: u16, epoch_base: u64, stage: &Stage) -> Self {
        let loops = stage.plan.loops;
        Self {
            me: Peer(index),
            loops,
            connections: Vec::new(),
            free: Vec::new(),
            opening: Vec::new(),
            leases: Leases::new(stage.plan.ttl, stage.now),
            soon: BinaryHeap::new(),
            audience: Audience::default(),
            shards: Shards::new(epoch_base, usize::from(loops)),
            pace: Pace::default(),
            detached: BTreeMap::new(),
            reviews: VecDeque::new(),
            decisions: Vec::new(),
            inbox: VecDeque::new(),
            outgoing: (0..loops).map(|_| Vec::new()).collect(),
            handovers: Vec::new(),
            effects: Vec::new(),
            shard_effects: Vec::new(),
            broken: Vec::new(),
            dead: Vec::new(),
            busy_until: stage.now,
            pauses: Vec::new(),
            scanned_at: stage.now,
        }
    }

    pub(super) fn watch(&mut self, link: LinkId) {
        self.opening.push(link);
    }

    pub(super) fn links(&self) -> Vec<LinkId> {
        let open = self.connections.iter().flatten().map(|connection| connection.link);
        self.opening.iter().copied().chain(open).collect()
    }

    pub(super) fn pause(&mut self, until: Instant, now: Instant) {
        self.busy_until = self.busy_until.max(until);
        match self.pauses.last_mut().filter(|(_, end)| *end >= now) {
            Some((_, end)) => *end = self.busy_until,
            None => self.pauses.push((now, self.busy_until)),
        }
    }

    /// When it has something to do next, and may.
    pub(super) fn next_turn(&self, stage: &mut Stage) -> Instant {
        let has_work =
            !self.broken.is_empty() || !self.shard_effects.is_empty() || !self.inbox.is_empty();
        if has_work {
            return self.busy_until.max(stage.now);
        }
        let mut next = self.next_scan(stage).min(self.shards.poll_timeout());
        let soon = self.soon.peek().map_or(Instant::NEVER, |next| next.0.0);
        next = next.min(soon).min(self.next_grace_end(&stage.plan.limits));
        next = self.decisions.iter().map(|decided| decided.at).fold(next, Instant::min);
        if !self.is_choked() {
            for link in &self.opening {
                next = next.min(stage.network.link(*link).up.next_at());
            }
            for connection in self.connections.iter().flatten() {
                if !connection.is_stuffed(stage.plan.outbox_bytes) {
                    next = next.min(stage.network.link(connection.link).up.next_at());
                }
            }
        }
        next.max(self.busy_until).max(stage.now)
    }

    /// Everything that is to be done about what has happened since the last turn.
    pub(super) fn turn(&mut self, stage: &mut Stage) {
        if stage.bug == Some(Bug::PauseNotForgiven) {
            self.scan_as_if_never_paused(stage);
        }
        while let Some(batch) = self.inbox.pop_front() {
            for mail in batch {
                self.accept(mail, stage);
            }
        }
        self.take_decisions(stage);
        self.read_sockets(stage);
        self.meet_deadlines(stage);
        while let Some(slot) = self.broken.pop() {
            self.socket_ended(slot, stage);
        }
        self.flush_channels(stage);
        self.send_replies(stage);
        self.bury_dead(stage);
        let turn_us = stage.chance.between(0, stage.plan.longest_turn_us);
        self.busy_until = stage.now + micros(turn_us);
    }

    pub(super) fn is_choked(&self) -> bool {
        self.outgoing.iter().any(|batch| !batch.is_empty())
    }

    /// Sessions go to another loop after all that they have caused here.
    pub(super) fn hand_over(&mut self) {
        for (peer, mail) in std::mem::take(&mut self.handovers) {
            self.outgoing[usize::from(peer.0)].push(mail);
        }
    }

    /// Takes a batch in, or gives it back where too many wait.
    pub(super) fn push_mail(&mut self, mut batch: Vec<Mail>, stage: &mut Stage) -> Vec<Mail> {
        if batch.is_empty() || self.inbox.len() >= stage.plan.max_batches {
            return batch;
        }
        if stage.bug == Some(Bug::MailReordered) && stage.chance.one_in(4) {
            batch.reverse();
        }
        self.inbox.push_back(batch);
        Vec::new()
    }

    fn accept(&mut self, mail: Mail, stage: &mut Stage) {
        match mail {
            Mail::Command(command) => {
                self.tell_shard(command, stage);
                self.settle(stage);
            }
            Mail::Answer { ticket, channel, verdict } => {
                self.answer(ticket, channel, verdict, stage);
            }
            Mail::Claim { asker, claim, user } => self.claimed(asker, claim, user, stage),
            Mail::TakenOver { asker, session } => self.taken_over(asker, session, stage),
            Mail::Delivery(delivery) => self.deliver(&delivery, stage),
            Mail::Resync(channel) => self.tell_resync(&channel, stage),
            Mail::Hibernated(channel) => self.forget_states(&channel, stage),
            Mail::ShardLost(loss) => self.report_to_home(loss, stage),
            Mail::Reported(loss) => {
                self.shards.reported(loss, stage.now, &mut self.shard_effects);
                self.settle(stage);
            }
        }
    }

    fn meet_deadlines(&mut self, stage: &mut Stage) {
        while let Some(Reverse((at, slot))) = self.soon.peek().copied()
            && at <= stage.now
        {
            self.soon.pop();
            if let Some(connection) = self.connection(slot) {
                connection.is_soon = false;
                self.session_timeout(slot, stage);
            }
        }
        let pause = self.leases.pause(stage.now);
        for session in self.detached.values_mut() {
            session.extend_grace(pause);
        }
        self.end_graces(stage);
        if stage.now < self.next_scan(stage) {
            return;
        }
        self.scan_leases(stage.now, stage);
        self.leases_are_kept(stage);
        for _ in 0..self.reviews.len() {
            if let Some(slot) = self.reviews.pop_front() {
                self.tell_session(slot, herenow_core::Input::Review, stage);
            }
        }
        let hibernate_after = stage.plan.hibernate_after;
        self.shards.handle_timeout(stage.now, hibernate_after, &mut self.shard_effects);
        self.settle(stage);
    }

    fn next_scan(&self, stage: &Stage) -> Instant {
        match stage.bug {
            Some(Bug::LeasesSeldomLookedOver) => self.scanned_at + SELDOM,
            _ => self.leases.poll_timeout(),
        }
    }

    fn scan_leases(&mut self, at: Instant, stage: &mut Stage) {
        let mut dues = Vec::new();
        self.leases.scan(at, &mut dues);
        self.scanned_at = at;
        for due in dues {
            match due {
                Due::Ping(slot) => self.ping(slot),
                Due::Ended(slot) => self.lease_ended(slot, stage),
                Due::Deadline(slot) => self.deadline_came(slot, stage),
            }
        }
    }

    /// Makes up for the looks that a pause has cost, before anything that came meanwhile is heard.
    fn scan_as_if_never_paused(&mut self, stage: &mut Stage) {
        while self.leases.poll_timeout() < stage.now {
            self.scan_leases(self.leases.poll_timeout(), stage);
        }
    }

    /// Nobody who has been silent for longer than may be is still there.
    fn leases_are_kept(&self, stage: &Stage) {
        for connection in self.connections.iter().flatten() {
            let most = stage.plan.ttl + LATE + self.paused_since(connection.heard_at, stage.now);
            let silent = stage.now.since(connection.heard_at);
            let is_kept = connection.phase != Phase::Open || silent <= most;
            assert!(is_kept, "silent for {silent:?}, and still here after {most:?}");
        }
    }

    /// What a lease is longer for pauses at most.
    fn paused_since(&self, then: Instant, now: Instant) -> Duration {
        self.overlaps(then, now).sum()
    }

    /// What it is longer at least: a short pause is not noticed, and the end of any within a scan.
    pub(super) fn forgiven_since(&self, then: Instant, now: Instant) -> Duration {
        let noticed = self.overlaps(then, now).filter(|pause| *pause > NOTICED_PAUSE);
        noticed.map(|pause| pause - 2 * SCAN_EVERY).sum()
    }

    fn overlaps(&self, then: Instant, now: Instant) -> impl Iterator<Item = Duration> {
        let within =
            move |(from, until): &(Instant, Instant)| (*until).min(now).since((*from).max(then));
        self.pauses.iter().map(within)
    }

    /// Puts a connection into a slot, one that was used before where there is one.
    pub(super) fn insert(&mut self, connection: Connection) -> u32 {
        let slot = self.free.pop().unwrap_or(self.connections.len() as u32);
        if slot as usize == self.connections.len() {
            self.connections.push(None);
        }
        self.connections[slot as usize] = Some(connection);
        slot
    }

    pub(super) fn connection(&mut self, slot: u32) -> Option<&mut Connection> {
        self.connections.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn slots(&self) -> Vec<u32> {
        let taken = (0..).zip(&self.connections).filter(|(_, one)| one.is_some());
        taken.map(|(slot, _)| slot).collect()
    }

    pub(super) fn mark_dead(&mut self, slot: u32) {
        if let Some(connection) = self.connection(slot)
            && connection.phase != Phase::Dead
        {
            connection.phase = Phase::Dead;
            self.dead.push(slot);
        }
    }

    fn bury_dead(&mut self, stage: &mut Stage) {
        for slot in std::mem::take(&mut self.dead) {
            self.leases.close(slot);
            if let Some(connection) = self.connections[slot as usize].take() {
                stage.send_down(connection.link, crate::network::Down::End);
                self.free.push(slot);
            }
        }
    }

    pub(super) fn is_drained(&self) {
        assert!(self.connections.iter().all(Option::is_none), "a connection is left");
        assert!(self.detached.is_empty(), "a session is kept beyond its grace");
        assert_eq!((self.audience.channels(), self.audience.subscriptions()), (0, 0));
        assert_eq!((self.shards.channels(), self.shards.entries()), (0, 0), "channels, entries");
        assert!(self.decisions.is_empty() && self.inbox.is_empty() && !self.is_choked());
    }
}

impl Connection {
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(super) fn is_stuffed(&self, max_bytes: usize) -> bool {
        self.outbox.reply_bytes() > max_bytes
    }
}
