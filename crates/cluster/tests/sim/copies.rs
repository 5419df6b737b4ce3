//! A stand-in for the copies of channels that a node keeps: they take only what follows from a home.

use std::collections::BTreeMap;

use herenow_cluster::Term;
use herenow_wire::link::{Change, Incarnation, Interest, Item, Op, Position, Snap};
use herenow_wire::{ConnectionId, State};

use crate::check::History;
use crate::owner::{Answers, Owner};

#[derive(Debug)]
pub struct Copy {
    pub term: Term,
    pub seq: u64,
    pub rows: BTreeMap<ConnectionId, State>,
}

impl Owner {
    /// Whether a home may speak of this shard.
    fn believes(&self, shard: u16, term: Term) -> bool {
        self.terms.get(&shard).is_none_or(|known| term >= *known)
    }

    pub fn replace_copy(&mut self, from: Incarnation, snap: Snap, history: &mut History) {
        let Position { epoch, seq } = snap.position;
        let term = Term { epoch, home: from };
        if !self.interests.contains(&snap.channel) || !self.believes(snap.channel.shard(), term) {
            return;
        }
        if self.copies.get(&snap.channel).is_some_and(|copy| (copy.term, copy.seq) >= (term, seq)) {
            return;
        }
        let rows = snap.rows.into_iter().map(|row| (row.presence.connection, row.state)).collect();
        history.note(&snap.channel, (term, seq), &rows);
        self.copies.insert(snap.channel, Copy { term, seq, rows });
    }

    pub fn change_copy(
        &mut self,
        from: Incarnation,
        change: Change,
        history: &mut History,
        out: &mut Answers,
    ) {
        let Position { epoch, seq } = change.position;
        let term = Term { epoch, home: from };
        let channel = change.channel;
        if !self.interests.contains(&channel) || !self.believes(channel.shard(), term) {
            return;
        }
        let copy = self.copies.get_mut(&channel).filter(|copy| copy.term == term);
        match copy {
            Some(copy) if copy.seq >= seq => {}
            Some(copy) if copy.seq == change.prev => {
                for op in change.ops {
                    match op {
                        Op::Put(row) => copy.rows.insert(row.presence.connection, row.state),
                        Op::Remove { connection, .. } => copy.rows.remove(&connection),
                    };
                }
                copy.seq = seq;
                history.note(&channel, (term, seq), &copy.rows);
            }
            // Something is missing: a snapshot is asked for.
            _ => {
                history.unfollowed += 1;
                let (shard, interest) = (channel.shard(), Interest::Changes);
                self.post_home(shard, vec![Item::Interest { channel, interest }], history, out);
            }
        }
    }
}
