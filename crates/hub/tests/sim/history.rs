//! Every list that any client or backend has seen, by channel, epoch and seq, kept for the whole run: the same
//! pair names one list, wherever and however it was seen.

use std::collections::{BTreeMap, BTreeSet};

use herenow_wire::ChannelName;

use crate::plan::Nodes;

/// Everybody in one channel, the one tracked longest ago first: user, connection, state.
pub type Rows = Vec<(String, String, String)>;

/// The same without what they show: user, connection.
pub type Members = BTreeSet<(String, String)>;

/// See the module.
#[derive(Default)]
pub struct History {
    is_of_a_cluster: bool,
    /// The bucket of the cluster was lost: two homes may have used one epoch.
    pub is_torn: bool,
    seen: BTreeMap<(ChannelName, u64, u64), Rows>,
    members: BTreeMap<(ChannelName, u64, u64), Members>,
    /// Users and connections.
    counts: BTreeMap<(ChannelName, u64, u64), (usize, usize)>,
    /// Positions at which a client was told a count, and of these the ones at which the members are
    /// known.
    pub counted: u64,
    pub counted_as_seen: u64,
    /// Flushes of several nodes that were read to their end.
    pub flushes: u64,
    /// Updates by which a field ended.
    pub fields_ended: u64,
}

impl History {
    /// Of one server or of the nodes of a cluster.
    pub fn of(nodes: Nodes) -> Self {
        Self { is_of_a_cluster: nodes != Nodes::Alone, ..Self::default() }
    }

    /// A client has come to this list at this point, by a snapshot or by the deltas since one.
    pub fn meet(&mut self, channel: &ChannelName, (epoch, seq): (u64, u64), rows: &Rows) {
        if self.is_torn {
            return;
        }
        let at = (channel.clone(), epoch, seq);
        let known = self.seen.entry(at).or_insert_with(|| rows.clone());
        assert_eq!(known, rows, "{channel}: two lists at ({epoch}, {seq})");
        let members = rows.iter().map(|(user, id, _)| (user.clone(), id.clone())).collect();
        self.meet_members(channel, (epoch, seq), members);
    }

    /// A client has come to this list by a delta. Where there are several nodes, each merges the
    /// changes of a time in its own way, and only at the end of a flush one list is like the other: see
    /// [`Self::meet_flush`].
    pub fn meet_delta(&mut self, channel: &ChannelName, at: (u64, u64), rows: &Rows) {
        if !self.is_of_a_cluster {
            self.meet(channel, at, rows);
        }
    }

    /// A client of one of several nodes has read all of a flush: it knows a list that its node has had, or
    /// another one, at that point or a later one. Later, since it is told no number of what has come and gone.
    pub fn meet_flush(&mut self, channel: &ChannelName, (epoch, seq): (u64, u64), rows: &Rows) {
        if self.is_torn || !self.is_of_a_cluster {
            return;
        }
        let from = (channel.clone(), epoch, seq);
        let mut later = self.seen.range(from..=(channel.clone(), epoch, u64::MAX));
        let is_known = later.any(|(_, known)| known == rows);
        assert!(is_known, "{channel}: no list like that from ({epoch}, {seq}) on: {rows:?}");
        self.flushes += 1;
    }

    /// A client or a follower has these members at this point.
    pub fn meet_members(
        &mut self,
        channel: &ChannelName,
        (epoch, seq): (u64, u64),
        members: Members,
    ) {
        let at = (channel.clone(), epoch, seq);
        let counts = counts_of(&members);
        let is_news = !self.members.contains_key(&at);
        let known = self.members.entry(at.clone()).or_insert_with(|| members.clone());
        assert_eq!(*known, members, "{channel}: other members at ({epoch}, {seq})");
        if let (true, Some(counted)) = (is_news, self.counts.get(&at)) {
            assert_eq!(*counted, counts, "{channel}: a wrong count at ({epoch}, {seq})");
            self.counted_as_seen += 1;
        }
    }

    /// A client has been told so many users and connections at this point.
    pub fn meet_count(
        &mut self,
        channel: &ChannelName,
        (epoch, seq): (u64, u64),
        counts: (usize, usize),
    ) {
        let at = (channel.clone(), epoch, seq);
        if let Some(known) = self.counts.get(&at) {
            assert_eq!(*known, counts, "{channel}: two counts at ({epoch}, {seq})");
            return;
        }
        self.counted += 1;
        if let Some(members) = self.members.get(&at) {
            assert_eq!(counts_of(members), counts, "{channel}: a wrong count at ({epoch}, {seq})");
            self.counted_as_seen += 1;
        }
        self.counts.insert(at, counts);
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

fn counts_of(members: &Members) -> (usize, usize) {
    let mut users: Vec<&String> = members.iter().map(|(user, _)| user).collect();
    users.dedup();
    (users.len(), members.len())
}
