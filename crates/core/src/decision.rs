//! What a connection asks a channel to show, and what a channel says to a request: plain data.

use herenow_wire::{ConnectionId, State, User};

use crate::change::{Change, Owner};

/// What a connection asks to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    /// Whose member.
    pub connection: ConnectionId,
    /// The process that vouches for it.
    pub owner: Owner,
    /// Which of the sockets that the connection has had asks. Grows with each that takes the
    /// connection over, and wraps.
    pub generation: u32,
    /// The user it acts for.
    pub user: User,
    /// What it shows.
    pub state: State,
}

impl Put {
    /// Whether a later socket has shown something, or one that has come back at another node as late as
    /// this: of those the first counts. Generations wrap.
    pub(crate) fn comes_late_for(&self, owner: Owner, generation: u32) -> bool {
        !is_up_to(generation, self.generation)
            || generation == self.generation && owner != self.owner && !owner.is_lost()
    }

    /// Whether it is of the socket with this generation, or of an earlier one.
    pub(crate) fn is_up_to(&self, generation: u32) -> bool {
        is_up_to(self.generation, generation)
    }
}

/// What a request would do.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// This happens when it is applied.
    Change(Change),
    /// The channel is so already.
    Unchanged,
    /// The channel holds as many members as it may.
    Full,
    /// A later socket of the connection shows something already. What comes late from an earlier one
    /// changes nothing.
    Superseded,
}

/// Whether a generation of a connection is this one or an earlier one. Generations wrap.
pub fn is_up_to(generation: u32, this: u32) -> bool {
    this.wrapping_sub(generation) <= u32::MAX / 2
}
