//! The connections that HTTP holds, and which of them gives way when there is no room for another.
//! Pure: time is an argument, and a connection is told by a notification.
//!
//! A connection here waits for its peer nearly always: for the rest of a head, for the next
//! request, or for the peer to read. One that is told to give way while a whole request of it is
//! being answered ends after that answer.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::admission::Source;

/// How many connections may be held at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of all peers together.
    pub(super) all: usize,
    /// Of one IPv4 address or IPv6 /64, unless many users share it.
    pub(super) subnet: usize,
    /// Of one IPv6 /48, unless many users share it.
    pub(super) site: usize,
}

/// How long a connection is left to its peer before it may have to give way. A head follows its
/// connection at once, but not always in the same packet.
pub(super) const MIN_STAY_MS: u64 = 50;

/// Connections that have been told to give way and have not ended yet. They are held beside the
/// limit, so that the accept loop need not wait for each.
pub(super) const MAX_LEAVING: usize = 64;

/// A connection's place, shared with the accept loop, which alone gives places away. Dropping it
/// ends it.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    left: Arc<Notify>,
    is_answering: AtomicBool,
}

/// All places that are taken. Owned by the accept loop.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    held: Vec<Held>,
    left: Arc<Notify>,
}

/// A peer that would take a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) source: Source,
    pub(super) share: Share,
}

/// How much one address may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// As much as the limits say.
    Limited,
    /// As much as there is: many users share the address.
    Unlimited,
}

/// Whether a caller can be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// At once. Where it was needed, another has been told to give way.
    Now,
    /// Not before this time, unless a connection ends earlier.
    NotBefore { ms: u64 },
    /// Not at all: its address has filled its share within [`MIN_STAY_MS`].
    No,
}

/// The connection that would have to give way came less than [`MIN_STAY_MS`] ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Young {
    until_ms: u64,
}

/// Of one connection: its peer, when it came, and its index; the caller has none yet.
type Present = (Source, u64, Option<usize>);

#[derive(Debug)]
struct Shared {
    gives_way: Notify,
    has_ended: AtomicBool,
}

#[derive(Debug)]
struct Held {
    caller: Caller,
    came_ms: u64,
    shared: Arc<Shared>,
    is_leaving: bool,
}

impl Place {
    /// A whole request has arrived.
    pub(super) fn begins_answer(&self) {
        self.is_answering.store(true, Ordering::Relaxed);
    }

    /// The answer is known.
    pub(super) fn ends_answer(&self) {
        self.is_answering.store(false, Ordering::Relaxed);
    }

    /// Whether a request has arrived and its answer is not known yet.
    pub(super) fn is_answering(&self) -> bool {
        self.is_answering.load(Ordering::Relaxed)
    }

    /// Gives the place back, though the connection goes on: another bound counts it.
    pub(super) fn leave(&self) {
        self.shared.has_ended.store(true, Ordering::Release);
        self.left.notify_one();
    }

    /// Returns when the connection has to give way.
    pub(super) async fn gives_way(&self) {
        self.shared.gives_way.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Places {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, held: Vec::new(), left: Arc::default() }
    }

    /// Returns when a connection has ended that was held the last time anybody waited.
    pub(super) async fn one_left(&self) {
        self.left.notified().await;
    }

    /// Whether no connection is held any more.
    pub(super) fn is_empty(&mut self) -> bool {
        self.forget_ended();
        self.held.is_empty()
    }

    /// Takes a place for a caller that has room.
    pub(super) fn take(&mut self, caller: Caller, now_ms: u64) -> Place {
        let shared =
            Arc::new(Shared { gives_way: Notify::new(), has_ended: AtomicBool::new(false) });
        let held = Held { caller, came_ms: now_ms, shared: Arc::clone(&shared), is_leaving: false };
        self.held.push(held);
        let left = Arc::clone(&self.left);
        Place { shared, left, is_answering: AtomicBool::new(false) }
    }

    /// Finds room for a caller. If its address has its share, or all places are taken, the
    /// connection gives way that [`Self::give_way`] chooses.
    pub(super) fn make_room(&mut self, caller: Caller, now_ms: u64) -> Room {
        self.forget_ended();
        let staying = self.held.iter().filter(|held| !held.is_leaving);
        let all = staying.clone().count();
        if self.held.len() - all >= MAX_LEAVING {
            return Room::NotBefore { ms: now_ms + MIN_STAY_MS };
        }
        if caller.share == Share::Limited {
            let sources = staying.map(|held| held.caller.source);
            let of_site: Vec<Source> =
                sources.filter(|source| source.shares_site(&caller.source)).collect();
            let of_subnet = of_site.iter().filter(|source| **source == caller.source).count();
            let site_is_full = of_site.len() >= self.limits.site;
            if of_subnet >= self.limits.subnet || site_is_full {
                let among = |other: &Source| {
                    other.shares_site(&caller.source) && (site_is_full || *other == caller.source)
                };
                return match self.give_way(Some(caller.source), now_ms, among) {
                    Ok(()) => Room::Now,
                    Err(Young { .. }) => Room::No,
                };
            }
        }
        if all < self.limits.all {
            return Room::Now;
        }
        match self.give_way(Some(caller.source), now_ms, |_| true) {
            Ok(()) => Room::Now,
            Err(Young { until_ms }) => Room::NotBefore { ms: until_ms },
        }
    }

    /// Has one connection give way, so that its file is free, unless one is about to.
    pub(super) fn free_one(&mut self, now_ms: u64) -> Result<(), Young> {
        self.forget_ended();
        if self.held.iter().any(|held| held.is_leaving) {
            return Ok(());
        }
        self.give_way(None, now_ms, |_| true)
    }

    /// The site that holds most loses first, in it the subnet that holds most, and of that the
    /// oldest connection, whatever it does: one that asks without end would else never give way.
    /// So an address that fills the house closes its own connections, and a peer that holds one is
    /// the last to lose it. The caller counts as if it were inside already.
    fn give_way(
        &mut self,
        caller: Option<Source>,
        now_ms: u64,
        among: impl Fn(&Source) -> bool,
    ) -> Result<(), Young> {
        let staying = self.held.iter().enumerate().filter(|(_, held)| !held.is_leaving);
        let mut present: Vec<Present> = staying
            .filter(|(_, held)| among(&held.caller.source))
            .map(|(index, held)| (held.caller.source, held.came_ms, Some(index)))
            .chain(caller.map(|source| (source, now_ms, None)))
            .collect();
        present.sort_unstable();
        let sites = present.chunk_by(|a, b| a.0.shares_site(&b.0));
        // Of equally many, the one whose oldest came first.
        let heaviest = |group: &&[Present]| {
            let oldest = group.iter().map(|(_, came, _)| *came).min();
            (group.len(), Reverse(oldest))
        };
        let site = sites.max_by_key(heaviest).unwrap_or_default();
        let subnet = site.chunk_by(|a, b| a.0 == b.0).max_by_key(heaviest).unwrap_or_default();
        // Sorted by time within a subnet. The caller alone has no index, and is the youngest.
        let Some(&(_, came_ms, Some(index))) = subnet.first() else {
            return Err(Young { until_ms: now_ms + MIN_STAY_MS });
        };
        if now_ms < came_ms + MIN_STAY_MS {
            return Err(Young { until_ms: came_ms + MIN_STAY_MS });
        }
        let chosen = &mut self.held[index];
        chosen.is_leaving = true;
        chosen.shared.gives_way.notify_one();
        Ok(())
    }

    fn forget_ended(&mut self) {
        self.held.retain(|held| !held.shared.has_ended.load(Ordering::Acquire));
    }
}

#[cfg(test)]
mod tests;
