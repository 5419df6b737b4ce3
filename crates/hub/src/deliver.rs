//! From a channel's changes to its subscribers' sockets: encoded once, written once to each. What
//! goes to very many is written in parts, turn by turn, so that the rest of the loop goes on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use herenow_core::{Cause, Flush, Instant, Part, SnapshotFor};
use herenow_wire::{ChannelName, Incoming, Refusal};

use crate::api::Io;
use crate::connection::{self, Sent};
use crate::frames;
use crate::held::LARGE_BYTES;
use crate::mail::{Delivery, Mail};
use crate::send_queue::Shared;
use crate::work::Work;

/// Buffers that are used again from flush to flush.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    deltas: Vec<u8>,
    snapshot: Vec<u8>,
    recipients: Vec<Recipient>,
    pub(crate) decoded: Vec<Result<Incoming, Refusal>>,
    pub(crate) dropped: Vec<(u32, Vec<ChannelName>)>,
    /// Who was not sent a part of this delivery, and why.
    unsent: Vec<(u32, Unsent)>,
}

/// The deliveries that are written in parts, and the channels whose next flush waits for them: a
/// channel's flushes reach every subscriber in order.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    running: VecDeque<Running>,
    /// Each with since when its changes have waited.
    postponed: BTreeMap<ChannelName, Instant>,
}

/// A delivery of which some is written.
#[derive(Debug)]
struct Running {
    delivery: Delivery,
    /// Who is still to get it, in reverse; `None` before its first part.
    recipients: Option<Vec<Recipient>>,
    /// Those of them that are not to get it any more. Taken out part by part: to look for each among
    /// all would cost the square of them when very many lag.
    forgotten: BTreeSet<u32>,
}

/// A subscriber, and the part of a delivery that it gets.
#[derive(Debug, Clone, Copy)]
struct Recipient {
    slot: u32,
    part: Part,
}

/// Why a subscriber was not sent its part, though its socket is sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsent {
    /// It has yet to take what it was sent before: no snapshot waits behind that.
    Slow,
    /// Slow sockets hold as many large pieces as they may.
    NoRoom,
}

/// Buffers above this are given back after the turn.
const KEPT_BYTES: usize = 1 << 20;
/// Bytes of snapshots encoded in one turn, and one snapshot more: some milliseconds' worth. The
/// channels behind it are flushed in the next turn.
const SNAPSHOT_BYTES_PER_TURN: usize = 1 << 20;

impl Deliveries {
    /// Whether something is left to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether a flush of the channel waits.
    pub(crate) fn is_postponed(&self, channel: &ChannelName) -> bool {
        self.postponed.contains_key(channel)
    }

    /// How many channels have a flush that waits.
    pub(crate) fn postponed(&self) -> usize {
        self.postponed.len()
    }

    /// How many subscribers are still to be written to.
    pub(crate) fn recipients(&self) -> usize {
        self.running.iter().map(Running::left).sum()
    }

    /// The connection is no subscriber any more, or has lost what came before: it gets no more of
    /// what runs. Only the first has recipients.
    pub(crate) fn forget(&mut self, channel: &ChannelName, slot: u32) {
        let first = self.running.front_mut().filter(|first| first.delivery.channel == *channel);
        if let Some(Running { recipients: Some(_), forgotten, .. }) = first {
            forgotten.insert(slot);
        }
    }

    fn has(&self, channel: &ChannelName) -> bool {
        self.running.iter().any(|running| running.delivery.channel == *channel)
    }
}

impl Running {
    fn left(&self) -> usize {
        let recipients = self.recipients.iter().flatten();
        recipients.filter(|recipient| !self.forgotten.contains(&recipient.slot)).count()
    }
}

impl<I: Io> Work<'_, I> {
    /// Flushes every channel that is due, and writes on what runs.
    pub(crate) fn flush_channels(&mut self) {
        let mut flush = std::mem::take(&mut self.hub.flush);
        let mut snapshot_bytes = 0;
        while snapshot_bytes < SNAPSHOT_BYTES_PER_TURN
            && let Some((channel, since)) = self.hub.shards.next_due(self.now)
        {
            if self.hub.deliveries.has(&channel) {
                self.hub.deliveries.postponed.insert(channel, since);
                continue;
            }
            self.hub.shards.flush(&channel, self.now, &mut flush);
            self.hub.shards.flush_to_nodes(&channel, &mut flush);
            self.announce(&channel, &flush);
            self.note_count(&channel, &flush);
            self.publish(&channel, &flush, since);
            if flush.snapshot.is_some() {
                snapshot_bytes += self.hub.scratch.snapshot.len();
            }
        }
        flush.snapshot = None;
        self.hub.flush = flush;
        self.continue_deliveries();
        for buffer in [&mut self.hub.scratch.deltas, &mut self.hub.scratch.snapshot] {
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
    }

    /// Encodes a flush, whose changes have waited since `since`, and hands it to everybody who is to
    /// have it.
    fn publish(&mut self, channel: &ChannelName, flush: &Flush, since: Instant) {
        if flush.to.is_empty() {
            return;
        }
        self.hub.counters.flushes += 1;
        self.hub.flush_waits.observe(self.now.as_micros() - since.as_micros());
        self.hub.counters.updates_merged += flush.merged;
        let mut deltas = std::mem::take(&mut self.hub.scratch.deltas);
        let mut snapshot = std::mem::take(&mut self.hub.scratch.snapshot);
        deltas.clear();
        snapshot.clear();
        frames::encode_deltas(&mut deltas, channel, flush);
        let at = flush.snapshot.as_ref().map(frames::position);
        let known = at.and_then(|at| self.hub.held.snapshot(channel, at));
        if let (Some(whole), None) = (&flush.snapshot, &known) {
            frames::encode_snapshot(&mut snapshot, channel, whole);
        }
        let mut shared = (
            Shared::new(&deltas),
            known.as_ref().map_or_else(|| Shared::new(&snapshot), Shared::of),
        );
        let changes = flush.ops.len() + flush.merged;
        for receiver in &flush.to {
            let is_here = receiver.peer == self.hub.config.me;
            if is_here && self.hub.audience.count(channel) <= self.hub.config.writes_per_turn {
                self.deliver_at_once(channel, &mut shared, receiver.snapshot_for, changes);
                continue;
            }
            let delivery = Delivery {
                channel: channel.clone(),
                changes,
                deltas: shared.0.share(),
                snapshot: shared.1.share(),
                snapshot_for: receiver.snapshot_for,
            };
            if is_here {
                self.begin(delivery);
            } else {
                self.hub.counters.flushes_forwarded += 1;
                self.hub.outgoing.push(receiver.peer, Mail::Delivery(delivery));
            }
        }
        if let (Some(at), None, Some(snapshot)) = (at, &known, shared.1.shared()) {
            self.hub.held.note_snapshot(channel, at, snapshot);
        }
        self.hub.scratch.deltas = deltas;
        self.hub.scratch.snapshot = snapshot;
    }

    /// Hands another hub's flush to this hub's subscribers.
    pub(crate) fn deliver_forwarded(&mut self, delivery: Delivery) {
        let channel = &delivery.channel;
        let is_small = self.hub.audience.count(channel) <= self.hub.config.writes_per_turn;
        if is_small && !self.hub.deliveries.has(channel) {
            let mut shared = (Shared::of(&delivery.deltas), Shared::of(&delivery.snapshot));
            self.deliver_at_once(channel, &mut shared, delivery.snapshot_for, delivery.changes);
        } else {
            self.begin(delivery);
        }
    }

    /// Writes deltas or snapshot to every subscriber here.
    fn deliver_at_once<'a>(
        &mut self,
        channel: &ChannelName,
        shared: &mut (Shared<'a>, Shared<'a>),
        snapshot_for: SnapshotFor,
        changes: usize,
    ) {
        let mut recipients = std::mem::take(&mut self.hub.scratch.recipients);
        recipients.clear();
        self.collect(channel, snapshot_for, &mut recipients);
        self.hub.pace.record(changes.max(1) * recipients.len(), self.now);
        self.write_to(channel, shared, &recipients);
        self.hub.scratch.recipients = recipients;
    }

    /// Takes a delivery up that is to be written in parts.
    fn begin(&mut self, delivery: Delivery) {
        self.hub.deliveries.running.push_back(Running {
            delivery,
            recipients: None,
            forgotten: BTreeSet::new(),
        });
    }

    /// Writes a part of what runs.
    fn continue_deliveries(&mut self) {
        let mut left = self.hub.config.writes_per_turn;
        while left > 0 {
            let Some(first) = self.hub.deliveries.running.pop_front() else { return };
            let Running { delivery, recipients, forgotten } = first;
            let mut recipients = recipients.unwrap_or_else(|| {
                let mut recipients = Vec::new();
                self.collect(&delivery.channel, delivery.snapshot_for, &mut recipients);
                self.hub.pace.record(delivery.changes.max(1) * recipients.len(), self.now);
                recipients
            });
            let mut part = recipients.split_off(recipients.len().saturating_sub(left));
            left -= part.len();
            part.retain(|recipient| !forgotten.contains(&recipient.slot));
            let mut shared = (Shared::of(&delivery.deltas), Shared::of(&delivery.snapshot));
            // Back in its place first: a write may show that a subscriber lags, which is then
            // to be taken off what is left.
            let channel = delivery.channel.clone();
            let is_done = recipients.is_empty();
            if !is_done {
                let delivery = delivery.clone();
                let rest = Running { delivery, recipients: Some(recipients), forgotten };
                self.hub.deliveries.running.push_front(rest);
            }
            self.write_to(&channel, &mut shared, &part);
            if is_done {
                self.plan_postponed(&channel);
            }
        }
    }

    /// The flush that waited for a delivery of its channel to end is due.
    fn plan_postponed(&mut self, channel: &ChannelName) {
        if let Some((channel, since)) = self.hub.deliveries.postponed.remove_entry(channel) {
            self.hub.shards.plan(channel, self.now, since);
        }
    }

    /// Who here gets which part of a flush. Who gets the snapshot is up to date from then on.
    fn collect(
        &mut self,
        channel: &ChannelName,
        snapshot_for: SnapshotFor,
        out: &mut Vec<Recipient>,
    ) {
        self.hub.audience.subscribers(channel).for_each(|subscriber| {
            let slot = subscriber.slot;
            out.extend(subscriber.take(snapshot_for).map(|part| Recipient { slot, part }));
        });
    }

    fn write_to<'a>(
        &mut self,
        channel: &ChannelName,
        (deltas, snapshot): &mut (Shared<'a>, Shared<'a>),
        recipients: &[Recipient],
    ) {
        let send_queue_bytes = self.hub.config.send_queue_bytes;
        let mut writes = 0;
        let mut bytes_out = 0;
        for Recipient { slot, part: kind } in recipients {
            let Some(connection) = self.hub.connections.get_mut(*slot) else { continue };
            let part = match kind {
                Part::Deltas => &mut *deltas,
                Part::Snapshot => &mut *snapshot,
            };
            if part.bytes().is_empty() || !connection.is_open() {
                continue;
            }
            let is_slow = connection.has_send_queue();
            if is_slow && *kind == Part::Snapshot {
                self.hub.scratch.unsent.push((*slot, Unsent::Slow));
                continue;
            }
            let is_large = part.bytes().len() > LARGE_BYTES && !is_slow;
            if is_large && !self.hub.held.admits(part.shared()) {
                self.hub.scratch.unsent.push((*slot, Unsent::NoRoom));
                continue;
            }
            let replies = self.hub.replies.of(connection.reply);
            bytes_out += replies.len() + part.bytes().len();
            writes += 1;
            let piece = connection::Part { shared: part, channel, send_queue_bytes };
            match connection.send_flush(*slot, replies, piece, self.io) {
                Sent::Ok => {
                    if let Some(piece) =
                        part.shared().filter(|_| is_large && connection.has_send_queue())
                    {
                        self.hub.held.begin(*slot, piece, self.now);
                    }
                    if *kind == Part::Snapshot {
                        let bytes = part.bytes().len();
                        self.hub.snapshot_requests.answered(*slot, channel, bytes, self.now);
                    }
                }
                Sent::Dropped(channels) => self.hub.scratch.dropped.push((*slot, channels)),
                Sent::Broken => self.hub.broken.push(*slot),
            }
            self.hub.replies.clear_of(connection.reply);
        }
        self.hub.counters.writes += writes;
        self.hub.counters.bytes_out += bytes_out;
        self.lag_dropped();
        self.lag_unsent(channel, snapshot.bytes().len());
    }

    /// A subscriber that was not sent its part gets a snapshot once its socket has drained or there
    /// is room.
    fn lag_unsent(&mut self, channel: &ChannelName, snapshot_bytes: usize) {
        while let Some((slot, why)) = self.hub.scratch.unsent.pop() {
            self.lag(channel, slot);
            if why == Unsent::NoRoom {
                self.hub.snapshot_requests.spend(slot, snapshot_bytes, self.now);
                self.hub.held.wait(slot);
            }
        }
    }

    fn lag(&mut self, channel: &ChannelName, slot: u32) {
        self.hub.counters.resyncs.slow += 1;
        self.hub.audience.lag(channel, slot);
        self.hub.deliveries.forget(channel, slot);
        self.hub.snapshot_requests.wait(slot, channel, Cause::Subscription, self.now);
    }

    /// Who has lost what waited for it gets nothing more of those channels before its socket has
    /// drained.
    pub(crate) fn lag_dropped(&mut self) {
        while let Some((slot, channels)) = self.hub.scratch.dropped.pop() {
            self.hub.counters.slow_subscriber_drops += 1;
            for channel in &channels {
                self.lag(channel, slot);
            }
        }
    }
}
