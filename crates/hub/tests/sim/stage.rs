//! What both sides of a run share: the time, the network, what is random, and what is known to be
//! true.

use std::time::Duration;

use herenow_core::{Instant, NodeEvent};
use herenow_wire::DefaultChannel;

use crate::bounds::Most;
use crate::chance::Chance;
use crate::cluster::FromLoop;
use crate::follower::Follower;
use crate::frames::{self, Opcode};
use crate::history::History;
use crate::network::{Down, FrameEnd, LinkId, Network, Up};
use crate::plan::{Plan, pick};

/// See the module.
pub struct Stage {
    pub now: Instant,
    pub plan: Plan,
    pub chance: Chance,
    /// What backends ask, and when. Apart, so that their questions change no other draw.
    pub backend_chance: Chance,
    pub network: Network,
    pub history: History,
    /// What is told of channels to those who follow them from outside.
    pub follower: Follower,
    pub tally: Tally,
    pub weather: Weather,
    /// Links that clients have opened and no loop looks after yet.
    pub opened: Vec<LinkId>,
    /// What loops have handed to the exchanges of their nodes.
    pub node_mail: Vec<FromLoop>,
    /// How many processes of a cluster have started.
    pub processes: u64,
    /// Something has happened by which more nodes may decide than before.
    pub has_new_homes: bool,
    trace: Trace,
}

/// Whether anything goes wrong by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weather {
    Rough,
    Calm,
}

/// Whether what happens is written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trace {
    Printed,
    Silent,
}

/// How often what is rare has happened, so that nobody takes an empty run for a proof.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Tally {
    pub frames: u64,
    pub snapshots: u64,
    pub lags: u64,
    pub timeouts: u64,
    pub resyncs: u64,
    pub faults: u64,
    pub resumes: u64,
    pub losses: u64,
    pub revocations: u64,
    pub backpressured_turns: u64,
    pub late_decisions: u64,
    pub late_verifications: u64,
    pub member_limits: u64,
    pub expired_tokens: u64,
    pub restart_hints: u64,
    pub partial_writes: u64,
    pub broken_writes: u64,
    /// Messages that left the channel out which their socket names.
    pub left_out: u64,
    /// Reloads that changed the settings of a channel.
    pub settings_changed: u64,
    /// Turns after which a delivery was written in part.
    pub parted_turns: u64,
    /// Turns after which a flush waited for a delivery of its channel.
    pub postponed_turns: u64,
    /// Turns after which something was read and not looked at.
    pub unread_turns: u64,
    /// Turns after which a socket was read no more before it took its replies.
    pub full_turns: u64,
    /// The longest that a socket which takes bytes waited for a snapshot.
    pub longest_snapshot_wait_ms: u64,
    /// The most that a hub, or one of its connections, held after a turn.
    pub most: Most,
    /// Lists that backends were answered, and of these the parts of one that a client saw as well.
    pub listed: u64,
    pub listed_as_seen: u64,
    /// Counts of a channel, and of these the ones of members that were seen as well.
    pub counted: u64,
    pub counted_as_seen: u64,
    /// Updates by which a field ended.
    pub fields_ended: u64,
    /// Flushes of several nodes that clients have read to their end.
    pub flushes: u64,
    /// Views that were written.
    pub views: u64,
    /// Messages between nodes that were lost.
    pub lost_messages: u64,
    /// Nodes that went on as another after an exclusion, and began as one.
    pub outs: u64,
    /// Shards that got another home.
    pub moves: u64,
    /// Nodes that were told to be gone.
    pub gone: u64,
    /// Puts that another node has decided.
    pub remote_puts: u64,
    /// Streams between nodes that began anew.
    pub resets: u64,
    pub buckets_lost: u64,
    /// Looks at which two nodes would have decided about a channel, if leases did not end.
    pub contested: u64,
    /// Nodes that were told to end and have left the view.
    pub left: u64,
    /// Connections that have come back at another process.
    pub moved_connections: u64,
    /// Of every frame that was read, in order.
    pub digest: u64,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.frames += other.frames;
        self.snapshots += other.snapshots;
        self.lags += other.lags;
        self.timeouts += other.timeouts;
        self.resyncs += other.resyncs;
        self.faults += other.faults;
        self.resumes += other.resumes;
        self.losses += other.losses;
        self.moved_connections += other.moved_connections;
        self.revocations += other.revocations;
        self.backpressured_turns += other.backpressured_turns;
        self.late_decisions += other.late_decisions;
        self.late_verifications += other.late_verifications;
        self.member_limits += other.member_limits;
        self.expired_tokens += other.expired_tokens;
        self.restart_hints += other.restart_hints;
        self.partial_writes += other.partial_writes;
        self.broken_writes += other.broken_writes;
        self.left_out += other.left_out;
        self.settings_changed += other.settings_changed;
        self.parted_turns += other.parted_turns;
        self.postponed_turns += other.postponed_turns;
        self.unread_turns += other.unread_turns;
        self.full_turns += other.full_turns;
        self.listed += other.listed;
        self.listed_as_seen += other.listed_as_seen;
        self.counted += other.counted;
        self.counted_as_seen += other.counted_as_seen;
        self.fields_ended += other.fields_ended;
        self.flushes += other.flushes;
        self.longest_snapshot_wait_ms =
            self.longest_snapshot_wait_ms.max(other.longest_snapshot_wait_ms);
        self.most.add(other.most);
        self.views += other.views;
        self.lost_messages += other.lost_messages;
        self.outs += other.outs;
        self.moves += other.moves;
        self.gone += other.gone;
        self.remote_puts += other.remote_puts;
        self.resets += other.resets;
        self.buckets_lost += other.buckets_lost;
        self.contested += other.contested;
        self.left += other.left;
    }

    pub fn count_node_event(&mut self, event: &NodeEvent) {
        match event {
            NodeEvent::Out { .. } => self.outs += 1,
            NodeEvent::Gone(_) => self.gone += 1,
            NodeEvent::Moved { .. } => self.moves += 1,
            NodeEvent::Done(tickets) => self.remote_puts += tickets.len() as u64,
            NodeEvent::ResetWanted { .. } => self.resets += 1,
            _ => {}
        }
    }

    pub fn misses_nothing_of_a_cluster(&self) -> bool {
        let Tally { views, lost_messages, outs, moves, gone, .. } = *self;
        let rare = [
            self.remote_puts,
            self.resets,
            self.buckets_lost,
            self.moved_connections,
            self.left,
            self.contested,
        ];
        [views, lost_messages, outs, moves, gone].iter().chain(&rare).all(|n| *n > 0)
    }

    pub fn digest(&mut self, text: &str) {
        for byte in text.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub fn misses_nothing(&self) -> bool {
        let Tally { lags, timeouts, resyncs, faults, resumes, losses, .. } = *self;
        let waits = [
            self.backpressured_turns,
            self.late_decisions,
            self.late_verifications,
            self.revocations,
            self.member_limits,
            self.expired_tokens,
            self.restart_hints,
            self.partial_writes,
            self.broken_writes,
            self.left_out,
            self.settings_changed,
            self.parted_turns,
            self.postponed_turns,
            self.unread_turns,
            self.full_turns,
            self.listed,
            self.listed_as_seen,
            self.counted,
            self.counted_as_seen,
            self.fields_ended,
        ];
        [lags, timeouts, resyncs, faults, resumes, losses].iter().chain(&waits).all(|n| *n > 0)
    }
}

impl Stage {
    pub fn new(seed: u64, plan: fn(&mut Chance) -> Plan, trace: Trace) -> Self {
        let mut chance = Chance::new(seed);
        let plan = plan(&mut chance);
        let history = History::of(plan.nodes);
        Self {
            now: Instant::from_millis(1),
            plan,
            chance,
            backend_chance: Chance::new(!seed),
            network: Network::default(),
            history,
            follower: Follower::default(),
            tally: Tally::default(),
            weather: Weather::Rough,
            opened: Vec::new(),
            node_mail: Vec::new(),
            processes: 0,
            has_new_homes: false,
            trace,
        }
    }

    /// Whether each list still holds what it held. What is lost with a list, or with a member that gave
    /// way in a full channel, comes back without the fields that end, until its client says it again.
    pub fn keeps_fields(&self) -> bool {
        let was_bounded = self.plan.own.max_members.is_some() || self.tally.settings_changed > 0;
        self.plan.hibernate_after.is_none() && self.tally.faults == 0 && !was_bounded
    }

    /// The channel that the sockets of a client name, if any.
    pub fn a_default_channel(&mut self) -> DefaultChannel {
        if !self.chance.one_in(3) {
            return DefaultChannel::None;
        }
        DefaultChannel::Named(pick(&mut self.chance, &self.plan.channels).clone())
    }

    /// When something sent now arrives.
    pub fn arrival(&mut self) -> Instant {
        let delay_us = self.chance.between(50, self.plan.longest_delay_us);
        self.now + Duration::from_micros(delay_us)
    }

    pub fn send_up(&mut self, link: LinkId, what: Up) {
        let at = self.arrival();
        self.network.link(link).up.send(what, at);
    }

    /// A whole frame of a client, cut into pieces that arrive one after the other.
    pub fn send_frame(&mut self, link: LinkId, opcode: Opcode, payload: &[u8]) {
        let mask = (self.chance.draw() as u32).to_le_bytes();
        let frame = frames::write(opcode, payload, mask);
        let ends = self.network.link(link);
        ends.sent_bytes += frame.len() as u64;
        ends.frames_due.push_back(FrameEnd { at_byte: ends.sent_bytes });
        let mut rest = &frame[..];
        while rest.len() > 1 && self.chance.one_in(3) {
            let (piece, after) =
                rest.split_at(self.chance.between(1, rest.len() as u64 - 1) as usize);
            self.send_up(link, Up::Bytes(piece.to_vec()));
            rest = after;
        }
        self.send_up(link, Up::Bytes(rest.to_vec()));
    }

    /// The client's kernel has taken so many bytes.
    pub fn send_taken(&mut self, link: LinkId, bytes: usize) {
        let at = self.arrival();
        self.network.link(link).taken.send(bytes, at);
    }

    pub fn send_down(&mut self, link: LinkId, what: Down) {
        let at = self.arrival();
        self.network.link(link).down.send(what, at);
    }

    /// So many seconds at most, from now.
    pub fn within_ms(&mut self, from_ms: u64, to_ms: u64) -> Instant {
        self.now + Duration::from_millis(self.chance.between(from_ms, to_ms))
    }

    pub fn note(&self, what: impl FnOnce() -> String) {
        if self.trace == Trace::Printed {
            println!("{:>12.6} {}", self.now.as_micros() as f64 / 1e6, what());
        }
    }
}
