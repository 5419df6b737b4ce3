//! The settings of loops and sessions. Every value has been checked against its bounds.

use std::net::SocketAddr;
use std::sync::Arc;

use herenow_hub::Membership;
use herenow_wire::ChannelName;

use super::{Network, Origin, Rehearsals};
use crate::access::{ChannelSettings, Rules};
use crate::cluster::ClusterSettings;
use crate::webhooks::Webhook;

/// The settings of loops, sessions and the front door. Units are in the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A connection's lease: silent for this long, its members leave with `timeout`.
    pub presence_ttl_ms: u64,
    /// How long a member stays after its connection broke without a close frame; 0: not at all.
    pub disconnect_grace_ms: u64,
    /// After how long without a presence message a channel's map is freed; 0: never.
    pub hibernate_after_ms: u64,
    /// How long a connection may stay without authenticating or observing a public channel.
    pub auth_timeout_ms: u64,
    /// Over how long clients are asked to come back after a stop or a handover; 0: as many as there
    /// are decide.
    pub drain_ms: u64,
    /// Messages of one connection handled at once, per second, in the long run.
    pub max_messages_per_second: u32,
    /// Messages of one connection handled at once in one go before the rate counts.
    pub message_burst: u32,
    /// Channels one connection may be subscribed to.
    pub max_channels_per_connection: usize,
    /// Entries one channel may hold.
    pub max_members: usize,
    /// Bytes of one inbound message, all its fragments together.
    pub max_frame_bytes: usize,
    /// Bytes of deltas that may wait for one slow subscriber before a snapshot replaces them.
    pub send_queue_bytes: usize,
    /// Connections the server holds; above it the upgrade is answered 503.
    pub max_connections: usize,
    /// Sessions of one user that have lost their socket and may come back; beyond it the oldest
    /// ends.
    pub max_detached_per_user: usize,
    /// Connections per address that have neither authenticated nor joined a public channel; above it
    /// the upgrade is answered 429.
    pub max_unauthenticated_per_address: usize,
    /// How long after one round of the probe the next begins; 0: no probe.
    pub truth_probe_ms: u64,
    /// How long the clients of a process that has handed over come back, and no snapshot is sent. No
    /// operator sets it.
    pub gather_ms: u64,
    /// Holds every flush back for this long, whatever the load. For measuring; no operator sets it.
    pub flush_delay_us: Option<u64>,
    /// The shard of this channel fails on each state that is put into it. For tests that a fault
    /// is contained; no operator can set it.
    pub fault_on_channel: Option<ChannelName>,
    /// Faults that are caused on purpose, for tests.
    pub rehearsals: Rehearsals,
    /// Event loops, one thread each.
    pub loops: usize,
    /// Which servers are one presence with this one; `None`: it is alone. Comes from flags.
    pub cluster: Option<Arc<ClusterSettings>>,
    /// Proxies whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Peers that may read `/metrics` without a token.
    pub metrics_from: Vec<Network>,
    /// A port of its own for `/metrics` and `/health`.
    pub metrics_listen: Option<SocketAddr>,
    /// Origins a browser may connect from; empty means any.
    pub allowed_origins: Vec<Origin>,
    /// Who may see and be seen, and what holds for the channels of a pattern.
    pub rules: Rules,
    /// Who is told of joins and leaves over HTTP.
    pub webhooks: Arc<[Webhook]>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            presence_ttl_ms: 60_000,
            disconnect_grace_ms: 0,
            hibernate_after_ms: 0,
            auth_timeout_ms: 5_000,
            drain_ms: 0,
            max_messages_per_second: 200,
            message_burst: 400,
            max_channels_per_connection: 100,
            max_members: 100_000,
            max_frame_bytes: 16 * 1024,
            send_queue_bytes: 256 * 1024,
            max_connections: 1_000_000,
            max_detached_per_user: 16,
            max_unauthenticated_per_address: 64,
            truth_probe_ms: 0,
            gather_ms: 0,
            flush_delay_us: None,
            fault_on_channel: None,
            rehearsals: Rehearsals::default(),
            loops: std::thread::available_parallelism().map_or(1, usize::from),
            cluster: None,
            trusted_proxies: Vec::new(),
            metrics_from: Vec::new(),
            metrics_listen: None,
            allowed_origins: Vec::new(),
            rules: Rules::default(),
            webhooks: Arc::default(),
        }
    }
}

/// The part of the settings that may change while the server runs.
#[derive(Clone, Debug, Default)]
pub struct Reloadable {
    /// See [`Settings::rules`].
    pub rules: Rules,
    /// See [`Settings::webhooks`].
    pub webhooks: Arc<[Webhook]>,
}

impl From<Rules> for Reloadable {
    fn from(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }
}

impl Settings {
    /// Whether there are other servers of the same presence.
    pub fn membership(&self) -> Membership {
        match self.cluster {
            None => Membership::Alone,
            Some(_) => Membership::OneOfSeveral,
        }
    }

    /// What a reload may change.
    pub fn reloadable(&self) -> Reloadable {
        Reloadable { rules: self.rules.clone(), webhooks: Arc::clone(&self.webhooks) }
    }

    /// What holds in a channel of which the rules say nothing else.
    pub fn channel_defaults(&self) -> ChannelSettings {
        ChannelSettings {
            // The setting's bounds fit.
            max_members: self.max_members as u32,
            presence_ttl_ms: self.presence_ttl_ms,
            disconnect_grace_ms: self.disconnect_grace_ms,
        }
    }
}
