//! What is announced to those who follow channels from outside, folded: at each position it gives the
//! members that subscribers have there, whatever was lost and rebuilt in between.
//!
//! After a gap a follower would read the lists again. This one waits until an announcement says that a channel
//! was or is empty: from there on it knows the members again.

use std::collections::{BTreeMap, BTreeSet};

use herenow_hub::{Announcement, ChangeKind, MemberChange};
use herenow_wire::ChannelName;

use crate::history::{History, Members};

/// See the module.
#[derive(Default)]
pub struct Follower {
    channels: BTreeMap<ChannelName, Followed>,
    /// There was a gap.
    has_missed: bool,
    /// Changes that were checked.
    pub folded: u64,
}

struct Followed {
    at: (u64, u64),
    /// By connection, its user.
    members: BTreeMap<String, String>,
    knows: Knows,
    /// Connections that have joined since something was missed, and not left.
    joined: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Knows {
    /// All members are known.
    Everything,
    /// Something was missed.
    Part,
}

impl Follower {
    /// Changes may be missing here, in any channel.
    pub fn miss(&mut self) {
        self.has_missed = true;
        for followed in self.channels.values_mut() {
            followed.knows = Knows::Part;
            followed.joined.clear();
        }
    }

    pub fn fold(&mut self, announcement: &Announcement, history: &mut History) {
        let Announcement { channel, epoch, changes } = announcement;
        let knows = if self.has_missed { Knows::Part } else { Knows::Everything };
        let new =
            || Followed { at: (0, 0), members: BTreeMap::new(), knows, joined: BTreeSet::new() };
        let followed = self.channels.entry(channel.clone()).or_insert_with(new);
        if followed.at.0 > *epoch && self.has_missed {
            // From a node that was the home before: a follower has read a newer list.
            return;
        }
        if followed.at.0 < *epoch && self.has_missed {
            // The home before may have told of a join that no other node has heard of. It did so after
            // the gap if it did not know yet that it is out.
            followed.knows = Knows::Part;
            followed.joined.clear();
        }
        let mut changes = changes.iter().peekable();
        while let Some(change) = changes.next() {
            let at = (*epoch, change.seq);
            assert!(followed.at <= at, "{channel}: {at:?} after {:?}", followed.at);
            followed.at = at;
            followed.note_join(change, channel);
            followed.learn(change);
            if followed.knows == Knows::Part {
                continue;
            }
            followed.fold(change, channel);
            self.folded += 1;
            // Changes at one position are one step.
            if changes.peek().is_none_or(|next| next.seq != change.seq) {
                let members: Members =
                    followed.members.iter().map(|(id, user)| (user.clone(), id.clone())).collect();
                history.meet_members(channel, at, members);
            }
        }
    }

    pub fn is_drained(&self) -> bool {
        let mut all = self.channels.values().filter(|it| it.knows == Knows::Everything);
        all.all(|followed| followed.members.is_empty())
    }
}

impl Followed {
    /// No join is announced twice if nothing was missed in between.
    fn note_join(&mut self, change: &MemberChange, channel: &ChannelName) {
        let id = change.connection.to_string();
        match change.kind {
            ChangeKind::Added => {
                assert!(self.joined.insert(id), "{channel}: it has joined before: {change:?}");
            }
            ChangeKind::Updated => {}
            ChangeKind::Removed(_) => drop(self.joined.remove(&id)),
        }
    }

    /// The channel was empty before a change if it has one member after a join, and is empty after one if it has
    /// none.
    fn learn(&mut self, change: &MemberChange) {
        if self.knows == Knows::Everything {
            return;
        }
        match change.kind {
            ChangeKind::Added if change.connections == 1 => self.members.clear(),
            ChangeKind::Removed(_) if change.connections == 0 => {
                self.members = [(change.connection.to_string(), change.user.to_string())].into();
            }
            _ => return,
        }
        self.knows = Knows::Everything;
    }

    fn fold(&mut self, change: &MemberChange, channel: &ChannelName) {
        let (id, user) = (change.connection.to_string(), change.user.to_string());
        match change.kind {
            ChangeKind::Added => {
                let before = self.members.insert(id, user.clone());
                assert_eq!(before, None, "{channel}: it was there: {change:?}");
            }
            ChangeKind::Updated => {
                assert_eq!(self.members.get(&id), Some(&user), "{channel}: {change:?}");
            }
            ChangeKind::Removed(_) => {
                assert_eq!(self.members.remove(&id), Some(user.clone()), "{channel}: {change:?}");
            }
        }
        let is_removed = matches!(change.kind, ChangeKind::Removed(_));
        assert_eq!(change.state.is_none(), is_removed, "{change:?}");
        let of_user = self.members.values().filter(|one| **one == user).count();
        assert_eq!(change.is_users_only, of_user == usize::from(!is_removed), "{change:?}");
        let mut users: Vec<&String> = self.members.values().collect();
        users.sort_unstable();
        users.dedup();
        let counts = (change.users, change.connections);
        assert_eq!(counts, (users.len(), self.members.len()), "{channel}: {change:?}");
    }
}
