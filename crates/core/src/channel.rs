//! One channel: the only code that decides what is a join, an update or a leave. `decide` looks
//! and says what would change; `apply` is the one way in which it does. Knows who is here; knows
//! nothing of who is sent it.

mod following;
mod users;

use std::collections::HashMap;

use herenow_wire::{ConnectionId, LeaveReason};
use serde::{Deserialize, Serialize};

use crate::by_user::{ByUser, INDEXED_DOWN_TO};
use crate::change::{Change, Member, Op, Owner, Snapshot};
use crate::command::Connectivity;
use crate::decision::{Decision, Put};
use crate::hash::ById;
use crate::oldest_first::OldestFirst;
use crate::since::Since;

pub use self::following::Followed;
pub(crate) use self::following::member;

/// Who is present in a channel, and which changes are pending.
#[derive(Debug, Default)]
pub struct Channel {
    epoch: u64,
    seq: u64,
    /// Changes in this life of the map. The channels of a shard share their `seq`s, so the difference
    /// of two is not how many changes there were between them.
    changes: u64,
    members: HashMap<ConnectionId, Tracked, ById>,
    /// Changes since the last flush, in order. A merged one leaves a hole.
    pending: Vec<Option<Op>>,
    /// The members whose connection has no socket at present. Absent while there are none.
    detached: Option<Box<OldestFirst>>,
    /// Absent in a small channel, and while nobody asks for users.
    by_user: Option<Box<ByUser>>,
}

/// How far a channel's list has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPosition {
    /// The life of the map.
    pub epoch: u64,
    /// The last change.
    pub seq: u64,
    /// How many changes there have been in this life.
    pub changes: u64,
}

/// A member and where its mergeable change waits.
#[derive(Debug)]
struct Tracked {
    member: Member,
    since: Since,
    /// Index into `pending` of the change that a next update replaces, or `NOT_PENDING`.
    pending: u32,
}

const NOT_PENDING: u32 = u32::MAX;

impl Channel {
    /// An empty map that lives in `epoch`, its numbers going on from `seq`.
    pub fn new(epoch: u64, seq: u64) -> Self {
        Self { epoch, seq, ..Self::default() }
    }

    /// The life of this map.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The last change applied.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// How far it has come.
    pub fn position(&self) -> ListPosition {
        ListPosition { epoch: self.epoch, seq: self.seq, changes: self.changes }
    }

    /// How many members it holds.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many changes are pending, those included that a newer one has replaced.
    pub fn pending_changes(&self) -> usize {
        self.pending.len()
    }

    /// Whether every change has been flushed.
    pub fn has_no_pending(&self) -> bool {
        self.pending.is_empty()
    }

    /// What showing `put` would change, `seq` being the number the change would get.
    pub fn decide_put(&self, put: Put, max_members: usize, seq: u64) -> Decision {
        let old = self.members.get(&put.connection).map(|tracked| &tracked.member);
        match old {
            Some(member) if put.comes_late_for(member.owner, member.generation) => {
                return Decision::Superseded;
            }
            // The same bytes again: an update would cost every subscriber a frame that says nothing.
            Some(member) if (&member.state, &member.user) == (&put.state, &put.user) => {
                return Decision::Unchanged;
            }
            None if self.members.len() >= max_members => return Decision::Full,
            _ => {}
        }
        let Put { connection, owner, generation, user, state } = put;
        let new = Member { connection, owner, generation, user, state, seq };
        Decision::Change(self.step(seq, Op::Put { old: old.cloned(), new }))
    }

    /// What taking a member away would change. A member of another owner stays: a late goodbye of
    /// a lost process must not remove what its successor has put there.
    pub fn decide_remove(
        &self,
        connection: ConnectionId,
        owner: Owner,
        reason: LeaveReason,
        seq: u64,
    ) -> Decision {
        match self.members.get(&connection) {
            Some(tracked) if tracked.member.owner == owner => {
                let old = tracked.member.clone();
                Decision::Change(self.step(seq, Op::Remove { old, reason, seq }))
            }
            _ => Decision::Unchanged,
        }
    }

    /// The members that make room for a connection that is not here, if the channel is full: those
    /// that have been detached for longest, more than one if the limit was lowered. None if there
    /// is room, or if members with a socket fill the channel by themselves.
    pub fn evicted_for(
        &self,
        joining: ConnectionId,
        max_members: usize,
    ) -> impl Iterator<Item = &Member> {
        let detached = self.detached.as_ref().filter(|detached| {
            self.members.len() - detached.len() < max_members
                && !self.members.contains_key(&joining)
        });
        let too_many = (self.members.len() + 1).saturating_sub(max_members);
        let oldest = detached.into_iter().flat_map(|detached| detached.iter()).take(too_many);
        oldest.filter_map(|connection| self.members.get(&connection)).map(|slot| &slot.member)
    }

    /// The next eviction that makes room for this connection.
    pub(crate) fn decide_eviction(
        &self,
        joining: ConnectionId,
        max_members: usize,
        seq: u64,
    ) -> Option<Change> {
        let oldest = self.evicted_for(joining, max_members).next()?;
        match self.decide_remove(oldest.connection, oldest.owner, LeaveReason::Disconnect, seq) {
            Decision::Change(change) => Some(change),
            Decision::Unchanged | Decision::Full | Decision::Superseded => None,
        }
    }

    /// Sets whether the connection of a member has a socket. A member without one is evicted first.
    pub(crate) fn set_connectivity(
        &mut self,
        connection: ConnectionId,
        owner: Owner,
        connectivity: Connectivity,
    ) {
        match connectivity {
            Connectivity::Connected => self.forget_detached(connection),
            Connectivity::Detached => {
                if self
                    .members
                    .get(&connection)
                    .is_some_and(|tracked| tracked.member.owner == owner)
                {
                    self.detached.get_or_insert_default().add(connection);
                }
            }
        }
    }

    /// Notes since when a member is here, where it has just joined.
    pub(crate) fn note_since(&mut self, connection: ConnectionId, since: Since) {
        if let Some(tracked) = self.members.get_mut(&connection) {
            tracked.since = since;
        }
    }

    /// Everybody who is here, in no order, and since when.
    pub fn members(&self) -> impl Iterator<Item = (&Member, Since)> {
        self.members.values().map(|tracked| (&tracked.member, tracked.since))
    }

    /// One member, and since when it is here.
    pub fn member(&self, connection: ConnectionId) -> Option<(&Member, Since)> {
        self.members.get(&connection).map(|tracked| (&tracked.member, tracked.since))
    }

    /// Makes it so. The only way in which a channel changes.
    pub fn apply(&mut self, change: Change) {
        debug_assert_eq!(change.epoch, self.epoch, "a change belongs to one life of the map");
        debug_assert_eq!(change.prev, self.seq, "no change may be missing before this one");
        self.seq = change.seq;
        self.make_so(change.op);
    }

    #[inline]
    fn make_so(&mut self, op: Op) {
        self.changes += 1;
        match op {
            Op::Put { old, new } => self.apply_put(old, new),
            op @ Op::Remove { .. } => {
                if let Some(gone) = self.members.remove(&op.connection()) {
                    self.forget_user(&gone.member);
                }
                self.forget_detached(op.connection());
                // A join or an update that still waits stays as it is: a leave ends the merge.
                self.pending.push(Some(op));
            }
        }
    }

    /// Makes the map equal to `snapshot` and returns the differences, which are pending like any
    /// other change. Nothing changed costs nothing.
    pub fn replace(&mut self, snapshot: Snapshot, mut draw_seq: impl FnMut() -> u64) -> usize {
        let mut differences = 0;
        let mut staying: HashMap<ConnectionId, (), ById> = HashMap::default();
        for member in snapshot.members {
            staying.insert(member.connection, ());
            let Member { connection, owner, generation, user, state, .. } = member;
            let put = Put { connection, owner, generation, user, state };
            if let Decision::Change(change) = self.decide_put(put, usize::MAX, draw_seq()) {
                self.apply(change);
                differences += 1;
            }
        }
        let mut gone: Vec<(u64, ConnectionId, Owner)> = self
            .members
            .values()
            .filter(|tracked| !staying.contains_key(&tracked.member.connection))
            .map(|tracked| (tracked.member.seq, tracked.member.connection, tracked.member.owner))
            .collect();
        gone.sort_unstable();
        for (_, connection, owner) in gone {
            let reason = LeaveReason::Disconnect;
            let decision = self.decide_remove(connection, owner, reason, draw_seq());
            if let Decision::Change(change) = decision {
                self.apply(change);
                differences += 1;
            }
        }
        differences
    }

    /// Everybody who is here, the one tracked longest ago first.
    pub fn snapshot(&self) -> Snapshot {
        let mut members: Vec<Member> =
            self.members.values().map(|tracked| tracked.member.clone()).collect();
        members.sort_unstable_by_key(|member| member.seq);
        Snapshot { epoch: self.epoch, seq: self.seq, members }
    }

    /// The connections of one owner that are here, in the order of their last track.
    pub fn owned_by(&self, owner: Owner) -> Vec<ConnectionId> {
        let mut owned: Vec<(u64, ConnectionId)> = self
            .members
            .values()
            .filter(|tracked| tracked.member.owner == owner)
            .map(|tracked| (tracked.member.seq, tracked.member.connection))
            .collect();
        owned.sort_unstable();
        owned.into_iter().map(|(_, connection)| connection).collect()
    }

    /// Moves the pending changes into `out`, oldest first.
    /// Returns how many changes a newer one of the same member has replaced.
    pub fn take_pending(&mut self, out: &mut Vec<Op>) -> usize {
        let (all, before) = (self.pending.len(), out.len());
        // The room goes with what was in it: a channel at rest keeps none.
        for op in std::mem::take(&mut self.pending).into_iter().flatten() {
            if let Some(tracked) = self.members.get_mut(&op.connection()) {
                tracked.pending = NOT_PENDING;
            }
            out.push(op);
        }
        all - (out.len() - before)
    }

    fn forget_detached(&mut self, connection: ConnectionId) {
        if let Some(detached) = &mut self.detached {
            detached.remove(connection);
            if detached.is_empty() {
                self.detached = None;
            }
        }
    }

    fn forget_user(&mut self, gone: &Member) {
        if let Some(by_user) = &mut self.by_user {
            by_user.remove(&gone.user, gone.connection);
            if by_user.len() < INDEXED_DOWN_TO {
                self.by_user = None;
            }
        }
    }

    fn step(&self, seq: u64, op: Op) -> Change {
        Change { epoch: self.epoch, prev: self.seq, seq, op }
    }

    fn apply_put(&mut self, old: Option<Member>, new: Member) {
        let next = u32::try_from(self.pending.len()).unwrap_or(NOT_PENDING);
        let first_old = match self.members.get_mut(&new.connection) {
            Some(tracked) => {
                let merged = self.pending.get_mut(tracked.pending as usize).and_then(Option::take);
                if let Some(by_user) = &mut self.by_user
                    && tracked.member.user.id() != new.user.id()
                {
                    by_user.remove(&tracked.member.user, new.connection);
                    by_user.insert(&new.user, new.connection);
                }
                *tracked = Tracked { member: new.clone(), since: tracked.since, pending: next };
                match merged {
                    Some(Op::Put { old, .. }) => old,
                    _ => old,
                }
            }
            None => {
                let since = Since::default();
                let tracked = Tracked { member: new.clone(), since, pending: next };
                self.members.insert(new.connection, tracked);
                if let Some(by_user) = &mut self.by_user {
                    by_user.insert(&new.user, new.connection);
                }
                old
            }
        };
        self.pending.push(Some(Op::Put { old: first_old, new }));
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    /// What a member took when the memory of a million was stated.
    const STATED_BYTES: usize = 72;

    #[test]
    fn a_member_is_no_larger_than_stated() {
        assert!(size_of::<Tracked>() <= STATED_BYTES, "{} bytes", size_of::<Tracked>());
    }
}
