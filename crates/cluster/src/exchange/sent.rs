//! Which puts went with which batch: they are done when it is acknowledged. There are no more of them than
//! a link may have unacknowledged.

use std::collections::{BTreeMap, VecDeque};

use herenow_wire::link::{Incarnation, Item, Ticket};

/// A put that waits for its home: its shard, and the number that its loop has given it.
pub(super) type Waiting = (u16, Ticket);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// By receiver, oldest first.
    puts: BTreeMap<Incarnation, VecDeque<(u64, Waiting)>>,
}

impl Sent {
    /// The puts among these items that are answered.
    pub(super) fn waiting_in(items: &[Item]) -> Vec<Waiting> {
        let puts = items.iter().filter_map(|item| match item {
            Item::Put(put) => Some((put.channel.shard(), put.ticket?)),
            _ => None,
        });
        puts.collect()
    }

    /// They have gone with the batches up to `n`.
    pub(super) fn note(&mut self, to: Incarnation, n: u64, puts: Vec<Waiting>) {
        if !puts.is_empty() {
            self.puts.entry(to).or_default().extend(puts.into_iter().map(|put| (n, put)));
        }
    }

    /// Everything up to `n` is applied and told. Gives the puts that are done.
    pub(super) fn acknowledged(&mut self, by: Incarnation, n: u64) -> Vec<Waiting> {
        let mut done = Vec::new();
        if let Some(puts) = self.puts.get_mut(&by) {
            while let Some((_, put)) = puts.pop_front_if(|(with, _)| *with <= n) {
                done.push(put);
            }
            if puts.is_empty() {
                self.puts.remove(&by);
            }
        }
        done
    }

    /// The stream to a node begins anew: its loops put again what waits.
    pub(super) fn forget(&mut self, to: Incarnation) {
        self.puts.remove(&to);
    }

    /// No stream goes on.
    pub(super) fn clear(&mut self) {
        self.puts.clear();
    }

    /// Forgets all nodes but these.
    pub(super) fn keep(&mut self, is_kept: impl Fn(Incarnation) -> bool) {
        self.puts.retain(|to, _| is_kept(*to));
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.puts.is_empty()
    }
}
