//! What a hub may hold after a turn, and for how long a socket that takes bytes may wait for a
//! snapshot: the bounds that are promised, looked at after every turn of every run.

use std::collections::BTreeMap;
use std::time::Duration;

use herenow_core::Instant;
use herenow_hub::{Holdings, Hub};
use herenow_wire::ChannelName;

use crate::network::LinkId;
use crate::plan::Plan;

/// The most that was seen of what has no bound in the number of connections.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Most {
    pub mail: usize,
    pub near_deadlines: usize,
    pub due: usize,
    pub deliveries: usize,
    pub recipients: usize,
    pub reply_bytes: usize,
    pub flush_bytes: usize,
    pub read_bytes: usize,
    pub waiting_bytes: usize,
}

/// Since when the sockets of one hub that take bytes have waited for a snapshot.
#[derive(Default)]
pub struct SnapshotWaits {
    since: BTreeMap<(LinkId, ChannelName), Instant>,
}

/// A map is rebuilt within two seconds and a scan, a repeated request waits for one second at
/// most, and mail takes some turns.
pub const MAX_SNAPSHOT_WAIT: Duration = Duration::from_secs(4);

/// Replies that a session gives without being read on: to the messages that waited for a decision
/// or for the rate, and the resyncs, pings and refusals that the server has for it by itself.
const MORE_REPLY_BYTES: usize = 16 * 1024;
/// The beginning of a message, grown by doubling, and what was read behind it.
const MOST_READ_BYTES: usize = 3 * 16 * 1024;
/// What one message may add to those that wait: the request that waits for its decision has its
/// room apart.
const MORE_WAITING_BYTES: usize = 4 * 1024;
/// Mail that one hub has for the others while their mailboxes are full: it is read no more then,
/// and what is under way already ends.
const MOST_MAIL: usize = 1_000;
/// Times that a flush may be brought forward before it is due.
const MOST_BROUGHT_FORWARD: usize = 8;
/// Flushes of one channel that another hub may have sent while one of them is written in parts.
const MOST_RUNNING: usize = 256;

impl Most {
    /// Holds what a hub has after a turn to the promised bounds.
    pub fn check(&mut self, held: &Holdings, plan: &Plan) {
        let clients = plan.members + plan.observers + plan.counters;
        let sockets = held.connections;
        let channels = plan.channels.len();
        assert_eq!(held.replied, 0, "replies are left after a turn");
        let of_connections =
            [held.taken_over, held.channel_leases, held.snapshot_requests, held.large_pieces];
        assert!(of_connections.iter().all(|count| *count <= sockets), "{held:?}");
        // What is due of a connection that has gone meanwhile stays until its turn comes.
        assert!(held.reviews <= MOST_SLOTS, "{held:?}");
        assert!(held.default_channels <= channels && held.audience_channels <= channels);
        assert!(held.subscriptions <= sockets * channels, "{held:?}");
        assert!(held.planned <= channels && held.postponed <= channels, "{held:?}");
        assert!(held.unacknowledged == 0 || plan.is_cluster(), "there are no other nodes");
        assert!(held.lost_shards <= channels, "{held:?}");
        assert!(held.due <= held.planned + channels * MOST_BROUGHT_FORWARD, "{held:?}");
        assert!(held.deliveries <= channels * MOST_RUNNING, "{held:?}");
        assert!(held.recipients <= held.subscriptions, "{held:?}");
        assert!(held.near_deadlines <= MOST_SLOTS && held.unread <= MOST_SLOTS, "{held:?}");
        assert!(held.mail <= MOST_MAIL, "{held:?}");
        assert!(held.detached <= MOST_SLOTS && held.detached_users <= clients, "{held:?}");
        assert!(held.most_flush_bytes <= plan.send_queue_bytes, "{held:?}");
        assert!(held.most_reply_bytes <= plan.send_queue_bytes + MORE_REPLY_BYTES, "{held:?}");
        assert!(held.most_read_bytes <= MOST_READ_BYTES, "{held:?}");
        let most_waiting_bytes = plan.limits.max_waiting_bytes + MORE_WAITING_BYTES;
        assert!(held.most_waiting_bytes <= most_waiting_bytes, "{held:?}");
        self.add(Self {
            mail: held.mail,
            near_deadlines: held.near_deadlines,
            due: held.due,
            deliveries: held.deliveries,
            recipients: held.recipients,
            reply_bytes: held.most_reply_bytes,
            flush_bytes: held.most_flush_bytes,
            read_bytes: held.most_read_bytes,
            waiting_bytes: held.most_waiting_bytes,
        });
    }

    pub fn add(&mut self, other: Self) {
        self.mail = self.mail.max(other.mail);
        self.near_deadlines = self.near_deadlines.max(other.near_deadlines);
        self.due = self.due.max(other.due);
        self.deliveries = self.deliveries.max(other.deliveries);
        self.recipients = self.recipients.max(other.recipients);
        self.reply_bytes = self.reply_bytes.max(other.reply_bytes);
        self.flush_bytes = self.flush_bytes.max(other.flush_bytes);
        self.read_bytes = self.read_bytes.max(other.read_bytes);
        self.waiting_bytes = self.waiting_bytes.max(other.waiting_bytes);
    }
}

/// Sockets and sessions without one that a run may have at once in one hub: links that swallow
/// everything leave theirs behind until the lease is over.
const MOST_SLOTS: usize = 256;

impl SnapshotWaits {
    /// No socket that takes bytes waits for a snapshot for longer than `MAX_SNAPSHOT_WAIT`, time apart in
    /// which the server was held up: `patient_until` is the end of the last such. Returns the
    /// longest.
    pub fn check(
        &mut self,
        hub: &Hub,
        (now, patient_until): (Instant, Instant),
        link_of: impl Fn(u32) -> LinkId,
    ) -> Duration {
        let before = std::mem::take(&mut self.since);
        let mut longest = Duration::ZERO;
        for (slot, channel) in hub.awaiting_snapshot() {
            let key = (link_of(slot), channel.clone());
            let since = before.get(&key).copied().unwrap_or(now).max(patient_until);
            let waited = now.since(since);
            assert!(waited <= MAX_SNAPSHOT_WAIT, "{channel}: waited for a snapshot for {waited:?}");
            longest = longest.max(waited);
            self.since.insert(key, since);
        }
        longest
    }
}
