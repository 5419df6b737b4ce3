//! What is announced to those who follow channels from outside, folded: at each position it gives the
//! members that subscribers have there, whatever was lost and rebuilt in between.

use std::collections::BTreeMap;

use herenow_hub::{Announcement, ChangeKind, MemberChange};
use herenow_wire::ChannelName;

use crate::history::{History, Members};

/// See the module.
#[derive(Default)]
pub struct Follower {
    channels: BTreeMap<ChannelName, Followed>,
}

#[derive(Default)]
struct Followed {
    at: (u64, u64),
    /// By connection, its user.
    members: BTreeMap<String, String>,
}

impl Follower {
    pub fn fold(&mut self, announcement: &Announcement, history: &mut History) {
        let Announcement { channel, epoch, changes } = announcement;
        let followed = self.channels.entry(channel.clone()).or_default();
        let mut changes = changes.iter().peekable();
        while let Some(change) = changes.next() {
            let at = (*epoch, change.seq);
            assert!(followed.at <= at, "{channel}: {at:?} after {:?}", followed.at);
            followed.at = at;
            followed.fold(change, channel);
            // Changes at one position are one step.
            if changes.peek().is_none_or(|next| next.seq != change.seq) {
                let members: Members =
                    followed.members.iter().map(|(id, user)| (user.clone(), id.clone())).collect();
                history.meet_members(channel, at, members);
            }
        }
    }

    pub fn is_drained(&self) -> bool {
        self.channels.values().all(|followed| followed.members.is_empty())
    }
}

impl Followed {
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
