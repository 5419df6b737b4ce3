//! What the hub of one loop counts, for others to read, and the sum over all loops. Each loop has
//! one writer and any number of readers: plain stores, no lock and no shared cache line between loops.

use std::sync::atomic::{AtomicU64, Ordering};

use herenow_core::Instant;
use herenow_hub::{Histogram, Hub, LeaveCounts, Resyncs};
use herenow_wire::{ErrorCode, LeaveReason};

use crate::durations::{Durations, RuleResult, TokenResult};
use crate::probe::ProbeMetrics;

/// The counts of one loop.
#[derive(Debug, Default)]
pub(crate) struct LoopMetrics {
    pub(crate) connections: Count,
    pub(crate) detached_sessions: Count,
    /// Since when the loop's oldest detached session has had no socket, in microseconds of the
    /// server's clock, plus one; 0 where there is none.
    oldest_detached: Count,
    members: Count,
    copied_members: Count,
    subscriptions: Count,
    channels: Count,
    connections_accepted: Count,
    frames_in: Count,
    writes: Count,
    bytes_in: Count,
    bytes_out: Count,
    flushes: Count,
    flushes_forwarded: Count,
    updates_merged: Count,
    slow_subscriber_drops: Count,
    leaves: [Count; LeaveReason::ALL.len()],
    resyncs_slow: Count,
    resyncs_requested: Count,
    resyncs_rebuilt: Count,
    flush_waits: Durations,
    errors: [Count; ErrorCode::ALL.len()],
    errors_in_all: Count,
    /// When the loop's last turn began, in microseconds of the server's clock; [`ENDED`] from its end
    /// on.
    turned_at: Count,
}

/// Counts of all loops together, since the start unless they say "now".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoopsMetrics {
    /// Connections now.
    pub connections: u64,
    /// Sessions now that have lost their socket and may come back.
    pub detached_sessions: u64,
    /// Members now.
    pub members: u64,
    /// Members in lists whose changes other nodes decide.
    pub copied_members: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Channels now with a subscriber or a member.
    pub channels: u64,
    /// Connections that loops took over.
    pub connections_accepted: u64,
    /// Whole frames read.
    pub frames_in: u64,
    /// Writes to sockets. Each carries all that waits for a socket at the time.
    pub writes: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Flushes of a channel.
    pub flushes: u64,
    /// Flushes handed to another loop that has subscribers of the channel.
    pub flushes_forwarded: u64,
    /// Updates that a newer one of the same member replaced before they were flushed.
    pub updates_merged: u64,
    /// Times a slow subscriber's deltas were dropped for one snapshot.
    pub slow_subscriber_drops: u64,
    /// How long the oldest change of each flush has waited for it.
    pub flush_waits: Histogram,
    /// Members that have left channels.
    pub leaves: LeaveCounts,
    /// Times that lists of members had to be sent again.
    pub resyncs: Resyncs,
    /// How long decisions of access rules took, from the question to the answer.
    pub rule_decisions: Histogram,
    /// What came of the questions.
    pub rule_results: Vec<(RuleResult, u64)>,
    /// How long verifications of tokens took, from the message to the result.
    pub token_verifications: Histogram,
    /// What came of the tokens.
    pub token_results: Vec<(TokenResult, u64)>,
    /// What the probe has measured, if there is one.
    pub probe: Option<ProbeMetrics>,
    /// Refusals sent, by code.
    pub errors: Vec<(ErrorCode, u64)>,
    /// Messages now waiting in the queues of the loops.
    pub queued: u64,
}

/// Stands for the last turn of a loop that has ended in order.
const ENDED: usize = usize::MAX;

/// A number that one thread writes.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    fn set(&self, now: usize) {
        self.0.store(now as u64, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl LoopMetrics {
    /// Only the loop whose metrics they are may call this.
    pub(crate) fn publish(&self, hub: &Hub) {
        let counters = hub.counters();
        self.connections.set(counters.connections);
        self.detached_sessions.set(counters.detached_sessions);
        let oldest = counters.oldest_detached;
        self.oldest_detached.set(oldest.map_or(0, |since| since.as_micros() as usize + 1));
        self.members.set(counters.members);
        self.copied_members.set(counters.copied_members);
        self.subscriptions.set(counters.subscriptions);
        self.channels.set(counters.channels);
        self.connections_accepted.set(counters.connections_accepted);
        self.frames_in.set(counters.frames_in);
        self.writes.set(counters.writes);
        self.bytes_in.set(counters.bytes_in);
        self.bytes_out.set(counters.bytes_out);
        if self.flushes.value() != counters.flushes as u64 {
            self.flush_waits.set(hub.flush_waits());
        }
        self.flushes.set(counters.flushes);
        self.flushes_forwarded.set(counters.flushes_forwarded);
        self.updates_merged.set(counters.updates_merged);
        self.slow_subscriber_drops.set(counters.slow_subscriber_drops);
        for (published, reason) in self.leaves.iter().zip(LeaveReason::ALL) {
            published.set(counters.leaves.of(reason) as usize);
        }
        self.resyncs_slow.set(counters.resyncs.slow);
        self.resyncs_requested.set(counters.resyncs.requested);
        self.resyncs_rebuilt.set(counters.resyncs.rebuilt);
        if self.errors_in_all.value() != counters.errors as u64 {
            self.publish_errors(hub);
        }
    }

    /// Apart, since nearly no turn sends an error.
    #[cold]
    fn publish_errors(&self, hub: &Hub) {
        for (published, count) in self.errors.iter().zip(hub.errors()) {
            published.set(*count);
        }
        self.errors_in_all.set(hub.errors().iter().sum());
    }

    /// A turn begins. Only the loop whose metrics they are may call this.
    pub(crate) fn turn_begins(&self, now: Instant) {
        self.turned_at.set(now.as_micros() as usize);
    }

    /// The loop has ended in order.
    pub(crate) fn end(&self) {
        self.turned_at.set(ENDED);
    }

    /// When the last turn began, in microseconds of the server's clock: 0 before the first, and later
    /// than any time for a loop that has ended in order.
    pub(crate) fn turned_at(&self) -> u64 {
        self.turned_at.value()
    }

    /// What orders the loops by the age of their oldest detached session. `None` where the loop has
    /// none.
    pub(crate) fn oldest_detached(&self) -> Option<u64> {
        Some(self.oldest_detached.value()).filter(|since| *since > 0)
    }

    /// Adds this loop's counts to those of the others.
    pub(crate) fn add_to(&self, sum: &mut LoopsMetrics) {
        sum.connections += self.connections.value();
        sum.detached_sessions += self.detached_sessions.value();
        sum.members += self.members.value();
        sum.copied_members += self.copied_members.value();
        sum.subscriptions += self.subscriptions.value();
        sum.channels += self.channels.value();
        sum.connections_accepted += self.connections_accepted.value();
        sum.frames_in += self.frames_in.value();
        sum.writes += self.writes.value();
        sum.bytes_in += self.bytes_in.value();
        sum.bytes_out += self.bytes_out.value();
        sum.flushes += self.flushes.value();
        sum.flushes_forwarded += self.flushes_forwarded.value();
        sum.updates_merged += self.updates_merged.value();
        sum.slow_subscriber_drops += self.slow_subscriber_drops.value();
        sum.flush_waits.add(&self.flush_waits.read());
        for (published, reason) in self.leaves.iter().zip(LeaveReason::ALL) {
            sum.leaves.add_to(reason, published.value());
        }
        sum.resyncs.slow += self.resyncs_slow.value() as usize;
        sum.resyncs.requested += self.resyncs_requested.value() as usize;
        sum.resyncs.rebuilt += self.resyncs_rebuilt.value() as usize;
        for (at, code) in ErrorCode::ALL.into_iter().enumerate() {
            let count = self.errors[at].value();
            match sum.errors.iter_mut().find(|(known, _)| *known == code) {
                Some((_, total)) => *total += count,
                None => sum.errors.push((code, count)),
            }
        }
    }
}
