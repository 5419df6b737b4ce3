//! What can happen to a channel, as plain data: no handle, no time, no local index. It is what
//! travels between the code that decides and the code that tells, whichever process either is in.

use herenow_wire::link::OwnerId;
use herenow_wire::{ConnectionId, LeaveReason, State, User};

/// Who vouches for a member. One number for a whole process: when a process is lost, its members
/// go in one step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Owner(pub u32);

impl Owner {
    /// In place of an owner that is not known.
    pub const NOBODY: Self = Self(u32::MAX);

    /// Set in the number of an owner that is lost.
    const LOST: u32 = 1 << 31;

    /// The same owner once it is lost, while its members keep their grace: a node that shows something for
    /// one of their connections takes the member over, also with the same generation.
    pub(crate) fn lost(self) -> Self {
        Self(self.0 | Self::LOST)
    }

    /// In an item. That an owner is lost is for its home to know.
    pub fn id(self) -> OwnerId {
        match self {
            Self::NOBODY => OwnerId::NOBODY,
            Self(number) => OwnerId(u64::from(number & !Self::LOST) + 1),
        }
    }

    /// The owner that an item names.
    pub fn of(id: OwnerId) -> Self {
        let number = id.0.checked_sub(1).and_then(|number| u32::try_from(number).ok());
        number.map_or(Self::NOBODY, Self)
    }

    /// Whether it vouches for its members no more.
    pub fn is_lost(self) -> bool {
        self.0 & Self::LOST != 0
    }
}

/// One connection's presence in one channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Whose it is: the member's key within its channel.
    pub connection: ConnectionId,
    /// The process that vouches for it.
    pub owner: Owner,
    /// Which of the sockets that the connection has had showed it last.
    pub generation: u32,
    /// The user of the verified token.
    pub user: User,
    /// What it shows.
    pub state: State,
    /// The change that last set the state. Rows of a snapshot stand in this order.
    pub seq: u64,
}

impl Member {
    /// That it is lost by its owner, if it is another's from here on.
    #[inline]
    pub(crate) fn taken_by(&self, owner: Owner) -> Option<Taken> {
        let is_taken = self.owner != owner && !self.owner.is_lost();
        let Self { owner: by, connection, generation, .. } = *self;
        is_taken.then_some(Taken { by, connection, generation })
    }
}

/// What one change does to one member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// It is there now: a join where it was not before, else an update.
    Put {
        /// What stood there before.
        old: Option<Member>,
        /// What stands there now.
        new: Member,
    },
    /// It is gone.
    Remove {
        /// What stood there before.
        old: Member,
        /// Why.
        reason: LeaveReason,
        /// The change that took it away.
        seq: u64,
    },
}

impl Op {
    /// The connection whose member changes.
    pub fn connection(&self) -> ConnectionId {
        match self {
            Op::Put { new, .. } => new.connection,
            Op::Remove { old, .. } => old.connection,
        }
    }

    /// Whether it gives a member to another owner.
    #[inline]
    pub(crate) fn taken(&self) -> Option<Taken> {
        let Self::Put { old: Some(old), new } = self else { return None };
        old.taken_by(new.owner)
    }
}

/// A connection has come back at another node, and its member is that node's from here on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Who vouched for it.
    pub by: Owner,
    /// Which.
    pub connection: ConnectionId,
    /// The generation that it had there.
    pub generation: u32,
}

/// One step in a channel's life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The life of the map that it belongs to.
    pub epoch: u64,
    /// The channel's `seq` before it: who applies it can tell that nothing is missing.
    pub prev: u64,
    /// The channel's `seq` after it.
    pub seq: u64,
    /// What it does.
    pub op: Op,
}

/// The whole of a channel at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The life of the map that it shows.
    pub epoch: u64,
    /// The last change that it holds.
    pub seq: u64,
    /// Every member, the one tracked longest ago first.
    pub members: Vec<Member>,
}
