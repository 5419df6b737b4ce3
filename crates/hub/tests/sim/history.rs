//! Every list that any client or backend has seen, by channel, epoch and seq, kept for the whole run: the same
//! pair names one list, wherever and however it was seen.

use std::collections::{BTreeMap, BTreeSet};

use herenow_wire::ChannelName;

/// Everybody in one channel, the one tracked longest ago first: user, connection, state.
pub type Rows = Vec<(String, String, String)>;

/// The same without what they show: user, connection.
pub type Members = BTreeSet<(String, String)>;

/// See the module.
#[derive(Default)]
pub struct History {
    seen: BTreeMap<(ChannelName, u64, u64), Rows>,
    members: BTreeMap<(ChannelName, u64, u64), Members>,
}

impl History {
    /// A client has come to this list at this point, by a snapshot or by the deltas since one.
    pub fn meet(&mut self, channel: &ChannelName, (epoch, seq): (u64, u64), rows: &Rows) {
        let at = (channel.clone(), epoch, seq);
        let known = self.seen.entry(at).or_insert_with(|| rows.clone());
        assert_eq!(known, rows, "{channel}: two lists at ({epoch}, {seq})");
        let members = rows.iter().map(|(user, id, _)| (user.clone(), id.clone())).collect();
        self.meet_members(channel, (epoch, seq), members);
    }

    /// A client or a follower has these members at this point.
    pub fn meet_members(
        &mut self,
        channel: &ChannelName,
        (epoch, seq): (u64, u64),
        members: Members,
    ) {
        let at = (channel.clone(), epoch, seq);
        let known = self.members.entry(at).or_insert_with(|| members.clone());
        assert_eq!(*known, members, "{channel}: other members at ({epoch}, {seq})");
    }

    /// A backend has been answered the beginning of the list at this point. Whether anybody had seen
    /// the whole of it.
    pub fn meet_first(
        &mut self,
        channel: &ChannelName,
        (epoch, seq): (u64, u64),
        rows: &Rows,
    ) -> bool {
        let known = self.seen.get(&(channel.clone(), epoch, seq));
        if let Some(known) = known {
            let first = known.get(..rows.len());
            assert_eq!(first, Some(&rows[..]), "{channel}: another page of ({epoch}, {seq})");
        }
        known.is_some()
    }
}
