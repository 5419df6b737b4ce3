//! From a channel's changes to its subscribers' simulated sockets.

use herenow_core::{Command, Flush, Op, Owed, Part, Phase, Snapshot};
use herenow_wire::ChannelName;
use herenow_wire::encode::{self, Gone, Position, Row};

use super::event_loop::{Delivery, Loop, Mail};
use super::outbox::Outbox;
use crate::network::{Down, LinkId};
use crate::stage::{Bug, Stage};

impl Loop {
    pub(super) fn flush_channels(&mut self, stage: &mut Stage) {
        while let Some(channel) = self.shards.next_due(stage.now) {
            let mut flush = Flush::default();
            self.shards.flush(&channel, stage.now, &mut flush);
            self.settle(stage);
            stage.history.flushed(&channel, &flush);
            self.tell(channel, flush, stage);
        }
    }

    fn tell(&mut self, channel: ChannelName, flush: Flush, stage: &mut Stage) {
        if flush.to.is_empty() {
            return;
        }
        let (mut deltas, mut snapshot) = (Vec::new(), Vec::new());
        for op in &flush.ops {
            encode_op(&mut deltas, &channel, op);
        }
        if let Some(whole) = &flush.snapshot {
            encode_snapshot(&mut snapshot, &channel, whole);
        }
        let changes = flush.ops.len() + flush.merged;
        let whole = Delivery { channel, changes, deltas, snapshot, owed: Owed::Nobody };
        for receiver in flush.to {
            let delivery = Delivery { owed: receiver.owed, ..whole.clone() };
            if receiver.peer == self.me {
                self.deliver(&delivery, stage);
            } else {
                self.outgoing[usize::from(receiver.peer.0)].push(Mail::Delivery(delivery));
            }
        }
    }

    /// Writes deltas or snapshot to every subscriber here, each as it is owed.
    pub(super) fn deliver(&mut self, delivery: &Delivery, stage: &mut Stage) {
        let Delivery { channel, changes, deltas, snapshot, owed } = delivery;
        let mut recipients = Vec::new();
        for subscriber in self.audience.subscribers(channel) {
            let owed = misjudged(*owed, subscriber.phase, stage);
            let part = match (subscriber.take(owed), stage.bug) {
                (None, Some(Bug::DeltasBeforeSnapshot)) => Some(Part::Deltas),
                (part, _) => part,
            };
            recipients.extend(part.map(|part| (subscriber.slot, part)));
        }
        self.pace.record((*changes).max(1) * recipients.len(), stage.now);
        for (slot, part) in recipients {
            let bytes = match part {
                Part::Deltas => deltas,
                Part::Snapshot => snapshot,
            };
            if !bytes.is_empty() {
                self.send_flush(slot, bytes, channel, stage);
            }
        }
    }

    fn send_flush(&mut self, slot: u32, bytes: &[u8], channel: &ChannelName, stage: &mut Stage) {
        let Some(connection) = self.connection(slot).filter(|one| one.is_open()) else { return };
        let is_at_rest = connection.outbox.is_at_rest();
        if !connection.replies.is_empty() {
            connection.outbox.push_reply(std::mem::take(&mut connection.replies));
        }
        let max_bytes = match stage.bug {
            Some(Bug::OutboxUnbounded) => usize::MAX,
            _ => stage.plan.outbox_bytes,
        };
        let dropped = connection.outbox.push_flush(bytes, channel, max_bytes);
        if is_at_rest {
            write(connection.link, &mut connection.outbox, stage);
        }
        let waiting = connection.outbox.flush_bytes();
        let largest = stage.largest_flush.max(bytes.len());
        stage.largest_flush = largest;
        // One piece is let in however large, and a begun one is never dropped.
        let most = stage.plan.outbox_bytes.max(largest) + largest;
        assert!(waiting <= most, "{waiting} bytes wait for a slow reader, {most} may");
        if dropped.is_empty() || stage.bug == Some(Bug::LagForgotten) {
            return;
        }
        stage.tally.lags += 1;
        for channel in &dropped {
            self.audience.lag(channel, slot);
        }
    }

    pub(super) fn send_replies(&mut self, stage: &mut Stage) {
        for slot in self.slots() {
            let Some(connection) = self.connection(slot) else { continue };
            let is_at_rest = connection.outbox.is_at_rest();
            if !connection.replies.is_empty() {
                connection.outbox.push_reply(std::mem::take(&mut connection.replies));
                if is_at_rest {
                    write(connection.link, &mut connection.outbox, stage);
                }
            }
        }
    }

    /// The socket takes bytes again.
    pub(super) fn drain(&mut self, slot: u32, stage: &mut Stage) {
        let Some(connection) = self.connection(slot) else { return };
        if connection.outbox.is_at_rest() {
            return;
        }
        write(connection.link, &mut connection.outbox, stage);
        if connection.outbox.is_written() {
            for channel in connection.outbox.take_lagging() {
                let peer = self.me;
                if let Some(ask) = self.audience.catch_up(&channel, slot) {
                    let wish = Command::Subscribe { channel, peer, ask };
                    self.command(wish, stage);
                }
            }
            self.settle(stage);
        }
    }
}

/// Writes what there is room for in the kernels between here and the reader.
fn write(link: LinkId, outbox: &mut Outbox, stage: &mut Stage) {
    let untaken = &mut stage.network.link(link).untaken_bytes;
    let written = outbox.write(stage.plan.window_bytes.saturating_sub(*untaken));
    *untaken += written.len();
    if !written.is_empty() {
        stage.send_down(link, Down::Bytes(written));
    }
}

/// What a loop makes of whom a snapshot is for.
fn misjudged(owed: Owed, phase: Phase, stage: &Stage) -> Owed {
    match (owed, phase, stage.bug) {
        (Owed::UpTo(_), Phase::Asked(mine), Some(Bug::AnyAnswerWillDo)) => Owed::UpTo(mine),
        _ => owed,
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
