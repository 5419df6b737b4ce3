//! The members of one channel by user, so that the users of a large channel are counted, and the
//! members of one user found, without a look at the others.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use herenow_wire::{ConnectionId, UserId};

/// Who asks for users, and so whether a channel keeps an index of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UserIndex {
    /// Nobody does. No index is kept; a question that comes all the same looks at every member.
    #[default]
    None,
    /// A backend may. A channel of [`INDEXED_FROM`] members or more keeps an index.
    LargeChannels,
}

/// A smaller channel keeps no index: to look at all its members costs some ten microseconds.
pub const INDEXED_FROM: usize = 256;
/// A channel that has shrunk below this gives its index up. Lower than [`INDEXED_FROM`], so that a
/// channel at the border does not build it again and again.
pub(crate) const INDEXED_DOWN_TO: usize = INDEXED_FROM / 2;

/// See the module. A tree and no hash table: it grows without a step that moves everything.
#[derive(Debug, Default)]
pub(crate) struct ByUser {
    members: BTreeSet<(UserHash, ConnectionId)>,
    /// Different users.
    users: usize,
}

/// Two users of one channel with the same 64 bits would be counted as one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct UserHash(u64);

impl ByUser {
    pub(crate) fn users(&self) -> usize {
        self.users
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn insert(&mut self, user: &UserId, connection: ConnectionId) {
        let hash = UserHash::of(user);
        self.users += usize::from(!self.has(hash));
        self.members.insert((hash, connection));
    }

    pub(crate) fn remove(&mut self, user: &UserId, connection: ConnectionId) {
        let hash = UserHash::of(user);
        if self.members.remove(&(hash, connection)) {
            self.users -= usize::from(!self.has(hash));
        }
    }

    /// The connections of a user, and perhaps of others with the same hash.
    pub(crate) fn connections(&self, user: &UserId) -> impl Iterator<Item = ConnectionId> {
        self.of(UserHash::of(user))
    }

    fn has(&self, hash: UserHash) -> bool {
        self.of(hash).next().is_some()
    }

    fn of(&self, hash: UserHash) -> impl Iterator<Item = ConnectionId> {
        let (first, last) =
            (ConnectionId::from_bytes([0; 16]), ConnectionId::from_bytes([255; 16]));
        self.members.range((hash, first)..=(hash, last)).map(|(_, connection)| *connection)
    }
}

impl UserHash {
    pub(crate) fn of(user: &UserId) -> Self {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        Self(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use herenow_wire::{LeaveReason, State};

    use super::*;
    use crate::change::Owner;
    use crate::channel::Channel;
    use crate::decision::{Decision, Put};

    const OWNER: Owner = Owner(1);

    fn id(n: usize) -> ConnectionId {
        ConnectionId::from_bytes((n as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
    }

    fn user(n: usize) -> UserId {
        UserId::parse(&format!("user-{n:04}")).expect("a valid id")
    }

    fn apply(channel: &mut Channel, decision: Decision) {
        match decision {
            Decision::Change(change) => channel.apply(change),
            other => panic!("{other:?} where a change was due"),
        }
        channel.index_users(UserIndex::LargeChannels);
        let users: BTreeSet<&UserId> =
            channel.members().map(|(member, _)| member.user.id()).collect();
        assert_eq!(channel.users(), users.len());
    }

    fn show(channel: &mut Channel, n: usize, user: UserId) {
        let state = State::parse("{}").expect("a valid state");
        let put = Put { connection: id(n), owner: OWNER, generation: 0, user: user.into(), state };
        let decision = channel.decide_put(put, usize::MAX, channel.seq() + 1);
        apply(channel, decision);
    }

    fn remove(channel: &mut Channel, n: usize) {
        let reason = LeaveReason::Leave;
        let decision = channel.decide_remove(id(n), OWNER, reason, channel.seq() + 1);
        apply(channel, decision);
    }

    fn members_of(channel: &Channel, user: &UserId) -> BTreeSet<ConnectionId> {
        channel.members_of(user).iter().map(|(member, _)| member.connection).collect()
    }

    #[test]
    fn a_large_channel_finds_users_by_its_index_and_a_small_one_by_looking_at_all() {
        let mut channel = Channel::new(1, 0);
        for n in 0..2 * INDEXED_FROM {
            show(&mut channel, n, user(n / 3));
            assert_eq!(channel.is_indexed_by_user(), n + 1 >= INDEXED_FROM);
        }
        assert_eq!(members_of(&channel, &user(7)), BTreeSet::from([id(21), id(22), id(23)]));
        // The member is then another user's.
        show(&mut channel, 22, user(9999));
        assert_eq!(members_of(&channel, &user(7)), BTreeSet::from([id(21), id(23)]));
        assert_eq!(members_of(&channel, &user(9999)), BTreeSet::from([id(22)]));
        for n in (0..2 * INDEXED_FROM).rev() {
            remove(&mut channel, n);
            assert_eq!(channel.is_indexed_by_user(), n >= INDEXED_DOWN_TO);
        }
        assert_eq!(members_of(&channel, &user(7)), BTreeSet::new());
    }

    #[test]
    fn no_index_is_kept_while_nobody_asks_for_users() {
        let mut channel = Channel::new(1, 0);
        for n in 0..2 * INDEXED_FROM {
            let state = State::parse("{}").expect("a valid state");
            let put = Put {
                connection: id(n),
                owner: OWNER,
                generation: 0,
                user: user(n / 2).into(),
                state,
            };
            let Decision::Change(change) = channel.decide_put(put, usize::MAX, n as u64 + 1) else {
                panic!("a member that is new joins");
            };
            channel.apply(change);
            channel.index_users(UserIndex::None);
        }
        assert!(!channel.is_indexed_by_user());
        assert_eq!(channel.users(), INDEXED_FROM);
    }
}
