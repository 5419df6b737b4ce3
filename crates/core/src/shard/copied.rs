//! The lists of a shard whose home is another node: they follow what that node says. Subscribers,
//! flushes and everybody who looks at a list notice no difference.

use herenow_wire::link::{Attachment, Change, Position, Row, Snap};
use herenow_wire::{ChannelName, ConnectionId};

use super::{Hibernating, Map, NextFlush, PeerSubscription, Shard, Slot};
use crate::change::Owner;
use crate::channel::{Channel, Followed, member};
use crate::collecting::{Collecting, owned_by};
use crate::command::{Connectivity, Effect, Peer, RequestId};
use crate::decision::Put;
use crate::since::Since;
use crate::time::Instant;

impl Shard {
    /// A shard whose lists are not known yet.
    pub(crate) fn unknown(&self) -> Self {
        Self::new(0).with_user_index(self.user_index)
    }

    /// Subscribes to a list, without a change to it. Whether the home is to be asked for it: it is the first
    /// subscription of this node, or the list hibernates.
    pub(crate) fn subscribe_to_copy(
        &mut self,
        name: &ChannelName,
        (peer, request_id): (Peer, RequestId),
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> bool {
        let is_unknown = self.expect_copy(name, (peer, request_id), now);
        self.request_copy(name, (peer, request_id), out);
        is_unknown
    }

    /// Subscribes to a list. A loop that has had no snapshot is sent nothing before
    /// [`Shard::request_copy`]. Whether the home is to be asked for the list.
    pub(crate) fn expect_copy(
        &mut self,
        name: &ChannelName,
        (peer, request_id): (Peer, RequestId),
        now: Instant,
    ) -> bool {
        if !self.channels.contains_key(name) {
            let slot = Self::slot(&mut self.channels, name, (0, 0), now);
            slot.map = Map::Hibernating(Hibernating::default());
        }
        let is_unknown = self.is_asleep(name);
        if is_unknown {
            self.expect_anew(name);
        }
        let slot = self.channels.get_mut(name).expect("it was made where it was missing");
        if !slot.peers.iter().any(|known| known.peer == peer) {
            slot.note(PeerSubscription { peer, request_id, next_flush: NextFlush::Nothing });
        }
        is_unknown
    }

    /// Requests a snapshot of a list for a loop that subscribes to it.
    pub(crate) fn request_copy(
        &mut self,
        name: &ChannelName,
        (peer, request_id): (Peer, RequestId),
        out: &mut Vec<Effect>,
    ) {
        let Some(slot) = self.channels.get_mut(name) else { return };
        let next_flush = NextFlush::RequestedSnapshot;
        slot.note(PeerSubscription { peer, request_id, next_flush });
        slot.announce(name, out);
    }

    /// Ends a subscription. Whether it was the last one of this node.
    pub(crate) fn unsubscribe_from_copy(&mut self, name: &ChannelName, peer: Peer) -> bool {
        let Some(slot) = self.channels.get_mut(name) else { return false };
        slot.peers.retain(|subscription| subscription.peer != peer);
        let is_last = slot.peers.is_empty();
        if is_last {
            self.free_copy(name);
        }
        is_last
    }

    /// Takes in the whole of a list, if it is newer and a loop of this node subscribes to it.
    pub(crate) fn follow_snapshot(&mut self, snap: Snap, now: Instant, out: &mut Vec<Effect>) {
        let name = snap.channel.clone();
        let Some(slot) = self.channels.get_mut(&name) else { return };
        let Position { epoch, seq } = snap.position;
        match &mut slot.map {
            Map::Live(channel) => {
                let (before, members) = (channel.epoch(), channel.len());
                let followed = channel.follow_snapshot(snap);
                if followed == Followed::Old {
                    return;
                }
                slot.flushed_seq = slot.flushed_seq.min(seq);
                slot.is_epoch_new |= before != epoch;
                self.members = self.members + channel.len() - members;
                if followed == Followed::Whole {
                    slot.send_whole();
                }
            }
            map => {
                let mut rows = snap.rows;
                rows.sort_unstable_by_key(|row| row.seq);
                let members = rows.into_iter().map(member);
                let channel = Channel::of_members((epoch, seq), members);
                self.members += channel.len();
                if matches!(map, Map::Collecting(_)) {
                    self.collecting -= 1;
                }
                *map = Map::Live(channel);
                slot.send_whole();
            }
        }
        slot.heard_at = Since::not_before(now);
        slot.announce(&name, out);
    }

    /// Takes in a change of a list. [`Followed::Gap`] where a snapshot is needed.
    pub(crate) fn follow_change(
        &mut self,
        change: Change,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Followed {
        let name = change.channel.clone();
        let Some(slot) = self.channels.get_mut(&name) else { return Followed::Old };
        let Map::Live(channel) = &mut slot.map else { return Followed::Gap };
        let members = channel.len();
        let followed = channel.follow_change(change);
        self.members = self.members + channel.len() - members;
        if followed == Followed::Newer {
            slot.heard_at = Since::not_before(now);
            slot.announce(&name, out);
        }
        followed
    }

    /// What the slots of a shard hold, for who takes its role over.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotView<'_>> {
        self.channels.iter().map(|(name, slot)| {
            let map = match &slot.map {
                Map::Live(channel) => Some(channel),
                Map::Hibernating(_) | Map::Collecting(_) => None,
            };
            SlotView { name, map, slot }
        })
    }

    /// The lists are another node's from here on: they stay as they are until it says something, for who
    /// subscribes here. Others go.
    pub(crate) fn become_copies(&mut self) {
        let names: Vec<ChannelName> = self.channels.keys().cloned().collect();
        for name in names {
            let slot = self.channels.get_mut(&name).expect("it was listed");
            slot.peers.retain(|subscription| subscription.peer.as_node().is_none());
            if slot.peers.is_empty() {
                self.free_copy(&name);
            } else if let Map::Collecting(_) = slot.map {
                slot.map = Map::Collecting(Box::new(Collecting::of_anybody(Instant::NEVER)));
            }
        }
    }

    /// The lists are this node's from here on, and are told to nobody before they are complete.
    pub(crate) fn begin_term(&mut self, epoch: u64) {
        (self.epoch, self.seq) = (epoch, 0);
    }

    /// A list as its home has put it together.
    pub(crate) fn adopt(&mut self, snap: Snap, now: Instant, out: &mut Vec<Effect>) {
        let name = snap.channel.clone();
        if !self.channels.contains_key(&name) {
            if snap.rows.is_empty() {
                return;
            }
            Self::slot(&mut self.channels, &name, (0, 0), now);
        }
        self.seq = self.seq.max(snap.position.seq);
        let is_detached = |row: &&Row| row.presence.attachment == Attachment::Detached;
        let detached: Vec<(ConnectionId, Owner)> = snap
            .rows
            .iter()
            .filter(is_detached)
            .map(|row| (row.presence.connection, Owner::of(row.owner)))
            .collect();
        self.follow_snapshot(snap, now, out);
        if let Some(slot) = self.channels.get_mut(&name)
            && let Map::Live(channel) = &mut slot.map
        {
            for (connection, owner) in detached {
                channel.set_connectivity(connection, owner, Connectivity::Detached);
            }
            channel.index_users(self.user_index);
        }
        self.free_if_unused(&name);
    }

    /// The channels of a shard, all of them.
    pub(crate) fn names(&self) -> Vec<ChannelName> {
        self.channels.keys().cloned().collect()
    }

    fn free_copy(&mut self, name: &ChannelName) {
        if let Some(slot) = self.channels.remove(name) {
            match slot.map {
                Map::Live(channel) => self.members -= channel.len(),
                Map::Collecting(_) => self.collecting -= 1,
                Map::Hibernating(_) => {}
            }
        }
    }
}

/// One channel of a shard.
pub(crate) struct SlotView<'a> {
    pub(crate) name: &'a ChannelName,
    /// Its list, if it is known.
    pub(crate) map: Option<&'a Channel>,
    slot: &'a Slot,
}

impl SlotView<'_> {
    /// Whether a loop of this node, or any other node, is told of its changes.
    pub(crate) fn has_local_peer(&self) -> bool {
        self.slot.peers.iter().any(|subscription| subscription.peer.as_node().is_none())
    }

    /// Those of its members that an owner vouches for, as far as anybody has said so since the map was lost.
    pub(crate) fn shown_by(&self, owner: Owner) -> Vec<ConnectionId> {
        match &self.slot.map {
            Map::Live(channel) => channel.owned_by(owner),
            Map::Hibernating(freed) => owned_by(&freed.trackers, owner),
            Map::Collecting(collecting) => collecting.answered_by(owner),
        }
    }

    /// What the connections of an owner have shown again since the map was lost.
    pub(crate) fn answers_of(&self, owner: Owner) -> Vec<(Put, Connectivity)> {
        match &self.slot.map {
            Map::Collecting(collecting) => collecting.answers_of(owner),
            Map::Live(_) | Map::Hibernating(_) => Vec::new(),
        }
    }

    /// Whether this receiver is told of its changes.
    pub(crate) fn has_peer(&self, peer: Peer) -> bool {
        self.slot.peers.iter().any(|subscription| subscription.peer == peer)
    }
}

impl Slot {
    /// The next flush sends the whole to everybody.
    fn send_whole(&mut self) {
        self.is_epoch_new = false;
        for subscription in &mut self.peers {
            if subscription.next_flush != NextFlush::Nothing {
                subscription.next_flush = NextFlush::SnapshotForAll;
            }
        }
    }
}
