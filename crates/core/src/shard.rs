//! One of 1024 virtual shards: the channels whose names hash to it. It is told facts (who shows
//! what, who wants to know) and answers with effects; it never sees a socket, a token or a rule.
//! What a flush sends is worked out here, once for all receivers.

mod contents;
mod copied;
mod leaving;
mod rebuild;
mod restate;
mod sleeping;

use std::collections::BTreeMap;

use herenow_wire::{ChannelName, ConnectionId, LeaveReason};

use crate::by_user::UserIndex;
use crate::change::{Owner, Taken};
use crate::channel::{Channel, ListPosition};
use crate::collecting::{Collecting, Trackers};
use crate::command::{
    Command, Connectivity, Effect, Flush, Peer, PutResult, Receiver, RequestId, SnapshotFor,
};
use crate::decision::{Decision, Put};
use crate::leaves::LeaveCounts;
use crate::pace::ENOUGH_CHANGES;
use crate::since::Since;
use crate::time::Instant;

pub use self::contents::{Contents, Counted};
pub(crate) use self::sleeping::{Need, Sleeping};

/// See the module.
#[derive(Debug)]
pub struct Shard {
    /// The life that a map made now belongs to.
    epoch: u64,
    /// One counter for all channels: a channel that is freed and made again repeats no pair.
    seq: u64,
    /// Boxed, since a node of the tree has room for eleven and most shards have a channel or two.
    channels: BTreeMap<ChannelName, Box<Slot>>,
    /// The channels that collect, so that their deadline costs nothing to the others.
    collecting: u32,
    members: usize,
    /// Members that have left since this was last taken.
    leaves: LeaveCounts,
    has_leaves: bool,
    /// After a fault, until every peer has said what it knows: nobody else can tell that a
    /// channel is complete.
    awaits_reports: bool,
    /// Until when clients of a process that handed over come back.
    gathers_until: Option<Instant>,
    user_index: UserIndex,
    /// Who has lost a member to a later socket of its connection, at another node.
    taken: Vec<Taken>,
}

#[derive(Debug)]
struct Slot {
    map: Map,
    peers: Vec<PeerSubscription>,
    announced: bool,
    /// The map has come to another epoch, and no flush has said so.
    is_epoch_new: bool,
    /// In four bytes, which the slot has to spare.
    heard_at: Since,
    flushed_at: Instant,
    /// The channel's `seq` when it was last flushed.
    flushed_seq: u64,
}

#[derive(Debug)]
enum Map {
    Live(Channel),
    /// Freed after a long silence.
    Hibernating(Hibernating),
    /// Lost, and being rebuilt from what the clients send again.
    Collecting(Box<Collecting>),
}

/// All that is known of a map that was freed.
#[derive(Debug, Default)]
struct Hibernating {
    trackers: Trackers,
    /// How many users were in it. Stays right: the map wakes before any of them leaves.
    users: usize,
    /// How far it had come; `None` if it had not been rebuilt.
    position: Option<ListPosition>,
}

#[derive(Debug)]
struct PeerSubscription {
    peer: Peer,
    /// The newest request for a snapshot that has come from it.
    request_id: RequestId,
    next_flush: NextFlush,
}

/// What a connection asks to show, and where.
struct Wanted {
    put: Put,
    max_members: u32,
    connectivity: Connectivity,
}

/// What the next flush sends to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextFlush {
    /// Nothing: its subscribers' requests for a snapshot are held back.
    Nothing,
    Deltas,
    /// Deltas, and a snapshot to the subscribers that requested one.
    RequestedSnapshot,
    /// A snapshot to all subscribers: the map was rebuilt since the last flush.
    SnapshotForAll,
}

impl Shard {
    /// An empty shard whose first maps live in `epoch_base`, which must grow over restarts.
    pub fn new(epoch_base: u64) -> Self {
        Self {
            epoch: epoch_base,
            seq: 0,
            channels: BTreeMap::new(),
            collecting: 0,
            members: 0,
            leaves: LeaveCounts::default(),
            has_leaves: false,
            awaits_reports: false,
            gathers_until: None,
            user_index: UserIndex::None,
            taken: Vec::new(),
        }
    }

    /// The same, with an index of users where it is wanted.
    pub fn with_user_index(self, user_index: UserIndex) -> Self {
        Self { user_index, ..self }
    }

    /// The shard that takes the place of this one after a fault in it. It knows no channel; its
    /// peers tell it with [`Command::Recover`] what there was. Its numbers go on.
    pub fn successor(&self) -> Self {
        let successor = Self { seq: self.seq, ..Self::new(self.epoch + 1) };
        successor.with_user_index(self.user_index)
    }

    /// Whether an owner has lost members since they were last taken.
    pub(crate) fn has_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Who has lost members to later sockets of their connections since the last call.
    pub(crate) fn take_taken(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.taken)
    }

    /// How many channels it holds.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// The epoch and seq of a channel that it does not hold: nobody is in it there.
    pub fn position(&self) -> (u64, u64) {
        (self.epoch, self.seq)
    }

    /// How many members its channels hold.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Takes in one fact.
    pub fn handle(&mut self, command: Command, now: Instant, out: &mut Vec<Effect>) {
        match command {
            Command::Put { channel, put, max_members, asker, reference, .. } => {
                let wanted = Wanted { put, max_members, connectivity: Connectivity::Connected };
                let result = self.put(&channel, wanted, now, out);
                if result != PutResult::Done || reference.is_some() {
                    out.push(Effect::Answer { asker, reference, channel, result });
                }
            }
            Command::Keep { channel, put, max_members } => {
                let wanted = Wanted { put, max_members, connectivity: Connectivity::Detached };
                self.put(&channel, wanted, now, out);
            }
            Command::Restate { channel, connection, generation, state } => {
                self.restate(&channel, (connection, generation), state, out);
            }
            Command::Detach { channel, connection, owner, generation } => {
                if !self.is_of_later(&channel, connection, generation) {
                    self.detach(&channel, connection, owner);
                }
            }
            Command::Remove { channel, connection, owner, generation, reason } => {
                if !self.is_of_later(&channel, connection, generation) {
                    self.remove(&channel, connection, (owner, reason), now, out);
                }
            }
            Command::Subscribe { channel, peer, request_id } => {
                let subscription =
                    PeerSubscription { peer, request_id, next_flush: NextFlush::RequestedSnapshot };
                self.subscribe(&channel, subscription, now, out);
            }
            Command::Recover { channel, peer, request_id, trackers } => {
                let subscription =
                    PeerSubscription { peer, request_id, next_flush: NextFlush::SnapshotForAll };
                self.recover(&channel, subscription, trackers, now, out);
            }
            Command::Unsubscribe { channel, peer } => self.unsubscribe(&channel, peer),
        }
    }

    /// Moves the pending changes of `channel` into `out`, which is emptied first. A subscriber that
    /// gets the snapshot gets no delta of this flush.
    pub fn flush(&mut self, channel: &ChannelName, now: Instant, out: &mut Flush) {
        out.ops.clear();
        out.to.clear();
        out.snapshot = None;
        out.merged = 0;
        (out.epoch, out.prev, out.seq) = (0, 0, 0);
        out.is_epoch_new = false;
        let Some(slot) = self.channels.get_mut(channel) else { return };
        slot.announced = false;
        let Map::Live(live) = &mut slot.map else { return };
        slot.flushed_at = now;
        out.merged = live.take_pending(&mut out.ops);
        (out.epoch, out.prev, out.seq) = (live.epoch(), slot.flushed_seq, live.seq());
        slot.flushed_seq = out.seq;
        if !out.ops.is_empty() {
            out.is_epoch_new = std::mem::take(&mut slot.is_epoch_new);
        }
        let mut needs_snapshot = false;
        for subscription in &mut slot.peers {
            let snapshot_for = match subscription.next_flush {
                NextFlush::Nothing => continue,
                NextFlush::SnapshotForAll => SnapshotFor::All(subscription.request_id),
                NextFlush::RequestedSnapshot => SnapshotFor::UpTo(subscription.request_id),
                NextFlush::Deltas => SnapshotFor::None,
            };
            subscription.next_flush = NextFlush::Deltas;
            needs_snapshot |= snapshot_for != SnapshotFor::None;
            out.to.push(Receiver { peer: subscription.peer, snapshot_for });
        }
        if needs_snapshot {
            out.snapshot = Some(live.snapshot());
        }
        self.free_if_unused(channel);
    }

    fn put(
        &mut self,
        name: &ChannelName,
        Wanted { put, max_members, connectivity }: Wanted,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> PutResult {
        self.wake(name, now, out);
        let max_members = max_members as usize;
        let slot = Self::slot(&mut self.channels, name, (self.epoch, self.seq), now);
        match &mut slot.map {
            Map::Live(channel) => {
                let (connection, owner, generation) = (put.connection, put.owner, put.generation);
                while connectivity == Connectivity::Connected
                    && let Some(change) =
                        channel.decide_eviction(connection, max_members, self.seq + 1)
                {
                    self.seq += 1;
                    self.members -= 1;
                    self.has_leaves = true;
                    self.leaves.add_to(LeaveReason::Disconnect, 1);
                    channel.apply(change);
                }
                match channel.decide_put(put, max_members, self.seq + 1) {
                    Decision::Unchanged => {
                        self.taken.extend(channel.change_quietly(connection, (owner, generation)));
                        channel.set_connectivity(connection, owner, connectivity);
                        return PutResult::Done;
                    }
                    Decision::Full => {
                        self.free_if_unused(name);
                        return PutResult::Full;
                    }
                    Decision::Superseded => return PutResult::Superseded,
                    Decision::Change(change) => {
                        self.seq += 1;
                        self.taken.extend(change.op.taken());
                        let before = channel.len();
                        channel.apply(change);
                        if channel.len() > before {
                            self.members += 1;
                            channel.note_since(connection, Since::at(now));
                            channel.index_users(self.user_index);
                        }
                        channel.set_connectivity(connection, owner, connectivity);
                    }
                }
                slot.announce(name, out);
            }
            Map::Collecting(collecting) => {
                let result = collecting.hold(put, max_members, connectivity);
                if result != PutResult::Done {
                    return result;
                }
                self.rebuild_if_complete(name, now, out);
            }
            Map::Hibernating(_) => unreachable!("`wake` ran before"),
        }
        PutResult::Done
    }

    /// A map that hibernates knows no states; its detached members are told with
    /// [`Command::Keep`] when it wakes.
    fn detach(&mut self, name: &ChannelName, connection: ConnectionId, owner: Owner) {
        match self.channels.get_mut(name).map(|slot| &mut slot.map) {
            Some(Map::Live(channel)) => {
                channel.set_connectivity(connection, owner, Connectivity::Detached)
            }
            Some(Map::Collecting(collecting)) => collecting.detach(connection, owner),
            Some(Map::Hibernating(_)) | None => {}
        }
    }

    fn subscribe(
        &mut self,
        name: &ChannelName,
        subscription: PeerSubscription,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        self.wake(name, now, out);
        let slot = Self::slot(&mut self.channels, name, (self.epoch, self.seq), now);
        slot.note(subscription);
        slot.announce(name, out);
    }

    fn unsubscribe(&mut self, name: &ChannelName, peer: Peer) {
        if let Some(slot) = self.channels.get_mut(name) {
            slot.peers.retain(|subscription| subscription.peer != peer);
            self.free_if_unused(name);
        }
    }

    /// The channel's slot, made where there is none, and marked as heard from.
    fn slot<'a>(
        channels: &'a mut BTreeMap<ChannelName, Box<Slot>>,
        name: &ChannelName,
        (epoch, seq): (u64, u64),
        now: Instant,
    ) -> &'a mut Slot {
        if !channels.contains_key(name) {
            let slot = Slot {
                map: Map::Live(Channel::new(epoch, seq)),
                peers: Vec::new(),
                announced: false,
                is_epoch_new: false,
                flushed_at: Instant::default(),
                heard_at: Since::not_before(now),
                flushed_seq: seq,
            };
            channels.insert(name.clone(), Box::new(slot));
        }
        let slot = channels.get_mut(name).expect("it was inserted where it was missing");
        slot.heard_at = Since::not_before(now);
        slot
    }

    fn free_if_unused(&mut self, name: &ChannelName) {
        let Some(slot) = self.channels.get(name) else { return };
        let is_empty = match &slot.map {
            // The last leave may be followed from outside.
            Map::Live(channel) => channel.is_empty() && channel.has_no_pending(),
            Map::Hibernating(freed) => freed.trackers.is_empty(),
            Map::Collecting(collecting) => collecting.is_empty(),
        };
        if is_empty && slot.peers.is_empty() {
            if matches!(slot.map, Map::Collecting(_)) {
                self.collecting -= 1;
            }
            self.channels.remove(name);
        }
    }
}

impl Slot {
    fn peers(&self) -> Vec<Peer> {
        self.peers.iter().map(|subscription| subscription.peer).collect()
    }

    /// Notes what a peer wants. A snapshot for all that it has not been sent yet stays due.
    fn note(&mut self, new: PeerSubscription) {
        match self.peers.iter_mut().find(|subscription| subscription.peer == new.peer) {
            Some(subscription) => {
                subscription.request_id = new.request_id;
                if let NextFlush::Nothing | NextFlush::Deltas = subscription.next_flush {
                    subscription.next_flush = new.next_flush;
                }
            }
            None => {
                self.peers.reserve_exact(1);
                self.peers.push(new);
            }
        }
    }

    /// Asks for a flush, once, where there is something to say; and once more where there is so
    /// much to say that it should not wait.
    fn announce(&mut self, name: &ChannelName, out: &mut Vec<Effect>) {
        let Map::Live(channel) = &self.map else { return };
        let (channel, pending) = (name.clone(), channel.pending_changes());
        if !self.announced {
            self.announced = true;
            out.push(Effect::Dirty { channel, flushed_at: self.flushed_at });
        } else if pending == ENOUGH_CHANGES {
            out.push(Effect::FlushNow { channel, flushed_at: self.flushed_at });
        }
    }
}
