//! Which changes of channels are told to those who follow them from outside, such as webhooks. They
//! are read off the flushes of a channel, so they stand in the order that subscribers see; folding
//! those of a channel gives the members that subscribers have at the same position.
//!
//! Nothing is kept of channels that nobody follows. Of those that are followed, the members are: a
//! map that was lost and rebuilt is compared with them, and only what differs is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use herenow_core::{Announces, Channel, Contents, Flush, Op, Policy};
use herenow_wire::{ChannelName, ConnectionId, LeaveReason, State, User, UserId};

use crate::api::Io;
use crate::shards::Opened;
use crate::work::Work;

/// What has changed in a channel since it was last announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Which channel.
    pub channel: ChannelName,
    /// The life of its map.
    pub epoch: u64,
    /// The changes, in order. There is at least one.
    pub changes: Vec<MemberChange>,
}

/// What has happened to one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// What.
    pub kind: ChangeKind,
    /// The position of the channel after it, within its epoch. Several have the same one after a map
    /// was rebuilt.
    pub seq: u64,
    /// Whose member; without the information of the token if it has left.
    pub user: User,
    /// Of which connection.
    pub connection: ConnectionId,
    /// What it shows; nothing if it has left.
    pub state: Option<State>,
    /// Whether the user has no other member in the channel.
    pub is_users_only: bool,
    /// How many users are in the channel after it.
    pub users: usize,
    /// How many members are.
    pub connections: usize,
}

/// See [`MemberChange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It has joined.
    Added,
    /// It shows something else.
    Updated,
    /// It has left.
    Removed(LeaveReason),
}

/// The channels that are followed and have members.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    followed: BTreeMap<ChannelName, Followed>,
}

/// The members of a channel as they were announced last.
#[derive(Debug, Default)]
struct Followed {
    epoch: u64,
    members: HashMap<ConnectionId, UserId>,
    /// How many members each user has.
    users: HashMap<UserId, usize>,
}

impl Announcements {
    /// How many channels are followed and have members.
    pub(crate) fn len(&self) -> usize {
        self.followed.len()
    }
}

impl<I: Io> Work<'_, I> {
    /// Forgets the channels of which another node is the home now: that one announces them.
    pub(crate) fn forget_moved(&mut self) {
        let shards = &self.hub.shards;
        self.hub.announcements.followed.retain(|channel, _| shards.is_home_of(channel));
    }

    /// This node decides shards from here on that it did not decide before. Changes may be missing that
    /// the home before has not told of, such as the leaves of members that went with it, and
    /// also of channels of which nothing is left: one gap covers them all. What a home has told of
    /// is not announced as joined again.
    pub(crate) fn follow_opened(&mut self) {
        let opened = self.hub.shards.take_opened();
        if opened.is_empty() || !self.hub.policy.announces_any() {
            return;
        }
        self.io.announce_gap();
        let followed = &mut self.hub.announcements.followed;
        let opened: BTreeMap<u16, BTreeSet<_>> = opened
            .into_iter()
            .map(|Opened { shard, unannounced }| (shard, unannounced.into_iter().collect()))
            .collect();
        followed.retain(|channel, _| !opened.contains_key(&channel.shard()));
        let shards = &self.hub.shards;
        for channel in shards.channels_after("", None) {
            let Some(unannounced) = opened.get(&channel.shard()) else { continue };
            // Another node may have become the home since.
            if self.hub.policy.announces(channel) == Announces::Nothing
                || !shards.is_home_of(channel)
            {
                continue;
            }
            if let Contents::Live(live) = shards.contents(channel) {
                // It is compared with the list when that is flushed.
                let mut members = Followed::default();
                for (member, _) in live.members() {
                    if !unannounced.contains(&(channel.clone(), member.connection)) {
                        members.add(member.connection, &member.user);
                    }
                }
                if !members.members.is_empty() {
                    followed.insert(channel.clone(), members);
                }
            }
        }
    }

    /// Announces what a flush of the channel has told, or what has become of a channel that is gone.
    pub(crate) fn announce(&mut self, channel: &ChannelName, flush: &Flush) {
        let wanted = match self.hub.policy.announces_any() {
            true => self.hub.policy.announces(channel),
            false => Announces::Nothing,
        };
        if wanted == Announces::Nothing || !self.hub.shards.is_home_of(channel) {
            return;
        }
        let known = self.hub.announcements.followed.remove(channel);
        let epoch_before = known.as_ref().map(|followed| followed.epoch);
        let mut followed = known.unwrap_or_default();
        let mut changes = Vec::new();
        for op in &flush.ops {
            followed.fold(op, wanted, &mut changes);
        }
        match self.hub.shards.contents(channel) {
            Contents::Live(live) => {
                if epoch_before != Some(live.epoch()) {
                    // A map that was rebuilt may hold other states. A new one does not.
                    let wanted = epoch_before.map_or(Announces::Membership, |_| wanted);
                    followed.reconcile(Some(live), live.seq(), wanted, &mut changes);
                }
                followed.epoch = live.epoch();
            }
            // What is being rebuilt is flushed when that is done.
            Contents::Freed { .. } => followed.epoch = followed.epoch.max(flush.epoch),
            // All have left, and the last flush has said so; or the map was lost and is not needed.
            Contents::Nothing => {
                let (epoch, seq) = match flush.epoch {
                    0 => self.hub.shards.position(channel),
                    epoch => (epoch, flush.seq),
                };
                followed.reconcile(None, seq, wanted, &mut changes);
                followed.epoch = epoch;
            }
        }
        let epoch = followed.epoch;
        if !followed.members.is_empty() {
            self.hub.announcements.followed.insert(channel.clone(), followed);
        }
        if !changes.is_empty() {
            self.io.announce(Announcement { channel: channel.clone(), epoch, changes });
        }
    }

    /// Every hub has said what it knows of a lost shard: a followed channel of it that nobody has
    /// named has no members any more.
    pub(crate) fn announce_lost(&mut self, shard: u16) {
        let followed = self.hub.announcements.followed.keys();
        let lost = followed.filter(|channel| channel.shard() == shard).cloned();
        for channel in lost.collect::<Vec<_>>() {
            if matches!(self.hub.shards.contents(&channel), Contents::Nothing) {
                self.announce(&channel, &Flush::default());
            }
        }
    }

    /// Other channels may be followed than under the policy before. Of a channel that is followed
    /// only now, what is in it is not announced: who begins to follow a channel reads its list.
    pub(crate) fn follow_others(&mut self, before: &Policy) {
        let policy = &self.hub.policy;
        let followed = &mut self.hub.announcements.followed;
        followed.retain(|channel, _| policy.announces(channel) != Announces::Nothing);
        if !policy.announces_any() {
            return;
        }
        for channel in self.hub.shards.channels_after("", None) {
            if before.announces(channel) != Announces::Nothing
                || policy.announces(channel) == Announces::Nothing
            {
                continue;
            }
            if let Contents::Live(live) = self.hub.shards.contents(channel)
                && !live.is_empty()
            {
                let mut members = Followed { epoch: live.epoch(), ..Followed::default() };
                for (member, _) in live.members() {
                    members.add(member.connection, &member.user);
                }
                followed.insert(channel.clone(), members);
            }
        }
    }
}

impl Followed {
    fn fold(&mut self, op: &Op, wanted: Announces, changes: &mut Vec<MemberChange>) {
        match op {
            Op::Put { new, .. } => {
                let is_new = self.add(new.connection, &new.user);
                let kind = if is_new { ChangeKind::Added } else { ChangeKind::Updated };
                if is_new || wanted == Announces::Updates {
                    let member = (new.connection, &new.user, Some(&new.state));
                    changes.push(self.change(kind, new.seq, member));
                }
            }
            Op::Remove { old, reason, seq } => self.remove(old.connection, *reason, *seq, changes),
        }
    }

    /// Makes the members those of the map, or none, and tells the differences.
    fn reconcile(
        &mut self,
        live: Option<&Channel>,
        seq: u64,
        wanted: Announces,
        changes: &mut Vec<MemberChange>,
    ) {
        let is_gone =
            |connection: &ConnectionId| live.is_none_or(|live| live.member(*connection).is_none());
        let mut gone: Vec<ConnectionId> = self.members.keys().copied().filter(is_gone).collect();
        gone.sort_unstable();
        for connection in gone {
            self.remove(connection, LeaveReason::Disconnect, seq, changes);
        }
        let mut present: Vec<_> = live.iter().flat_map(|live| live.members()).collect();
        present.sort_unstable_by_key(|(member, _)| member.seq);
        for (member, _) in present {
            let is_new = self.add(member.connection, &member.user);
            let kind = if is_new { ChangeKind::Added } else { ChangeKind::Updated };
            if is_new || wanted == Announces::Updates {
                let member = (member.connection, &member.user, Some(&member.state));
                changes.push(self.change(kind, seq, member));
            }
        }
    }

    /// Whether it was not there.
    fn add(&mut self, connection: ConnectionId, user: &UserId) -> bool {
        let is_new = self.members.insert(connection, user.clone()).is_none();
        if is_new {
            *self.users.entry(user.clone()).or_default() += 1;
        }
        is_new
    }

    fn remove(
        &mut self,
        connection: ConnectionId,
        reason: LeaveReason,
        seq: u64,
        changes: &mut Vec<MemberChange>,
    ) {
        let Some(user) = self.members.remove(&connection) else { return };
        if let Some(count) = self.users.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&user);
            }
        }
        let member = (connection, &User::from(user), None);
        changes.push(self.change(ChangeKind::Removed(reason), seq, member));
    }

    fn change(
        &self,
        kind: ChangeKind,
        seq: u64,
        (connection, user, state): (ConnectionId, &User, Option<&State>),
    ) -> MemberChange {
        let others = match kind {
            ChangeKind::Added | ChangeKind::Updated => 1,
            ChangeKind::Removed(_) => 0,
        };
        MemberChange {
            kind,
            seq,
            user: user.clone(),
            connection,
            state: state.cloned(),
            is_users_only: self.users.get(user.id()).copied().unwrap_or_default() == others,
            users: self.users.len(),
            connections: self.members.len(),
        }
    }
}
