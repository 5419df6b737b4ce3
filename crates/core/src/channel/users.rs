//! The users of a channel, of which each has as many members as connections.

use herenow_wire::UserId;

use super::{Channel, Tracked};
use crate::by_user::{ByUser, INDEXED_FROM, UserHash, UserIndex};
use crate::change::Member;
use crate::since::Since;

impl Channel {
    /// How many users are here: a user has as many members as connections.
    pub fn users(&self) -> usize {
        if let Some(by_user) = &self.by_user {
            debug_assert_eq!(by_user.len(), self.len(), "the index has every member");
            return by_user.users();
        }
        let mut hashes: Vec<UserHash> =
            self.members.values().map(|tracked| UserHash::of(&tracked.member.user)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.len()
    }

    /// The members of one user, in no order, and since when they are here.
    pub fn members_of(&self, user: &UserId) -> Vec<(&Member, Since)> {
        let is_theirs = |(member, _): &(&Member, Since)| member.user.id() == user;
        match &self.by_user {
            Some(by_user) => {
                let known = by_user.connections(user).filter_map(|id| self.member(id));
                known.filter(is_theirs).collect()
            }
            None => self.members().filter(is_theirs).collect(),
        }
    }

    /// Whether users are counted and found without a look at every member.
    pub fn is_indexed_by_user(&self) -> bool {
        self.by_user.is_some()
    }

    /// Begins an index of users where one is wanted and the channel has become large.
    pub(crate) fn index_users(&mut self, wanted: UserIndex) {
        if wanted == UserIndex::None || self.by_user.is_some() || self.len() < INDEXED_FROM {
            return;
        }
        let mut by_user = ByUser::default();
        for Tracked { member, .. } in self.members.values() {
            by_user.insert(&member.user, member.connection);
        }
        self.by_user = Some(Box::new(by_user));
    }
}
