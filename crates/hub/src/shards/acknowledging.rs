//! The batches of other nodes that were taken in, until they may be acknowledged: when all that they have put
//! has been told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use herenow_core::Peer;
use herenow_wire::ChannelName;

/// See the module. Of each node, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged(BTreeMap<Peer, VecDeque<Batch>>);

#[derive(Debug)]
struct Batch {
    number: u64,
    /// Channels in which it has put something: the flush that tells of it comes first.
    channels: BTreeSet<ChannelName>,
}

impl Unacknowledged {
    /// A batch of a node has been applied.
    pub(super) fn add(&mut self, node: Peer, number: u64, channels: BTreeSet<ChannelName>) {
        self.0.entry(node).or_default().push_back(Batch { number, channels });
    }

    /// The last batch of each node that may be acknowledged now, with all before it. `waits` says whether
    /// something that was put in a channel has not been told.
    pub(super) fn take_told(&mut self, waits: impl Fn(&ChannelName) -> bool) -> Vec<(Peer, u64)> {
        let mut all = Vec::new();
        for (node, batches) in &mut self.0 {
            let mut told = None;
            while let Some(first) = batches.front_mut() {
                first.channels.retain(|channel| waits(channel));
                if !first.channels.is_empty() {
                    break;
                }
                told = Some(first.number);
                batches.pop_front();
            }
            all.extend(told.map(|number| (*node, number)));
        }
        self.0.retain(|_, batches| !batches.is_empty());
        all
    }

    /// A node is gone.
    pub(super) fn forget(&mut self, node: Peer) {
        self.0.remove(&node);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many batches there are.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(VecDeque::len).sum()
    }
}
