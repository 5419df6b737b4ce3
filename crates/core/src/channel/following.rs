//! A channel whose changes are decided at another node: it becomes equal to what its home says, and
//! the differences wait for the next flush like any other change.

use std::collections::HashSet;

use herenow_wire::link::{self, Position, Snap};
use herenow_wire::{ConnectionId, LeaveReason};

use super::{Channel, NOT_PENDING, Tracked};
use crate::change::{Member, Op, Owner, Taken};
use crate::command::Connectivity;

/// What a channel has become by what its home says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Followed {
    /// It is newer now, and the differences are pending.
    Newer,
    /// It is newer now, and no deltas lead there: subscribers need the whole.
    Whole,
    /// It was as far already.
    Old,
    /// Something is missing before it, so nothing was done.
    Gap,
}

impl Channel {
    /// A list as a home tells it, with nothing pending.
    pub(crate) fn of_members(
        (epoch, seq): (u64, u64),
        members: impl Iterator<Item = Member>,
    ) -> Self {
        let mut channel = Self::new(epoch, seq);
        for new in members {
            channel.make_so(Op::Put { old: None, new });
        }
        channel.forget_pending();
        channel
    }

    /// Becomes equal to a snapshot of its home, with the numbers of that.
    pub(crate) fn follow_snapshot(&mut self, snap: Snap) -> Followed {
        let Position { epoch, seq } = snap.position;
        if (epoch, seq) <= (self.epoch, self.seq) {
            return Followed::Old;
        }
        let before = if epoch == self.epoch { self.seq } else { 0 };
        // A flush holds one epoch, and an old change has no place in the numbers of the new list.
        let is_alone = self.pending.is_empty();
        let size = self.members.len().max(snap.rows.len());
        let numbers: HashSet<u64> = snap.rows.iter().map(|row| row.seq).collect();
        let staying: HashSet<ConnectionId> =
            snap.rows.iter().map(|row| row.presence.connection).collect();
        let gone: Vec<ConnectionId> =
            self.members.keys().filter(|id| !staying.contains(*id)).copied().collect();
        let free: Vec<u64> = (before + 1..=seq)
            .rev()
            .filter(|number| !numbers.contains(number))
            .take(gone.len())
            .collect();
        let mut changes: Vec<(u64, Op)> = Vec::new();
        let mut rows = snap.rows;
        rows.sort_unstable_by_key(|row| row.seq);
        // Who is told of a member has it at the end of the list: those of which nobody is told are in
        // front of all others, in the order in which they were.
        let mut last_quiet = Some(0);
        for row in rows {
            let new = member(row);
            let old = self.members.get_mut(&new.connection);
            let is_as_before = |old: &Member| (&old.state, &old.user) == (&new.state, &new.user);
            last_quiet = old.as_ref().and_then(|tracked| {
                let old = &tracked.member;
                (last_quiet? < old.seq && is_as_before(old)).then_some(old.seq)
            });
            match old {
                Some(tracked) if last_quiet.is_some() => tracked.member = new,
                old => {
                    let old = old.map(|tracked| tracked.member.clone());
                    changes.push((new.seq, Op::Put { old, new }));
                }
            }
        }
        // Whether a connection has a socket is known to who decides, which this node may have been before.
        self.detached = None;
        let is_numbered = free.len() == gone.len();
        let is_small = 2 * (changes.len() + gone.len()) <= size;
        let numbers = free.into_iter().chain(std::iter::repeat(seq));
        for (connection, seq) in sorted(gone).into_iter().zip(numbers) {
            let old = self.members[&connection].member.clone();
            changes.push((seq, Op::Remove { old, reason: LeaveReason::Disconnect, seq }));
        }
        changes.sort_by_key(|(seq, _)| *seq);
        let is_change = !changes.is_empty();
        for (_, op) in changes {
            self.make_so(op);
        }
        (self.epoch, self.seq) = (epoch, seq);
        if !is_change && is_alone || is_numbered && is_small && is_alone {
            return Followed::Newer;
        }
        self.forget_pending();
        Followed::Whole
    }

    /// Follows a change of its home, if nothing is missing before it.
    pub(crate) fn follow_change(&mut self, change: link::Change) -> Followed {
        let Position { epoch, seq } = change.position;
        if (epoch, seq) <= (self.epoch, self.seq) {
            return Followed::Old;
        }
        if epoch != self.epoch || change.prev > self.seq {
            return Followed::Gap;
        }
        // A snapshot in between may have had some of it.
        let has = self.seq;
        for op in change.ops {
            match op {
                link::Op::Put(row) if row.seq > has => {
                    let new = member(row);
                    let old = self.members.get(&new.connection);
                    let old = old.map(|tracked| tracked.member.clone());
                    self.make_so(Op::Put { old, new });
                }
                link::Op::Remove { connection, reason, seq } if seq > has => {
                    if let Some(tracked) = self.members.get(&connection) {
                        let old = tracked.member.clone();
                        self.make_so(Op::Remove { old, reason, seq });
                    }
                }
                link::Op::Put(_) | link::Op::Remove { .. } => {}
            }
        }
        self.seq = seq;
        Followed::Newer
    }

    /// A member whose owner or generation alone changes: nobody is told but the owner that has lost it.
    pub(crate) fn change_quietly(
        &mut self,
        connection: ConnectionId,
        (owner, generation): (Owner, u32),
    ) -> Option<Taken> {
        let Tracked { member, .. } = self.members.get_mut(&connection)?;
        let taken = member.taken_by(owner);
        (member.owner, member.generation) = (owner, generation);
        taken
    }

    /// An owner is lost, and its members stay for now, without a socket.
    pub(crate) fn lose_owner(&mut self, owner: Owner) {
        for connection in self.owned_by(owner) {
            if let Some(tracked) = self.members.get_mut(&connection) {
                tracked.member.owner = owner.lost();
            }
            self.set_connectivity(connection, owner.lost(), Connectivity::Detached);
        }
    }

    /// See [`crate::Shard::give_members`].
    pub(crate) fn give_members(&mut self, from: Owner, to: Owner) -> Vec<(ConnectionId, u32)> {
        let owned = self.owned_by(from);
        let mut given = Vec::with_capacity(owned.len());
        for connection in owned {
            if let Some(Tracked { member, .. }) = self.members.get_mut(&connection) {
                member.owner = to;
                member.generation = member.generation.wrapping_sub(1);
                given.push((connection, member.generation));
            }
        }
        given
    }

    /// Whether the connection of a member has a socket.
    pub(crate) fn connectivity(&self, connection: ConnectionId) -> Connectivity {
        match self.detached.as_ref().is_some_and(|detached| detached.has(connection)) {
            true => Connectivity::Detached,
            false => Connectivity::Connected,
        }
    }

    /// Drops the pending changes: everybody gets the whole.
    pub(crate) fn forget_pending(&mut self) {
        for op in std::mem::take(&mut self.pending).into_iter().flatten() {
            if let Some(tracked) = self.members.get_mut(&op.connection()) {
                tracked.pending = NOT_PENDING;
            }
        }
    }
}

/// As a home tells it.
pub(crate) fn member(row: link::Row) -> Member {
    let link::Row { presence, owner, state, seq } = row;
    let link::Presence { connection, generation, user, .. } = presence;
    Member { connection, owner: Owner::of(owner), generation, user, state, seq }
}

fn sorted(mut connections: Vec<ConnectionId>) -> Vec<ConnectionId> {
    connections.sort_unstable();
    connections
}
