//! From a channel's changes to its subscribers' sockets: encoded once, written once to each.

use std::sync::Arc;

use herenow_core::{Flush, Op, Owed, Part, Snapshot};
use herenow_wire::encode::{self, Gone, Position, Row};
use herenow_wire::{ChannelName, Incoming, Refusal};

use super::EventLoop;
use super::connection::Sent;
use super::mail::{Delivery, Mail};
use super::outbox::Shared;

/// Buffers that are used again from flush to flush.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    deltas: Vec<u8>,
    snapshot: Vec<u8>,
    pub(super) decoded: Vec<Result<Incoming, Refusal>>,
    dropped: Vec<(u32, Vec<ChannelName>)>,
}

/// Buffers above this are given back after the turn.
const KEPT_BYTES: usize = 1 << 20;

impl EventLoop {
    /// Flushes every channel that is due.
    pub(super) fn flush_channels(&mut self) {
        let mut flush = std::mem::take(&mut self.flush);
        while let Some(channel) = self.shards.next_due(self.now, &mut flush) {
            self.tell(&channel, &flush);
        }
        flush.snapshot = None;
        self.flush = flush;
        for buffer in [&mut self.scratch.deltas, &mut self.scratch.snapshot] {
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
    }

    /// Encodes a flush and hands it to everybody who is to have it.
    fn tell(&mut self, channel: &ChannelName, flush: &Flush) {
        if flush.to.is_empty() {
            return;
        }
        self.metrics.flushes.add(1);
        self.metrics.updates_merged.add(flush.merged);
        let mut deltas = std::mem::take(&mut self.scratch.deltas);
        let mut snapshot = std::mem::take(&mut self.scratch.snapshot);
        deltas.clear();
        snapshot.clear();
        for op in &flush.ops {
            encode_op(&mut deltas, channel, op);
        }
        if let Some(whole) = &flush.snapshot {
            encode_snapshot(&mut snapshot, channel, whole);
        }
        let mut shared = (Shared::new(&deltas), Shared::new(&snapshot));
        for receiver in &flush.to {
            if receiver.peer == self.me {
                self.deliver(channel, &mut shared, receiver.owed, flush.ops.len());
            }
        }
        self.tell_other_loops(channel, flush, &deltas, &snapshot);
        self.scratch.deltas = deltas;
        self.scratch.snapshot = snapshot;
    }

    fn tell_other_loops(
        &mut self,
        channel: &ChannelName,
        flush: &Flush,
        deltas: &[u8],
        snapshot: &[u8],
    ) {
        let mut others = flush.to.iter().filter(|receiver| receiver.peer != self.me).peekable();
        if others.peek().is_none() {
            return;
        }
        let (deltas, snapshot): (Arc<[u8]>, Arc<[u8]>) = (deltas.into(), snapshot.into());
        for receiver in others {
            self.outgoing[usize::from(receiver.peer.0)].push(Mail::Delivery(Delivery {
                channel: channel.clone(),
                changes: flush.ops.len(),
                deltas: deltas.clone(),
                snapshot: snapshot.clone(),
                owed: receiver.owed,
            }));
        }
    }

    /// Hands another loop's flush to this loop's subscribers.
    pub(super) fn deliver_from_afar(&mut self, delivery: &Delivery) {
        let mut shared = (Shared::of(&delivery.deltas), Shared::of(&delivery.snapshot));
        self.deliver(&delivery.channel, &mut shared, delivery.owed, delivery.changes);
    }

    /// Writes deltas or snapshot to every subscriber here, each as it is owed.
    fn deliver<'a>(
        &mut self,
        channel: &ChannelName,
        (deltas, snapshot): &mut (Shared<'a>, Shared<'a>),
        owed: Owed,
        changes: usize,
    ) {
        let max_outbox_bytes = self.settings.outbox_bytes;
        let mut deliveries = 0;
        let mut bytes_out = 0;
        for subscriber in self.audience.subscribers(channel) {
            let part = match subscriber.take(owed) {
                None => continue,
                Some(Part::Deltas) => &mut *deltas,
                Some(Part::Snapshot) => &mut *snapshot,
            };
            let slot = subscriber.slot;
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            if part.bytes().is_empty() || !connection.is_open() {
                continue;
            }
            let replies = self.replies.of(connection);
            bytes_out += replies.len() + part.bytes().len();
            deliveries += changes.max(1);
            match connection.send_flush(replies, part, channel, max_outbox_bytes) {
                Sent::Fine => {}
                Sent::Dropped(channels) => self.scratch.dropped.push((slot, channels)),
                Sent::Broken => self.broken.push(slot),
            }
            self.replies.clear_of(connection);
        }
        self.metrics.frames_out.add(deliveries);
        self.metrics.bytes_out.add(bytes_out);
        self.pace.record(deliveries, self.now);
        while let Some((slot, channels)) = self.scratch.dropped.pop() {
            self.metrics.slow_subscriber_drops.add(1);
            for channel in &channels {
                self.audience.lag(channel, slot);
            }
        }
    }
}

fn encode_op(out: &mut Vec<u8>, channel: &ChannelName, op: &Op) {
    match op {
        Op::Put { was, is } => {
            let row = Row { user: &is.user, connection: is.connection, state: &is.state };
            match was {
                None => encode::join(out, channel, is.seq, row),
                Some(_) => encode::update(out, channel, is.seq, row),
            }
        }
        Op::Remove { was, reason, seq } => {
            let gone = Gone { user: &was.user, connection: was.connection, reason: *reason };
            encode::leave(out, channel, *seq, gone);
        }
    }
}

fn encode_snapshot(out: &mut Vec<u8>, channel: &ChannelName, snapshot: &Snapshot) {
    let position = Position { epoch: snapshot.epoch, seq: snapshot.seq };
    let rows = snapshot.entries.iter().map(|entry| Row {
        user: &entry.user,
        connection: entry.connection,
        state: &entry.state,
    });
    encode::sync(out, channel, position, rows);
}
