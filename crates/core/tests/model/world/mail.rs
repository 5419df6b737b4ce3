//! What goes between the peers and the shard.

use herenow_core::{Command, Effect, Flush, Part};

use super::{Mail, OWNER, PEERS, World, peer_of};
use crate::client::Frame;

impl World {
    pub fn carry_to_shard(&mut self, of: usize, some: usize) {
        for _ in 0..some {
            let Some(command) = self.peers[of % PEERS].to_shard.pop_front() else { return };
            if let Command::Recover { channel, .. } = &command {
                self.nobody_expects_itself_in(channel);
            }
            self.truth.command(&command, self.now);
            let mut out = Vec::new();
            self.shard.handle(command, self.now, &mut out);
            self.settle(out);
        }
    }

    pub(super) fn settle(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dirty { channel, .. } => {
                    self.dirty.insert(channel);
                }
                Effect::FlushNow { channel, .. } => {
                    assert!(self.dirty.contains(&channel), "it has pending changes");
                }
                // A client that has not subscribed yet as far as the shard knows is told as well.
                Effect::Resync { channel, .. } => {
                    for one in &mut self.peers {
                        one.from_shard.push_back(Mail::Resync(channel.clone()));
                    }
                }
                Effect::Hibernated { .. } => {}
                Effect::Answer { .. } => unreachable!("no ref was given and no channel is full"),
            }
        }
    }

    pub fn flush_one(&mut self, of: usize) {
        let due = self.dirty.iter().nth(of % self.dirty.len().max(1)).cloned();
        let Some(channel) = due else { return };
        self.dirty.remove(&channel);
        let mut flush = Flush::default();
        self.shard.flush(&channel, self.now, &mut flush);
        if flush.to.is_empty() {
            return;
        }
        let rows = self.truth.rows(&channel).expect("a map that is not known is not told of");
        let point = (channel.clone(), flush.epoch, flush.seq);
        let known = self.seen.entry(point).or_insert_with(|| rows.clone());
        assert_eq!(*known, rows, "an epoch and a seq name one list");
        for receiver in &flush.to {
            let (flush, rows) = (flush.clone(), rows.clone());
            let delivery = Mail::Delivery(channel.clone(), flush, receiver.snapshot_for, rows);
            self.peers[usize::from(receiver.peer.0)].from_shard.push_back(delivery);
        }
    }

    pub fn carry_to_peer(&mut self, of: usize, some: usize) {
        let of = of % PEERS;
        for _ in 0..some {
            let Some(mail) = self.peers[of].from_shard.pop_front() else { return };
            self.take_in(of, mail);
        }
    }

    fn take_in(&mut self, of: usize, mail: Mail) {
        match mail {
            Mail::ShardLost => self.report(of),
            Mail::Resync(channel) => {
                for subscriber in self.peers[of].audience.subscribers(&channel) {
                    let client = &mut self.people[subscriber.slot as usize].client;
                    client.inbox.push_back(Frame::Resync(channel.clone()));
                }
            }
            Mail::Delivery(channel, flush, snapshot_for, rows) => {
                for subscriber in self.peers[of].audience.subscribers(&channel) {
                    let inbox = &mut self.people[subscriber.slot as usize].client.inbox;
                    match subscriber.take(snapshot_for) {
                        None => continue,
                        Some(Part::Deltas) => inbox.extend(
                            flush.ops.iter().map(|op| Frame::Delta(channel.clone(), op.clone())),
                        ),
                        Some(Part::Snapshot) => {
                            let snapshot = flush.snapshot.clone().expect("a receiver is owed it");
                            inbox.push_back(Frame::Snapshot(channel.clone(), snapshot));
                        }
                    }
                    inbox.push_back(Frame::Check(channel.clone(), rows.clone()));
                }
            }
        }
    }

    /// What a peer knows of the maps that were lost.
    fn report(&mut self, of: usize) {
        for channel in self.names.clone() {
            let peer = &mut self.peers[of];
            if peer.audience.count(&channel) == 0 {
                continue;
            }
            let tracker = |slot: u32| {
                let one = &self.people[slot as usize];
                one.channels.get(&channel)?.as_ref().map(|_| (one.connection, OWNER))
            };
            let of = (channel.clone(), peer_of(of));
            let recover = Command::recover(of, &mut peer.audience, tracker);
            peer.to_shard.push_back(recover);
        }
    }
}
