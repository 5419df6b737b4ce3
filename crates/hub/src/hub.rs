//! What one hub holds. Knows no rule of its own: each part is in the file that decides about it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use herenow_core::{
    Audience, CurrentPolicy, Due, Effect, Flush, Instant, Leases, Limits, Pace, Peer, Policy,
    SessionEffect, SnapshotRequests, UserIndex,
};
use herenow_wire::{ChannelName, ErrorCode};

use crate::announcements::Announcements;
use crate::answers::Requests;
use crate::channel_leases::ChannelLeases;
use crate::connections::Connections;
use crate::counters::{Counters, ErrorCounts};
use crate::counts::Counts;
use crate::deadline::NearDeadlines;
use crate::deliver::{Deliveries, Scratch};
use crate::detached::DetachedSessions;
use crate::detached_users::DetachedUsers;
use crate::draining::Draining;
use crate::expiring::Expiring;
use crate::held::Held;
use crate::histogram::Histogram;
use crate::history::History;
use crate::keyed_members::KeyedMembers;
use crate::mail::Outgoing;
use crate::reading::TurnBudget;
use crate::replies::Replies;
use crate::reviews::Reviews;
use crate::shards::Shards;
use crate::taken_over::TakenOver;

/// What a hub is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which hub it is.
    pub me: Peer,
    /// How many hubs share the shards.
    pub hubs: u16,
    /// Whether there are other nodes.
    pub membership: Membership,
    /// The life that channels made now belong to. It must grow over restarts and stay below 2^53.
    pub epoch_base: u64,
    /// What each session must keep to.
    pub limits: Limits,
    /// A connection that is silent for so long has ended.
    pub presence_ttl: Duration,
    /// After how long without a presence message a channel's map is freed.
    pub hibernate_after: Option<Duration>,
    /// Sessions without a socket that one user may have, over all hubs.
    pub max_detached_per_user: usize,
    /// Bytes of one inbound message, all its fragments together.
    pub max_frame_bytes: usize,
    /// Bytes of deltas that may wait for one slow subscriber before a snapshot replaces them.
    pub send_queue_bytes: usize,
    /// Sockets written to in one go. What goes to more is written in parts, turn by turn.
    pub writes_per_turn: usize,
    /// Holds every flush back for so long, whatever the load. For measuring.
    pub flush_delay: Option<Duration>,
    /// For how long channels have no snapshot at first, if another process has handed over: its clients
    /// come back in the meantime.
    pub gather_for: Option<Duration>,
    /// Whether backends may ask about users.
    pub user_index: UserIndex,
    /// Whether backends may ask why a user is, or is not, in a channel.
    pub remembers: Remembers,
    /// The shard of this channel fails on each state that is put into it. For tests of containment.
    pub fault_on_channel: Option<ChannelName>,
}

/// Whether a hub's node is the only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// It decides everything.
    #[default]
    Alone,
    /// It does what [`crate::Event::Nodes`] says.
    OneOfSeveral,
}

/// What a hub keeps of what has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remembers {
    /// Nothing.
    #[default]
    Nothing,
    /// For ten minutes, why users are or are not in channels.
    Causes,
}

/// Everything that one loop knows: its connections, its share of the shards, who of its
/// connections subscribes to what, and what is on its way to them.
#[derive(Debug)]
pub struct Hub {
    pub(crate) config: Config,
    pub(crate) policy: CurrentPolicy,
    pub(crate) counters: Counters,
    pub(crate) errors: ErrorCounts,
    pub(crate) flush_waits: Histogram,

    pub(crate) connections: Connections,
    /// Connections whose socket broke while it was written to.
    pub(crate) broken: Vec<u32>,
    /// Slots to free at the end of the turn, when nothing can speak of them any more.
    pub(crate) dead: Vec<u32>,
    pub(crate) replies: Replies,
    /// What sockets may still bring in this turn.
    pub(crate) budget: TurnBudget,
    /// Connections of which something was read and not looked at, each once.
    pub(crate) unread: VecDeque<u32>,

    pub(crate) leases: Leases,
    pub(crate) channel_leases: ChannelLeases,
    pub(crate) near_deadlines: NearDeadlines,
    /// Connections that have taken a session over and wait for the rules.
    pub(crate) taken_over: TakenOver,
    /// How many sessions of other nodes have been claimed here.
    pub(crate) claimed_elsewhere: u32,
    /// Sessions without a socket.
    pub(crate) detached: DetachedSessions,
    pub(crate) detached_users: DetachedUsers,
    /// Sessions whose rights are to be asked again.
    pub(crate) reviews: Reviews,
    /// What the reviews of this turn have cost.
    pub(crate) review_cost: usize,
    /// When a hub that shuts down stops waiting for its connections.
    pub(crate) shutdown_deadline: Option<Instant>,
    /// Its connections are being closed one after the other.
    pub(crate) draining: Option<Box<Draining>>,

    pub(crate) shards: Shards,
    /// Members that have no connection.
    pub(crate) keyed_members: KeyedMembers,
    /// Fields of members that end by themselves.
    pub(crate) expiring: Expiring,
    /// What is told of channels that are followed from outside.
    pub(crate) announcements: Announcements,
    /// What backends have asked.
    pub(crate) requests: Requests,
    /// Only if backends may ask why. Boxed, since what is always needed lies close together.
    pub(crate) history: Option<Box<History>>,
    pub(crate) pace: Pace,
    pub(crate) audience: Audience,
    pub(crate) deliveries: Deliveries,
    pub(crate) counts: Counts,
    pub(crate) outgoing: Outgoing,
    pub(crate) snapshot_requests: SnapshotRequests,
    pub(crate) held: Held,

    pub(crate) effects: Vec<SessionEffect>,
    pub(crate) shard_effects: Vec<Effect>,
    pub(crate) flush: Flush,
    pub(crate) scratch: Scratch,
    pub(crate) dues: Vec<Due>,
}

impl Hub {
    /// A hub without connections.
    pub fn new(config: Config, policy: Arc<Policy>, now: Instant) -> Self {
        let mut shards = Shards::new(&config, now);
        shards.set_policy(&policy);
        Self {
            policy: CurrentPolicy::new(policy),
            counters: Counters::default(),
            errors: ErrorCounts::default(),
            flush_waits: Histogram::default(),
            connections: Connections::new(config.membership),
            broken: Vec::new(),
            dead: Vec::new(),
            replies: Replies::default(),
            budget: TurnBudget::half_turn(),
            unread: VecDeque::new(),
            leases: Leases::new(config.presence_ttl, now),
            channel_leases: ChannelLeases::default(),
            near_deadlines: NearDeadlines::new(),
            taken_over: TakenOver::default(),
            claimed_elsewhere: 0,
            detached: DetachedSessions::default(),
            detached_users: DetachedUsers::default(),
            reviews: Reviews::default(),
            review_cost: 0,
            shutdown_deadline: None,
            draining: None,
            shards,
            keyed_members: KeyedMembers::default(),
            expiring: Expiring::default(),
            announcements: Announcements::default(),
            requests: Requests::default(),
            history: match config.remembers {
                Remembers::Nothing => None,
                Remembers::Causes => Some(Box::new(History::new(&config))),
            },
            pace: config.flush_delay.map_or_else(Pace::default, Pace::fixed),
            audience: Audience::default(),
            deliveries: Deliveries::default(),
            counts: Counts::default(),
            outgoing: Outgoing::new(config.hubs),
            snapshot_requests: SnapshotRequests::default(),
            held: Held::default(),
            effects: Vec::new(),
            shard_effects: Vec::new(),
            flush: Flush::default(),
            scratch: Scratch::default(),
            dues: Vec::new(),
            config,
        }
    }

    /// Whether mail for another hub waits for room. Sockets are to be read no more until it has
    /// gone: the load is passed back to those who make it.
    pub fn is_backpressured(&self) -> bool {
        self.outgoing.is_backpressured()
    }

    /// Whether it was told to shut down and has nothing more to do. A socket that is still on its way
    /// here is to be told as well: `awaits_none` says that there is none.
    pub fn has_ended(&self, now: Instant, awaits_none: impl FnOnce() -> bool) -> bool {
        self.shutdown_deadline
            .is_some_and(|end| now >= end || self.connections.is_empty() && awaits_none())
    }

    /// The next state that is put into `channel`, if its shard is here, ends in a fault of the
    /// shard, with its work half done. For tests of containment.
    pub fn fail_next_put(&mut self, channel: ChannelName) {
        self.shards.fail_next_put(channel);
    }

    /// What it holds and has done.
    pub fn counters(&self) -> Counters {
        let shards = self.shards.counts();
        Counters {
            connections: self.connections.len(),
            detached_sessions: self.detached.len(),
            oldest_detached: self.detached.oldest_since(),
            members: shards.members,
            copied_members: shards.copied_members,
            channels: shards.channels,
            leaves: shards.leaves,
            subscriptions: self.audience.subscriptions(),
            ..self.counters
        }
    }

    /// The refusals that it has sent, code by code.
    pub fn errors(&self) -> &ErrorCounts {
        &self.errors
    }

    /// How long the oldest change of each flush has waited for it, once for each flush that it counts.
    /// Apart from the counters, which are published every turn.
    pub fn flush_waits(&self) -> &Histogram {
        &self.flush_waits
    }

    pub(crate) fn count_error(&mut self, code: ErrorCode) {
        self.counters.errors += 1;
        if let Some(at) = ErrorCode::ALL.iter().position(|known| *known == code) {
            self.errors[at] += 1;
        }
    }

    /// Whether a review waits. [`Io`] knows whether the rules can be asked.
    pub(crate) fn has_reviews(&self) -> bool {
        !self.reviews.is_empty()
    }

    /// Whether something is to be done whatever the time.
    pub(crate) fn has_work(&self) -> bool {
        (!self.unread.is_empty() && !self.is_backpressured())
            || !self.broken.is_empty()
            || !self.deliveries.is_empty()
            || self.counts.has_work()
            || !self.shard_effects.is_empty()
            || self.shards.has_lost()
            || self.requests.has_work()
            || self.snapshot_requests.is_ready()
    }
}
