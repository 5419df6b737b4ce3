//! What the cluster's thread counts, for `/metrics`. Names no node.

use herenow_cluster::Counters;

use super::{BootClock, Status};

/// What is counted of messages between nodes, as of the last heartbeat.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(super) batches_sent: u64,
    pub(super) bytes_sent: u64,
    pub(super) batches_received: u64,
    pub(super) bytes_received: u64,
    /// The connection took no more.
    pub(super) lost: u64,
    pub(super) links: usize,
    pub(super) held_bytes: usize,
    pub(super) collecting: usize,
    pub(super) owed: usize,
    pub(super) differing_nodes: usize,
    pub(super) machine: Counters,
}

/// What is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterMetrics {
    /// The number of the newest view.
    pub view: u64,
    /// Nodes in it.
    pub nodes: u64,
    /// Whether this node is one of them and may act.
    pub is_active: u64,
    /// How long it may still, in milliseconds.
    pub lease_ms: u64,
    /// Shards of which this node is the home.
    pub home_shards: u64,
    /// What came and went.
    pub batches: [(&'static str, u64); 2],
    /// The same in bytes.
    pub bytes: [(&'static str, u64); 2],
    /// Batches that were dropped, and why.
    pub dropped: [(&'static str, u64); 5],
    /// Streams that had to begin anew.
    pub resets: u64,
    /// For how long it has not been able to act, in milliseconds, if it has ever been.
    pub stale_ms: u64,
    /// Nodes whose settings differ from those of this one.
    pub differing_nodes: u64,
    /// Bytes that links hold now.
    pub held_bytes: u64,
    /// Shards of this node of which not every node has reported.
    pub collecting_shards: u64,
    /// Shards of which every node has, and how long that took in all.
    pub collects: u64,
    /// In milliseconds.
    pub collect_ms: u64,
    /// Reports and snapshots that other nodes are owed.
    pub owed: u64,
}

impl ClusterMetrics {
    pub(super) fn of(status: &Status, clock: BootClock) -> Self {
        let Traffic { machine, .. } = status.traffic;
        let left =
            if status.is_in { status.lease_until.since(clock.now()) } else { Default::default() };
        Self {
            view: status.view.as_ref().map_or(0, |view| view.v),
            nodes: status.view.as_ref().map_or(0, |view| view.nodes.len() as u64),
            is_active: u64::from(!left.is_zero()),
            lease_ms: left.as_millis() as u64,
            home_shards: status.home_shards() as u64,
            batches: [
                ("sent", status.traffic.batches_sent),
                ("received", status.traffic.batches_received),
            ],
            bytes: [
                ("sent", status.traffic.bytes_sent),
                ("received", status.traffic.bytes_received),
            ],
            dropped: [
                ("not_sent", status.traffic.lost),
                ("unreadable", machine.broken_packets),
                ("misdirected", machine.misdirected_packets),
                ("unknown_sender", machine.unknown_senders),
                ("repeated", machine.repeated_batches),
            ],
            resets: machine.resets,
            stale_ms: match status.has_joined && left.is_zero() {
                true => clock.now().since(status.lease_until).as_millis() as u64,
                false => 0,
            },
            differing_nodes: status.traffic.differing_nodes as u64,
            held_bytes: status.traffic.held_bytes as u64,
            collecting_shards: status.traffic.collecting as u64,
            collects: machine.collects,
            collect_ms: machine.collect_ms,
            owed: status.traffic.owed as u64,
        }
    }
}
