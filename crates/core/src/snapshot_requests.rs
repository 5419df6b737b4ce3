//! When the connections of one loop may request the snapshots that they wait for. A snapshot may be
//! a thousand times as long as the request for it, so each connection has a budget, by channel and
//! by bytes. What exceeds it waits; nothing is refused. Knows slots, channels and sizes; refuses to
//! know sockets and subscriptions.
//!
//! A connection stands here only while it waits, is answered, or has used its budget of late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use herenow_wire::ChannelName;

use crate::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub struct SnapshotRequests {
    by_slot: BTreeMap<u32, Requests>,
    /// Slots that may have something to ask for now.
    ready: Vec<u32>,
    /// When slots have something to ask for that their budget holds back.
    due: BTreeSet<(Instant, u32)>,
}

/// Why a connection needs a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It subscribes, or has lost what it was to be sent.
    Subscription,
    /// It asks once more for what it has.
    Repetition,
}

/// When a snapshot is to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Now.
    Now,
    /// When [`SnapshotRequests::next`] says so.
    Later,
}

/// What one connection asks for.
#[derive(Debug, Default)]
struct Requests {
    /// Requested and not answered.
    in_flight: [Option<ChannelName>; MAX_IN_FLIGHT],
    /// Not requested yet, each channel once.
    waiting: VecDeque<ChannelName>,
    /// When each channel's budget is whole again, for those that have used theirs of late.
    recent: Vec<(ChannelName, Instant)>,
    /// When the budget of bytes is whole again.
    whole_at: Instant,
    due: Option<Instant>,
}

/// Snapshots of one connection that are in flight at once. Their sizes are not known before they
/// come, so few enough that all of them may be large.
const MAX_IN_FLIGHT: usize = 4;
/// How often a connection gets a snapshot of one channel in the long run.
const PER_CHANNEL: Duration = Duration::from_secs(1);
/// How many of one channel it may repeat at once.
const REPEATED_AT_ONCE: u32 = 3;
/// Bytes of snapshots that one connection gets per second in the long run.
const BYTES_PER_SECOND: u64 = 8 << 20;
/// For how many seconds' worth of bytes it may be ahead.
const BURST: Duration = Duration::from_secs(2);
/// Snapshots up to this size take nothing of the budget of bytes: the rate of messages bounds them.
const FREE_BYTES: usize = 16 * 1024;
/// Channels of one connection whose budgets are remembered.
const MAX_RECENT: usize = 256;

impl SnapshotRequests {
    /// The connection needs a snapshot and its socket can take it.
    pub fn request(
        &mut self,
        slot: u32,
        channel: &ChannelName,
        cause: Cause,
        now: Instant,
    ) -> When {
        let requests = self.by_slot.entry(slot).or_default();
        let is_first = requests.waiting.is_empty();
        requests.charge(channel, cause, now);
        if is_first && requests.allowed_at(channel) <= now && requests.start(channel) {
            return When::Now;
        }
        requests.wait(channel);
        self.ready.push(slot);
        When::Later
    }

    /// The connection needs a snapshot that its socket cannot take now. A request in flight for a new
    /// subscription is of no use any more.
    pub fn wait(&mut self, slot: u32, channel: &ChannelName, cause: Cause, now: Instant) {
        let requests = self.by_slot.entry(slot).or_default();
        if cause == Cause::Subscription {
            requests.forget_in_flight(channel);
        }
        requests.charge(channel, cause, now);
        requests.wait(channel);
    }

    /// The connection's socket may take more.
    pub fn wake(&mut self, slot: u32) {
        if self.by_slot.contains_key(&slot) {
            self.ready.push(slot);
        }
    }

    /// Whether some connection may have something to ask for now.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When a budget lets something through that it holds back now.
    pub fn poll_timeout(&self) -> Instant {
        self.due.first().map_or(Instant::NEVER, |(at, _)| *at)
    }

    /// Moves the slots for which [`SnapshotRequests::next`] is to be called into `out`.
    pub fn take_ready(&mut self, now: Instant, out: &mut Vec<u32>) {
        while let Some((at, slot)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, slot));
            if let Some(requests) = self.by_slot.get_mut(&slot) {
                requests.due = None;
            }
            self.ready.push(slot);
        }
        self.ready.sort_unstable();
        self.ready.dedup();
        out.append(&mut self.ready);
    }

    /// The channel whose snapshot the connection, whose socket takes bytes, asks for now.
    pub fn next(&mut self, slot: u32, now: Instant) -> Option<ChannelName> {
        let requests = self.by_slot.get_mut(&slot)?;
        let times = requests.waiting.iter().map(|channel| requests.allowed_at(channel));
        let (at, when) = times.enumerate().min_by_key(|(_, when)| (*when).max(now))?;
        if when > now {
            let before = requests.due.replace(when);
            if let Some(before) = before {
                self.due.remove(&(before, slot));
            }
            self.due.insert((when, slot));
            return None;
        }
        let channel = requests.waiting[at].clone();
        if !requests.start(&channel) {
            // The next answer wakes it.
            return None;
        }
        requests.waiting.remove(at);
        Some(channel)
    }

    /// The connection was sent a snapshot of so many bytes.
    pub fn answered(&mut self, slot: u32, channel: &ChannelName, bytes: usize, now: Instant) {
        let Some(requests) = self.by_slot.get_mut(&slot) else { return };
        requests.forget_in_flight(channel);
        requests.spend(bytes, now);
        if !requests.waiting.is_empty() {
            self.ready.push(slot);
        } else if requests.is_idle(now) {
            self.forget(slot);
        }
    }

    /// A snapshot of so many bytes was made for the connection, and not sent.
    pub fn spend(&mut self, slot: u32, bytes: usize, now: Instant) {
        if let Some(requests) = self.by_slot.get_mut(&slot) {
            requests.spend(bytes, now);
        }
    }

    /// The connection has unsubscribed. The snapshot of its next subscription counts as a
    /// repetition, or unsubscribing would buy a new one.
    pub fn ended(&mut self, slot: u32, channel: &ChannelName, now: Instant) {
        let requests = self.by_slot.entry(slot).or_default();
        // Unless its snapshot still waits: then it has had none.
        requests.charge(channel, Cause::Repetition, now);
        requests.forget_in_flight(channel);
        requests.waiting.retain(|waiting| waiting != channel);
        self.ready.push(slot);
    }

    /// The connection is gone.
    pub fn forget(&mut self, slot: u32) {
        if let Some(Requests { due: Some(at), .. }) = self.by_slot.remove(&slot) {
            self.due.remove(&(at, slot));
        }
    }

    /// Forgets the connections that wait for nothing and whose budgets are whole.
    pub fn sweep(&mut self, now: Instant) {
        self.by_slot.retain(|_, requests| !requests.is_idle(now));
    }

    /// How many connections stand here.
    pub fn len(&self) -> usize {
        self.by_slot.len()
    }

    /// Whether no connection stands here.
    pub fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }
}

impl Requests {
    fn wait(&mut self, channel: &ChannelName) {
        if !self.waiting.contains(channel) {
            self.waiting.push_back(channel.clone());
        }
    }

    /// False if as many as may be are in flight.
    fn start(&mut self, channel: &ChannelName) -> bool {
        let free = self.in_flight.iter_mut().find(|in_flight| in_flight.is_none());
        free.map(|free| *free = Some(channel.clone())).is_some()
    }

    fn forget_in_flight(&mut self, channel: &ChannelName) {
        for in_flight in &mut self.in_flight {
            if in_flight.as_ref() == Some(channel) {
                *in_flight = None;
            }
        }
    }

    /// Takes one out of the channel's budget, unless that has just been done for one that waits.
    fn charge(&mut self, channel: &ChannelName, cause: Cause, now: Instant) {
        if cause == Cause::Subscription || self.waiting.contains(channel) {
            return;
        }
        let most = now + PER_CHANNEL * (REPEATED_AT_ONCE + 1);
        if let Some((_, whole_at)) = self.recent.iter_mut().find(|(name, _)| name == channel) {
            // Never so far ahead that the next one waits for longer than the rate says.
            *whole_at = ((*whole_at).max(now) + PER_CHANNEL).min(most);
            return;
        }
        self.recent.retain(|(_, whole_at)| *whole_at > now);
        if self.recent.len() >= MAX_RECENT {
            let oldest = (0..self.recent.len()).min_by_key(|at| self.recent[*at].1);
            oldest.map(|at| self.recent.swap_remove(at));
        }
        self.recent.push((channel.clone(), now + PER_CHANNEL));
    }

    fn spend(&mut self, bytes: usize, now: Instant) {
        if bytes > FREE_BYTES {
            let micros = bytes as u64 * 1_000_000 / BYTES_PER_SECOND;
            self.whole_at = self.whole_at.max(now) + Duration::from_micros(micros);
        }
    }

    /// When both budgets let a snapshot of the channel through.
    fn allowed_at(&self, channel: &ChannelName) -> Instant {
        let by_channel = self.recent.iter().find(|(name, _)| name == channel);
        let by_channel = by_channel
            .map_or(Instant::default(), |(_, whole)| *whole - PER_CHANNEL * REPEATED_AT_ONCE);
        by_channel.max(self.whole_at - BURST)
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.waiting.is_empty()
            && self.in_flight.iter().all(Option::is_none)
            && self.whole_at <= now
            && self.recent.iter().all(|(_, whole_at)| *whole_at <= now)
    }
}
