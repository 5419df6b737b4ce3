//! What one run is made of, drawn from its seed: how many there are, how patient the server is,
//! and how bad the network.

use std::time::Duration;

use std::sync::Arc;

use herenow_core::{Instant, Limits, Peer, Question, RateLimit, Right, UserIndex};
use herenow_hub::{
    Announces, ChannelSettings, Config, Membership, Overrides, Pattern, Patterns, Policy, Remembers,
};
use herenow_wire::{ChannelName, UserId};

use crate::chance::Chance;
use crate::clock::{Clock, MS};

pub struct Plan {
    /// How many nodes there are, or one alone.
    pub nodes: Nodes,
    /// The clocks of each, which may be wrong.
    pub clocks: Vec<Clock>,
    pub loops: u16,
    /// How many clients sign in; the users are fewer.
    pub members: usize,
    /// How many only watch the public channel.
    pub observers: usize,
    /// How many only count the public channel.
    pub counters: usize,
    pub channels: Vec<ChannelName>,
    pub ttl: Duration,
    pub grace: Duration,
    pub hibernate_after: Option<Duration>,
    /// What the last channel has of its own. A reload draws it anew.
    pub own: Overrides,
    /// The most members that the last channel was ever to hold.
    most_members: u32,
    /// The longest lease that its members ever had.
    longest_own_ttl: Duration,
    pub send_queue_bytes: usize,
    /// What the kernel of a reader that has stopped takes before the server notices.
    pub window_bytes: usize,
    pub longest_delay_us: u64,
    /// How long a turn of a loop may last.
    pub longest_turn_us: u64,
    pub longest_decision_us: u64,
    pub longest_verdict_us: u64,
    pub max_batches: usize,
    /// Questions on their way to the rules with which no further review is begun.
    pub most_questions: usize,
    pub max_detached_per_user: usize,
    pub writes_per_turn: usize,
    /// For how long a token is good.
    pub token_life: Option<Duration>,
    /// The users below this number may not see the last channel. Rules that change shut out more.
    pub shut_out_users: u64,
    pub limits: Limits,
    pub things_that_happen: u64,
    /// The longest that anything is on its way to or from the engine.
    pub engine_delay_us: u64,
    /// So many of a thousand messages are lost there.
    pub engine_loses: u64,
    /// So many of a thousand messages come twice.
    pub doubled: u64,
    pub max_payload_bytes: usize,
    /// Whether reads may give what was there before.
    pub reads_lag: bool,
    /// Whether the bucket may be lost or restored.
    pub bucket_suffers: bool,
}

/// How many nodes a run has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nodes {
    /// One that is no part of a cluster.
    Alone,
    /// So many of a cluster.
    Of(usize),
}

/// A link that takes little at a time is a quick one: else a snapshot would take longer than a
/// lease, and nothing is promised to who cannot even hear a ping.
const MOST_DELAY_US_PER_BYTE: u64 = 50;

/// More than there are clients.
const MAX_MEMBERS: u32 = 1_000;
const SHORTEST_OWN_TTL_MS: u64 = 3_000;
const LONGEST_OWN_TTL_MS: u64 = 25_000;
/// No lease is shorter.
pub const SHORTEST_TTL: Duration = Duration::from_millis(SHORTEST_OWN_TTL_MS);
/// What a node alone has.
const RIGHT: Clock = Clock { begins_at: 0, per_mille: 1_000, wall_offset: 0 };
/// What a clock that is fast shows for each thousand microseconds.
const FAST_PER_MILLE: u64 = 1_050;
/// The users of a run.
const USERS: u64 = 5;

impl Plan {
    pub fn draw(chance: &mut Chance) -> Self {
        let channels = chance.between(1, 3);
        let hibernate_after = chance.one_in(3).then(|| Duration::from_secs(chance.between(2, 8)));
        let grace_ms = if chance.one_in(2) { 0 } else { chance.between(500, 8_000) };
        let window_bytes = *pick(chance, &[200, 1_000, 8_000]);
        let delay_us = *pick(chance, &[1_000, 50_000, 400_000]);
        let per_second = *pick(chance, &[10, 50, 200]);
        let own = own_settings(chance);
        let ttl = Duration::from_secs(chance.between(4, 20));
        Self {
            nodes: Nodes::Alone,
            clocks: vec![RIGHT],
            engine_delay_us: 0,
            engine_loses: 0,
            doubled: 0,
            max_payload_bytes: 0,
            reads_lag: false,
            bucket_suffers: false,
            loops: chance.between(1, 3) as u16,
            members: chance.between(2, 9) as usize,
            observers: chance.below(3) as usize,
            channels: (0..channels).map(|n| channel(&format!("c{n}"))).collect(),
            longest_own_ttl: own_ttl(&own, ttl),
            ttl,
            grace: Duration::from_millis(grace_ms),
            hibernate_after,
            own,
            most_members: own.max_members.unwrap_or(MAX_MEMBERS),
            send_queue_bytes: *pick(chance, &[300, 1_500, 8_000]),
            window_bytes,
            longest_delay_us: delay_us.min(window_bytes as u64 * MOST_DELAY_US_PER_BYTE),
            longest_turn_us: *pick(chance, &[0, 1_000, 20_000]),
            longest_decision_us: *pick(chance, &[0, 0, 5_000, 300_000]),
            longest_verdict_us: *pick(chance, &[0, 0, 5_000, 300_000]),
            max_batches: *pick(chance, &[1, 3, 1_000]),
            most_questions: *pick(chance, &[1, 3, 1_000]),
            max_detached_per_user: *pick(chance, &[1, 3, 16]),
            writes_per_turn: *pick(chance, &[1, 3, 512]),
            token_life: chance.one_in(3).then(|| Duration::from_secs(chance.between(5, 60))),
            shut_out_users: 1,
            limits: Limits {
                auth_timeout: Duration::from_secs(5),
                expiry_leeway: Duration::from_secs(chance.between(1, 60)),
                rate: RateLimit { messages_per_second: per_second, burst: 2 * per_second },
                max_channels: 100,
                max_waiting_messages: 64,
                max_waiting_bytes: 64 * 1024,
                max_unauthenticated_waiting_bytes: 16 * 1024,
            },
            things_that_happen: chance.between(5, 60),
            counters: chance.below(3) as usize,
        }
    }

    /// The same for the nodes of a cluster.
    pub fn draw_cluster(chance: &mut Chance) -> Self {
        let nodes = chance.between(1, 5) as usize;
        Self {
            nodes: Nodes::Of(nodes),
            clocks: (0..nodes).map(|_| clock(chance)).collect(),
            engine_delay_us: *pick(chance, &[2_000, 20_000, 300_000, 2_000_000]),
            engine_loses: *pick(chance, &[0, 5, 50, 200]),
            doubled: *pick(chance, &[0, 10, 100]),
            max_payload_bytes: *pick(chance, &[1_100, 4_096, 64 * 1_024]),
            reads_lag: chance.one_in(4),
            bucket_suffers: chance.one_in(4),
            ..Self::draw(chance)
        }
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        match self.nodes {
            Nodes::Alone => 1,
            Nodes::Of(nodes) => nodes,
        }
    }

    /// How much longer something takes by the clock of any node than it does.
    pub fn fastest_per_mille(&self) -> u64 {
        self.clocks.iter().map(|clock| clock.per_mille).max().expect("there is a node")
    }

    pub fn is_cluster(&self) -> bool {
        self.nodes != Nodes::Alone
    }

    /// What a hub is made of. Which hub it is, and the life of its channels, are the server's to say.
    pub fn config(&self) -> Config {
        Config {
            me: Peer(0),
            hubs: self.loops,
            membership: if self.is_cluster() {
                Membership::OneOfSeveral
            } else {
                Membership::Alone
            },
            epoch_base: 0,
            limits: self.limits.clone(),
            presence_ttl: self.ttl,
            hibernate_after: self.hibernate_after,
            max_detached_per_user: self.max_detached_per_user,
            max_frame_bytes: 16 * 1024,
            send_queue_bytes: self.send_queue_bytes,
            writes_per_turn: self.writes_per_turn,
            flush_delay: None,
            gather_for: None,
            user_index: UserIndex::LargeChannels,
            remembers: Remembers::Causes,
            fault_on_channel: None,
        }
    }

    /// What holds in which channel.
    pub fn policy(&self) -> Arc<Policy> {
        let defaults = ChannelSettings {
            max_members: MAX_MEMBERS,
            presence_ttl_ms: self.ttl.as_millis() as u64,
            disconnect_grace_ms: self.grace.as_millis() as u64,
        };
        let last = self.channels.last().expect("there is at least one");
        let pattern = Pattern::parse(&last.to_string()).expect("a channel is a pattern of itself");
        let policy = Policy::new(defaults, Patterns::new(vec![(pattern.clone(), self.own)]));
        let all = Pattern::parse("presence:*").expect("a channel can match it");
        let announced = vec![(all, Announces::Membership), (pattern, Announces::Updates)];
        Arc::new(policy.announcing(announced))
    }

    /// How many members a channel may have been let to hold: those that were in it when its bound
    /// became less stay.
    pub fn most_members(&self, channel: &ChannelName) -> u32 {
        let last = self.channels.last().expect("there is at least one");
        if channel == last { self.most_members } else { MAX_MEMBERS }
    }

    /// Other settings for the last channel from the next reload on.
    pub fn draw_own(&mut self, chance: &mut Chance) {
        self.own = own_settings(chance);
        self.longest_own_ttl = self.longest_own_ttl.max(own_ttl(&self.own, self.ttl));
        self.most_members = self.most_members.max(self.own.max_members.unwrap_or(MAX_MEMBERS));
    }

    /// The longest that a silent connection may be in a channel.
    pub fn longest_ttl_of(&self, channel: &ChannelName) -> Duration {
        let last = self.channels.last().expect("there is at least one");
        if channel == last { self.longest_own_ttl } else { self.ttl }
    }

    /// The longest that any connection may be silent.
    pub fn longest_ttl(&self) -> Duration {
        self.ttl.max(Duration::from_millis(LONGEST_OWN_TTL_MS))
    }

    /// The access rules: the first channel is public, some users may not see the last.
    pub fn grants(&self, question: &Question) -> bool {
        let is_first = question.channel == self.channels[0];
        match &question.user {
            None => is_first && question.right == Right::Subscribe,
            Some(user) => !self.is_shut_out(user, &question.channel),
        }
    }

    pub fn is_shut_out(&self, user: &UserId, channel: &ChannelName) -> bool {
        let last = self.channels.last().expect("there is at least one");
        let is_barred = (0..self.shut_out_users).any(|number| user.as_str() == user_name(number));
        self.channels.len() > 1 && channel == last && is_barred
    }
}

impl Clock {
    /// What it shows then.
    pub fn local(&self, at: Instant) -> Instant {
        self.now(at.as_micros()).at
    }

    /// When it shows this.
    pub fn true_time(&self, local: Instant) -> Instant {
        match self.when(local) {
            u64::MAX => Instant::NEVER,
            at => Instant::from_micros(at),
        }
    }
}

/// The clocks of a node: fast by a twentieth, off by up to an hour on the wall, or right.
fn clock(chance: &mut Chance) -> Clock {
    const HOUR: u64 = 3_600;
    let is_off = chance.one_in(4);
    let wall_offset = chance.between(0, 2 * HOUR) as i64 - HOUR as i64;
    Clock {
        begins_at: chance.below(1_000_000 * MS),
        per_mille: if chance.one_in(4) { FAST_PER_MILLE } else { RIGHT.per_mille },
        wall_offset: if is_off { wall_offset } else { 0 },
    }
}

/// The token of a client: no run is about signatures. Nobody signs in with one that is not good.
pub fn token_of(member: usize) -> String {
    user_name(member as u64 % USERS)
}

fn user_name(number: u64) -> String {
    format!("user-{number}")
}

/// A namespace of its own for the last channel, in some runs.
fn own_settings(chance: &mut Chance) -> Overrides {
    if !chance.one_in(3) {
        return Overrides::default();
    }
    Overrides {
        max_members: chance.one_in(3).then(|| chance.between(1, 4) as u32),
        presence_ttl_ms: chance
            .one_in(2)
            .then(|| chance.between(SHORTEST_OWN_TTL_MS, LONGEST_OWN_TTL_MS)),
        disconnect_grace_ms: chance.one_in(2).then(|| chance.between(0, 8_000)),
    }
}

fn own_ttl(own: &Overrides, ttl: Duration) -> Duration {
    own.presence_ttl_ms.map_or(ttl, Duration::from_millis)
}

pub fn pick<'a, T>(chance: &mut Chance, of: &'a [T]) -> &'a T {
    &of[chance.index(of.len())]
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(&format!("presence:{name}")).expect("a valid name")
}
