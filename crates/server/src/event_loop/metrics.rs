//! What one loop counts. One writer, any number of readers: plain stores, no lock and no shared
//! cache line between loops.

use std::sync::atomic::{AtomicU64, Ordering};

use herenow_core::Instant;
use herenow_wire::ErrorCode;

use crate::loops::LoopsMetrics;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: Count,
    pub(crate) detached_sessions: Count,
    /// Since when the loop's oldest detached session has had no socket, in microseconds of the
    /// server's clock, plus one; 0 where there is none.
    oldest_detached: Count,
    pub(crate) entries: Count,
    pub(crate) subscriptions: Count,
    pub(crate) channels: Count,
    pub(crate) connections_adopted: Count,
    pub(crate) frames_in: Count,
    pub(crate) writes: Count,
    pub(crate) bytes_in: Count,
    pub(crate) bytes_out: Count,
    pub(crate) flushes: Count,
    pub(crate) flushes_passed_on: Count,
    pub(crate) updates_merged: Count,
    pub(crate) slow_subscriber_drops: Count,
    errors: [Count; ErrorCode::ALL.len()],
}

/// A number that one thread writes.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Only the loop that owns the count may call this.
    pub(crate) fn add(&self, more: usize) {
        let sum = self.0.load(Ordering::Relaxed) + more as u64;
        self.0.store(sum, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, now: usize) {
        self.0.store(now as u64, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    pub(crate) fn count_error(&self, code: ErrorCode) {
        let at = ErrorCode::ALL.iter().position(|known| *known == code);
        if let Some(count) = at.and_then(|at| self.errors.get(at)) {
            count.add(1);
        }
    }

    pub(crate) fn note_oldest_detached(&self, since: Option<Instant>) {
        self.oldest_detached.set(since.map_or(0, |since| since.as_micros() as usize + 1));
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
        sum.entries += self.entries.value();
        sum.subscriptions += self.subscriptions.value();
        sum.channels += self.channels.value();
        sum.connections_adopted += self.connections_adopted.value();
        sum.frames_in += self.frames_in.value();
        sum.writes += self.writes.value();
        sum.bytes_in += self.bytes_in.value();
        sum.bytes_out += self.bytes_out.value();
        sum.flushes += self.flushes.value();
        sum.flushes_passed_on += self.flushes_passed_on.value();
        sum.updates_merged += self.updates_merged.value();
        sum.slow_subscriber_drops += self.slow_subscriber_drops.value();
        for (at, code) in ErrorCode::ALL.into_iter().enumerate() {
            let count = self.errors[at].value();
            match sum.errors.iter_mut().find(|(known, _)| *known == code) {
                Some((_, total)) => *total += count,
                None => sum.errors.push((code, count)),
            }
        }
    }
}
