//! What was true of every channel after each flush, kept for the whole run: what a client has
//! folded from the events up to the same number must be the same.

use std::collections::BTreeMap;

use herenow_core::{Entry, Flush, Op};
use herenow_wire::ChannelName;

/// Everybody in one channel, the one tracked longest ago first: user, connection, state.
pub type Rows = Vec<(String, String, String)>;

/// See the module.
#[derive(Default)]
pub struct History {
    last: BTreeMap<ChannelName, Told>,
    after: BTreeMap<(ChannelName, u64, u64), Rows>,
}

/// What has been told of a channel so far.
struct Told {
    epoch: u64,
    rows: Rows,
}

impl History {
    /// What was true at this point of the channel's life, where a flush ended there.
    pub fn rows(&self, channel: &ChannelName, (epoch, seq): (u64, u64)) -> Option<&Rows> {
        self.after.get(&(channel.clone(), epoch, seq))
    }

    /// A flush leaves its shard: the events since the last one must lead to what it says.
    pub fn flushed(&mut self, channel: &ChannelName, flush: &Flush) {
        if flush.to.is_empty() {
            // What nobody is told of need not lead anywhere: who asks next gets a snapshot.
            self.last.remove(channel);
            return;
        }
        // Of a new life everybody is told a snapshot: its events lead from nothing that was told.
        let epoch = flush.snapshot.as_ref().map(|snapshot| snapshot.epoch);
        let last = self.last.remove(channel).filter(|told| epoch.is_none_or(|e| e == told.epoch));
        let folded = last.map(|mut told| {
            for op in &flush.ops {
                fold(&mut told.rows, op);
            }
            told
        });
        let told = match &flush.snapshot {
            None => folded.expect("whoever is told deltas was told a snapshot before"),
            Some(snapshot) => {
                let rows: Rows = snapshot.entries.iter().map(row).collect();
                if let Some(folded) = folded {
                    assert_eq!(folded.rows, rows, "the events fold to the next snapshot");
                }
                let at = (channel.clone(), snapshot.epoch, snapshot.seq);
                self.after.insert(at, rows.clone());
                Told { epoch: snapshot.epoch, rows }
            }
        };
        if let Some(op) = flush.ops.last() {
            let at = (channel.clone(), told.epoch, seq_of(op));
            self.after.insert(at, told.rows.clone());
        }
        self.last.insert(channel.clone(), told);
    }

    /// A shard has lost the maps of these channels.
    pub fn forget(&mut self, is_lost: impl Fn(&ChannelName) -> bool) {
        self.last.retain(|channel, _| !is_lost(channel));
    }
}

fn fold(rows: &mut Rows, op: &Op) {
    let connection = op.connection().to_string();
    let known = rows.iter().position(|(_, one, _)| *one == connection);
    match op {
        Op::Put { was, is } => {
            assert_eq!(
                was.is_some(),
                known.is_some(),
                "a join is new and an update is not: {op:?}"
            );
            known.map(|at| rows.remove(at));
            rows.push(row(is));
        }
        Op::Remove { .. } => {
            rows.remove(known.expect("a leave is of an entry that was there"));
        }
    }
}

fn seq_of(op: &Op) -> u64 {
    match op {
        Op::Put { is, .. } => is.seq,
        Op::Remove { seq, .. } => *seq,
    }
}

fn row(entry: &Entry) -> (String, String, String) {
    let Entry { user, connection, state, .. } = entry;
    (user.to_string(), connection.to_string(), state.as_str().to_owned())
}
