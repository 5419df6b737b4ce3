//! A subscriber of one channel, who believes what a client believes.

use std::collections::BTreeMap;

use herenow_core::{Flush, Op, RequestId, SnapshotFor};
use herenow_wire::{ConnectionId, State};

/// An epoch and a seq.
pub type Position = (u64, u64);
/// Who is in a list.
pub type Rows = BTreeMap<ConnectionId, State>;

#[derive(Debug, Default)]
pub struct Subscriber {
    request: Option<RequestId>,
    position: Option<Position>,
    rows: Rows,
    pub deltas: u64,
    pub snapshots: u64,
}

impl Subscriber {
    pub fn request(&mut self, request: RequestId) {
        self.request = Some(request);
    }

    /// Where its list stands, and the list.
    pub fn list(&self) -> Option<(Position, &Rows)> {
        Some((self.position?, &self.rows))
    }

    /// Takes what a flush sends to it.
    pub fn take(&mut self, flush: &Flush, snapshot_for: SnapshotFor) {
        let answers = |upto: RequestId| self.request.is_some_and(|own| own.is_answered_by(upto));
        let is_whole = match snapshot_for {
            SnapshotFor::None => false,
            SnapshotFor::UpTo(upto) => answers(upto),
            SnapshotFor::All(upto) => answers(upto) || self.request.is_none(),
        };
        if is_whole {
            self.snapshots += 1;
            self.request = None;
            let snapshot = flush.snapshot.as_ref().expect("it is for this one");
            self.position = Some((snapshot.epoch, snapshot.seq));
            let rows = snapshot.members.iter();
            self.rows = rows.map(|row| (row.connection, row.state.clone())).collect();
        } else if self.request.is_none() {
            for (at, op) in flush.ops.iter().enumerate() {
                self.delta(op, (at == 0 && flush.is_epoch_new).then_some(flush.epoch));
            }
            if let Some(position) = self.position {
                assert!(flush.ops.is_empty() || position.0 == flush.epoch, "one epoch in a flush");
                if !flush.ops.is_empty() {
                    self.position = Some((flush.epoch, flush.seq));
                }
            }
        }
    }

    fn delta(&mut self, op: &Op, epoch: Option<u64>) {
        let Some((known, last)) = self.position else { return };
        let seq = match op {
            Op::Put { new, .. } => new.seq,
            Op::Remove { seq, .. } => *seq,
        };
        let epoch = epoch.unwrap_or(known);
        assert!(epoch > known || seq > last, "a delta is newer than what is known");
        self.position = Some((epoch, seq));
        self.deltas += 1;
        match op {
            Op::Put { old, new } => {
                let had = self.rows.insert(new.connection, new.state.clone());
                assert_eq!(had.is_some(), old.is_some(), "a join is of one who was not here");
            }
            Op::Remove { old, .. } => {
                assert!(self.rows.remove(&old.connection).is_some(), "who leaves was here");
            }
        }
    }
}
