//! How many sessions without a socket each user has, over all hubs of the process. Each user has
//! one registrar among the hubs. It is told by mail when a session of the user loses its socket and
//! when such a session ends or is claimed, and says which one gives way to a new one.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use herenow_core::Peer;
use herenow_wire::{ConnectionId, UserId};

/// The users whose registrar this hub is. Holds nothing of a user without detached sessions.
#[derive(Debug, Default)]
pub(crate) struct DetachedUsers {
    /// The sessions of each user, the one detached longest ago first.
    by_user: BTreeMap<UserId, Vec<Detachment>>,
}

/// One loss of a socket: a session that was claimed and lost its next socket is another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detachment {
    pub(crate) connection: ConnectionId,
    /// Which of the sockets that have had the connection's id was lost.
    pub(crate) generation: u32,
    /// The hub that keeps the session.
    pub(crate) holder: Peer,
}

impl DetachedUsers {
    /// The hub that counts for `user`.
    pub(crate) fn registrar(user: &UserId, hubs: u16) -> Peer {
        let mut hasher = DefaultHasher::new();
        user.as_str().hash(&mut hasher);
        Peer((hasher.finish() % u64::from(hubs)) as u16)
    }

    /// A session of `user` has lost its socket. Returns the one that gives way to it, where the
    /// user has more than `most`. It counts no more from here on.
    pub(crate) fn begin(
        &mut self,
        user: UserId,
        detachment: Detachment,
        most: usize,
    ) -> Option<Detachment> {
        let detachments = self.by_user.entry(user).or_default();
        detachments.reserve_exact(1);
        detachments.push(detachment);
        (detachments.len() > most).then(|| detachments.remove(0))
    }

    /// How many users have any.
    pub(crate) fn len(&self) -> usize {
        self.by_user.len()
    }

    /// A detached session of `user` has ended or was claimed.
    pub(crate) fn end(&mut self, user: &UserId, detachment: Detachment) {
        let Some(detachments) = self.by_user.get_mut(user) else { return };
        detachments.retain(|known| *known != detachment);
        if detachments.is_empty() {
            self.by_user.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("a valid user")
    }

    fn detachment(letter: u8, generation: u32) -> Detachment {
        let connection = ConnectionId::from_bytes([letter; 16]);
        Detachment { connection, generation, holder: Peer(0) }
    }

    #[test]
    fn beyond_the_bound_the_oldest_session_of_the_same_user_gives_way() {
        let mut users = DetachedUsers::default();
        assert_eq!(users.begin(user("jane"), detachment(1, 0), 2), None);
        assert_eq!(users.begin(user("bob"), detachment(9, 0), 2), None);
        assert_eq!(users.begin(user("jane"), detachment(2, 0), 2), None);
        assert_eq!(users.begin(user("jane"), detachment(3, 0), 2), Some(detachment(1, 0)));
        assert_eq!(users.begin(user("jane"), detachment(4, 0), 2), Some(detachment(2, 0)));
    }

    #[test]
    fn what_ended_counts_no_more() {
        let mut users = DetachedUsers::default();
        users.begin(user("jane"), detachment(1, 0), 1);
        users.end(&user("jane"), detachment(1, 0));
        assert_eq!(users.begin(user("jane"), detachment(2, 0), 1), None);
        users.end(&user("jane"), detachment(2, 0));
        assert!(users.by_user.is_empty(), "nothing is kept of a user without detached sessions");
    }

    #[test]
    fn the_end_of_an_earlier_detachment_does_not_end_a_later_one_of_the_same_connection() {
        let mut users = DetachedUsers::default();
        users.begin(user("jane"), detachment(1, 1), 1);
        users.end(&user("jane"), detachment(1, 0));
        assert_eq!(users.begin(user("jane"), detachment(2, 0), 1), Some(detachment(1, 1)));
    }

    #[test]
    fn every_hub_agrees_on_the_registrar_of_a_user() {
        for hubs in 1..9 {
            let registrar = DetachedUsers::registrar(&user("jane"), hubs);
            assert!(registrar.0 < hubs);
            assert_eq!(registrar, DetachedUsers::registrar(&user("jane"), hubs));
        }
    }
}
