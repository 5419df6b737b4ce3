//! One channel: the only code that decides what is a join, an update or a leave. `decide` looks
//! and says what would change; `apply` is the one way in which it does. Knows who is here; knows
//! nothing of who is told.

use std::collections::HashMap;

use herenow_wire::{ConnectionId, LeaveReason, State, UserId};

use crate::change::{Change, Entry, Op, Owner, Snapshot};
use crate::command::Standing;
use crate::hash::ById;
use crate::oldest_first::OldestFirst;

/// Who is present in a channel, and what of that has not been told yet.
#[derive(Debug, Default)]
pub struct Channel {
    epoch: u64,
    seq: u64,
    entries: HashMap<ConnectionId, Held, ById>,
    /// Changes since the last flush, in order. A merged one leaves a hole.
    untold: Vec<Option<Op>>,
    /// The members whose connection has no socket at present. Absent while there are none.
    detached: Option<Box<OldestFirst>>,
}

/// An entry and where its mergeable change waits.
#[derive(Debug)]
struct Held {
    entry: Entry,
    /// Index into `untold` of the change that a next update replaces; `TOLD` where there is none.
    untold: u32,
}

const TOLD: u32 = u32::MAX;

/// What a connection asks to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    /// Whose entry.
    pub connection: ConnectionId,
    /// The process that vouches for it.
    pub owner: Owner,
    /// The user it acts for.
    pub user: UserId,
    /// What it shows.
    pub state: State,
}

/// What a request would do.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// This happens when it is applied.
    Change(Change),
    /// The channel is so already.
    Unchanged,
    /// The channel holds as many entries as it may.
    Full,
}

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

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many changes have not been told, those included that a newer one has replaced.
    pub fn untold(&self) -> usize {
        self.untold.len()
    }

    /// Whether everything that happened has been told.
    pub fn is_told(&self) -> bool {
        self.untold.is_empty()
    }

    /// What showing `put` would change, `seq` being the number the change would get.
    pub fn decide_put(&self, put: Put, max_members: usize, seq: u64) -> Decision {
        let was = self.entries.get(&put.connection).map(|held| &held.entry);
        match was {
            // The same bytes again: an update would cost every subscriber a frame that says nothing.
            Some(entry)
                if (&entry.state, &entry.user, entry.owner)
                    == (&put.state, &put.user, put.owner) =>
            {
                return Decision::Unchanged;
            }
            None if self.entries.len() >= max_members => return Decision::Full,
            _ => {}
        }
        let Put { connection, owner, user, state } = put;
        let is = Entry { connection, owner, user, state, seq };
        Decision::Change(self.step(seq, Op::Put { was: was.cloned(), is }))
    }

    /// What taking an entry away would change. An entry of another owner stays: a late goodbye of
    /// a lost process must not remove what its successor has put there.
    pub fn decide_remove(
        &self,
        connection: ConnectionId,
        owner: Owner,
        reason: LeaveReason,
        seq: u64,
    ) -> Decision {
        match self.entries.get(&connection) {
            Some(held) if held.entry.owner == owner => {
                let was = held.entry.clone();
                Decision::Change(self.step(seq, Op::Remove { was, reason, seq }))
            }
            _ => Decision::Unchanged,
        }
    }

    /// What makes room for a connection that is not here, where the channel is full: the member
    /// that has been detached for longest leaves. Nothing where there is room, or where members
    /// with a socket fill the channel by themselves.
    pub fn decide_give_way(
        &self,
        newcomer: ConnectionId,
        max_members: usize,
        seq: u64,
    ) -> Option<Change> {
        let detached = self.detached.as_ref()?;
        let is_full = self.entries.len() >= max_members;
        let is_full_without_them = self.entries.len() - detached.len() >= max_members;
        if !is_full || is_full_without_them || self.entries.contains_key(&newcomer) {
            return None;
        }
        let oldest = detached.oldest()?;
        let owner = self.entries.get(&oldest)?.entry.owner;
        match self.decide_remove(oldest, owner, LeaveReason::Disconnect, seq) {
            Decision::Change(change) => Some(change),
            Decision::Unchanged | Decision::Full => None,
        }
    }

    /// Notes whether the connection of a member has a socket. One without counts last.
    pub(crate) fn stand(&mut self, connection: ConnectionId, owner: Owner, standing: Standing) {
        match standing {
            Standing::Connected => self.forget_detached(connection),
            Standing::Detached => {
                if self.entries.get(&connection).is_some_and(|held| held.entry.owner == owner) {
                    self.detached.get_or_insert_default().add(connection);
                }
            }
        }
    }

    /// Makes it so. The only way in which a channel changes.
    pub fn apply(&mut self, change: Change) {
        debug_assert_eq!(change.epoch, self.epoch, "a change belongs to one life of the map");
        debug_assert_eq!(change.prev, self.seq, "no change may be missing before this one");
        self.seq = change.seq;
        match change.op {
            Op::Put { was, is } => self.apply_put(was, is),
            op @ Op::Remove { .. } => {
                self.entries.remove(&op.connection());
                self.forget_detached(op.connection());
                // A join or an update that still waits stays as it is: a leave ends the merge.
                self.untold.push(Some(op));
            }
        }
    }

    /// Makes the map equal to `snapshot` and returns the differences, which wait to be told like
    /// any others. Nothing changed costs nothing.
    pub fn replace(&mut self, snapshot: Snapshot, mut draw_seq: impl FnMut() -> u64) -> usize {
        let mut differences = 0;
        let mut staying: HashMap<ConnectionId, (), ById> = HashMap::default();
        for entry in snapshot.entries {
            staying.insert(entry.connection, ());
            let Entry { connection, owner, user, state, .. } = entry;
            let put = Put { connection, owner, user, state };
            if let Decision::Change(change) = self.decide_put(put, usize::MAX, draw_seq()) {
                self.apply(change);
                differences += 1;
            }
        }
        let mut gone: Vec<(u64, ConnectionId, Owner)> = self
            .entries
            .values()
            .filter(|held| !staying.contains_key(&held.entry.connection))
            .map(|held| (held.entry.seq, held.entry.connection, held.entry.owner))
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
        let mut entries: Vec<Entry> =
            self.entries.values().map(|held| held.entry.clone()).collect();
        entries.sort_unstable_by_key(|entry| entry.seq);
        Snapshot { epoch: self.epoch, seq: self.seq, entries }
    }

    /// The connections of one owner that are here, in the order of their last track.
    pub fn owned_by(&self, owner: Owner) -> Vec<ConnectionId> {
        let mut owned: Vec<(u64, ConnectionId)> = self
            .entries
            .values()
            .filter(|held| held.entry.owner == owner)
            .map(|held| (held.entry.seq, held.entry.connection))
            .collect();
        owned.sort_unstable();
        owned.into_iter().map(|(_, connection)| connection).collect()
    }

    /// Moves what has not been told into `out`, oldest first; it counts as told from here on.
    /// Returns how many changes a newer one of the same entry has replaced.
    pub fn tell(&mut self, out: &mut Vec<Op>) -> usize {
        let (all, before) = (self.untold.len(), out.len());
        // The room goes with what was in it: a channel at rest keeps none.
        for op in std::mem::take(&mut self.untold).into_iter().flatten() {
            if let Some(held) = self.entries.get_mut(&op.connection()) {
                held.untold = TOLD;
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

    fn step(&self, seq: u64, op: Op) -> Change {
        Change { epoch: self.epoch, prev: self.seq, seq, op }
    }

    fn apply_put(&mut self, was: Option<Entry>, is: Entry) {
        let next = u32::try_from(self.untold.len()).unwrap_or(TOLD);
        let first_was = match self.entries.get_mut(&is.connection) {
            Some(held) => {
                let merged = self.untold.get_mut(held.untold as usize).and_then(Option::take);
                *held = Held { entry: is.clone(), untold: next };
                match merged {
                    Some(Op::Put { was, .. }) => was,
                    _ => was,
                }
            }
            None => {
                let held = Held { entry: is.clone(), untold: next };
                self.entries.insert(is.connection, held);
                was
            }
        };
        self.untold.push(Some(Op::Put { was: first_was, is }));
    }
}
